"""Corrected p: one number of each task of a whole report, and one of each set and scheme of the baselines."""

from dataclasses import replace

import pytest
from made_report import comparison, set_result

from neuroleon.evaluation.baselines.run import ACCURACY, BALANCED, BEST
from neuroleon.evaluation.families import corrected, corrected_baselines
from neuroleon.evaluation.page import as_markdown
from neuroleon.evaluation.results import BaselineResult, Report, SetResult, TaskResult
from neuroleon.evaluation.sections import page_of
from neuroleon.evaluation.stats import holm


def task(name: str, *ps: float) -> TaskResult:
    rows = [replace(comparison(), metric=f"number {k}", p=p) for k, p in enumerate(ps)]
    return TaskResult(task=name, comparisons=tuple(rows))


def baseline(method: str, metric: str, p: float, scheme: str = "recipe") -> BaselineResult:
    return BaselineResult(method=method, scheme=scheme, comparison=replace(comparison(), metric=metric, p=p))


TASKS = (task("eeg2label", 0.01, 0.001, 0.2), task("eeg2image"), task("eeg2text", 0.03))
METHODS = (baseline("TRCA", BALANCED, 0.001), baseline(BEST, ACCURACY, 0.01), baseline(BEST, BALANCED, 0.02))


def sets() -> list[SetResult]:
    other = (task("eeg2label", 0.02, 0.5),)
    return [set_result(tasks=TASKS, baselines=METHODS), set_result(recipe="other", tasks=other, baselines=METHODS[2:])]


def test_the_first_number_of_every_task_of_every_set_is_corrected_and_no_other() -> None:
    found = [[[c.p_holm for c in t.comparisons] for t in one.tasks] for one in corrected(sets())]
    one, three, two = holm([0.01, 0.03, 0.02])
    assert found == [[[one, None, None], [], [three]], [[two, None]]]


def test_what_nearly_repeats_a_number_and_baselines_cost_the_model_nothing() -> None:
    alone = [set_result(tasks=(TASKS[0],), baselines=())]
    crowded = [set_result(tasks=(task("eeg2label", *[0.01] * 50),), baselines=METHODS)]
    first = [corrected(found)[0].tasks[0].comparisons[0].p_holm for found in (alone, crowded)]
    assert first == [0.01, 0.01]


def test_of_the_baselines_the_one_chosen_on_the_training_side_is_corrected() -> None:
    found = corrected(sets())
    assert [b.comparison.p_holm for b in found[0].baselines] == [None, None, pytest.approx(0.04)]
    assert [b.comparison.p_holm for b in found[1].baselines] == [pytest.approx(0.04)]
    schemes = [(baseline(BEST, BALANCED, 0.01), baseline(BEST, BALANCED, 0.04, "in-subject"))]
    assert [b.comparison.p_holm for b in corrected_baselines(schemes)[0]] == pytest.approx([0.02, 0.04])


def test_the_page_shows_corrected_p_where_there_is_one_and_says_what_it_costs() -> None:
    lines = as_markdown(page_of(Report(facts={}, sets=tuple(corrected(sets()))))).splitlines()
    (summary,) = [line for line in lines if line.startswith("| toy | eeg2label")]
    assert "| **above its controls** | number 0 (share) |" in summary and summary.endswith("| 0.0100 (0.0300) |")
    assert any(line.startswith("| number 1 (share)") and line.endswith("| 0.0010 |") for line in lines)
    many = [set_result(tasks=(TASKS[0],)) for _ in range(6)]
    lines = as_markdown(page_of(Report(facts={}, sets=tuple(corrected(many))))).splitlines()
    assert sum("| above shuffled, but not once p is corrected | number 0" in line for line in lines) == 6
