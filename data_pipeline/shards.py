"""Shards: WebDataset tars, each with an index, and one manifest per folder; written whole or not at all, read verified.

    train-000000.tar            members KEY.npy, KEY.json, KEY.png ...: any tar or webdataset reader can read it
    train-000000.index.json     where each member lies, and the tar's size and sha256
    manifest.json               the shards of the folder and the facts of the data set

webdataset alone reads five kinds of damage without an error (cut at a member, cut inside a sample, bad header, zeroed
block, flipped bit); here size and sha256 are compared when a folder is opened.
"""

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.common.files import MANIFEST, read_json, sha256_file, sha256_json, write_json
from neuroleon.data_pipeline.members import MAX_MEMBER_BYTES, SUFFIXES, decode, encode
from neuroleon.data_pipeline.splits import SPLITS

FORMAT = 1
_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")  # no dot: webdataset ends the key there; no slash: a key is no path
_SHARD = re.compile(rf"({'|'.join(SPLITS)})-\d{{6}}\.tar")


def shard_path(folder: Path, split: str, number: int) -> Path:
    """The name of a shard, `train-000000.tar`."""
    return folder / f"{split}-{number:06d}.tar"


def index_path(shard: Path) -> Path:
    """The index beside a shard."""
    return shard.with_suffix(".index.json")


def write_shard(
    path: Path, records: Iterable[Mapping[str, Any]], required: Iterable[str] = ("json",)
) -> dict[str, Any]:
    """Write records, each `{"__key__": str, suffix: value, ...}`, as one shard and its index.

    The bytes depend on the records alone. Neither file appears under its name before it is complete.

    Args:
        required: suffixes that every record must have.

    Returns:
        The index: `{"format", "shard", "n_samples", "bytes", "sha256", "required", "members"}`.

    Raises:
        DataError: a key is unfit or comes twice, or a member is missing, too large, or of an unknown kind.
    """
    from webdataset.writer import TarWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    required = tuple(required)
    with _published(path) as temporary:
        with temporary.open("wb") as file, TarWriter(file, encoder=False, mtime=0, user="", group="") as tar:
            for record in _checked(records, required, path.name):
                tar.write(record)
        members = _members(temporary)
        index = {
            "format": FORMAT,
            "shard": path.name,
            "bytes": temporary.stat().st_size,
            "sha256": sha256_file(temporary),
            "required": list(required),
            "n_samples": len(members),
            "members": members,
        }
    write_json(index_path(path), index)
    return index


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that is flushed and renamed to it when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _checked(records: Iterable[Mapping[str, Any]], required: tuple[str, ...], name: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for record in records:
        key = record["__key__"]
        if not _KEY.fullmatch(key) or key in seen:
            raise DataError(f"{name}: key {key!r} comes twice or is not made of 1-80 letters, digits, - and _")
        seen.add(key)
        encoded = {suffix: encode(suffix, value) for suffix, value in record.items() if suffix != "__key__"}
        if missing := [suffix for suffix in required if suffix not in encoded]:
            raise DataError(f"{name}: sample {key} has no .{missing[0]}; every sample of this shard must have one")
        if large := [suffix for suffix, content in encoded.items() if len(content) > MAX_MEMBER_BYTES]:
            raise DataError(f"{name}: {key}.{large[0]} is larger than {MAX_MEMBER_BYTES} bytes; cut shorter windows")
        yield {"__key__": key, **encoded}


def _members(path: Path) -> list[list[Any]]:
    """[[key, {suffix: [offset, size]}], ...] in the order of the tar, read back from the file itself."""
    members: dict[str, dict[str, list[int]]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            members.setdefault(key, {})[suffix] = [member.offset_data, member.size]
    return [[key, places] for key, places in members.items()]


def write_manifest(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write `manifest.json` from the indexes that lie in `folder`, with the data set's `facts` beside them."""
    indexes = sorted(folder.glob("*.index.json"))
    shards = {}
    for path in indexes:
        index = read_json(path)
        entry = {name: index[name] for name in ("n_samples", "bytes", "sha256", "required")}
        shards[index["shard"]] = {**entry, "index_sha256": sha256_file(path)}
    samples: Counter[str] = Counter()
    for name, entry in shards.items():
        samples[name.partition("-")[0]] += entry["n_samples"]
    manifest = {"format": FORMAT, **facts, "n_samples": dict(samples), "shards": shards}
    write_json(folder / MANIFEST, manifest)
    return manifest


_verified: dict[Path, tuple[int, int, str]] = {}  # mtime, size and sha256 of the files already read by this process


def _digest(path: Path) -> str:
    """sha256 of a file, computed again only when its size or time of change differ."""
    stat = path.stat()
    known = _verified.get(path.resolve())
    if known is None or known[:2] != (stat.st_mtime_ns, stat.st_size):
        known = _verified[path.resolve()] = (stat.st_mtime_ns, stat.st_size, sha256_file(path))
    return known[2]


class Record(Mapping[str, Any]):
    """One sample: `record["json"]`, `record["npy"]`, `record["png"]` ..., each decoded when it is first asked for.

    `record["__key__"]` is its key. Arrays come as numpy arrays, pictures as uint8 (height, width, 3).
    """

    def __init__(self, key: str, contents: dict[str, bytes], shard: Path) -> None:
        self._contents = contents
        self._values: dict[str, Any] = {"__key__": key}
        self._shard = shard

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            where = f"{self._shard}: {self._values['__key__']}.{name}"
            self._values[name] = decode(name, self._contents[name], where)
        return self._values[name]

    def __contains__(self, name: object) -> bool:  # Mapping's own would decode the member
        return name == "__key__" or name in self._contents

    def __iter__(self) -> Iterator[str]:
        return iter(("__key__", *self._contents))

    def __len__(self) -> int:
        return 1 + len(self._contents)


@dataclass(frozen=True)
class _Entry:
    shard: Path
    key: str
    places: dict[str, list[int]]


class ShardReader:
    """Random access to the samples of one split: `reader[i]` is the same sample on every machine.

    Args:
        folder: holds `manifest.json` and the shards.
        split: `train`, `validation` or `test`; a split without shards has length 0.

    Raises:
        DataError: a shard or index is missing, damaged, or not the one of the manifest; the message names it.
    """

    def __init__(self, folder: Path, split: str) -> None:
        if split not in SPLITS:
            raise DataError(f"{folder}: split {split!r} was asked for; there are {', '.join(SPLITS)}")
        if not (folder / MANIFEST).is_file():
            raise DataError(f"{folder}: no {MANIFEST}; give a folder that prepare.py has finished")
        self.manifest = read_json(folder / MANIFEST)
        if self.manifest.get("format") != FORMAT:
            found = self.manifest.get("format")
            raise DataError(f"{folder / MANIFEST}: shard format {found}, this version reads {FORMAT}; prepare it again")
        shards = {name: entry for name, entry in self.manifest["shards"].items() if name.startswith(f"{split}-")}
        self._entries = [e for name in sorted(shards) for e in _verified_entries(folder, name, shards[name])]
        self.fingerprint = sha256_json({name: entry["sha256"] for name, entry in shards.items()})

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, i: int) -> Record:
        entry = self._entries[i]
        contents = {}
        with entry.shard.open("rb") as file:
            for suffix, (offset, size) in entry.places.items():
                file.seek(offset)
                contents[suffix] = file.read(size)
                if len(contents[suffix]) != size:
                    raise DataError(
                        f"{entry.shard}: ended inside {entry.key}.{suffix}; the file changed while it was open"
                    )
        return Record(entry.key, contents, entry.shard)

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))


def _verified_entries(folder: Path, name: str, entry: dict[str, Any]) -> list[_Entry]:
    path = folder / name
    if not _SHARD.fullmatch(name):
        raise DataError(f"{folder / MANIFEST}: {name!r} is no name of a shard, such as train-000000.tar")
    for file in (path, index_path(path)):
        if not file.is_file():
            raise DataError(f"{file}: missing, though {MANIFEST} lists it; copy the folder again or prepare it again")
    if path.stat().st_size != entry["bytes"]:
        raise DataError(f"{path}: {path.stat().st_size} bytes, {MANIFEST} says {entry['bytes']}; {_REMEDY}")
    for file, expected in ((path, entry["sha256"]), (index_path(path), entry["index_sha256"])):
        if (found := _digest(file)) != expected:
            raise DataError(f"{file}: sha256 is {found[:12]}, {MANIFEST} says {expected[:12]}; {_REMEDY}")
    members = read_json(index_path(path))["members"]
    for key, places in members:
        _check_places(path, key, places, entry)
    if len(members) != entry["n_samples"]:
        raise DataError(f"{index_path(path)}: {len(members)} samples, {MANIFEST} says {entry['n_samples']}; {_REMEDY}")
    return [_Entry(path, key, places) for key, places in members]


def _check_places(path: Path, key: str, places: dict[str, list[int]], entry: dict[str, Any]) -> None:
    """A manifest can be forged together with its index: no place may be outside the file, no kind outside the list."""
    if not _KEY.fullmatch(key) or not set(entry["required"]) <= set(places) <= set(SUFFIXES):
        raise DataError(f"{path}: sample {key[:80]!r} has members {sorted(places)}, required are {entry['required']}")
    for suffix, (offset, size) in places.items():
        if offset < 0 or not 0 <= size <= MAX_MEMBER_BYTES or offset + size > entry["bytes"]:
            raise DataError(f"{index_path(path)}: {key}.{suffix} lies outside of the shard; {_REMEDY}")


_REMEDY = "the file is damaged or was changed: copy it again or prepare it again"
