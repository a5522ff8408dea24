"""The background spectrum of a recording: what it is of known signals, and what moves it not at all."""

import numpy as np
import pytest

from neuroleon.signals.background import SHRINKAGE, TOP_HZ, background_of

SFREQ, N_CHANS = 200.0, 5


def noise(duration_s: float = 70.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N_CHANS, round(duration_s * SFREQ)))


def spectrum(eeg_uV: np.ndarray, boundaries: tuple[int, ...] = ()) -> np.ndarray:
    found = background_of(eeg_uV, SFREQ, boundaries)
    assert found is not None
    return np.array(found)


def test_white_noise_is_as_strong_at_every_frequency() -> None:
    """Whitened, each channel has variance 1, and log-power is that of a chi square of 2 x 5 degrees of freedom."""
    found = spectrum(noise(400.0))
    assert found.shape == (TOP_HZ,)
    expected = np.log(N_CHANS) - 0.1033  # log 5 + digamma(5) - log(5)
    np.testing.assert_allclose(found, expected, atol=0.12)


def test_a_rhythm_stands_out_at_its_frequency() -> None:
    times = np.arange(round(70 * SFREQ)) / SFREQ
    rhythm = np.outer(np.arange(1, N_CHANS + 1), np.sin(2 * np.pi * 11 * times))
    found = spectrum(noise() + rhythm)
    assert found.argmax() == 11 - 1
    assert found[10] - np.median(found) > 1.5


def test_neither_unit_nor_order_nor_strength_of_channels_moves_it() -> None:
    eeg = noise() + 2.0 * noise(seed=1)[:1]
    found = spectrum(eeg)
    for other in (1e-6 * eeg, eeg[::-1], eeg + 40.0):
        np.testing.assert_allclose(spectrum(other), found, atol=2e-4)
    louder = eeg * np.array([1, 1, 3, 1, 1])[:, None]  # as whitening gives it: but for what shrinkage keeps
    np.testing.assert_allclose(spectrum(louder), found, atol=5 * SHRINKAGE)


@pytest.mark.parametrize(
    ("duration_s", "piece_s", "known"), [(59.0, 59.0, False), (61.0, 61.0, True), (80.0, 0.9, False), (80.0, 2.0, True)]
)
def test_it_takes_a_minute_in_pieces_of_a_second_or_more(duration_s: float, piece_s: float, known: bool) -> None:
    size = round(piece_s * SFREQ)
    eeg = noise(duration_s)
    boundaries = tuple(range(size, eeg.shape[1], size))
    assert (background_of(eeg, SFREQ, boundaries) is not None) == known


def test_flat_stretches_do_not_count() -> None:
    eeg = noise(80.0)
    expected = spectrum(eeg[:, : round(64 * SFREQ)])
    flat = eeg.copy()
    flat[:, round(64 * SFREQ) :] = 3.0
    np.testing.assert_array_equal(spectrum(flat), expected)
    flat[:, round(40 * SFREQ) :] = 3.0
    assert background_of(flat, SFREQ, ()) is None


def test_a_window_across_a_boundary_is_not_seen() -> None:
    """A jump between two pieces has power at every frequency."""
    eeg, half = noise(80.0), round(40 * SFREQ)
    jump = eeg + np.where(np.arange(eeg.shape[1]) < half, 0.0, 50.0)
    np.testing.assert_allclose(spectrum(jump, (half,)), spectrum(eeg, (half,)), atol=1e-4)
