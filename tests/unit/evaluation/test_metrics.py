import numpy as np
import pytest

from neuroleon.evaluation import metrics

TEXTS = {"left": "left hand", "right": "right hand", "A": "A", "B": "B"}
WORDINGS = {
    "left": ["The subject imagines moving the left hand.", "A movement."],
    "right": ["The subject imagines moving the right hand.", "A movement."],
    "A": ["Someone looks at the letter A."],
    "B": ["Someone looks at the letter B."],
}


@pytest.mark.parametrize(
    ("answer", "label"),
    [("left hand", "left"), ("  Left HAND\n", "left"), ("left hand.", None), ("left", None), ("", None), ("a", "A")],
)
def test_a_label_is_its_exact_text(answer: str, label: str | None) -> None:
    assert metrics.match_label(answer, TEXTS) == label


@pytest.mark.parametrize(
    ("sentence", "label"),
    [
        ("the subject imagines moving the LEFT hand", "left"),  # a wording
        ("A movement.", None),  # a wording of two labels
        ("I think of my right hand!", "right"),  # the words of one label
        ("left hand or right hand", None),
        ("the hand on the left", None),
        ("a person at a screen, B", "B"),  # the article is not the letter
        ("a person at a screen", None),
        ("A person sees the letter B!", "B"),
        ("", None),
    ],
)
def test_a_sentence_names_one_label_or_none(sentence: str, label: str | None) -> None:
    assert metrics.parse_sentence(sentence, WORDINGS, TEXTS) == label


def test_nearest_picture_does_not_overflow_uint8() -> None:
    candidates = np.stack([np.full((4, 4, 3), grey, np.uint8) for grey in (0, 100, 255)])
    assert [metrics.nearest_picture(np.full((4, 4, 3), g, np.uint8), candidates) for g in (0, 49, 51, 200, 254)] == [
        0, 0, 1, 2, 2,
    ]  # fmt: skip


def test_psnr_golden() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert metrics.psnr_db(black, black + 255) == pytest.approx(0.0)
    assert metrics.psnr_db(black, black + 16) == pytest.approx(24.048, abs=1e-3)


def test_band_takes_a_sine_or_leaves_it() -> None:
    sine = np.sin(2 * np.pi * 10 * np.arange(400) / 200)[None]
    np.testing.assert_allclose(metrics.band(sine, 8.0, 13.0, 200.0), sine, atol=1e-9)
    np.testing.assert_allclose(metrics.band(sine, 13.0, 30.0, 200.0), 0, atol=1e-9)


def test_correlation_and_nmse_golden() -> None:
    signal = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 1.0, -1.0], [2.0, 2.0, 2.0, 2.0]])
    other = np.array([[2.0, 4.0, 6.0, 8.0], [-1.0, 1.0, -1.0, 1.0], [1.0, 0.0, 1.0, 0.0]])
    np.testing.assert_allclose(metrics.correlation(signal, other), [1.0, -1.0, np.nan])
    assert metrics.nmse(signal, signal) == 0.0
    assert metrics.nmse(signal, np.zeros_like(signal)) == 1.0


def test_perplexity_golden() -> None:
    assert metrics.usage_and_perplexity(np.array([0, 1, 2, 3]), 8) == pytest.approx((0.5, 4.0))
    assert metrics.usage_and_perplexity(np.array([5, 5, 5]), 8) == pytest.approx((0.125, 1.0))
    assert metrics.usage_and_perplexity(np.array([0, 0, 0, 1]), 2)[1] == pytest.approx(1.7548, abs=1e-4)
