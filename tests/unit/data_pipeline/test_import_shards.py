"""Shards of webdataset are read after `prepare.py index`, ours by webdataset; what would lose samples is refused."""

import io
import json
import pickle
import subprocess
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.import_shards import index_shards
from neuroleon.data_pipeline.members import encode
from neuroleon.data_pipeline.shards import ShardReader, shard_path, write_manifest, write_shard
from neuroleon.data_pipeline.tar_members import scan
from neuroleon.training.model_card import SampleSet, model_card
from neuroleon.training.stages.image_tokenizer import ShardPictures
from neuroleon.training.stages.text_tokenizer import TextTokenizerConfig, TextTokenizerStage
from prepare import main


def picture(number: int, suffix: str, size: tuple[int, int] = (48, 40)) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix])
    return content.getvalue()


def write_plain(folder: Path, n: int = 10, per_shard: int = 4, name: str = "pairs-%04d.tar") -> list[dict]:
    """Pictures and texts, as img2dataset and many public sets have them, by webdataset's own writer."""
    import webdataset

    folder.mkdir(parents=True, exist_ok=True)
    samples = [{"__key__": f"{i:06d}", "jpg": picture(i, "jpg"), "txt": f"a picture of {i}"} for i in range(n)]
    with webdataset.ShardWriter(str(folder / name), maxcount=per_shard, verbose=0) as writer:
        for sample in samples:
            writer.write(sample)
    return samples


def read_by_webdataset(*shards: Path) -> list[dict]:
    import webdataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(webdataset.WebDataset([str(shard) for shard in shards], shardshuffle=False, empty_check=False))


def test_shards_of_webdataset_are_read_with_the_contents_that_it_reads(tmp_path: Path) -> None:
    samples = write_plain(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    found = index_shards(tmp_path, {"train": ["pairs-000[01].tar"], "test": ["pairs-0002.tar"]}, licence="CC-BY-4.0")
    assert found == {"train": 8, "test": 2}
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    records = [*ShardReader(tmp_path, "train"), *ShardReader(tmp_path, "test")]
    theirs = read_by_webdataset(*(tmp_path / name for name in sorted(before)))
    assert [r["__key__"] for r in records] == [s["__key__"] for s in theirs] == [s["__key__"] for s in samples]
    for record, sample in zip(records, theirs, strict=True):
        assert set(record) == {"__key__", "jpg", "txt"}
        assert record["txt"] == sample["txt"].decode()
        np.testing.assert_array_equal(record["jpg"], np.array(Image.open(io.BytesIO(sample["jpg"])).convert("RGB")))
    assert json.loads((tmp_path / "recipe.json").read_text())["licence"] == "CC-BY-4.0"
    assert json.loads((tmp_path / "manifest.json").read_text())["recordings"] == {}, "there is no EEG"


def test_an_indexed_set_can_be_trained_on(tmp_path: Path) -> None:
    write_plain(tmp_path / "pairs")
    index_shards(tmp_path / "pairs", {"train": ["*.tar"]}, licence="CC0")
    found = SampleSet.read(tmp_path / "pairs")
    assert found.preprocess is None
    assert "| pairs | pairs | CC0 |" in model_card([found.recipe], ["text2image"], {}, 1)
    pictures = ShardPictures(tmp_path / "pairs", "train", 32)
    assert len(pictures) == 10 and pictures[9].shape == (32, 32, 3)
    stage = TextTokenizerStage(TextTokenizerConfig(samples=(str(tmp_path / "pairs"),), size=300), 0)
    assert {f"a picture of {i}" for i in range(10)} <= set(stage._texts())


def test_shards_of_ours_are_read_by_webdataset(tmp_path: Path) -> None:
    records = [{"__key__": f"a/b.c/{i}", "npy": np.full(3, i), "json": {"i": i}, "cls": i} for i in range(5)]
    write_shard(shard_path(tmp_path, "train", 0), records)
    write_manifest(tmp_path)
    theirs = read_by_webdataset(tmp_path / "train-000000.tar")
    assert [s["__key__"] for s in theirs] == [r["__key__"] for r in ShardReader(tmp_path, "train")]
    for sample, record in zip(theirs, records, strict=True):
        assert {s: sample[s] for s in ("npy", "json", "cls")} == {
            s: encode(s, record[s]) for s in ("npy", "json", "cls")
        }


def test_a_plain_tar_with_folders_and_capitals_is_read_as_webdataset_does(tmp_path: Path) -> None:
    """`tar` writes folders as members, and cameras write JPG."""
    for name in ("x/v1.0/a.JPG", "x/v1.0/a.txt", "x/b.JPG", "x/b.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(0, "jpg") if name.endswith("JPG") else b"one")
    (tmp_path / "set" / "sub").mkdir(parents=True)
    subprocess.run(["tar", "--sort=name", "-cf", "set/sub/a.b.tar", "x"], cwd=tmp_path, check=True)
    assert index_shards(tmp_path / "set", {"validation": ["*/*.tar"]}) == {"validation": 2}
    keys = [record["__key__"] for record in ShardReader(tmp_path / "set", "validation")]
    assert (
        keys == [s["__key__"] for s in read_by_webdataset(tmp_path / "set" / "sub" / "a.b.tar")] == ["x/b", "x/v1.0/a"]
    )
    assert ShardReader(tmp_path / "set", "validation")[0]["jpg"].shape == (48, 40, 3)


@pytest.mark.parametrize("suffix", ["jpeg", "JPEG"])
def test_jpeg_is_a_suffix_of_pictures_as_jpg_is(tmp_path: Path, suffix: str) -> None:
    tar(tmp_path / "s.tar", *((f"{i}.{suffix}", picture(i, "jpg")) for i in range(3)))
    assert index_shards(tmp_path, {"train": ["*.tar"]}) == {"train": 3}
    pictures = ShardPictures(tmp_path, "train", 32)
    assert len(pictures) == 3 and pictures[2].shape == (32, 32, 3)
    (first, *_) = ShardReader(tmp_path, "train")
    np.testing.assert_array_equal(first["jpeg"], np.array(Image.open(io.BytesIO(picture(0, "jpg")))))


def tar(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w") -> None:
    with tarfile.open(path, mode) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("b.txt")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


A, B = [("a.txt", b"1"), ("a.cls", b"1")], [("b.txt", b"2"), ("b.cls", b"2")]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([A[0], B[0], A[1], B[1]], "lies apart"),
        ([*A, A[0]], "comes twice"),
        ([A[0], ("a.TXT", b"2")], "comes twice"),
        ([*A, B[0]], r"sample b has \.txt; expected \.cls, \.txt"),
        ([B[0], *A], r"sample a has \.cls, \.txt; expected \.txt"),
        ([*A, ("c.pkl", b"")], r"'c\.pkl': only"),
        ([*A, ("c.seg.png", b"")], "only"),
        ([*A, ("c.npy.gz", b"")], "only"),
        ([*A, ("no suffix", b"")], "unfit name"),
        ([*A, ("a b.txt", b"")], "unfit name"),
        ([*A, ("../../x.txt", b"")], "unfit name"),
        ([*A, ("a/../x.txt", b"")], "unfit name"),
        ([*A, ("/abs/x.txt", b"")], "unfit name"),
        ([*A, (".hidden.txt", b"")], "unfit name"),
        ([*A, ("k" * 201 + ".txt", b"")], "unfit name"),
        ([*A, special(tarfile.SYMTYPE)], "link"),
        ([*A, special(tarfile.LNKTYPE)], "link"),
        ([*A, special(tarfile.FIFOTYPE)], "device"),
        ([*A, special(tarfile.CHRTYPE)], "device"),
        ([], "no sample"),
    ],
)
def test_what_webdataset_passes_over_is_refused_by_name(tmp_path: Path, members: list, message: str) -> None:
    tar(tmp_path / "s.tar", *members)
    with pytest.raises(DataError, match=rf"s\.tar: .*{message}"):
        index_shards(tmp_path, {"train": ["*.tar"]})
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tars_are_refused(tmp_path: Path, mode: str) -> None:
    tar(tmp_path / "s.tar", *A, mode=mode)
    with pytest.raises(DataError, match=r"s\.tar: compressed with"):
        index_shards(tmp_path, {"train": ["*.tar"]})


def test_a_tar_cut_anywhere_is_refused(tmp_path: Path) -> None:
    tar(tmp_path / "s.tar", *A, *B)
    content = (tmp_path / "s.tar").read_bytes()
    end = 8 * 512
    for length in range(0, end + 1024, 128):
        (tmp_path / "s.tar").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"s\.tar"):
            list(scan(tmp_path / "s.tar"))
    (tmp_path / "s.tar").write_bytes(content[: end + 1024])
    assert [key for key, _ in scan(tmp_path / "s.tar")] == ["a", "b"]


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "canary",)

    for suffix in ("pyd", "pkl", "pickle", "pth", "npz", "pyd.gz"):
        tar(tmp_path / "s.tar", *A, (f"b.{suffix}", pickle.dumps(Evil())))
        with pytest.raises(DataError, match=f"'b.{suffix}': only"):
            index_shards(tmp_path, {"train": ["*.tar"]})
    assert not (tmp_path / "canary").exists()


def test_members_that_some_samples_lack_are_said(tmp_path: Path) -> None:
    tar(tmp_path / "s.tar", *A, B[0])
    assert index_shards(tmp_path, {"train": ["*.tar"]}, ["txt"]) == {"train": 2}
    assert [set(record) for record in ShardReader(tmp_path, "train")] == [{"__key__", "txt", "cls"}, {"__key__", "txt"}]
    with pytest.raises(DataError, match=r"sample b has \.txt; expected \.cls"):
        index_shards(tmp_path, {"train": ["*.tar"]}, ["cls"])


@pytest.mark.parametrize(
    ("globs", "error", "message"),
    [
        ({"train": ["none-*.tar"]}, DataError, "nothing fits 'none"),
        ({"train": ["*.tar"], "test": ["a*.tar"]}, DataError, "in train and in test"),
        ({"train": ["../*/*.tar"]}, DataError, "not the name of a shard"),
        ({"train": ["/etc/*"]}, DataError, "nothing fits"),
        ({"train": ["*"]}, DataError, "note.txt: not the name"),
        ({"dev": ["*.tar"]}, ConfigError, "'dev': expected a split"),
    ],
)
def test_splits_that_do_not_fit_are_refused(tmp_path: Path, globs: dict, error: type, message: str) -> None:
    tar(tmp_path / "a.tar", *A)
    (tmp_path / "note.txt").write_text("x")
    with pytest.raises(error, match=message):
        index_shards(tmp_path, globs)


def test_a_folder_that_was_prepared_is_not_taken_over(tmp_path: Path) -> None:
    write_shard(shard_path(tmp_path, "train", 0), [{"__key__": "a", "json": {}}])
    write_manifest(tmp_path, name="ours")
    (tmp_path / "recipe.json").write_text('{"name": "ours"}')
    for name in ("manifest.json", "recipe.json"):
        with pytest.raises(DataError, match=rf"{name}: not of `prepare"):
            index_shards(tmp_path, {"train": ["*.tar"]})
        (tmp_path / name).unlink()


def test_indexing_again_takes_what_has_changed(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", *A), tar(tmp_path / "b.tar", *B)
    assert index_shards(tmp_path, {"train": ["*.tar"]}) == {"train": 2}
    tar(tmp_path / "b.tar", *B, ("c.txt", b""), ("c.cls", b"3"))
    with pytest.raises(DataError, match=r"b\.tar: sha256"):
        ShardReader(tmp_path, "train").verify()
    assert index_shards(tmp_path, {"train": ["a.tar"], "test": ["b.tar"]}) == {"train": 1, "test": 2}
    assert [r["cls"] for r in ShardReader(tmp_path, "test")] == [2, 3]


def test_a_run_that_fails_leaves_the_last_index_as_it_is(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", *A)
    assert index_shards(tmp_path, {"train": ["*.tar"]}) == {"train": 1}
    tar(tmp_path / "b.tar", *B, ("c.pkl", b""))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=r"b\.tar"):
        index_shards(tmp_path, {"test": ["*.tar"]})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert [record["__key__"] for record in ShardReader(tmp_path, "train")] == ["a"]
    tar(tmp_path / "b.tar", *B)
    assert index_shards(tmp_path, {"train": ["*.tar"]}) == {"train": 2}


def test_a_run_that_was_killed_before_the_manifest_can_be_repeated(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", *A)
    index_shards(tmp_path, {"train": ["*.tar"]})
    (tmp_path / "manifest.json").unlink()
    assert index_shards(tmp_path, {"train": ["*.tar"]}) == {"train": 1}


def test_the_commands_index_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plain(tmp_path / "set", 12)
    main(["index", str(tmp_path / "set"), "--split", "train=pairs-000[01].tar", "test=pairs-0002.tar"])
    assert "train 8, test 4" in capsys.readouterr().out
    main(["check", str(tmp_path / "set")])
    assert capsys.readouterr().out.count("whole ") == 3
    with (tmp_path / "set" / "pairs-0001.tar").open("rb+") as file:
        file.seek(600)
        file.write(b"\x55")
    (tmp_path / "set" / "pairs-0002.index.json").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "set")])
    out = capsys.readouterr().out
    assert ended.value.code == 1
    assert "pairs-0001.tar: sha256" in out and "pairs-0002.index.json: missing" in out
    assert out.count("whole ") == 1
    with pytest.raises(SystemExit):
        main(["index", str(tmp_path / "set"), "--split", "*.tar"])
    assert "expected SPLIT=GLOB" in capsys.readouterr().err
