"""Pictures without EEG, from a tar: photographs with captions, or pictures sorted into classes by folder.

Options of a recipe: `archive` (the tar), `pattern` (shell pattern of the pictures inside), and one of `captions` (a
member of lines `picture<TAB>sentence`) and `classes` (a file beside the tar, lines `folder<TAB>name, other name`).
"""

import tarfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.pictures import decode_picture, enlargeable_square
from neuroleon.data_pipeline.members import MAX_MEMBER_BYTES

SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture: `name` is unique in its archive, `group` is the name of its class ("" without classes)."""

    name: str
    group: str
    pixels: np.ndarray  # uint8 (64, 64, 3), the largest square in the middle
    captions: tuple[str, ...]


class PictureTar:
    """The pictures of one archive, listed without being decoded.

    Raises:
        ConfigError: an option is missing or unknown.
        DataError: a file is absent or not what it should be.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        if unknown := sorted(set(options) - {"archive", "pattern", "captions", "classes"}):
            raise ConfigError(
                f"reader pictures: unknown option {unknown[0]}; expected archive, pattern, captions, classes"
            )
        if "archive" not in options:
            raise ConfigError("reader pictures: option archive is missing; expected the name of a .tar file")
        self.path = folder / options["archive"]
        pattern = options.get("pattern", "*")
        with self._open() as tar:
            members = [m for m in self._members(tar) if m.isreg() and fnmatchcase(m.name, pattern)]
            self._captions = _captions(tar, options["captions"], self.path) if "captions" in options else {}
        self._classes = _classes(folder / options["classes"]) if "classes" in options else {}
        self.groups = {PurePosixPath(m.name).name: self._group(m.name) for m in members}
        if len(self.groups) != len(members) or not members:
            found = "no picture" if not members else "two pictures of one name"
            raise DataError(f"{self.path}: {found} fits {pattern!r}; mend the option pattern")

    def _open(self) -> tarfile.TarFile:
        try:
            return tarfile.open(self.path, "r:")  # never compressed: a 1 MB file can unpack to 1 GB
        except FileNotFoundError:
            raise DataError(f"{self.path}: no such file") from None
        except tarfile.TarError as error:
            raise DataError(f"{self.path}: not an uncompressed tar ({error})") from None

    def _members(self, tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
        """All members; tarfile takes an archive that was cut between two of them for a shorter one."""
        try:
            members = tar.getmembers()
        except tarfile.TarError as error:
            raise DataError(f"{self.path}: the archive is damaged ({error}); fetch it again") from None
        with self.path.open("rb") as file:
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(
                    f"{self.path}: the archive is cut short or damaged at byte {tar.offset}; fetch it again"
                )
        return members

    def _group(self, member: str) -> str:
        if not self._classes:
            return ""
        folder = PurePosixPath(member).parent.name
        if folder not in self._classes:
            raise DataError(f"{self.path}: {member} lies in {folder}, which the list of classes does not name")
        return self._classes[folder]

    def read(self, names: Collection[str]) -> Iterator[Picture | DataError]:
        """The named pictures in the order of the archive; a damaged one comes as the error that names it."""
        with self._open() as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if not member.isreg() or name not in names:
                    continue
                try:
                    yield self._picture(tar, member, name)
                except DataError as error:
                    yield error

    def _picture(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Picture:
        where = f"{self.path}: {member.name}"
        if member.size > MAX_MEMBER_BYTES:
            raise DataError(f"{where}: {member.size} bytes; expected at most {MAX_MEMBER_BYTES}")
        file = tar.extractfile(member)
        assert file is not None, "only regular members are read"
        pixels = enlargeable_square(decode_picture(file.read(), where), SIZE, where)
        captions = self._captions.get(name, ())
        return Picture(name=name, group=self.groups[name], pixels=pixels, captions=tuple(captions))


def _lines(text: str, path: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        first, tab, second = line.partition("\t")
        if not tab or not second.strip():
            raise DataError(f"{path}, line {number}: {line[:60]!r}; expected two columns separated by a tab")
        yield first, " ".join(second.split())


def _captions(tar: tarfile.TarFile, member: str, path: Path) -> dict[str, list[str]]:
    try:
        file = tar.extractfile(member)
        content = file.read(MAX_MEMBER_BYTES).decode() if file else ""
    except (KeyError, UnicodeDecodeError):
        content = ""
    if not content:
        raise DataError(f"{path}: {member} is absent, empty or not UTF-8 text; mend the option captions")
    captions = defaultdict(list)
    for name, caption in _lines(content, f"{path}: {member}"):
        captions[name].append(caption.removesuffix(".").rstrip() + ".")
    return dict(captions)


def _classes(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; mend the option classes")
    return {folder: names.split(",")[0].strip() for folder, names in _lines(path.read_text(), str(path))}
