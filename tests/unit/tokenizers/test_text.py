import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.tokenizers.text import TextTokenizer

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
TEXTS = ["a cat on a mat", "a dog in the garden", "two cats and a dog", "imagined movement of the left hand"] * 4
SMALL = TextTokenizer.train(TEXTS, 300)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_any_unicode_survives(texts: list[str]) -> None:
    ids = SMALL.encode(texts)
    assert SMALL.decode(ids) == texts
    assert all(0 <= i < SMALL.size for row in ids for i in row)


def test_training_twice_gives_the_same_ids() -> None:
    again = TextTokenizer.train(TEXTS, 300)
    assert again.fingerprint == SMALL.fingerprint
    assert TextTokenizer.train(TEXTS, 280).fingerprint != SMALL.fingerprint


def test_little_text_gives_fewer_ids_than_asked_for() -> None:
    assert 256 < TextTokenizer.train(["a cat"], 5000).size < 300


def test_merges_make_words_shorter() -> None:
    [ids] = SMALL.encode(["a cat on a mat"])
    assert len(ids) < len("a cat on a mat") / 2


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "text")
    loaded = TextTokenizer.load(tmp_path / "text")
    assert loaded.fingerprint == SMALL.fingerprint
    assert loaded.encode(TEXTS) == SMALL.encode(TEXTS)


def test_truncation_and_padding_of_a_file_change_neither_ids_nor_fingerprint(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "text")
    library = Tokenizer.from_file(str(tmp_path / "text" / "tokenizer.json"))
    library.enable_truncation(2)
    library.enable_padding(length=50)
    library.save(str(tmp_path / "other.json"))
    loaded = TextTokenizer.load(tmp_path / "other.json")
    assert loaded.fingerprint == SMALL.fingerprint
    assert loaded.encode(TEXTS) == SMALL.encode(TEXTS)


def test_a_tokenizer_of_another_kind_loads(tmp_path: Path) -> None:
    library = Tokenizer(models.WordLevel({"a": 0, "cat": 1, "?": 7}, unk_token="?"))
    library.normalizer, library.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    library.save(str(tmp_path / "tokenizer.json"))
    loaded = TextTokenizer.load(tmp_path)
    assert (loaded.size, loaded.encode(["A cat sat"])) == (8, [[0, 1, 7]])


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_the_fingerprint_sees_what_changes_ids(tmp_path: Path, part: str) -> None:
    SMALL.save(tmp_path / "text")
    content = json.loads((tmp_path / "text" / "tokenizer.json").read_text())
    content[part] = {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": None}[part]
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert TextTokenizer.load(tmp_path / "other.json").fingerprint != SMALL.fingerprint


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="255"):
        TextTokenizer.train(TEXTS, 255)
    with pytest.raises(DataError, match="Unicode"):
        SMALL.encode(["\ud800"])
    with pytest.raises(CheckpointError, match="no such file"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a tokenizer"):
        TextTokenizer.load(tmp_path)


def test_a_changed_file_of_a_saved_folder_is_refused(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "text")
    with (tmp_path / "text" / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(CheckpointError, match="sha256"):
        TextTokenizer.load(tmp_path / "text")


@pytest.mark.skipif(not (DATA / "images").is_dir(), reason="the shared data is absent")
def test_real_captions_take_a_third_of_their_bytes() -> None:
    with tarfile.open(DATA / "images" / "flickr8k_1000_128px.tar") as tar:
        rows = tar.extractfile("captions.tsv").read().decode().splitlines()
    captions = [row.split("\t")[1] for row in rows]
    trained = TextTokenizer.train(captions, 2000)
    ids = trained.encode(captions)
    assert trained.decode(ids) == captions
    assert sum(map(len, ids)) < sum(len(c.encode()) for c in captions) / 3
