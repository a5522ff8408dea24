"""Labels in time: a block design shows, a random order does not, and repeats of one event are one trial."""

from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from neuroleon.data_pipeline.windows import WindowSpec
from neuroleon.evaluation.audit import audit_splits
from neuroleon.evaluation.order import filter_reach_s, neighbours
from neuroleon.signals.preprocess import Preprocess

ONE_S = WindowSpec(duration_s=1.0)


def metas(labels: list[str], every_s: float = 3.0, recording: str = "r1") -> list[dict[str, Any]]:
    return [
        {"subject": "a", "recording": recording, "label": label, "group": "", "image_key": None, "onset_s": i * every_s}
        for i, label in enumerate(labels)
    ]


def test_a_block_design_shows() -> None:
    blocks = metas([label for label in "abcd" for _ in range(25)])
    found = neighbours(blocks, ONE_S)
    assert found is not None
    assert (found.n_pairs, found.same, found.gap_s) == (99, pytest.approx(96 / 99), pytest.approx(2.0))
    assert found.expected == pytest.approx(24 / 99) and found.in_blocks
    said = audit_splits({"test": blocks}, "test", "toy", windows=ONE_S).sentences
    assert any("labels come in blocks" in sentence for sentence in said)


def test_a_random_order_does_not() -> None:
    order = np.random.default_rng(0).permutation(list("abcd") * 25).tolist()
    found = neighbours(metas(order), ONE_S)
    assert found is not None and not found.in_blocks and abs(found.same - found.expected) < 0.1
    said = audit_splits({"test": metas(order)}, "test", "toy", windows=ONE_S).sentences
    assert any("labels do not come in blocks" in sentence for sentence in said)


def test_repeats_after_one_event_are_no_blocks() -> None:
    """A speller whose letters never come twice in a row, cut into five windows each, without a gap between letters."""
    letters = [label for label in "abcdefghij" * 3 for _ in range(5)]
    spec = WindowSpec(duration_s=2.0, repeat_every_s=2.1, repeats=5)
    found = neighbours(metas(letters, every_s=2.1), spec)
    assert found is not None
    assert (found.n_pairs, found.same, found.in_blocks) == (29, 0.0, False)
    assert found.gap_s == pytest.approx(0.1)
    twice = neighbours(metas([label for label in "aabb" for _ in range(5)], every_s=2.1), spec)
    assert twice is not None and (twice.n_pairs, twice.same) == (3, pytest.approx(2 / 3))


def test_only_windows_of_one_recording_are_neighbours() -> None:
    alone = [m for k in range(4) for m in metas(["ab"[k % 2]], recording=f"r{k}")]
    assert neighbours(alone, ONE_S) is None


def test_filters_reach_back_as_far_as_forward_and_further_with_a_lower_edge() -> None:
    """Against scipy's forward and backward Butterworth, which has the same response."""
    usual, lower = filter_reach_s(Preprocess()), filter_reach_s(Preprocess(low_hz=0.1))
    spike = (np.arange(12001) == 6000).astype(float)
    response = np.abs(sosfiltfilt(butter(4, (0.5, 45.0), "bandpass", fs=200.0, output="sos"), spike))
    last = np.flatnonzero(response > 1e-3 * response.max())[-1]
    assert usual == pytest.approx((last - 6000) / 200, abs=0.03) and lower > usual
    audit = audit_splits(
        {"test": metas(list("abab"), every_s=1.1)}, "test", "toy", windows=ONE_S, preprocess=Preprocess()
    )
    assert audit.filter_reach_s == usual
    assert any("0.1 s apart (median): they leak into each other" in sentence for sentence in audit.sentences)
    unknown = audit_splits({"test": metas(list("abab"))}, "test", "toy")
    assert any("do not say how the signals were filtered" in sentence for sentence in unknown.sentences)
