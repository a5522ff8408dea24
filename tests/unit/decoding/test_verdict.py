"""Which label a sentence or a picture means, and what is said about it beside a recording with an answer file."""

import json
from pathlib import Path

import numpy as np
import pytest

from neuroleon.common.errors import DataError
from neuroleon.decoding.labels import Label, LabelSet
from neuroleon.decoding.pipeline import Result
from neuroleon.decoding.verdict import verdict

GREY = {"left": 50, "right": 200}


def pictured(grey: int) -> np.ndarray:
    return np.full((4, 4, 3), grey, np.uint8)


def side_set(told: str) -> LabelSet:
    return LabelSet(
        labels={
            side: Label(text=side, wordings=(f"{told} is on the {side}.",), pictures=(pictured(grey),))
            for side, grey in GREY.items()
        }
    )


LETTERS = LabelSet(labels={c: Label(text=c, wordings=(f"The letter {c} is watched.",)) for c in "AB"})
# both have `left`, but to the second one a dark picture is `right`
OTHER = LabelSet(labels={"left": Label(text="left", pictures=(pictured(200),)), "right": Label(text="right")})
KNOWN = {"other": OTHER, "sides": side_set("A disc")}


@pytest.mark.parametrize(
    ("sentence", "label"),
    [
        ("the letter a is WATCHED", "A"),  # a wording
        ("A person looks at a B.", "B"),  # articles are no letters
        ("A person looks at a screen.", None),
        ("A", "A"),
        ("A or B", "B"),  # the first of several words is taken for the article
        ("is it A or B", None),
        ("", None),
    ],
)
def test_a_lone_letter_is_told_from_the_article(sentence: str, label: str | None) -> None:
    assert LETTERS.named(sentence) == label


def answered(folder: Path, **more: str) -> Path:
    entry = {"event": "x", "onset_s": 1.0, "label": "left", "text": "A disc is on the left.", **more}
    (folder / "r.edf.answer.json").write_text(json.dumps({"answers": [entry]}))
    return folder / "r.edf"


def test_the_answer_names_the_set_that_it_is_judged_by(tmp_path: Path) -> None:
    results = [Result(ids=np.array([0]), picture=pictured(60), text="a disc is on the left")]
    lines = verdict(answered(tmp_path, recipe="sides"), 1.01, results, KNOWN)
    assert lines[0].endswith("really: left (A disc is on the left.)")
    assert lines[1:] == [
        "            pictures: 1 of 1 right: left (right)",
        "            sentences: 1 of 1 right: left (right)",
    ]
    wrong = [Result(ids=np.array([0]), picture=pictured(190))]
    assert "0 of 1 right: right (wrong)" in verdict(answered(tmp_path, recipe="sides"), 1.0, wrong, KNOWN)[1]
    assert "1 of 1 right" in verdict(answered(tmp_path), 1.0, wrong, KNOWN)[1], "without a name: the first with `left`"
    assert verdict(answered(tmp_path, recipe="unheard_of"), 1.0, results, KNOWN)[1:] == [
        "            the model was not taught this label"
    ]


def test_no_answer_file_says_nothing_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    assert verdict(tmp_path / "none.edf", 0.0, [], KNOWN) == []
    path = answered(tmp_path)
    assert "says nothing about 1.07 s" in verdict(path, 1.07, [], KNOWN)[0]
    for content in ("{}", '{"answers": [{"onset_s": 0}]}', '{"answers": ["left"]}', "[]"):
        (tmp_path / "r.edf.answer.json").write_text(content)
        with pytest.raises(DataError, match=r"r\.edf\.answer\.json"):
            verdict(path, 1.0, [], KNOWN)
