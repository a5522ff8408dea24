"""The model beside each method of the field, on the very windows that both answered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_report import CLUSTERS, KEYS, comparison, label_task, scores, set_result

from neuroleon.evaluation.against import with_differences
from neuroleon.evaluation.baselines.run import ACCURACY, BALANCED, BITS
from neuroleon.evaluation.by_person import by_person
from neuroleon.evaluation.compare import compare_folders
from neuroleon.evaluation.page import as_markdown
from neuroleon.evaluation.report import write_report
from neuroleon.evaluation.results import BaselineResult, Report, SetResult, WindowValues
from neuroleon.evaluation.sections import page_of
from neuroleon.evaluation.stats import bootstrap_ci, paired_permutation_p


def method(right: np.ndarray, metric: str = ACCURACY, keys: list[str] = KEYS, **changed: Any) -> BaselineResult:
    row = replace(comparison(18), metric=metric, **changed)
    values = dict(zip(keys, right.tolist(), strict=True))
    return BaselineResult(method="tangent space", scheme="recipe", comparison=row, values=values)


def against(*methods: BaselineResult, **changed: Any) -> SetResult:
    return with_differences(set_result(baselines=methods, **changed), seed=0)


def test_the_difference_is_that_of_the_windows_of_both_over_trials() -> None:
    right = scores(20)[::-1] * np.tile([1.0, 0.0], 20)
    found = against(method(right)).baselines[0].against
    assert found is not None
    assert (found.task, found.metric, found.n_windows) == ("eeg2label", "accuracy, generated label", 40)
    assert found.difference == bootstrap_ci(scores(16) - right, CLUSTERS, seed=0)
    assert found.difference.mean == pytest.approx(0.8 - 0.5)
    assert found.p == paired_permutation_p(scores(16), right, CLUSTERS, seed=0)


def test_windows_that_one_of_them_lacks_are_left_out() -> None:
    found = against(method(scores(20)[:12], keys=KEYS[-12:])).baselines[0].against
    assert found is not None
    assert found.n_windows == 12
    assert found.difference.mean == pytest.approx((scores(16)[-12:] - 1).mean())


def test_other_questions_are_not_put_side_by_side() -> None:
    """Among other answers, of windows of which none or one trial is shared, or of a number that the model has not."""
    others = (
        method(scores(20), n_answers=2),
        method(scores(20), keys=[f"{key}x" for key in KEYS]),
        method(scores(20)[:2], keys=KEYS[:2]),
        method(scores(20), metric=BALANCED),
        method(scores(20), metric=BITS),
    )
    assert [one.against for one in against(*others).baselines] == [None] * len(others)


def test_bits_are_paired_with_the_bits_among_the_sets_answers() -> None:
    bits = dict(zip(KEYS, np.linspace(-3, 0, 40).tolist(), strict=True))
    task = label_task()
    task = replace(
        task, values=(*task.values, WindowValues(metric="log2 p of the true label among the set's", values=bits))
    )
    found = against(method(np.full(40, -2.0), metric=BITS), tasks=(task,)).baselines[0].against
    assert found is not None
    assert found.difference.mean == pytest.approx(-1.5 + 2.0)


def test_a_report_shows_it_and_reports_are_paired_by_their_methods_too(tmp_path: Path) -> None:
    for name, n_right in (("a", 10), ("b", 18)):
        write_report(Report(facts={}, sets=(against(method(scores(n_right))),)), tmp_path / name)
    page = (tmp_path / "a" / "report.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| tangent space | accuracy (share) | eeg2label"))
    assert "| 40 | +0.300 [" in row
    compared = compare_folders(tmp_path / "a", tmp_path / "b").differences
    (found,) = [d for d in compared if d.where[2:] == ("tangent space (recipe)", ACCURACY)]
    assert found.n_paired == 40
    assert found.second_minus_first is not None
    assert found.second_minus_first.mean == pytest.approx(0.4)


def test_numbers_are_told_by_person_beside_the_best_method() -> None:
    result = against(method(scores(20)[::-1] * np.tile([1.0, 0.0], 20)))
    subjects = dict(zip(KEYS, ["ann"] * 32 + ["bob"] * 8, strict=True))
    found = replace(result, people=by_person(result, subjects, seed=0))
    ann, bob = found.people
    assert (ann.subject, ann.n_windows, ann.n_trials, bob.n_windows, bob.n_trials) == ("ann", 32, 16, 8, 4)
    names = ("eeg2label: accuracy, generated label", "best method: tangent space")
    assert tuple(ann.numbers) == names
    assert [[person.numbers[name][1].mean for name in names] for person in (ann, bob)] == [[1.0, 0.5], [0.0, 0.5]]
    page = as_markdown(page_of(Report(facts={}, sets=(found,))))
    assert "| ann | 32 | 16 | 1.000 [1.000, 1.000] | 0.500 [0.500, 0.500] |" in page


def test_of_one_trial_a_person_has_no_interval_and_one_person_alone_is_not_told_apart() -> None:
    result = against(method(scores(20)))
    bob = by_person(result, dict(zip(KEYS, ["ann"] * 38 + ["bob"] * 2, strict=True)), seed=0)[1]
    (_, accuracy) = bob.numbers["eeg2label: accuracy, generated label"]
    assert accuracy.mean == 0.0
    assert np.isnan([accuracy.low, accuracy.high]).all()
    assert not by_person(result, dict.fromkeys(KEYS, "ann"), seed=0)
    assert not by_person(result, dict(zip(KEYS, ["ann", ""] * 20, strict=True)), seed=0)


def test_without_a_pair_the_page_says_nothing_of_it() -> None:
    page = as_markdown(page_of(Report(facts={}, sets=(against(method(scores(20), n_answers=2)),))))
    assert "Classical methods" in page
    assert "model - method" not in page
