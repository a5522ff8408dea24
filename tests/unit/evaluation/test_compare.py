"""Two reports side by side: what differs is found, what does not is not, and what cannot be compared is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import CLUSTERS, KEYS, label_task, report, scores, set_result

import neuroleon.evaluate as command
from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.evaluation.compare import Difference, compare_folders
from neuroleon.evaluation.record import as_record, as_text
from neuroleon.evaluation.results import Report
from neuroleon.evaluation.stats import bootstrap_ci, paired_permutation_p

LABEL = ("toy", "validation", "eeg2label", "accuracy, generated label")


def written(folder: Path, *, model: str = "toy", **changed: Any) -> Path:
    folder.mkdir()
    record = as_record(Report(facts={"model": model}, sets=(set_result(**changed),)))
    (folder / "report.json").write_text(as_text(record))
    return folder


def label_of(first: Path, second: Path) -> Difference:
    return next(d for d in compare_folders(first, second).differences if d.where == LABEL)


def test_the_paired_difference_is_that_of_the_windows_values(tmp_path: Path) -> None:
    first = written(tmp_path / "a", tasks=(label_task(8),))
    second = written(tmp_path / "b", tasks=(label_task(18),))
    found = label_of(first, second)
    change = scores(18) - scores(8)
    assert found.n_paired == 40
    assert found.second_minus_first == bootstrap_ci(change, CLUSTERS)
    assert found.p == paired_permutation_p(scores(18), scores(8), CLUSTERS)
    assert found.verdict == "better"
    assert label_of(second, first).verdict == "worse"
    assert found.first.mean == 0.4 and found.second.mean == 0.9


@pytest.mark.parametrize(("better", "verdict"), [("lower", "worse"), ("neither", "higher"), (None, "better")])
def test_more_is_better_only_where_it_is(tmp_path: Path, better: str | None, verdict: str) -> None:
    """A report that does not say it (None) is one of shares: more is better."""
    folders = [written(tmp_path / name, tasks=(label_task(n),)) for name, n in (("a", 8), ("b", 18))]
    for folder in folders:
        record = read_json(folder / "report.json")
        row = record["sets"][0]["tasks"][0]["comparisons"][0]
        assert row.pop("better") == "higher"
        row |= {} if better is None else {"better": better}
        write_json(folder / "report.json", record)
    assert label_of(*folders).verdict == verdict


def test_pairing_sees_what_overlapping_intervals_hide(tmp_path: Path) -> None:
    first = written(tmp_path / "a", tasks=(label_task(8),))
    second = written(tmp_path / "b", tasks=(label_task(14),))
    found = label_of(first, second)
    assert found.overlap and found.verdict == "better"


def test_an_interval_of_few_trials_is_not_enough(tmp_path: Path) -> None:
    """Five trials got better and none worse: the bootstrap excludes 0, but p is 2 / 32."""
    first = written(tmp_path / "a", tasks=(label_task(8),))
    found = label_of(first, written(tmp_path / "b", tasks=(label_task(13),)))
    assert found.second_minus_first is not None and found.second_minus_first.low > 0
    assert found.p is not None and found.p > 0.05 and found.verdict == "no difference shown"


def test_equal_reports_do_not_differ(tmp_path: Path) -> None:
    found = compare_folders(written(tmp_path / "a"), written(tmp_path / "b"))
    assert {d.verdict for d in found.differences} == {"no difference shown"}
    assert not (found.facts or found.remarks or found.only_first or found.only_second)
    assert {d.where[2] for d in found.differences} == {"eeg2label", "TRCA (recipe)", "eeg tokenizer"}


def test_other_shards_are_said_and_not_paired(tmp_path: Path) -> None:
    first = written(tmp_path / "a", tasks=(label_task(4),))
    second = written(tmp_path / "b", tasks=(label_task(18),), shards="def")
    found = compare_folders(first, second)
    assert "shards differ" in found.remarks[0]
    assert label_of(first, second).n_paired == 0 and label_of(first, second).verdict == "better"  # intervals are apart


def test_only_windows_that_both_have_are_paired(tmp_path: Path) -> None:
    first = written(tmp_path / "a", tasks=(label_task(8),))
    trials = dict(zip(KEYS[:10], CLUSTERS[:10].tolist(), strict=True))
    task = label_task(20)
    values = tuple(type(v)(metric=v.metric, values={k: v.values[k] for k in KEYS[:10]}) for v in task.values)
    second = written(tmp_path / "b", tasks=(type(task)(**vars(task) | {"values": values}),), trials=trials)
    found = label_of(first, second)
    assert found.n_paired == 10 and found.second_minus_first is not None
    assert found.second_minus_first.mean == pytest.approx(np.mean(scores(20)[:10] - scores(8)[:10]))


def test_settings_and_numbers_of_one_report_only_are_named(tmp_path: Path) -> None:
    first = written(tmp_path / "a", model="old")
    found = compare_folders(first, written(tmp_path / "b", model="new", baselines=()))
    assert found.facts == {"model": ("old", "new")}
    assert found.only_first == (("toy", "validation", "TRCA (recipe)", "accuracy"),)


def test_a_report_of_format_1_is_compared_by_its_intervals(tmp_path: Path) -> None:
    second = written(tmp_path / "b", tasks=(label_task(18),))
    first = written(tmp_path / "a", tasks=(label_task(4),))
    record = read_json(first / "report.json")
    for result in record["sets"]:
        for name in ("trials", "baselines", "attribution"):
            del result[name]
        for task in result["tasks"]:
            for name in ("values", "confusions", "reliability", "cost"):
                del task[name]
    write_json(first / "report.json", record | {"format": 1})
    assert label_of(first, second).verdict == "better" and label_of(first, second).p is None
    assert "format 1" in compare_folders(first, second).remarks[0]


def test_what_is_no_readable_report_is_refused(tmp_path: Path) -> None:
    good = written(tmp_path / "good")
    with pytest.raises(DataError, match="holds no report"):
        compare_folders(good, tmp_path)
    for format_ in (3, "neuroleon.eeg-tokenizer-report/1", None):
        bad = tmp_path / "bad"
        write_json(bad / "report.json", {"format": format_})
        with pytest.raises(DataError, match=f"bad/report.json: format is {format_!r}, expected 1 or 2"):
            compare_folders(good, bad)
    record = read_json(good / "report.json")
    for damage in ({"sets": None}, {"sets": [{}]}, {"sets": [record["sets"][0] | {"tasks": [{"task": "x"}]}]}):
        write_json(bad / "report.json", record | damage)
        with pytest.raises(DataError, match="a part is missing"):
            compare_folders(good, bad)
    write_json(bad / "report.json", record | {"sets": []})
    with pytest.raises(DataError, match="in common"):
        compare_folders(good, bad)


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = written(tmp_path / "a", tasks=(label_task(8),))
    second = written(tmp_path / "b", tasks=(label_task(18),))
    command.main(["compare", str(first), str(second), "--out", str(tmp_path / "out")])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| eeg2label"))
    assert "| 0.400 [" in row and "| **better** |" in row
    content = read_json(tmp_path / "out" / "comparison.json")
    assert content["differences"][0]["verdict"] == "better" and content["format"] == 1
    assert "better" in (tmp_path / "out" / "comparison.html").read_text()
    command.main(["compare", str(second), str(first), "--out", str(tmp_path / "out")])  # an earlier one is replaced
    assert read_json(tmp_path / "out" / "comparison.json")["differences"][0]["verdict"] == "worse"


def test_the_command_does_not_replace_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = written(tmp_path / "a"), written(tmp_path / "b")
    with pytest.raises(SystemExit):
        command.main(["compare", str(first), str(second), "--out", str(second)])
    assert "not a report" in capsys.readouterr().err and (second / "report.json").is_file()


def test_help_lists_the_commands_and_others_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["model", "--help"]):
        with pytest.raises(SystemExit):
            command.main(argv)
        told = capsys.readouterr().out
        assert all(f"\n  {name} " in told for name in ("model", "tokenizer", "baselines", "compare", "seeds"))
    with pytest.raises(SystemExit):
        command.main(["comapre"])
    assert (
        "'comapre' is no command; expected one of model, tokenizer, baselines, compare, seeds"
        in capsys.readouterr().err
    )


def test_made_reports_have_what_is_compared() -> None:
    """The reports above are those that evaluate.py writes, not look-alikes."""
    assert as_record(report())["sets"][0]["tasks"][0]["values"]
