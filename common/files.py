"""Files that are never half-written, and folders that prove what they hold.

Every file of the project is written through here: beside its final name first, flushed, then renamed. A folder written
with `atomic_folder` carries `manifest.json` (sha256 of every file), which `verify_folder` checks.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroleon.common.errors import CheckpointError, ConfigError, DataError

MANIFEST = "manifest.json"
LOCK_WAIT_S = 15.0


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` so that `path` holds either its old content or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities are refused."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse_json(content: bytes, where: str) -> Any:
    """The value of strict JSON in UTF-8.

    Raises:
        DataError: not JSON, or it holds NaN or an infinity; `where` names it.
    """
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error}); restore the file or make it anew") from None


def read_json(path: Path) -> Any:
    """Read strict JSON.

    Raises:
        DataError: the file is absent, not JSON, or holds NaN or an infinity.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    return parse_json(content, str(path))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path`, with its manifest, when the block ends without an error.

    An existing `path` is replaced only then; on an error nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        files = sorted(p for p in temporary.rglob("*") if p.is_file())
        digests = {p.relative_to(temporary).as_posix(): sha256_file(p) for p in files}
        write_json(temporary / MANIFEST, digests)
        for file in files:
            _flush(file)
        _flush(temporary)
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock while the block runs, or until the process ends in any way.

    Raises:
        ConfigError: another process still holds it after `LOCK_WAIT_S`: what a killed one leaves behind (workers, which
            share its files) is gone by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + LOCK_WAIT_S
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ConfigError(
                        f"{path.parent}: another run is at work here; wait for its end, or give another folder"
                    ) from None
                time.sleep(0.1)
        yield


def verify_folder(path: Path) -> None:
    """Check every file that the manifest of `path` lists.

    Raises:
        CheckpointError: no folder, no manifest, a file missing, or a file whose bytes changed.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder; give the folder of a trained model or tokenizer")
    if not (path / MANIFEST).is_file():
        raise CheckpointError(f"{path}: no {MANIFEST}; this is not a complete model or tokenizer folder")
    for name, digest in read_json(path / MANIFEST).items():
        if not (path / name).is_file():
            raise CheckpointError(f"{path / name}: missing, though {MANIFEST} lists it; copy the whole folder again")
        found = sha256_file(path / name)
        if found != digest:
            raise CheckpointError(
                f"{path / name}: sha256 is {found[:12]}, {MANIFEST} says {digest[:12]}; the file changed, copy it again"
            )
