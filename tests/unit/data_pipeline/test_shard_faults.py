"""25 faults of a folder of 100 samples: each is an error that names the file, and none gives fewer samples or others.

The faults are those that webdataset 1.0.2 was measured with (five of them it reads as 50 or 51 samples without an
error), and what a hostile folder may hold. Where a fault needs no manifest of ours, it goes through `prepare.py index`.
"""

import gzip
import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroleon.common.errors import DataError
from neuroleon.common.pictures import MAX_PIXELS
from neuroleon.data_pipeline.import_shards import index_shards
from neuroleon.data_pipeline.shards import ShardReader, index_path, shard_path, write_manifest, write_shard
from neuroleon.data_pipeline.tar_members import scan

pytestmark = pytest.mark.faults

KEY = "0-0025"  # a sample in the middle of the first shard


@dataclass
class Fault:
    """`make` damages a folder in place; `names` is the file that the error must name."""

    make: Callable[[Path], object]
    names: str = "train-000000.tar"
    by_index: bool = False  # through `prepare.py index`, which has no manifest to compare with
    structural: bool = False  # the tar alone shows it; the other damage only the hash of the intact file


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two shards of 50 samples; each file's content."""
    folder = tmp_path_factory.mktemp("intact")
    for number in range(2):
        records = [
            {"__key__": f"{number}-{i:04d}", "npy": np.full((2, 60), i, np.float32), "json": {"i": i}}
            for i in range(50)
        ]
        write_shard(shard_path(folder, "train", number), records, ("npy", "json"))
    write_manifest(folder, name="toy")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everything(folder: Path) -> list[tuple[str, int]]:
    """All samples, every member decoded."""
    read = [{name: record[name] for name in record} for record in ShardReader(folder, "train")]
    return [(record["__key__"], record["json"]["i"]) for record in read]


def everything_by_index(folder: Path) -> list[tuple[str, int]]:
    for path in folder.glob("*.json"):
        path.unlink()
    index_shards(folder, {"train": ["*.tar"]})
    return everything(folder)


def places(folder: Path) -> dict[str, list[int]]:
    return dict(scan(folder / "train-000000.tar"))[KEY]


def cut(at: Callable[[dict[str, list[int]]], int]) -> Callable[[Path], None]:
    """Cut the first shard at a byte that depends on where the members of a sample lie (.json, then .npy)."""

    def make(folder: Path) -> None:
        length = at(places(folder))
        with (folder / "train-000000.tar").open("rb+") as file:
            file.truncate(length)

    return make


def patch(at: Callable[[dict[str, list[int]]], int], content: bytes) -> Callable[[Path], None]:
    """Overwrite bytes of the first shard; its length stays."""

    def make(folder: Path) -> None:
        offset = at(places(folder))
        with (folder / "train-000000.tar").open("rb+") as file:
            file.seek(offset)
            file.write(content)

    return make


def replaced(content: Callable[[bytes], bytes], name: str = "train-000000.tar") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content((folder / name).read_bytes()))


def tar_of(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            content = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("b.json")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def written(*members: tuple[str, bytes] | tarfile.TarInfo) -> Callable[[Path], None]:
    """A folder with one shard of a whole sample and then these members, for `prepare.py index`."""

    def make(folder: Path) -> None:
        (folder / "train-000001.tar").unlink()
        good = [("a.json", b'{"i": 0}'), ("a.npy", npy(np.zeros(3)))]
        (folder / "train-000000.tar").write_bytes(tar_of(*good, *members))

    return make


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def npy_header(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def png_bomb() -> bytes:
    side = int(MAX_PIXELS**0.5) + 1
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def huge() -> bytes:
    """A header that claims 8 GiB, and no such content."""
    info = tarfile.TarInfo("b.npy")
    info.size = 8 * 2**30
    return info.tobuf() + bytes(1024)


class Evil:
    def __reduce__(self) -> tuple:
        return Path("canary").touch, ()


def edit(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return make


def swap(folder: Path) -> None:
    first, second = folder / "train-000000.tar", folder / "train-000001.tar"
    first.rename(folder / "aside"), second.rename(first), (folder / "aside").rename(second)


def fewer(manifest: dict) -> None:
    manifest["shards"]["train-000000.tar"]["n_samples"] = 49
    manifest["n_samples"]["train"] = 99


JSON = b'{"i": 1}'
INDEX = "train-000000.index.json"
FAULTS = {
    "cut inside a member": Fault(cut(lambda p: p["npy"][0] + 100), structural=True),
    "cut at a member": Fault(cut(lambda p: p["json"][0] - 512), structural=True),
    "cut between npy and json": Fault(cut(lambda p: p["npy"][0] - 512), structural=True),
    "cut in a header": Fault(cut(lambda p: p["json"][0] - 300), structural=True),
    "bad header checksum": Fault(patch(lambda p: p["json"][0] - 512 + 148, b"999999\0 "), structural=True),
    "zeroed block": Fault(patch(lambda p: p["json"][0] - 512, bytes(512)), structural=True),
    "flipped bit in a header": Fault(patch(lambda p: p["json"][0] - 512 + 5, b"\x31"), structural=True),
    "flipped bit in data": Fault(patch(lambda p: p["npy"][0] + 140, b"\x55")),
    "zero bytes": Fault(replaced(lambda content: b""), structural=True),
    "random bytes": Fault(replaced(lambda content: np.random.default_rng(0).bytes(len(content))), structural=True),
    "empty tar": Fault(replaced(lambda content: tar_of()), structural=True),
    "missing member": Fault(written(("b.json", JSON)), by_index=True),
    "duplicate member": Fault(written(("b.json", JSON), ("b.npy", npy(np.zeros(3))), ("b.json", JSON)), by_index=True),
    "members apart": Fault(written(("b.json", JSON), ("c.json", JSON), ("b.npy", npy(np.zeros(3)))), by_index=True),
    "a way out of the folder": Fault(written(("../../x.json", JSON)), by_index=True),
    "an absolute name": Fault(written(("/tmp/x.json", JSON)), by_index=True),
    "symlink": Fault(written(special(tarfile.SYMTYPE)), by_index=True),
    "hardlink": Fault(written(special(tarfile.LNKTYPE)), by_index=True),
    "fifo": Fault(written(special(tarfile.FIFOTYPE)), by_index=True),
    "8 GiB claimed": Fault(replaced(lambda content: huge()), by_index=True),
    "gzip bomb": Fault(replaced(lambda content: gzip.compress(tar_of(("b.npy", bytes(2**25))))), by_index=True),
    "pickle": Fault(written(("b.pkl", pickle.dumps(Evil()))), by_index=True),
    "npy of objects": Fault(
        written(("b.json", JSON), ("b.npy", npy(np.array([Evil()]), allow_pickle=True))), by_index=True
    ),
    "npy of 10^12 numbers": Fault(written(("b.json", JSON), ("b.npy", npy_header("(1000000000000,)"))), by_index=True),
    "png bomb": Fault(
        lambda folder: (
            (folder / "train-000001.tar").unlink(),
            (folder / "train-000000.tar").write_bytes(tar_of(("a.json", JSON), ("a.png", png_bomb()))),
        ),
        by_index=True,
    ),
    "index missing": Fault(lambda folder: (folder / INDEX).unlink(), INDEX),
    "index edited": Fault(edit(INDEX, lambda index: index["members"].pop()), INDEX),
    "index of another shard": Fault(
        lambda folder: (folder / INDEX).write_bytes((folder / "train-000001.index.json").read_bytes()), INDEX
    ),
    "manifest: a shard taken out": Fault(edit("manifest.json", lambda m: m["shards"].popitem()), "manifest.json"),
    "manifest: fewer samples": Fault(
        edit("manifest.json", fewer),
        INDEX,
    ),
    "manifest: another hash": Fault(
        edit("manifest.json", lambda m: m["shards"]["train-000000.tar"].update(sha256="0" * 64)),
    ),
    "manifest cut": Fault(replaced(lambda content: content[:-100], "manifest.json"), "manifest.json"),
    "shard missing": Fault(lambda folder: (folder / "train-000001.tar").unlink(), "train-000001.tar"),
    "shards swapped": Fault(swap),
}  # fmt: skip


def made(folder: Path, content: dict[str, bytes], fault: Fault | None = None) -> Path:
    for name, data in content.items():
        (folder / name).write_bytes(data)
    if fault:
        fault.make(folder)
    return folder


def test_the_intact_folder_reads_both_ways(intact: dict[str, bytes], tmp_path: Path) -> None:
    """Without this, a test of faults could pass because nothing is ever read."""
    expected = [(f"{number}-{i:04d}", i) for number in range(2) for i in range(50)]
    assert everything(made(tmp_path, intact)) == expected
    assert everything_by_index(tmp_path) == expected


def test_every_fault_is_another_one(intact: dict[str, bytes], tmp_path: Path) -> None:
    assert len(FAULTS) >= 25
    seen = []
    for name, fault in FAULTS.items():
        (tmp_path / name.replace(" ", "_")).mkdir()
        folder = made(tmp_path / name.replace(" ", "_"), intact, fault)
        seen.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert seen[-1] != intact, f"{name}: the folder is still intact"
    assert len({str(sorted(files.items())) for files in seen}) == len(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_is_silent(intact: dict[str, bytes], tmp_path: Path, name: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a canary would appear
    fault = FAULTS[name]
    (tmp_path / "set").mkdir()
    folder = made(tmp_path / "set", intact, fault)
    read = everything_by_index if fault.by_index else everything
    with pytest.raises(DataError, match=re.escape(str(folder / fault.names))):
        read(folder)
    assert not (tmp_path / "canary").exists()


def test_what_tarfile_does_not_see_is_found_without_a_manifest_too(intact: dict[str, bytes], tmp_path: Path) -> None:
    """`prepare.py index` of a damaged shard: all that the structure of a tar can show."""
    structural = {name: fault for name, fault in FAULTS.items() if fault.structural}
    assert len(structural) == 10
    for name, fault in structural.items():
        (tmp_path / name.replace(" ", "_")).mkdir()
        folder = made(tmp_path / name.replace(" ", "_"), intact, fault)
        with pytest.raises(DataError, match=re.escape(str(folder / "train-000000.tar"))):
            everything_by_index(folder)
    assert index_path(folder / "a.tar") == folder / "a.index.json"
