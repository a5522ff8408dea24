"""Rows over trials whose answers are not equally frequent, and captions that share an answer."""

from types import SimpleNamespace

import numpy as np
import pytest

from neuroleon.evaluation.rows import Rows, different
from neuroleon.evaluation.text_task import _Captions

TRIALS = [
    SimpleNamespace(key=str(number), answer=answer, meta={"texts": texts})
    for number, (answer, texts) in enumerate(
        [("a", ["a 1"]), ("a", ["a 2"]), ("a", ["a 1"]), ("a", ["a 1"]), ("b", ["b 1"])]
    )
]
SET = SimpleNamespace(trials=TRIALS, clusters=np.arange(5), subjects=np.array([*"xxxyy"]), majority="a")


def test_a_rare_answer_counts_as_much_in_balanced_accuracy() -> None:
    rows = Rows(SET, range(5), seed=0)  # type: ignore[arg-type]
    given = {c: ["a", "a", "a", None, "a"] for c in ("real", "shuffled")}
    rows.right("accuracy", given, ["a", "b"])
    rows.balanced("balanced", given, 2)
    accuracy, balanced = rows.found
    assert (accuracy.n_subjects, rows.values[0].values["3"]) == (2, 0.0)
    assert accuracy.conditions["real"].mean == pytest.approx(0.6)
    assert balanced.conditions["real"].mean == pytest.approx((0.75 + 0) / 2)
    assert balanced.conditions["constant"].mean == pytest.approx(0.5)


def test_different_answers_are_counted() -> None:
    given = {"real": ["x", "y", "x", "z"], "none": ["x", "x", "x", "x"]}
    assert different("Different answers", given) == "Different answers: real 3 of 4, none 1 of 4."


def test_captions_without_any_answer_are_not_of_the_same_class() -> None:
    trials = [SimpleNamespace(key=str(k), answer=None, meta={"texts": [text]}) for k, text in enumerate("xyx")]
    captions = _Captions.of(SimpleNamespace(trials=trials), range(3))  # type: ignore[arg-type]
    assert captions.distractors([0, 1], same_answer=False).tolist() == [[False, True], [True, False], [False, True]]
    assert not captions.distractors([0, 1], same_answer=True).any()


def test_captions_are_put_beside_others_of_another_or_the_same_answer() -> None:
    captions = _Captions.of(SET, range(5))  # type: ignore[arg-type]
    assert captions.texts == [("a 1",), ("a 2",), ("b 1",)] and captions.own.tolist() == [0, 1, 0, 0, 2]
    other = captions.distractors([0, 1, 2], same_answer=False)
    same = captions.distractors([0, 1, 2], same_answer=True)
    assert other[0].tolist() == [False, False, True] and other[4].tolist() == [True, True, False]
    assert same[0].tolist() == [False, True, False] and same[1].tolist() == [True, False, False]
    assert not same[4].any()
