"""Reports of models from other seeds: mean and spread are those of their numbers, and what is no seed is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import CLUSTERS, label_task, scores, set_result

import neuroleon.evaluate as command
from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json
from neuroleon.evaluation.record import as_record, as_text
from neuroleon.evaluation.results import Report
from neuroleon.evaluation.seeds import OverSeeds, over_seeds
from neuroleon.evaluation.stats import bootstrap_ci

ACCURACY = "accuracy, generated label"


def written(folder: Path, n_right: int, facts: dict[str, Any] | None = None, **changed: Any) -> Path:
    """The report of a model that names the labels of `n_right` of 20 trials."""
    folder.mkdir()
    told = {"model": str(folder), "fingerprint": folder.name, "limit": 20, "seed": 0} | (facts or {})
    made = Report(facts=told, sets=(set_result(tasks=(label_task(n_right),), **changed),))
    (folder / "report.json").write_text(as_text(as_record(made)))
    return folder


def accuracy_of(folders: list[Path]) -> OverSeeds:
    return next(one for one in over_seeds(folders).numbers if one.where[-1] == ACCURACY)


def test_mean_and_spread_are_over_models_and_the_interval_of_the_mean_over_trials(tmp_path: Path) -> None:
    found = accuracy_of([written(tmp_path / str(n), n) for n in (10, 12, 17)])
    assert [model.mean for model in found.models] == [0.5, 0.6, 0.85]
    assert found.mean == bootstrap_ci((scores(10) + scores(12) + scores(17)) / 3, CLUSTERS)
    assert found.mean.mean == pytest.approx(0.65) and found.mean.low < 0.65 < found.mean.high
    assert found.spread == pytest.approx(0.1802776)  # sqrt((.15^2 + .05^2 + .2^2) / 2)
    assert found.shuffled == pytest.approx(0.1)  # 2 of 20 trials, in each


def test_it_is_counted_how_many_are_as_the_first_and_how_many_are_told_from_shuffled(tmp_path: Path) -> None:
    found = accuracy_of([written(tmp_path / str(n), n) for n in (10, 11, 2, 19)])
    assert found.n_within == 1, "of 11, 2 and 19 of 20 trials, only 11 is as 10"
    assert found.n_above == 3, "2 of 20 is what shuffled EEG has"


def test_methods_of_the_field_have_no_seed_but_are_what_models_are_measured_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [written(tmp_path / str(n), n) for n in (9, 18)]
    found = over_seeds(folders)
    assert {one.where[2] for one in found.numbers} == {"eeg2label", "eeg tokenizer"}
    assert found.best == {"toy validation": ("TRCA (recipe)", 0.9)}
    command.main(["seeds", *map(str, folders), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "TRCA (recipe), 0.900. Models have 0.500, 1.000 of it." in told
    row = next(line for line in told.splitlines() if line.startswith(f"| eeg2label | {ACCURACY}"))
    assert "| 0.318 | 0.450 | 0.900 | 0.100 | 2 of 2 | 0 of 1 |" in row
    fidelity = next(line for line in told.splitlines() if line.startswith("| eeg tokenizer | NMSE"))
    assert fidelity.endswith("| 0.500 | 0.000 | 0.500 | 0.500 | - | - | 1 of 1 |")
    assert read_json(tmp_path / "out" / "seeds.json")["reports"] == [str(folder) for folder in folders]
    assert "2 models trained from other seeds" in (tmp_path / "out" / "seeds.html").read_text()


def test_numbers_whose_windows_have_no_values_have_no_interval(tmp_path: Path) -> None:
    task = label_task(12)
    bare = type(task)(**vars(task) | {"values": ()})
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        made = Report(facts={"fingerprint": folder.name}, sets=(set_result(tasks=(bare,)),))
        (folder / "report.json").write_text(as_text(as_record(made)))
    found = accuracy_of(folders)
    assert found.mean.mean == 0.6 and np.isnan([found.mean.low, found.mean.high]).all()


def test_what_are_no_seeds_of_one_model_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path / "a", 10)
    with pytest.raises(DataError, match="1 report"):
        over_seeds([first])
    again = written(tmp_path / "again", 10, {"fingerprint": "a"})
    with pytest.raises(DataError, match=r"a and .*again: of one and the same model"):
        over_seeds([first, again])
    fewer = written(tmp_path / "fewer", 10, {"limit": 10})
    with pytest.raises(DataError, match=r"limit is 10, in .*a it is 20"):
        over_seeds([first, fewer])
    moved = written(tmp_path / "moved", 10, shards="def")
    with pytest.raises(DataError, match="toy validation are other shards"):
        over_seeds([first, moved])
    elsewhere = written(tmp_path / "elsewhere", 10, recipe="other")
    with pytest.raises(DataError, match="in common"):
        over_seeds([first, elsewhere])
