"""Reports of cross-validation over recordings: numbers are those of all windows, intervals those of recordings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import KEYS, as_format_1, comparison, label_task, scores, set_result

import neuroleon.evaluate as command
from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.evaluation.audit import Audit
from neuroleon.evaluation.baselines.run import BEST
from neuroleon.evaluation.folds import OverFolds, SetOverFolds, over_folds
from neuroleon.evaluation.record import as_record, as_text
from neuroleon.evaluation.results import BaselineResult, Report
from neuroleon.evaluation.stats import bootstrap_ci, bootstrap_share

ACCURACY = "accuracy, generated label"
APART = Audit(split_by="recording", units={}, shared={}, confounded=None, sentences=(), apart=True)


def methods(**n_right: int) -> tuple[BaselineResult, ...]:
    return tuple(
        BaselineResult(
            method=name,
            scheme="recipe",
            comparison=replace(comparison(n), metric="accuracy"),
            values=dict(zip(KEYS, scores(n).tolist(), strict=True)),
        )
        for name, n in n_right.items()
    )


def fold(
    folder: Path,
    n_right: int,
    *recordings: str,
    n_trials: int = 20,
    facts: dict[str, Any] | None = None,
    **changed: Any,
) -> Path:
    """The report of a model that names the labels of so many of 20 trials, two windows each; of the first `n_trials`
    of them, which are dealt to SUBJECT/RECORDING in turn."""
    folder.mkdir()
    task = label_task(n_right)
    (column,) = task.values
    kept = KEYS[: 2 * n_trials]
    task = replace(task, values=(replace(column, values={key: column.values[key] for key in kept}),))
    told = {"model": str(folder), "fingerprint": folder.name, "limit": 20, "seed": 0} | (facts or {})
    given = {"tasks": (task,), "baselines": methods(TRCA=20), "shards": "+".join(recordings), "audit": APART} | changed
    given["trials"] = {key: f"{recordings[i // 2 % len(recordings)]}/{i // 2}" for i, key in enumerate(kept)}
    given["baselines"] = tuple(
        replace(one, values={key: one.values[key] for key in kept}) for one in given["baselines"]
    )
    name = "+".join(recordings).replace("/", "-")
    text = as_text(as_record(Report(facts=told, sets=(set_result(**given),)))).replace('"r1-', f'"{name}-')
    (folder / "report.json").write_text(text)
    return folder


def only(folders: list[Path]) -> SetOverFolds:
    (one,) = over_folds(folders).sets
    return one


def accuracy(one: SetOverFolds) -> OverFolds:
    return next(number for number in one.numbers if number.where[-1] == ACCURACY)


def test_all_windows_count_and_recordings_are_drawn_whole(tmp_path: Path) -> None:
    """A fold has two recordings, another one of half as many windows: neither recordings nor folds count alike."""
    one = only([fold(tmp_path / "a", 20, "s1/r1", "s2/r2"), fold(tmp_path / "b", 6, "s1/r3", n_trials=10)])
    found = accuracy(one)
    values = np.concatenate([scores(20), scores(6)[:20]])
    recordings = np.concatenate([np.repeat(np.resize(["s1/r1", "s2/r2"], 20), 2), np.repeat("s1/r3", 20)])
    assert found.mean == bootstrap_ci(values, recordings)
    assert found.mean.mean == pytest.approx(52 / 60) and (found.mean.low, found.mean.high) == (0.6, 1.0)
    assert found.recordings == {"s1/r1": 1.0, "s2/r2": 1.0, "s1/r3": 0.6} and found.folds == (1.0, 0.6)
    assert one.windows == {"s1/r1": 20, "s1/r3": 20, "s2/r2": 20}


def test_shuffled_is_weighted_by_the_windows_of_each_fold(tmp_path: Path) -> None:
    folders = [fold(tmp_path / "a", 20, "s1/r1"), fold(tmp_path / "b", 6, "s1/r2", n_trials=10)]
    for folder, mean in zip(folders, (0.1, 0.4), strict=True):
        record = read_json(folder / "report.json")
        row = record["sets"][0]["tasks"][0]["comparisons"][0]
        row["conditions"]["shuffled"]["mean"] = mean
        write_json(folder / "report.json", record)
    assert accuracy(only(folders)).shuffled == pytest.approx((40 * 0.1 + 20 * 0.4) / 60)


def test_a_recording_that_several_folds_tested_counts_once_with_the_mean_of_its_windows(tmp_path: Path) -> None:
    folders = [fold(tmp_path / name, n, "s1/r1") for name, n in (("a", 20), ("b", 10))]
    record = read_json(folders[1] / "report.json")
    record["sets"][0]["shards"] = "of another fold"
    write_json(folders[1] / "report.json", record)
    folders.append(fold(tmp_path / "c", 4, "s1/r2"))
    found = over_folds(folders)
    one = accuracy(found.sets[0])
    assert one.recordings == {"s1/r1": 0.75, "s1/r2": 0.2}
    assert one.mean == bootstrap_ci(
        np.concatenate([(scores(20) + scores(10)) / 2, scores(4)]), np.repeat(["s1/r1", "s1/r2"], 40)
    )
    assert found.sets[0].windows == {"s1/r1": 40, "s1/r2": 40}
    assert any("tested by several folds" in remark and remark.endswith(": s1/r1.") for remark in found.remarks)


def test_the_share_is_of_the_method_that_is_best_over_all_folds(tmp_path: Path) -> None:
    given = (("r1", 20, {"CCA": 12, "LDA": 20, BEST: 20, "EEGNet": 3}), ("r2", 10, {"CCA": 18, "LDA": 8, BEST: 20}))
    folders = [fold(tmp_path / r, n, f"s1/{r}", baselines=methods(**of)) for r, n, of in given]
    one = only(folders)
    assert [method.where[2] for method in one.methods] == ["CCA (recipe)", "LDA (recipe)"], "a choice is no method"
    assert [method.mean.mean for method in one.methods] == pytest.approx([0.75, 0.7])
    part, whole = (np.concatenate([scores(n) for n in of]) for of in ((20, 10), (12, 18)))
    assert one.share == bootstrap_share(part, whole, np.repeat(["s1/r1", "s1/r2"], 40))
    assert one.share is not None and one.share.mean == pytest.approx(1.0)
    assert one.p == 1.0, "one recording more, one less by as much"
    assert any("left out: EEGNet (recipe)." in remark for remark in over_folds(folders).remarks)
    bare = only([fold(tmp_path / f"bare {r}", 9, f"s1/{r}", baselines=()) for r in ("r1", "r2")])
    assert bare.share is None and bare.p is None and not bare.methods


def test_p_of_the_difference_is_exact_over_recordings(tmp_path: Path) -> None:
    """In six recordings the method is better, by as much in each: two of 64 patterns of signs are as far from 0."""
    one = only([fold(tmp_path / f"r{k}", 14, f"s1/r{k}", baselines=methods(TRCA=20)) for k in range(6)])
    assert one.p == pytest.approx(2 / 64)


def test_what_is_no_fold_is_left_out_and_what_is_not_known_is_said(tmp_path: Path) -> None:
    folders = [fold(tmp_path / "a", 10, "s1/r1"), fold(tmp_path / "b", 10, "s1/r2", audit=replace(APART, apart=False))]
    same, more = (read_json(folders[0] / "report.json")["sets"][0] | {"recipe": name} for name in ("same", "more"))
    for folder, sets in zip(folders, ([same], [same, more]), strict=True):
        record = read_json(folder / "report.json")
        write_json(folder / "report.json", record | {"sets": [*record["sets"], *sets]})
    found = over_folds(folders)
    assert [one.place[0] for one in found.sets] == ["toy"]
    assert set(found.remarks[1:]) == {
        "same validation: the same windows in every report, left out.",
        "more validation: not in every report, left out.",
        f"toy validation: not checked whether the model learned from what it was tested on: {folders[1]}.",
    }


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [fold(tmp_path / "a", 16, "s1/r1", "s2/r1"), fold(tmp_path / "b", 12, "s1/r2")]
    command.main(["folds", *map(str, folders), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "80 windows of 3 recordings of 2 subjects." in said
    assert "Best method of the field, chosen on these windows: TRCA (recipe), 1.000 [1.000, 1.000]. Labels" in said
    assert f"| eeg2label | {ACCURACY} (share) | 0.700 [0.600, 0.800] | 0.100 | 0.800 | 0.600 |" in said
    rows = [line for line in said.splitlines() if line.startswith(("| s1", "| s2"))]
    assert rows == [
        "| s1 | all 2 | 60 | 0.667 | 1.000 |",
        "| s1 | r1 | 20 | 0.800 | 1.000 |",
        "| s1 | r2 | 40 | 0.600 | 1.000 |",
        "| s2 | all 1 | 20 | 0.800 | 1.000 |",
        "| s2 | r1 | 20 | 0.800 | 1.000 |",
    ]
    assert read_json(tmp_path / "out" / "folds.json")["reports"] == [str(folder) for folder in folders]
    assert (tmp_path / "out" / "folds.md").read_text() in said


@pytest.mark.parametrize(
    ("recording", "other", "changed", "message"),
    [
        ("s1/r1", {}, {}, r"no set that every report has with other recordings.* --fold"),
        ("s1/r2", {"limit": 10}, {}, r"other: limit is 10, in .*first it is 20"),
        ("s1/r2", {"fingerprint": "first"}, {}, r"first and .*other: of one and the same model"),
        ("s1/r2", {}, {"recipe": "another"}, r"no set that every report has"),
    ],
)
def test_what_are_no_folds_is_refused(
    tmp_path: Path, recording: str, other: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    first = fold(tmp_path / "first", 10, "s1/r1")
    with pytest.raises(DataError, match=message):
        over_folds([first, fold(tmp_path / "other", 10, recording, facts=other, **changed)])
    with pytest.raises(DataError, match=r"first: one report; give"):
        over_folds([first])


def test_reports_of_format_1_are_refused(tmp_path: Path) -> None:
    folders = [fold(tmp_path / name, 10, f"s1/{name}") for name in ("r1", "r2")]
    path = folders[1] / "report.json"
    write_json(path, as_format_1(read_json(path)))
    with pytest.raises(DataError, match="r2: of format 1"):
        over_folds(folders)
