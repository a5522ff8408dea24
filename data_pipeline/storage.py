"""Folders of shards, on this machine or behind an address: which addresses there are, and files that are what they say.

    runs/tokens/cvep20    file:///data/cvep20    s3://bucket/cvep20    hf://datasets/me/eeg/cvep20    https://host/cvep20

Only these: `pipe:` and the like would run a program.
"""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import MANIFEST, parse_json
from neuroleon.data_pipeline import remote
from neuroleon.data_pipeline.cache import Cache, digest

Location = str | Path  # a path, or an address as text: pathlib would make one slash of the two
REMEDY = "the file is damaged or was changed: copy it again or prepare it again"
TRIES = 5  # to open a file before it leaves a crowded cache
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


@dataclass(frozen=True)
class Folder:
    """A folder of shards. `path` is where it lies on this machine, None behind an address."""

    address: str
    path: Path | None

    @classmethod
    def at(cls, location: Location) -> "Folder":
        """The folder at a path or an address.

        Raises:
            ConfigError: an address of another kind, or one that holds a password.
        """
        text = str(location)
        match = _SCHEME.match(text)
        if match is None:
            return cls(text, Path(text))
        scheme, rest = match.group(1).lower(), text[match.end() :]
        if scheme not in ("file", *remote.SCHEMES) or not rest.startswith("//"):
            raise ConfigError(
                f"{scheme}: is not how an address of shards begins; expected a folder, or one of file://, "
                f"{', '.join(f'{known}://' for known in remote.SCHEMES)}"
            )
        text = f"{scheme}:{rest}"
        try:
            parts = urlsplit(text)
            _ = parts.port  # a / in a password makes it one
        except ValueError:
            raise ConfigError(f"{scheme}://: not an address; expected {scheme}://HOST/FOLDER") from None
        in_path = "@#" if scheme.startswith("http") else "#" if scheme == "file" else ""  # of the others, S3 has both
        if "@" in parts.netloc or any(sign in rest for sign in f"?{in_path}"):
            raise ConfigError(
                f"{scheme}://: the address holds a password, a signature, or a sign of ? # @; expected a plain "
                "folder: give credentials through the environment"
            )
        if scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise ConfigError(f"file://{parts.netloc}: a file of another machine; expected file:///FOLDER")
            return cls(unquote(parts.path), Path(unquote(parts.path)))
        return cls(text.rstrip("/"), None)

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """Its last part: the name of the set."""
        return self.path.name if self.path is not None else self.address.rpartition("/")[2]

    def where(self, file: str) -> str:
        """Path or address of a file of the folder, for messages."""
        return str(self.path / file) if self.path is not None else f"{self.address}/{file}"

    def read(self, file: str) -> bytes:
        """The content of a small file.

        Raises:
            DataError: absent or unreadable.
        """
        if self.path is None:
            return remote.read(self.where(file))
        try:
            return (self.path / file).read_bytes()
        except FileNotFoundError:
            raise DataError(f"{self.where(file)}: no such file") from None
        except OSError as error:
            raise self._unreadable(file, error) from None

    def read_json(self, file: str) -> Any:
        """The value of a small JSON file.

        Raises:
            DataError: absent, or not strict JSON.
        """
        return parse_json(self.read(file), self.where(file))

    def verified(self, file: str, sha256: str, size: int | None = None) -> Path:
        """A file of the folder on this machine, of exactly that content; a remote one lies in the cache.

        A process reads each file once to verify it, and again if it has changed.

        Raises:
            DataError: absent, unreadable, or of another size or content; the message names it.
        """
        if self.path is None:
            return self._cached(file, sha256, size)
        where, path = self.where(file), self._listed(self.path / file)
        if size is not None and (n_bytes := path.stat().st_size) != size:
            raise DataError(f"{where}: {n_bytes} bytes, {MANIFEST} says {size}; {REMEDY}")
        try:
            content = digest(path)
        except OSError as error:
            raise self._unreadable(file, error) from None
        self._require(file, content, sha256)
        return path

    def verified_content(self, file: str, sha256: str, size: int | None = None) -> bytes:
        """What a small file of the folder holds: the very bytes that were compared.

        Raises:
            DataError: as `verified`.
        """
        if self.path is not None:
            self._listed(self.path / file)
            content = self.read(file)
            self._require(file, hashlib.sha256(content).hexdigest(), sha256)
            return content
        for _ in range(TRIES):
            with suppress(FileNotFoundError):  # another process has made room in the cache
                content = self._cached(file, sha256, size).read_bytes()
                if hashlib.sha256(content).hexdigest() == sha256:
                    return content
        raise DataError(
            f"{self.where(file)}: changes, or leaves the cache, before it can be read; raise NEUROLEON_CACHE_GB"
        )

    def _cached(self, file: str, sha256: str, size: int | None) -> Path:
        where = self.where(file)
        found = Cache.of_environment().get(sha256, size, lambda target: remote.download(where, target, size))
        if found is None:
            raise DataError(f"{where}: sha256 is not {sha256[:12]} of {MANIFEST}; upload the folder again")
        return found

    @staticmethod
    def _listed(path: Path) -> Path:
        if not path.is_file():
            raise DataError(f"{path}: missing, though {MANIFEST} lists it; copy the folder again or prepare it again")
        return path

    def _unreadable(self, file: str, error: OSError) -> DataError:
        return DataError(f"{self.where(file)}: cannot be read ({error.strerror}); mend the disk or its rights")

    def _require(self, file: str, found: str, sha256: str) -> None:
        if found != sha256:
            raise DataError(f"{self.where(file)}: sha256 is {found[:12]}, {MANIFEST} says {sha256[:12]}; {REMEDY}")
