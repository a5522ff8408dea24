"""What a manifest says of each shard, and where the members of one shard lie: checked, and small in memory."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.files import MANIFEST, parse_json
from neuroleon.data_pipeline.cache import Stamp, digested
from neuroleon.data_pipeline.members import MAX_MEMBER_BYTES, SUFFIXES
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.data_pipeline.storage import REMEDY, Folder
from neuroleon.data_pipeline.tar_members import KEY

FORMAT = 2  # 1 had the split in the names of shards alone, and no / in keys
READ = (1, FORMAT)
NAME = re.compile(r"(?=.{1,200}\Z)([A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"n_samples": int, "bytes": int, "sha256": str, "required": list, "index_sha256": str}


def index_name(shard: str) -> str:
    """The name of the index beside a shard."""
    return shard.removesuffix(".tar") + ".index.json"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard of a manifest."""

    folder: Folder
    name: str
    split: str
    n_samples: int
    n_bytes: int
    sha256: str
    index_sha256: str
    index_bytes: int | None  # manifests of before have none
    required: frozenset[str]

    @property
    def where(self) -> str:
        """Path or address, for messages."""
        return self.folder.where(self.name)

    def require_files(self) -> None:
        """Look whether the shard and its index are there, without reading them; behind an address it does nothing.

        Raises:
            DataError: one is missing, or the shard has another size.
        """
        if self.folder.path is None:
            return
        for name in (self.name, index_name(self.name)):
            if not (self.folder.path / name).is_file():
                raise DataError(
                    f"{self.folder.where(name)}: missing, though {MANIFEST} lists it; copy the folder again or prepare "
                    "it again"
                )
        if (found := (self.folder.path / self.name).stat().st_size) != self.n_bytes:
            raise DataError(f"{self.where}: {found} bytes, {MANIFEST} says {self.n_bytes}; {REMEDY}")

    def path(self) -> Path:
        """The tar on this machine, verified."""
        return self.folder.verified(self.name, self.sha256, self.n_bytes)

    def table(self, path: Path) -> "Table":
        """Where its members lie, from the verified index; `path` is the verified tar.

        Raises:
            DataError: the index is not that of the manifest, or does not fit the shard.
        """
        index = index_name(self.name)
        where = self.folder.where(index)
        try:
            members = parse_json(self.folder.verified_content(index, self.index_sha256, self.index_bytes), where)[
                "members"
            ]
            for key, places in members:
                self._check(key, places)
            made = Table.of(members, path)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise DataError(f"{where}: not an index of a shard; {REMEDY}") from None
        if len(made.keys) != self.n_samples:
            raise DataError(f"{where}: {len(made.keys)} samples, {MANIFEST} says {self.n_samples}; {REMEDY}")
        return made

    def _check(self, key: str, places: dict[str, list[int]]) -> None:
        """A manifest can be forged together with its index: no place outside the file, no kind outside the list."""
        if not KEY.fullmatch(key) or not self.required <= set(places) <= set(SUFFIXES):
            raise DataError(
                f"{self.where}: sample {key[:80]!r} has members {sorted(places)}, required are {sorted(self.required)}"
            )
        for suffix, (offset, size) in places.items():
            if offset < 0 or not 0 <= size <= MAX_MEMBER_BYTES or offset + size > self.n_bytes:
                raise DataError(
                    f"{self.folder.where(index_name(self.name))}: {key}.{suffix} lies outside of the shard; {REMEDY}"
                )


@dataclass(frozen=True)
class Table:
    """Where the members of one shard lie: about 15 bytes a member and the keys.

    `keys` (n_samples,) bytes; the members of sample i are `starts[i]` .. `starts[i + 1] - 1` of `suffixes` (number in
    `SUFFIXES`), `offsets` and `sizes`. `path` is the tar, and `stamp` tells whether it is still the same file.
    """

    keys: np.ndarray
    starts: np.ndarray
    suffixes: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    path: Path
    stamp: Stamp

    @classmethod
    def of(cls, members: list[tuple[str, dict[str, list[int]]]], path: Path) -> "Table":
        """From the members of an index, and the tar on this machine."""
        rows = [(SUFFIXES.index(s), offset, size) for _, places in members for s, (offset, size) in places.items()]
        columns = np.array(rows, np.int64).reshape(len(rows), 3)
        return cls(
            keys=np.array([key.encode() for key, _ in members], np.bytes_),
            starts=np.cumsum([0, *(len(places) for _, places in members)]),
            suffixes=columns[:, 0].astype(np.uint8),
            offsets=columns[:, 1].copy(),
            sizes=columns[:, 2].astype(np.int32),
            path=path,
            stamp=digested(path),
        )

    def places(self, i: int) -> tuple[str, Iterator[tuple[str, int, int]]]:
        """Key of sample i, and (suffix, offset, size) of its members."""
        run = slice(self.starts[i], self.starts[i + 1])
        found = zip(self.suffixes[run].tolist(), self.offsets[run].tolist(), self.sizes[run].tolist(), strict=True)
        return self.keys[i].decode(), ((SUFFIXES[number], offset, size) for number, offset, size in found)


def read_manifest(folder: Folder) -> dict[str, Any]:
    """The manifest of a folder.

    Raises:
        DataError: there is none, or it is of another format.
    """
    if folder.path is not None and not (folder.path / MANIFEST).is_file():
        raise DataError(f"{folder}: no {MANIFEST}; give a folder that prepare.py has finished")
    manifest = folder.read_json(MANIFEST)
    where = folder.where(MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") not in READ:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise DataError(f"{where}: shard format {found}, this version reads {READ[0]} and {READ[1]}; prepare it again")
    if not isinstance(manifest.get("shards"), dict) or not isinstance(manifest.get("n_samples"), dict):
        raise DataError(f"{where}: no shards and n_samples in it; {REMEDY}")
    return manifest


def shards_of(folder: Folder, manifest: Mapping[str, Any]) -> list[Shard]:
    """The shards of a manifest by name.

    Raises:
        DataError: an entry is not what it should be, or the samples of a split do not sum up to what the manifest says.
    """
    shards = [_shard(folder, name, entry, manifest["format"]) for name, entry in sorted(manifest["shards"].items())]
    for split in SPLITS:
        found, told = sum(s.n_samples for s in shards if s.split == split), manifest["n_samples"].get(split, 0)
        if found != told:
            raise DataError(f"{folder.where(MANIFEST)}: {told} samples in {split}, its shards have {found}; {REMEDY}")
    return shards


def _shard(folder: Folder, name: str, entry: Any, format: int) -> Shard:
    where = f"{folder.where(MANIFEST)}: {name[:80]!r}"
    if not NAME.fullmatch(name):
        raise DataError(f"{where} is no name of a shard, such as train-000000.tar; {REMEDY}")
    if not isinstance(entry, dict) or any(type(entry.get(field)) is not kind for field, kind in _FIELDS.items()):
        raise DataError(f"{where}: expected {', '.join(_FIELDS)}; {REMEDY}")
    split = entry.get("split") if format > 1 else name.partition("-")[0]
    hashes = (entry["sha256"], entry["index_sha256"])
    counts = (entry["n_samples"], entry["bytes"], entry.get("index_bytes", 0))
    if split not in SPLITS or type(counts[2]) is not int or min(counts) < 0 or not all(map(_SHA256.fullmatch, hashes)):
        raise DataError(
            f"{where}: split, n_samples, bytes, sha256, index_sha256 or index_bytes is impossible; {REMEDY}"
        )
    return Shard(
        folder=folder,
        name=name,
        split=split,
        n_samples=entry["n_samples"],
        n_bytes=entry["bytes"],
        sha256=entry["sha256"],
        index_sha256=entry["index_sha256"],
        index_bytes=entry.get("index_bytes"),
        required=frozenset(map(str, entry["required"])),
    )
