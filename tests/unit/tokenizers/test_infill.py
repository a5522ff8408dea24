"""Holes in documents: where they are, what may fill them, and that all comes back to its place."""

from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import DataError
from neuroleon.tokenizers.document import Document, Span, parse, render
from neuroleon.tokenizers.infill import Filling, Hole, filled, hollow
from neuroleon.tokenizers.vocabulary import EOD, EOSS, MASK_0, Vocabulary

VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=300, fingerprint="t"),
    image=SimpleNamespace(size=64, fingerprint="i", tokens=9),
    eeg=SimpleNamespace(size=48, fingerprint="e", tokens_per_step=4),
)
STEP = [0, 12, 24, 36]
EEG, TEXT, IMAGE = Span("eeg", STEP * 4, 3), Span("text", range(6)), Span("image", range(9))
DOCUMENT = Document("eeg2both", [100, 101], (EEG, TEXT, IMAGE))

borders = st.lists(st.integers(0, 9), min_size=2, max_size=2, unique=True).map(sorted)


@given(borders, borders, st.booleans())
def test_filling_holes_with_what_was_there_gives_the_document(
    in_image: list[int], in_eeg: list[int], both: bool
) -> None:
    low, high = (4 * min(border, 4) for border in in_eeg)
    holes = [Hole(span=2, start=in_image[0], stop=in_image[1])]
    if both and low < high:
        holes.append(Hole(span=0, start=low, stop=high))
    rules = Filling(DOCUMENT, holes, VOCABULARY, max_text=8)
    prompt = hollow(DOCUMENT, holes, VOCABULARY)
    ids, state = list(prompt), rules.start(prompt)
    was_there = [
        VOCABULARY.to_shared(span.modality, span.ids_local[hole.start : hole.stop]).tolist()
        for hole in sorted(holes, key=lambda hole: hole.span)
        for span in [DOCUMENT.spans[hole.span]]
    ]
    coming = [[*body, EOSS] + ([MASK_0 + k + 1] if k + 1 < len(holes) else [EOD]) for k, body in enumerate(was_there)]
    for id_shared in chain(*coming):
        assert not rules.done(state)
        state = rules.advance(state, id_shared)
        ids.append(id_shared)
    assert rules.done(state)
    assert rules.allowed(state) == []
    assert len(ids) - len(prompt) == rules.room
    assert parse(filled(np.array(ids)), VOCABULARY) == DOCUMENT


def test_a_text_ends_where_the_model_ends_it() -> None:
    holes = [Hole(span=1, start=1, stop=3)]
    rules, prompt = Filling(DOCUMENT, holes, VOCABULARY, max_text=3), hollow(DOCUMENT, holes, VOCABULARY)
    state, words, end = rules.start(prompt), VOCABULARY.text.ids, range(EOSS, EOSS + 1)
    assert rules.allowed(state) == [words], "at least one id"
    for n in (1, 2):
        state = rules.advance(state, words[40 + n])
        assert rules.allowed(state) == [words, end]
    state = rules.advance(state, words[50])
    assert rules.allowed(state) == [end], "no more than max_text"
    made = [*prompt, words[41], words[42], words[50], EOSS, EOD]
    expected = Document("eeg2both", [100, 101], (EEG, Span("text", [0, 41, 42, 50, 3, 4, 5]), IMAGE))
    assert parse(filled(np.array(made)), VOCABULARY) == expected


def test_ids_that_do_not_belong_are_refused() -> None:
    holes = [Hole(span=0, start=4, stop=8)]
    rules, prompt = Filling(DOCUMENT, holes, VOCABULARY, max_text=3), hollow(DOCUMENT, holes, VOCABULARY)
    with pytest.raises(DataError, match="expected"):
        rules.advance(rules.start(prompt), VOCABULARY.eeg_slots[1][0])
    with pytest.raises(DataError, match="mask:0"):
        rules.start(render(DOCUMENT, VOCABULARY).ids)


@pytest.mark.parametrize(
    ("holes", "message"),
    [
        ([], "0 holes"),
        ([Hole(span=3, start=0, stop=1)], "spans 0 to 2"),
        ([Hole(span=2, start=4, stop=10)], "has 9 ids"),
        ([Hole(span=2, start=4, stop=4)], "has 9 ids"),
        ([Hole(span=0, start=2, stop=8)], "multiple of 4"),
        ([Hole(span=2, start=0, stop=4), Hole(span=2, start=3, stop=5)], "meet"),
    ],
)
def test_holes_that_cannot_be_are_refused(holes: list[Hole], message: str) -> None:
    with pytest.raises(DataError, match=message):
        hollow(DOCUMENT, holes, VOCABULARY)
