"""Where the members of a shard lie, read from the tar itself and strictly: what tarfile and webdataset pass over is an
error here, for it would be samples that are lost without a word.
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.members import MAX_MEMBER_BYTES, SUFFIXES

# As in webdataset, a key goes to the first dot of the file's name. No part begins with a dot: a key is no way out.
KEY = re.compile(r"(?=.{1,200}\Z)([A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-]+")
_BLOCK = 512
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}

Places = dict[str, list[int]]  # suffix -> [offset, size]


def scan(path: Path) -> Iterator[tuple[str, Places]]:
    """(key, places of its members) of every sample of an uncompressed tar, in its order.

    Raises:
        DataError: cut, damaged or compressed; a link, a device, or a file of an unknown kind or with an unfit name; a
            member that comes twice or apart from the others of its sample.
    """
    seen: set[str] = set()
    key, places = "", Places()
    for name, offset, size in _files(path):
        its_key, suffix = _split(path, name)
        if its_key != key:
            if places:
                yield key, places
            if its_key in seen:
                raise DataError(
                    f"{path}: member {name} lies apart from the others of its sample; write the members of a sample "
                    "one after the other (tar --sort=name)"
                )
            seen.add(its_key)
            key, places = its_key, {}
        if suffix in places:
            raise DataError(f"{path}: member {name} comes twice; write the shard again with one of them")
        if size > MAX_MEMBER_BYTES:
            raise DataError(
                f"{path}: member {name} has {size} bytes, at most {MAX_MEMBER_BYTES} are read; make it smaller"
            )
        places[suffix] = [offset, size]
    if places:
        yield key, places


def _split(path: Path, name: str) -> tuple[str, str]:
    """(key, suffix) of a member's name; messages show no more of a name than is known to be harmless."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, suffix = file.partition(".")
    key, suffix = folder + slash + stem, suffix.lower()
    if not KEY.fullmatch(key):
        raise DataError(
            f"{path}: member {name[:80]!r} has an unfit name; expected KEY.SUFFIX, where a key is made of letters, "
            "digits, - and _, and has / between its parts"
        )
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: member {name[:80]!r}: only .{', .'.join(SUFFIXES)} are read; leave it out of the shard"
        )
    return key, suffix


def _files(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of every file; what follows the last one must be the end of a tar and nothing else."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            for magic, kind in _COMPRESSED.items():
                if head.startswith(magic):
                    raise DataError(f"{path}: compressed with {kind}, a shard is a plain tar; decompress it")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse() or member.size < 0:
                        raise DataError(
                            f"{path}: member {member.name[:80]!r} is a link, a device or sparse; only plain "
                            "files are read"
                        )
                    yield member.name, member.offset_data, member.size
                _require_end(path, file, tar.offset)
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        raise DataError(f"{path}: not a whole tar ({error}); copy it again or write it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _require_end(path: Path, file: BinaryIO, offset: int) -> None:
    """tarfile takes a damaged header, a block of zeros and a cut between members for the end of the archive."""
    size = path.stat().st_size
    start = min(offset, size) // _BLOCK * _BLOCK
    file.seek(start)
    n_zeros = 0
    while content := file.read(1 << 20):
        if content.count(0) != len(content):
            raise DataError(
                f"{path}: no readable header at byte {start}, but more data after it; copy or write it again"
            )
        n_zeros += len(content)
    if n_zeros < 2 * _BLOCK:
        raise DataError(f"{path}: {size} bytes, and no end of archive; it was cut: copy or write it again")
