from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.causal_mask import Masking, rotate_spans
from neuroleon.data_pipeline.packing import LossWeights, pack, token_weights
from neuroleon.tokenizers.document import OUTPUT, Document, Rendered, Span, prompt, render
from neuroleon.tokenizers.vocabulary import EOD, MASK_0, N_MASKS, PAD, Vocabulary

VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=300, fingerprint="t"),
    image=SimpleNamespace(size=64, fingerprint="i", tokens=9),
    eeg=SimpleNamespace(size=48, fingerprint="e", tokens_per_step=4),
)
EEG = Span("eeg", [0, 12, 24, 36] * 2, 3)


def sentence(n: int) -> Rendered:
    """A document of n + 7 tokens."""
    return render(Document("text", [5], (Span("text", range(n)),)), VOCABULARY, f"recipe/{n}")


def eeg2both() -> Rendered:
    return render(Document("eeg2both", [5, 6], (EEG, Span("text", [7, 8]), Span("image", range(9)))), VOCABULARY)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_every_document_stands_whole_in_one_row(lengths: list[int]) -> None:
    documents = [sentence(n) for n in lengths]
    packed = pack(documents, 50, VOCABULARY)
    assert {array.shape for array in vars(packed).values()} == {packed.ids.shape}
    assert sum(map(len, documents)) == np.count_nonzero(packed.documents)
    assert packed.ids[packed.documents == 0].tolist() == [PAD] * np.count_nonzero(packed.documents == 0)
    for number, document in enumerate(documents, start=1):
        rows, columns = np.nonzero(packed.documents == number)
        assert len(set(rows.tolist())) == 1
        assert columns.tolist() == list(range(columns[0], columns[0] + len(document)))
        assert packed.ids[rows, columns].tolist() == document.ids.tolist()
        assert packed.positions[rows, columns].tolist() == list(range(len(document)))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_targets_never_look_into_the_next_document(lengths: list[int]) -> None:
    packed = pack([sentence(n) for n in lengths], 50, VOCABULARY, LossWeights(instruction=1))
    inside = packed.documents[:, :-1] == packed.documents[:, 1:]
    follows = np.pad(inside & (packed.documents[:, :-1] > 0), ((0, 0), (0, 1)))
    assert np.array_equal(packed.weights > 0, follows)
    assert np.array_equal(packed.targets[follows], packed.ids[:, 1:][follows[:, :-1]])
    assert np.array_equal(packed.kinds, np.where(follows, VOCABULARY.modality_ids(packed.targets), 0))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12))
def test_no_two_rows_would_fit_into_one(lengths: list[int]) -> None:
    used = np.count_nonzero(pack([sentence(n) for n in lengths], 50, VOCABULARY).documents, axis=1)
    if len(used) > 1:
        assert np.sort(used)[:2].sum() > 50


@pytest.mark.parametrize("tokens", [[20, 20, 30, 30], [30, 30, 20, 20]])
def test_the_order_of_documents_costs_no_row(tokens: list[int]) -> None:
    """First-fit in the order given would need three rows for the first."""
    assert len(pack([sentence(n - 7) for n in tokens], 50, VOCABULARY).ids) == 2


def test_a_document_longer_than_a_row_is_named() -> None:
    assert pack([sentence(43)], 50, VOCABULARY).ids.shape == (1, 50)
    with pytest.raises(DataError, match=r"recipe/44: 51 tokens .* row of 50"):
        pack([sentence(3), sentence(44)], 50, VOCABULARY)


def test_weights_follow_what_a_token_is() -> None:
    weights = LossWeights(text=2, image=3, eeg=5, special=7, instruction=11)
    assert token_weights(eeg2both(), VOCABULARY, weights).tolist() == [
        *[11] * 5,  # <eod> <task> instruction <break>
        *[7, 7, *[5] * 8, 7, 7],  # <eeg> <scale> ids </eeg> <break>
        *[7, 2, 2, 7, 7],
        *[7, *[3] * 9, 7, 7],
    ]


def test_only_outputs_leaves_the_prompt_out() -> None:
    rendered = eeg2both()
    n_prompt = len(prompt("eeg2both", [5, 6], [EEG], VOCABULARY))
    only = token_weights(rendered, VOCABULARY, LossWeights(instruction=1, only_outputs=True))
    assert not only[:n_prompt].any()
    assert (only[n_prompt:] > 0).all()
    assert rendered.ids[-1] == EOD


def test_sentinels_weigh_nothing_and_what_was_moved_is_an_output() -> None:
    rng = np.random.default_rng(0)
    n_moved = 0
    for _ in range(50):
        masked = rotate_spans(eeg2both(), rng, VOCABULARY, Masking(probability=1))
        is_sentinel = (masked.ids >= MASK_0) & (masked.ids < MASK_0 + N_MASKS)
        everything = token_weights(masked, VOCABULARY, LossWeights(instruction=1))
        assert np.array_equal(everything == 0, is_sentinel)
        only = token_weights(masked, VOCABULARY, LossWeights(instruction=1, only_outputs=True))
        is_eeg, at_the_end = VOCABULARY.modality_ids(masked.ids) == 3, masked.part == OUTPUT
        assert not only[is_eeg & ~at_the_end].any()
        assert (only[is_eeg & at_the_end] > 0).all()
        assert (only[VOCABULARY.modality_ids(masked.ids) == 2] > 0).all()
        n_moved += int((is_eeg & at_the_end).sum())
    assert n_moved > 0


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="image is -1"):
        LossWeights(image=-1)
