"""Shards: WebDataset tars, each with an index, and one manifest per folder; written whole or not at all, read verified.

    train-000000.tar            members KEY.npy, KEY.json, KEY.png ...: any tar or webdataset reader can read it
    train-000000.index.json     where each member lies, and the tar's size and sha256
    manifest.json               the shards of the folder and the facts of the data set

webdataset alone reads five kinds of damage without an error (cut at a member, cut inside a sample, bad header, zeroed
block, flipped bit); here size and sha256 of a shard are compared before the first of its samples is given out.
"""

import os
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from neuroleon.common.errors import DataError
from neuroleon.common.files import MANIFEST, read_json, sha256_file, sha256_json, write_json
from neuroleon.data_pipeline.cache import stamp
from neuroleon.data_pipeline.members import MAX_MEMBER_BYTES, Record, encode
from neuroleon.data_pipeline.shard_table import FORMAT, Table, index_name, read_manifest, shards_of
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.data_pipeline.storage import TRIES, Folder, Location
from neuroleon.data_pipeline.tar_members import KEY, scan

TABLES = 64  # shards of which a reader remembers where the members lie; more than a window of `order.ShardOrder`


def shard_path(folder: Path, split: str, number: int) -> Path:
    """The name of a shard, `train-000000.tar`."""
    return folder / f"{split}-{number:06d}.tar"


def index_path(shard: Path) -> Path:
    """The index beside a shard."""
    return shard.with_name(index_name(shard.name))


def write_shard(
    path: Path, records: Iterable[Mapping[str, Any]], required: Iterable[str] = ("json",), split: str | None = None
) -> dict[str, Any]:
    """Write records, each `{"__key__": str, suffix: value, ...}`, as one shard and its index.

    The bytes depend on the records alone. Neither file appears under its name before it is complete.

    Args:
        required: suffixes that every record must have.
        split: the split it belongs to; without one, what the name begins with.

    Returns:
        The index: `{"format", "shard", "split", "n_samples", "bytes", "sha256", "required", "members"}`.

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
        index = make_index(temporary, path.name, split or path.name.partition("-")[0], required)
    write_json(index_path(path), index)
    return index


def make_index(tar: Path, name: str, split: str, required: tuple[str, ...]) -> dict[str, Any]:
    """The index of a tar, read back from the file itself: what `write_shard` returns.

    Raises:
        DataError: as `tar_members.scan`.
    """
    members = [[key, places] for key, places in scan(tar)]
    return {
        "format": FORMAT,
        "shard": name,
        "split": split,
        "bytes": tar.stat().st_size,
        "sha256": sha256_file(tar),
        "required": list(required),
        "n_samples": len(members),
        "members": members,
    }


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
        if not KEY.fullmatch(key) or key in seen:
            raise DataError(
                f"{name}: key {key!r} comes twice or is not made of letters, digits, - and _, and / between"
            )
        seen.add(key)
        encoded = {suffix: encode(suffix, value) for suffix, value in record.items() if suffix != "__key__"}
        if missing := [suffix for suffix in required if suffix not in encoded]:
            raise DataError(f"{name}: sample {key} has no .{missing[0]}; every sample of this shard must have one")
        if large := [suffix for suffix, content in encoded.items() if len(content) > MAX_MEMBER_BYTES]:
            raise DataError(f"{name}: {key}.{large[0]} is larger than {MAX_MEMBER_BYTES} bytes; cut shorter windows")
        yield {"__key__": key, **encoded}


def write_manifest(folder: Path, indexes: Iterable[Path] | None = None, /, **facts: Any) -> dict[str, Any]:
    """Write `manifest.json` from `indexes`, or all that lie in `folder`, with the data set's `facts` beside them."""
    shards = {}
    for path in sorted(folder.glob("*.index.json") if indexes is None else indexes):
        index = read_json(path)
        name = path.relative_to(folder).as_posix().removesuffix(".index.json") + ".tar"
        entry = {field: index[field] for field in ("n_samples", "bytes", "sha256", "required")}
        split = index.get("split", name.partition("-")[0])  # format 1 had it in the name alone
        shards[name] = {"split": split, **entry, "index_sha256": sha256_file(path), "index_bytes": path.stat().st_size}
    samples: Counter[str] = Counter()
    for entry in shards.values():
        samples[entry["split"]] += entry["n_samples"]
    manifest = {"format": FORMAT, **facts, "n_samples": dict(samples), "shards": shards}
    write_json(folder / MANIFEST, manifest)
    return manifest


class ShardReader:
    """Random access to the samples of one split: `reader[i]` is the same sample on every machine.

    Opening reads the manifest and looks for the files. A shard is verified when a process first reads from it, and read
    again whenever its file has changed; it is all of its samples or an error.

    Args:
        folder: holds `manifest.json` and the shards; a path, or an address (`storage.Folder`).
        split: `train`, `validation` or `test`; a split without shards has length 0.

    Raises:
        DataError: a shard or index is missing, damaged, or not the one of the manifest; the message names it. When a
            sample is read, too.
        ConfigError: the folder is an address of a kind that is not read.
    """

    def __init__(self, folder: Location, split: str) -> None:
        if split not in SPLITS:
            raise DataError(f"{folder}: split {split!r} was asked for; there are {', '.join(SPLITS)}")
        self.folder, self.split = Folder.at(folder), split
        self.manifest = read_manifest(self.folder)
        self.shards = [shard for shard in shards_of(self.folder, self.manifest) if shard.split == split]
        for shard in self.shards:
            shard.require_files()
        self.fingerprint = sha256_json({shard.name: shard.sha256 for shard in self.shards})
        self._ends = list(accumulate(shard.n_samples for shard in self.shards))
        self._tables: OrderedDict[int, Table] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, i: int) -> Record:
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        i %= len(self)
        number = bisect_right(self._ends, i)
        shard = self.shards[number]
        file, table = self._opened(number)
        contents = {}
        with file:
            key, places = table.places(i - self._ends[number] + shard.n_samples)
            for suffix, offset, size in places:
                file.seek(offset)
                contents[suffix] = file.read(size)
                if len(contents[suffix]) != size:
                    raise DataError(f"{shard.where}: ended inside {key}.{suffix}; the file changed while it was open")
        return Record(key, contents, shard.where)

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))

    def verify(self) -> None:
        """Read every shard of the split whole.

        Raises:
            DataError: a shard is damaged; the message names the first one.
        """
        for number in range(len(self.shards)):
            self._opened(number)[0].close()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tables": OrderedDict()}  # another process verifies for itself

    def _opened(self, number: int) -> tuple[BinaryIO, Table]:
        """A shard's file and table. The file is the one that was verified, or it is verified again."""
        table = self._tables.get(number)
        if table is not None and (file := _same(table)) is not None:
            self._tables.move_to_end(number)
            return file, table
        shard = self.shards[number]
        for _ in range(TRIES):
            path = shard.path()
            # before the index, which may have to be loaded: what leaves the cache for it stays where it is open
            if (file := _open(path)) is None:
                continue
            with ExitStack() as unless_kept:
                unless_kept.callback(file.close)
                table = shard.table(path)
                if stamp(file) == table.stamp:
                    self._tables[number] = table
                    if len(self._tables) > TABLES:
                        self._tables.popitem(last=False)
                    unless_kept.pop_all()
                    return file, table
        raise DataError(
            f"{shard.where}: it changes, or leaves the cache, before it can be read; stop what writes to it, or "
            "raise NEUROLEON_CACHE_GB"
        )


def _open(path: Path) -> BinaryIO | None:
    """A file, or None if it has left a crowded cache."""
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        return None


def _same(table: Table) -> BinaryIO | None:
    """The file that a table was made for, open; None if it is another now, or has left a crowded cache."""
    file = _open(table.path)
    if file is None or stamp(file) == table.stamp:
        return file
    file.close()
    return None
