"""Reports of cross-validation over recordings: numbers are those of all windows, intervals those of recordings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import KEYS, comparison, label_task, scores, set_result

import neuroleon.evaluate as command
from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.evaluation.folds import OverFolds, SetOverFolds, over_folds
from neuroleon.evaluation.record import as_record, as_text
from neuroleon.evaluation.results import BaselineResult, Report
from neuroleon.evaluation.stats import bootstrap_ci, bootstrap_share

ACCURACY = "accuracy, generated label"


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


def fold(folder: Path, n_right: int, recording: str, facts: dict[str, Any] | None = None, **changed: Any) -> Path:
    """The report of a model that names the labels of so many of 20 trials of a recording, two windows each."""
    folder.mkdir()
    told = {"model": str(folder), "fingerprint": folder.name, "limit": 20, "seed": 0} | (facts or {})
    given = {"baselines": methods(CCA=n_right, TRCA=20), "shards": recording} | changed
    made = Report(facts=told, sets=(set_result(tasks=(label_task(n_right),), **given),))
    text = as_text(as_record(made)).replace('"r1-', f'"{recording}-').replace("s1/r1/", f"s1/{recording}/")
    (folder / "report.json").write_text(text)
    return folder


def only(folders: list[Path]) -> SetOverFolds:
    (one,) = over_folds(folders).sets
    return one


def accuracy(one: SetOverFolds) -> OverFolds:
    return next(number for number in one.numbers if number.where[-1] == ACCURACY)


def test_all_windows_count_and_recordings_are_drawn_whole(tmp_path: Path) -> None:
    one = only([fold(tmp_path / name, n, name) for name, n in (("r1", 20), ("r2", 10), ("r3", 18))])
    found = accuracy(one)
    values = np.concatenate([scores(n) for n in (20, 10, 18)])
    recordings = np.repeat(["s1/r1", "s1/r2", "s1/r3"], 40)
    assert found.mean == bootstrap_ci(values, recordings)
    assert found.mean.mean == pytest.approx(0.8) and (found.mean.low, found.mean.high) == (0.5, 1.0)
    assert found.recordings == {"s1/r1": 1.0, "s1/r2": 0.5, "s1/r3": 0.9} and found.folds == (1.0, 0.5, 0.9)
    assert found.shuffled == pytest.approx(0.1)
    assert one.windows == dict.fromkeys(("s1/r1", "s1/r2", "s1/r3"), 40)


def test_the_share_is_of_the_method_that_is_best_over_all_folds(tmp_path: Path) -> None:
    given = (("r1", 20, methods(CCA=12, LDA=20)), ("r2", 10, methods(CCA=18, LDA=8)))
    one = only([fold(tmp_path / name, n, name, baselines=of) for name, n, of in given])
    assert [method.where[2] for method in one.methods] == ["CCA (recipe)", "LDA (recipe)"]
    assert [method.mean.mean for method in one.methods] == pytest.approx([0.75, 0.7])
    part, whole = (np.concatenate([scores(n) for n in of]) for of in ((20, 10), (12, 18)))
    assert one.share == bootstrap_share(part, whole, np.repeat(["s1/r1", "s1/r2"], 40))
    assert one.share is not None and one.share.mean == pytest.approx(1.0)
    bare = only([fold(tmp_path / f"bare {name}", 9, name, baselines=()) for name in ("r1", "r2")])
    assert bare.share is None and not bare.methods


def test_sets_that_are_no_folds_are_left_out_and_said(tmp_path: Path) -> None:
    folders = [fold(tmp_path / name, 10, name) for name in ("r1", "r2")]
    for folder in folders:
        record = read_json(folder / "report.json")
        same = read_json(folders[0] / "report.json")["sets"][0] | {"recipe": "same"}
        write_json(folder / "report.json", record | {"sets": [*record["sets"], same]})
    record = read_json(folders[1] / "report.json")
    more = record["sets"][0] | {"recipe": "more"}
    write_json(folders[1] / "report.json", record | {"sets": [*record["sets"], more]})
    found = over_folds(folders)
    assert [one.place[0] for one in found.sets] == ["toy"]
    assert found.remarks == (
        "more validation: not in every report, left out.",
        "same validation: the same windows in every report, left out.",
    )


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [fold(tmp_path / name, n, name) for name, n in (("r1", 16), ("r2", 12))]
    command.main(["folds", *map(str, folders), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "80 windows of 2 recordings of 1 subject." in said
    assert "TRCA (recipe), 1.000 [1.000, 1.000]. Labels of the models have 0.700 [0.600, 0.800] of it." in said
    assert f"| eeg2label | {ACCURACY} (share) | 0.700 [0.600, 0.800] | 0.100 | 0.800 | 0.600 |" in said
    assert "| s1 | r2 | 40 | 0.600 | 1.000 |" in said
    assert read_json(tmp_path / "out" / "folds.json")["reports"] == [str(folder) for folder in folders]
    assert "by a model that learned from others" in (tmp_path / "out" / "folds.md").read_text()


@pytest.mark.parametrize(
    ("recording", "other", "changed", "message"),
    [
        ("r1", {}, {"shards": "other"}, r"first and .*other: both test recording s1/r1 of toy"),
        ("r1", {}, {}, r"no set that every report has with other recordings"),
        ("r2", {"limit": 10}, {}, r"other: limit is 10, in .*first it is 20"),
        ("r2", {"fingerprint": "first"}, {}, r"first and .*other: of one and the same model"),
        ("r2", {}, {"recipe": "another"}, r"no set that every report has"),
    ],
)
def test_what_are_no_folds_is_refused(
    tmp_path: Path, recording: str, other: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    first = fold(tmp_path / "first", 10, "r1")
    with pytest.raises(DataError, match=message):
        over_folds([first, fold(tmp_path / "other", 10, recording, other, **changed)])
    with pytest.raises(DataError, match=r"first: one report; give"):
        over_folds([first])


def test_reports_of_format_1_are_refused(tmp_path: Path) -> None:
    folders = [fold(tmp_path / name, 10, name) for name in ("r1", "r2")]
    record = read_json(folders[1] / "report.json")
    for result in record["sets"]:
        del result["trials"]
        for one in result["baselines"]:
            del one["values"]
        for task in result["tasks"]:
            del task["values"]
    write_json(folders[1] / "report.json", record | {"format": 1})
    with pytest.raises(DataError, match="r2: of format 1"):
        over_folds(folders)
