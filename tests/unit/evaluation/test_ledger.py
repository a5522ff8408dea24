"""Uses of the test split are counted, over models and reports, and nothing is scored that cannot be counted."""

import json
from pathlib import Path

import pytest

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.evaluation.ledger import FILE, Ledger


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    return folder


def test_uses_are_counted_by_model_and_by_set(model: Path) -> None:
    assert Ledger(str(model)).before("m1", "cvep20", "s1") == (0, 0)
    Ledger(str(model)).write("m1", [("cvep20", "s1"), ("ssvep40", "s2")], {"seed": 0})
    Ledger(str(model)).write("m2", [("cvep20", "s1")], {"seed": 1})
    ledger = Ledger(str(model))
    assert ledger.before("m1", "cvep20", "s1") == (1, 2)
    assert ledger.before("m1", "ssvep40", "s2") == (1, 1)
    assert ledger.before("m3", "cvep20", "s1") == (0, 2)
    assert ledger.before("m1", "cvep20", "prepared anew") == (1, 2)
    assert ledger.before("m1", "by another name", "s1") == (1, 2)
    lines = (model.parent / FILE).read_text().splitlines()
    assert [json.loads(line)["set"] for line in lines] == ["cvep20", "ssvep40", "cvep20"]
    told = ledger.write("m1", [("cvep20", "s9"), ("x", "s3")], {})
    assert told == "cvep20: 1 of this one, 2 of any; x: 0 of this one, 0 of any"
    assert set(json.loads(lines[0])) == {"date", "model", "set", "shards", "settings", "commit"}
    assert not list(model.iterdir())  # the model folder has a manifest, and stays as it is


def test_a_model_of_the_hub_has_its_ledger_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Ledger("somebody/model").write("m1", [("cvep20", "s1")], {})
    assert (tmp_path / FILE).is_file()


def test_tokenizers_and_baselines_are_written_to_the_same_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer of a model beside that model, whose folder stays as it is; another one beside itself."""
    part, alone = model / "tokenizers" / "eeg", tmp_path / "tokenizers" / "eeg"
    part.mkdir(parents=True), alone.mkdir(parents=True)
    (model / "vocabulary.json").write_text("{}")
    Ledger(model).write("m1", [("cvep20", "s1")], {})
    assert Ledger(part).write("t1", [("cvep20", "s1")], {}) == "cvep20: 0 of this one, 1 of any"
    assert Ledger(alone).path == alone.parent / FILE
    monkeypatch.chdir(model.parent)
    assert Ledger(None).write("baselines", [("cvep20", "s1")], {}) == "cvep20: 0 of this one, 2 of any"
    assert len((model.parent / FILE).read_text().splitlines()) == 3


def test_a_damaged_line_is_named(model: Path) -> None:
    Ledger(str(model)).write("m1", [("cvep20", "s1")], {})
    with (model.parent / FILE).open("a") as file:
        file.write('{"date": ')
    with pytest.raises(DataError, match=f"{FILE}, line 2"):
        Ledger(str(model))


def test_a_ledger_that_cannot_be_written_stops_the_evaluation(model: Path) -> None:
    (model.parent / FILE).mkdir()
    with pytest.raises(ConfigError, match="--split validation"):
        Ledger(str(model))


@pytest.mark.parametrize("line", ["{}", "[]", '{"model": "m1", "shards": "s1"}'])
def test_a_line_that_is_no_use_is_refused_before_anything_is_scored(model: Path, line: str) -> None:
    (model.parent / FILE).write_text(f"{line}\n")
    with pytest.raises(DataError, match="line 1: expected model, set and shards"):
        Ledger(str(model))
