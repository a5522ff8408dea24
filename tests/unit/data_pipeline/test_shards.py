"""A shard reads back as it was written, or says which shard is wrong."""

import io
import json
import os
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from neuroleon.common.errors import DataError
from neuroleon.common.files import sha256_file
from neuroleon.common.pictures import MAX_PIXELS
from neuroleon.data_pipeline import shards, storage
from neuroleon.data_pipeline.members import decode, encode
from neuroleon.data_pipeline.shards import ShardReader, index_path, shard_path, write_manifest, write_shard

KEYS = st.text("abcXYZ019-_", min_size=1, max_size=12)
ARRAYS = npst.arrays(
    st.sampled_from([np.float16, np.int32, np.uint8]), npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
)
RECORDS = st.dictionaries(
    KEYS, st.tuples(ARRAYS, st.dictionaries(st.text(max_size=5), st.integers() | st.text())), max_size=6
)


def sample(key: str, value: int) -> dict:
    pixels = np.full((4, 4, 3), value, np.uint8)
    return {"__key__": key, "npy": np.full((2, 30), value, np.float16), "json": {"value": value}, "png": pixels}


def write(folder: Path, n: int = 20, split: str = "train", number: int = 0) -> Path:
    path = shard_path(folder, split, number)
    write_shard(path, [sample(f"{number}-{i:04d}", i) for i in range(n)], ("npy", "json"))
    write_manifest(folder, name="toy")
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS)
def test_round_trip(tmp_path: Path, records: dict) -> None:
    write_shard(
        shard_path(tmp_path, "train", 0),
        [{"__key__": key, "npy": array, "json": value} for key, (array, value) in records.items()],
    )
    write_manifest(tmp_path)
    reader = ShardReader(tmp_path, "train")
    assert [record["__key__"] for record in reader] == list(records)
    for record, (array, value) in zip(reader, records.values(), strict=True):
        assert record["npy"].dtype == array.dtype
        np.testing.assert_array_equal(record["npy"], array)
        assert record["json"] == value


def test_splits_are_apart_and_absent_ones_are_empty(tmp_path: Path) -> None:
    write(tmp_path, 3), write(tmp_path, 2, number=1), write(tmp_path, 4, "test")
    assert [len(ShardReader(tmp_path, split)) for split in ("train", "validation", "test")] == [5, 0, 4]
    assert ShardReader(tmp_path, "train")[3]["__key__"] == "1-0000"
    assert ShardReader(tmp_path, "train").fingerprint != ShardReader(tmp_path, "test").fingerprint


def test_members_are_decoded_on_demand(tmp_path: Path) -> None:
    write(tmp_path)
    record = ShardReader(tmp_path, "train")[7]
    assert "png" in record
    assert "txt" not in record
    assert set(record) == {"__key__", "npy", "json", "png"}
    assert record["png"].shape == (4, 4, 3)
    assert (record["png"] == 7).all()


def test_opening_reads_no_shard_and_reading_only_what_it_touches(tmp_path: Path, monkeypatch) -> None:
    for number in range(4):
        write(tmp_path, 5, number=number)
    touched: list[str] = []
    digest, read = storage.digest, storage.Folder.read
    monkeypatch.setattr(storage, "digest", lambda path: touched.append(path.name) or digest(path))
    monkeypatch.setattr(storage.Folder, "read", lambda folder, file: touched.append(file) or read(folder, file))
    reader = ShardReader(tmp_path, "train")
    assert len(reader) == 20 and touched == ["manifest.json"]
    assert [reader[i]["__key__"] for i in (-1, 15, 19)] == ["3-0004", "3-0000", "3-0004"]
    assert touched == ["manifest.json", "train-000003.tar", "train-000003.index.json"]
    with pytest.raises(IndexError):
        reader[20]


def test_only_a_bounded_number_of_tables_is_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shards, "TABLES", 2)
    for number in range(4):
        write(tmp_path, 2, number=number)
    reader = ShardReader(tmp_path, "train")
    assert [record["json"]["value"] for record in reader] == [0, 1] * 4
    assert list(reader._tables) == [2, 3]


def test_a_shard_that_changes_under_an_open_reader_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path)
    reader = ShardReader(tmp_path, "train")
    assert reader[3]["json"]["value"] == 3
    stat = path.stat()
    overwrite(path, 700, b"\x55")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"train-000000\.tar: sha"):
        reader[3]


def test_a_folder_of_format_1_is_read(tmp_path: Path) -> None:
    write(tmp_path, 3), write(tmp_path, 2, "test")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for entry in manifest["shards"].values():
        del entry["split"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    assert [len(ShardReader(tmp_path, split)) for split in ("train", "validation", "test")] == [3, 0, 2]
    assert ShardReader(tmp_path, "test")[1]["json"] == {"value": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))
    with pytest.raises(DataError, match="format 3, this version reads 1 and 2"):
        ShardReader(tmp_path, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["shards"].pop("train-000000.tar"), "3 samples in train, its shards have 0"),
        (lambda m: m["n_samples"].update(train=2), "2 samples in train, its shards have 3"),
        (lambda m: m["shards"]["train-000000.tar"].update(sha256="../../etc/passwd"), "impossible"),
        (lambda m: m["shards"]["train-000000.tar"].update(split="dev"), "impossible"),
        (lambda m: m["shards"]["train-000000.tar"].pop("bytes"), "expected n_samples, bytes"),
        (lambda m: m["shards"].update({"../a.tar": m["shards"]["train-000000.tar"]}), "no name of a shard"),
        (lambda m: m.pop("shards"), "no shards"),
    ],
)
def test_an_edited_manifest_is_refused_at_opening(tmp_path: Path, change, message: str) -> None:
    write(tmp_path, 3)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=message):
        ShardReader(tmp_path, "train")


def test_bytes_depend_on_the_records_alone(tmp_path: Path) -> None:
    assert sha256_file(write(tmp_path / "a")) == sha256_file(write(tmp_path / "b"))


def test_plain_webdataset_reads_it(tmp_path: Path) -> None:
    import webdataset

    path = write(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
    assert [s["__key__"] for s in samples] == [f"0-{i:04d}" for i in range(20)]
    assert json.loads(samples[3]["json"]) == {"value": 3}
    np.testing.assert_array_equal(np.load(io.BytesIO(samples[3]["npy"])), np.full((2, 30), 3, np.float16))


def cut_at_member(path: Path, places: dict) -> None:
    with path.open("rb+") as file:
        file.truncate(places["json"][0] - 512)


def cut_inside_sample(path: Path, places: dict) -> None:
    """After the .json of a sample and before its .npy: webdataset then yields half a sample."""
    with path.open("rb+") as file:
        file.truncate(places["npy"][0] - 512)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(content)


DAMAGE = {
    "cut at a member": cut_at_member,
    "cut inside a sample": cut_inside_sample,
    "bad header checksum": lambda path, places: overwrite(path, places["json"][0] - 512 + 148, b"999999\0 "),
    "zeroed block": lambda path, places: overwrite(path, places["json"][0] - 512, bytes(512)),
    "flipped bit": lambda path, places: overwrite(path, places["npy"][0] + 140, b"\x55"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_that_webdataset_does_not_see_is_an_error(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path)
    assert len(ShardReader(tmp_path, "train")) == 20
    places = dict(json.loads(index_path(path).read_text())["members"])["0-0010"]
    DAMAGE[kind](path, places)
    message = r"train-000000\.tar: \d+ bytes" if "cut" in kind else r"train-000000\.tar: sha"
    with pytest.raises(DataError, match=message):
        ShardReader(tmp_path, "train")[0]  # a sample that is not damaged itself
    with pytest.raises(DataError, match=message):
        ShardReader(tmp_path, "train").verify()


def test_a_missing_or_changed_index_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    index_path(path).write_text(index_path(path).read_text().replace("0-0010", "0-0099"))
    with pytest.raises(DataError, match="sha256"):
        ShardReader(tmp_path, "train")[0]
    index_path(path).unlink()
    with pytest.raises(DataError, match="missing"):
        ShardReader(tmp_path, "train")


def test_a_forged_index_reaches_nothing_outside_the_shard(tmp_path: Path) -> None:
    path = write(tmp_path)
    index = json.loads(index_path(path).read_text())
    index["members"][0][1]["npy"] = [index["bytes"] - 10, 20]
    index_path(path).write_text(json.dumps(index))
    write_manifest(tmp_path)
    with pytest.raises(DataError, match="outside"):
        ShardReader(tmp_path, "train")[5]


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="comes twice"):
        write_shard(shard_path(tmp_path, "train", 0), [sample("a", 1), sample("a", 2)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"__key__": "../a", "json": {}}, "key"),
        ({"__key__": "a.b", "json": {}}, "key"),
        ({"__key__": "a", "npy": np.zeros(2)}, "no .json"),
        ({"__key__": "a", "json": {}, "pyd": b"x"}, "holds only"),
        ({"__key__": "a", "json": {"x": float("nan")}}, "cannot store"),
        ({"__key__": "a", "json": {}, "npy": np.array([{}])}, "cannot store"),
        ({"__key__": "a", "json": {}, "png": np.zeros((3, 3), np.uint8)}, "uint8"),
    ],
)
def test_unfit_records_are_refused(tmp_path: Path, record: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_shard(shard_path(tmp_path, "train", 0), [record])


def npy_header(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("npy", npy_header("(1000000000000,)")),
        ("npy", npy_header("(4294967296, 4294967296)")),
        ("npy", npy_header("(-1,)")),
        ("npy", npy_header("(2,)") + bytes(7)),
        ("npy", b"no array"),
        ("json", b'{"x": NaN}'),
        ("json", b"[" * 200_000),
        ("png", b"%!PS-Adobe-3.0 EPSF-3.0"),
        ("cls", b"two"),
        ("txt", b"\xff"),
    ],
)
def test_hostile_members_are_refused(suffix: str, content: bytes) -> None:
    with pytest.raises(DataError, match="here"):
        decode(suffix, content, "here")


def test_picture_bomb_is_refused_before_it_unpacks() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 1_000_000
    with pytest.raises(DataError, match="pixels"):
        decode("png", buffer.getvalue(), "here")


def test_pictures_are_lossless() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(decode("png", encode("png", pixels), ""), pixels)


def test_members_of_a_sample_lie_side_by_side(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path, 2)) as tar:
        assert [n.partition(".")[0] for n in tar.getnames()] == ["0-0000"] * 3 + ["0-0001"] * 3
