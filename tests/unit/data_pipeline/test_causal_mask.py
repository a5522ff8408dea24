from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.causal_mask import Masking, rotate_spans
from neuroleon.tokenizers.document import OUTPUT, Document, Rendered, Span, parse, render
from neuroleon.tokenizers.infill import restore
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import EOD, EOSS, MASK_0, N_MASKS, Vocabulary

VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=300, fingerprint="t"),
    image=SimpleNamespace(size=64, fingerprint="i", tokens=9),
    eeg=SimpleNamespace(size=48, fingerprint="e", tokens_per_step=4),
)
ALWAYS = Masking(probability=1.0)


def document(task: str, n_words: int, n_steps: int) -> Rendered:
    step = [0, 12, 24, 36]
    made = {
        "text": Span("text", range(n_words)),
        "image": Span("image", range(9)),
        "eeg": Span("eeg", [i + k % 12 for k in range(n_steps) for i in step], 3),
    }
    spans = tuple(made[modality] for modality in TASKS[task].modalities)
    return render(Document(task, [100, 101], spans), VOCABULARY, "key")


cases = st.builds(document, st.sampled_from(list(TASKS)), st.integers(1, 6), st.integers(1, 4))
generators = st.integers(0, 2**32).map(np.random.default_rng)


def sentinels(ids: np.ndarray) -> np.ndarray:
    return np.flatnonzero((ids >= MASK_0) & (ids < MASK_0 + N_MASKS))


@given(cases, generators)
def test_restoring_inverts_exactly(rendered: Rendered, rng: np.random.Generator) -> None:
    restored = restore(rotate_spans(rendered, rng, VOCABULARY, ALWAYS))
    for name in ("ids", "segment", "part"):
        assert getattr(restored, name).tolist() == getattr(rendered, name).tolist()
        assert getattr(restored, name).dtype == getattr(rendered, name).dtype
    assert restored.key == rendered.key


@given(cases, generators)
def test_cuts_are_pieces_of_one_body_each(rendered: Rendered, rng: np.random.Generator) -> None:
    masked = rotate_spans(rendered, rng, VOCABULARY, ALWAYS)
    n_cuts = len(sentinels(masked.ids)) // 2
    assert (masked.ids[0], masked.ids[-1], int((masked.ids == EOD).sum())) == (EOD, EOD, 2)
    assert len(masked) == len(rendered) + 3 * n_cuts
    places = sentinels(masked.ids)
    assert (masked.ids[places] - MASK_0).tolist() == [*range(n_cuts)] * 2
    for start, stop in zip(places[n_cuts:], np.flatnonzero(masked.ids == EOSS), strict=True):
        segment = masked.segment[start + 1 : stop]
        assert len(segment) >= 1
        assert len(set(segment.tolist())) == 1
        assert segment[0] >= 0
        if masked.ids[start + 1] in VOCABULARY.eeg.ids:
            assert masked.ids[start + 1] in VOCABULARY.eeg_slots[0]
            assert len(segment) % 4 == 0


@given(cases, generators)
def test_no_document_loses_an_input_with_all_its_outputs(rendered: Rendered, rng: np.random.Generator) -> None:
    masked = rotate_spans(rendered, rng, VOCABULARY, ALWAYS)
    places = sentinels(masked.ids)
    in_place = masked.segment[: places[len(places) // 2]] if len(places) else masked.segment
    gone = set(range(rendered.segment.max() + 1)) - set(in_place.tolist())
    outputs = set(rendered.segment[(rendered.part == OUTPUT) & (rendered.segment >= 0)].tolist())
    assert not (gone - outputs and outputs <= gone)


def test_the_shortest_pair_still_gets_cut() -> None:
    """One step of EEG and one word: the rule above must not forbid every cut, nor leave the text uncut for ever."""
    rendered = document("eeg2text", 1, 1)
    gone = set()
    for seed in range(50):
        masked = rotate_spans(rendered, np.random.default_rng(seed), VOCABULARY, ALWAYS)
        assert len(sentinels(masked.ids)) == 2
        gone.add(int(masked.segment[masked.segment >= 0][-1]))
    assert gone == {0, 1}


def test_the_number_and_length_of_cuts_are_those_of_the_paper() -> None:
    rendered = document("text", 300, 1)
    rng = np.random.default_rng(0)
    n_cuts, shares = [], []
    for _ in range(2000):
        masked = rotate_spans(rendered, rng, VOCABULARY, Masking(probability=0.5))
        n_cuts.append(len(sentinels(masked.ids)) // 2)
        if n_cuts[-1] == 1:
            start, stop = sentinels(masked.ids)[1], np.flatnonzero(masked.ids == EOSS)[0]
            shares.append((stop - start - 1) / 300)
    assert np.mean(np.array(n_cuts) == 0) == pytest.approx(0.5, abs=0.04)
    assert np.mean(shares) > 0.28  # |U1 - U2| has mean 1/3
    assert np.quantile(shares, 0.5) == pytest.approx(1 - 0.5**0.5, abs=0.06)
    assert max(n_cuts) <= 8


def test_probability_zero_and_unconditional_documents_stay() -> None:
    rendered = document("eeg2image", 1, 2)
    assert rotate_spans(rendered, np.random.default_rng(0), VOCABULARY, Masking(probability=0)) is rendered
    dropped = render(parse(rendered.ids, VOCABULARY).without_condition(), VOCABULARY)
    assert rotate_spans(dropped, np.random.default_rng(0), VOCABULARY, ALWAYS) is dropped
    assert restore(dropped) is dropped


def test_damaged_masks_are_refused() -> None:
    masked = rotate_spans(document("text", 20, 1), np.random.default_rng(1), VOCABULARY, ALWAYS)
    for i in [*sentinels(masked.ids), *np.flatnonzero(masked.ids == EOSS)]:
        ids = masked.ids.copy()
        ids[i] = VOCABULARY.text.start if ids[i] == EOSS else MASK_0 + 9
        with pytest.raises(DataError, match="key: masked spans"):
            restore(Rendered(ids=ids, segment=masked.segment, part=masked.part, key="key"))


@pytest.mark.parametrize("wrong", [{"probability": 1.5}, {"max_spans": 0}, {"max_spans": 33}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Masking(**wrong)
