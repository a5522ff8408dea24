"""Reports of models from other seeds: mean and spread are those of their numbers, and what is no seed is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import CLUSTERS, KEYS, as_format_1, comparison, label_task, scores, set_result

import neuroleon.evaluate as command
from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.evaluation.record import as_record, as_text
from neuroleon.evaluation.results import BaselineResult, Report, TaskResult
from neuroleon.evaluation.seeds import OverSeeds, over_seeds
from neuroleon.evaluation.stats import Estimate, bootstrap_ci, bootstrap_share

ACCURACY = "accuracy, generated label"
NOTHING = float("nan")


def written(folder: Path, task: TaskResult | int, facts: dict[str, Any] | None = None, **changed: Any) -> Path:
    """The report of a model with a task, or that names the labels of so many of 20 trials."""
    folder.mkdir()
    told = {"model": str(folder), "fingerprint": folder.name, "limit": 20, "seed": 0} | (facts or {})
    tasks = (task if isinstance(task, TaskResult) else label_task(task),)
    made = Report(facts=told, sets=(set_result(tasks=tasks, **changed),))
    (folder / "report.json").write_text(as_text(as_record(made)))
    return folder


def told(n_right: int, **changed: Any) -> TaskResult:
    """Of one number of which something is changed."""
    task = label_task(n_right)
    return replace(task, comparisons=(replace(task.comparisons[0], **changed),))


def accuracy_of(folders: list[Path]) -> OverSeeds:
    return next(one for one in over_seeds(folders).numbers if one.where[-1] == ACCURACY)


def test_mean_and_spread_are_over_models_and_the_interval_of_the_mean_over_trials(tmp_path: Path) -> None:
    found = accuracy_of([written(tmp_path / str(n), n) for n in (10, 12, 17)])
    assert [model.mean for model in found.models] == [0.5, 0.6, 0.85]
    assert found.mean == bootstrap_ci((scores(10) + scores(12) + scores(17)) / 3, CLUSTERS)
    assert found.mean.mean == pytest.approx(0.65) and found.mean.low < 0.65 < found.mean.high
    assert found.spread == pytest.approx(0.1802776)  # sqrt((.15^2 + .05^2 + .2^2) / 2)


def test_it_is_counted_how_many_are_as_the_first_and_how_many_are_above_shuffled(tmp_path: Path) -> None:
    found = accuracy_of([written(tmp_path / str(n), n) for n in (10, 11, 2, 19)])
    assert found.n_within == 1, "of 11, 2 and 19 of 20 trials, only 11 is as 10"
    assert found.n_above == 3, "2 of 20 is what shuffled EEG has"
    assert found.shuffled == pytest.approx(0.1)


def test_a_primary_number_is_above_shuffled_only_once_its_p_is_corrected(tmp_path: Path) -> None:
    folders = [written(tmp_path / str(p), told(16, p_holm=p)) for p in (0.01, 0.15, 0.04)]
    found = accuracy_of(folders)
    assert found.is_primary and found.n_above == 2
    assert not accuracy_of([written(tmp_path / str(n), n) for n in (15, 16)]).is_primary


def test_of_errors_the_better_side_is_below(tmp_path: Path) -> None:
    verdicts = ("below shuffled", "above shuffled", "no difference shown")
    folders = [written(tmp_path / v[:2], told(10, better="lower", verdict=v)) for v in verdicts]
    assert accuracy_of(folders).n_above == 1
    neither = [written(tmp_path / str(n), told(n, better="neither", verdict="above shuffled")) for n in (9, 10)]
    assert accuracy_of(neither).n_above is None


def test_what_a_report_lacks_is_said_and_not_counted(tmp_path: Path) -> None:
    whole = label_task(10).comparisons[0]
    bare = {name: one for name, one in whole.conditions.items() if name != "shuffled"}
    found = accuracy_of([written(tmp_path / "a", 10), written(tmp_path / "b", told(12, conditions=bare))])
    assert (found.shuffled, found.n_above, found.n_within) == (None, None, 1)
    unsure = {**whole.conditions, "real": Estimate(mean=0.5, low=NOTHING, high=NOTHING)}
    found = accuracy_of([written(tmp_path / "c", told(10, conditions=unsure)), written(tmp_path / "d", 10)])
    assert found.n_within is None, "there is no interval to be within"


def test_a_mean_has_an_interval_only_over_the_same_windows(tmp_path: Path) -> None:
    task = label_task(12)
    fewer = {key: value for key, value in task.values[0].values.items() if key in KEYS[:10]}
    holes = replace(task, values=(replace(task.values[0], values=fewer),))
    found = accuracy_of([written(tmp_path / "a", 10), written(tmp_path / "b", holes)])
    assert found.mean.mean == pytest.approx(0.55), "the mean of what the models have"
    assert np.isnan([found.mean.low, found.mean.high]).all()


def test_numbers_that_not_all_reports_have_are_counted(tmp_path: Path) -> None:
    task = label_task(12)
    more = replace(task, comparisons=(*task.comparisons, replace(comparison(12), metric="another")))
    found = over_seeds([written(tmp_path / "a", 12, fidelities=()), written(tmp_path / "b", more)])
    assert [one.where[-1] for one in found.numbers] == [ACCURACY]
    assert found.not_in_all == {"toy validation": 2}


def test_the_best_method_of_the_field_is_of_whichever_report_has_it(tmp_path: Path) -> None:
    methods = [
        BaselineResult(method=name, scheme="recipe", comparison=replace(comparison(n), metric="accuracy"))
        for name, n in (("CCA", 15), ("TRCA", 18), ("LDA", 12))
    ]
    folders = [written(tmp_path / "a", 9, baselines=()), written(tmp_path / "b", 18, baselines=tuple(methods))]
    found = over_seeds(folders)
    (best,) = found.best
    assert (best.place, best.method, best.accuracy) == (("toy", "validation"), "TRCA (recipe)", 0.9)
    assert [share.mean for share in best.shares] == pytest.approx([0.75, 0.5, 1.0])
    assert np.isnan([share.low for share in best.shares]).all(), "the method has no values of windows"
    assert {one.where[2] for one in found.numbers} == {"eeg2label", "eeg tokenizer"}, "methods have no seed"


def test_the_share_of_the_best_method_has_an_interval_over_the_windows_of_both(tmp_path: Path) -> None:
    row = replace(comparison(18), metric="accuracy")
    right = scores(14)
    values = dict(zip(KEYS, right.tolist(), strict=True))
    method = BaselineResult(method="TRCA", scheme="recipe", comparison=row, values=values)
    (best,) = over_seeds([written(tmp_path / str(n), n, baselines=(method,)) for n in (9, 18)]).best
    mean = (scores(9) + scores(18)) / 2
    expected = [bootstrap_share(of, right, CLUSTERS) for of in (mean, scores(9), scores(18))]
    assert list(best.shares) == expected
    assert best.shares[0].mean == pytest.approx(mean.mean() / right.mean())
    same = bootstrap_share(right, right, CLUSTERS)
    assert (same.mean, same.low, same.high) == (1.0, 1.0, 1.0), "of itself it is all of it, whatever is drawn"
    unpaired = [bootstrap_ci(x, CLUSTERS) for x in (mean, right)]
    assert best.shares[0].low > unpaired[0].low / unpaired[1].high


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [written(tmp_path / str(n), told(n, p_holm=0.01)) for n in (9, 18)]
    command.main(["seeds", *map(str, folders), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "TRCA (recipe), 0.900. The mean of the models has 0.750 of it; each, 0.500, 1.000." in said
    assert "Of 1 primary numbers (**bold**), 0 lie within" in said
    row = next(line for line in said.splitlines() if line.startswith(f"| eeg2label | **{ACCURACY} (share)**"))
    assert "| 0.318 | 0.450 | 0.900 | 0.100 | 2 of 2 | 0 of 1 |" in row
    fidelity = next(line for line in said.splitlines() if line.startswith("| eeg tokenizer | NMSE"))
    assert fidelity.endswith("| 0.500 | 0.000 | 0.500 | 0.500 | - | - | 1 of 1 |")
    assert read_json(tmp_path / "out" / "seeds.json")["reports"] == [str(folder) for folder in folders]
    assert "not checked" in (tmp_path / "out" / "seeds.html").read_text()


def test_reports_of_format_1_are_told_of(tmp_path: Path) -> None:
    folders = [written(tmp_path / str(n), n) for n in (10, 11)]
    path = folders[1] / "report.json"
    write_json(path, as_format_1(read_json(path)))
    assert any(str(folders[1]) in remark and "format 1" in remark for remark in over_seeds(folders).remarks)


@pytest.mark.parametrize(
    ("other", "changed", "message"),
    [
        ({"limit": 10}, {}, r"other: limit is 10, in .*first it is 20"),
        ({"taught sets": ["toy"]}, {}, r"other: taught sets is \['toy'\]"),
        ({"fingerprint": "first"}, {}, r"first and .*other: of one and the same model"),
        ({"fingerprint": None}, {}, r"other: does not say of which model"),
        ({}, {"shards": "def"}, r"other: toy validation are the shards def, in .*first they are abc"),
        ({}, {"recipe": "another"}, r"first has toy validation; .*other has another validation; evaluate"),
    ],
)
def test_what_are_no_seeds_of_one_model_is_refused(
    tmp_path: Path, other: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    first = written(tmp_path / "first", 10)
    with pytest.raises(DataError, match=message):
        over_seeds([first, written(tmp_path / "other", 10, other, **changed)])
    with pytest.raises(DataError, match=r"first: one report; give"):
        over_seeds([first])
