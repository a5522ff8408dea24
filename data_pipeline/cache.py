"""The cache of remote shards on this machine: files by their sha256; when it is full, those leave that no process has
opened for longest. Reading on in an open one does not count.

    ~/.cache/neuroleon/shards/SHA256        (NEUROLEON_CACHE names another folder, NEUROLEON_CACHE_GB its size)

Many processes may share it. A file is written beside its name and renamed once it is whole and right.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from neuroleon.common.errors import ConfigError, DataError

FOLDER = "~/.cache/neuroleon/shards"
SIZE_GB = 50.0
WAIT_S = 240.0  # for another process that loads or makes room; less than training gives a worker
_ABANDONED_S = 3600.0  # a partial file that nobody has written to for so long is of a process that was killed

Stamp = tuple[int, int]  # time of change and size: a file with another stamp is another file
_digests: dict[Path, tuple[Stamp, str]] = {}  # of the files that this process has read


def stamp(file: BinaryIO) -> Stamp:
    """By which an open file is known again."""
    stat = os.fstat(file.fileno())
    return stat.st_mtime_ns, stat.st_size


def digest(path: Path) -> str:
    """sha256 of a file, computed once per process unless its size or time of change differ."""
    with path.open("rb") as file:
        found = stamp(file)
        known = _digests.get(path)
        if known is None or known[0] != found:
            known = _digests[path] = (found, hashlib.file_digest(file, "sha256").hexdigest())
        return known[1]


def digested(path: Path) -> Stamp:
    """The stamp that a file had when this process computed its digest."""
    return _digests[path][0]


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Files by their sha256, of at most `limit` bytes together; those that are being loaded come on top."""

    folder: Path
    limit: int

    @classmethod
    def of_environment(cls) -> "Cache":
        """The cache that the environment names.

        Raises:
            ConfigError: NEUROLEON_CACHE_GB is no size.
        """
        size = os.environ.get("NEUROLEON_CACHE_GB", str(SIZE_GB))
        try:
            limit = int(float(size) * 1e9)
        except (ValueError, OverflowError):
            limit = 0
        if limit <= 0:
            raise ConfigError(f"NEUROLEON_CACHE_GB is {size!r}; expected a size in GB, such as {SIZE_GB:g}")
        return cls(folder=Path(os.environ.get("NEUROLEON_CACHE") or FOLDER).expanduser(), limit=limit)

    def get(self, sha256: str, size: int | None, write: Callable[[Path], None]) -> Path | None:
        """The file of that sha256; if it is not here, `write` is called with a path to write it to.

        It may be gone again when the caller opens it, where processes crowd the cache: then ask again.

        Returns:
            None if what was written is another file, which is not kept.

        Raises:
            ConfigError: it is larger than the whole cache, or the folder cannot be written to.
            DataError: another process keeps the cache locked.
        """
        if size is not None and size > self.limit:
            raise ConfigError(
                f"{self.folder}: a shard of {size / 1e9:.1f} GB does not fit in a cache of {self.limit / 1e9:.1f} GB; "
                "raise NEUROLEON_CACHE_GB"
            )
        target = self.folder / sha256
        self._make_folder()
        if self._holds(target):
            return target
        with self._lock(sha256[:2]):  # so that processes that want the same file load it once
            if self._holds(target):  # another process was faster
                return target
            target.unlink(missing_ok=True)  # damaged
            with self._lock("room"):
                self._make_room(size or 0)
            part = target.with_suffix(".part")
            try:
                write(part)
                if digest(part) != sha256:
                    return None
                with self._lock("room"):
                    _touch(part)
                    part.replace(target)
                    self._make_room(0)  # others may have filled the room that was made
                _digests[target] = _digests[part]
            finally:
                part.unlink(missing_ok=True)
                _digests.pop(part, None)
        return target

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.folder, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            raise ConfigError(f"{self.folder}: no folder to write remote shards to; name another in NEUROLEON_CACHE")

    def _holds(self, target: Path) -> bool:
        """Whether the file is here and whole; it then counts as just used."""
        try:
            if digest(target) != target.name:
                return False
            _touch(target)
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, size: int) -> None:
        """Remove what was not opened for longest until `size` bytes more fit in; what others are loading stays."""
        files = [(path, stat) for path, stat in _files(self.folder) if not _is_loading(path, stat)]
        total = sum(stat.st_size for _, stat in files) + size
        for path, stat in sorted(files, key=lambda file: file[1].st_atime_ns):
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size

    def _lock(self, name: str) -> AbstractContextManager[object]:
        try:
            return FileLock(self.folder / f"{name}.lock").acquire(timeout=WAIT_S)
        except Timeout:
            raise DataError(
                f"{self.folder}: another process has held {name}.lock for {WAIT_S:g} s; look for one that hangs, or "
                "name another folder in NEUROLEON_CACHE"
            ) from None


def _touch(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # the change stays: it is in the stamp


def _is_loading(path: Path, stat: os.stat_result) -> bool:
    return path.suffix == ".part" and time.time() - stat.st_mtime < _ABANDONED_S


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What the cache holds, whole or in part; other processes may rename and remove while this looks."""
    for path in folder.iterdir():
        if path.suffix != ".lock":
            with suppress(FileNotFoundError):
                yield path, path.stat()
