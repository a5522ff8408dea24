"""The background spectrum of a recording: what it is of known signals, and what moves it not at all."""

import numpy as np
import pytest

from neuroleon.signals.background import SHRINKAGE, TOP_HZ, background_of
from neuroleon.signals.from_mne import array_recording
from neuroleon.signals.preprocess import Preprocess

SFREQ, N_CHANS = 200.0, 5


def noise(duration_s: float = 70.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N_CHANS, round(duration_s * SFREQ)))


def spectrum(eeg_uV: np.ndarray, boundaries: tuple[int, ...] = ()) -> np.ndarray:
    found = background_of(eeg_uV, SFREQ, boundaries)
    assert found is not None
    return np.array(found)


def test_white_noise_is_as_strong_at_every_frequency() -> None:
    found = spectrum(noise(400.0))
    assert found.shape == (TOP_HZ,)
    np.testing.assert_allclose(found, 0.0, atol=0.12)


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
    ("duration_s", "piece_s", "known"),
    [
        (59.0, 59.0, False),
        (61.0, 61.0, True),
        (80.0, 0.9, False),
        (80.0, 2.0, True),
        (63.7, 4.9, True),
    ],
)
def test_it_takes_a_minute_in_pieces_of_a_second_or_more(duration_s: float, piece_s: float, known: bool) -> None:
    size = round(piece_s * SFREQ)
    eeg = noise(duration_s)
    boundaries = tuple(range(size, eeg.shape[1], size))
    assert (background_of(eeg, SFREQ, boundaries) is not None) == known


def test_what_was_not_recorded_does_not_count() -> None:
    """A pause that preprocessing filtered is no constant, but a tail that fades."""
    names = ("Fz", "Cz", "Pz", "C3", "C4")
    eeg = 10 * noise(100.0)
    paused = eeg.copy()
    paused[:, round(70 * SFREQ) :] = 3.0
    made = [
        Preprocess().apply(array_recording(x, list(names), SFREQ, "uV")) for x in (eeg[:, : round(70 * SFREQ)], paused)
    ]
    whole, with_pause = (np.array(one.background) for one in made)
    np.testing.assert_allclose(with_pause, whole, atol=0.1)
    paused[:, round(40 * SFREQ) :] = 3.0
    assert Preprocess().apply(array_recording(paused, list(names), SFREQ, "uV")).background is None


def test_how_a_recording_is_cut_and_how_many_channels_it_has_moves_it_little() -> None:
    """Pieces of a second are whitened together; more electrodes on the same head see the same rhythm, less high among
    the noise of their own."""
    times = np.arange(round(120 * SFREQ)) / SFREQ
    mixing = np.random.default_rng(2).standard_normal((16, 6))
    sources = np.random.default_rng(3).standard_normal((6, len(times))) + np.sin(2 * np.pi * 11 * times)
    eeg = mixing @ sources + 0.3 * np.random.default_rng(4).standard_normal((16, len(times)))
    found = spectrum(eeg)
    np.testing.assert_allclose(spectrum(eeg, tuple(range(200, eeg.shape[1], 200))), found, atol=0.15)
    few, beside = spectrum(eeg[:8]), abs(np.arange(TOP_HZ) - 10) > 1
    np.testing.assert_allclose(few[beside], found[beside], atol=0.1)
    assert few.argmax() in (9, 10) and 0.5 < found[10] < few[10] < found[10] + 0.5


def test_a_rate_without_45_hertz_has_none() -> None:
    assert background_of(noise(), 80.0, ()) is None


def test_a_window_across_a_boundary_is_not_seen() -> None:
    """A jump between two pieces has power at every frequency."""
    eeg, half = noise(80.0), round(40 * SFREQ)
    jump = eeg + np.where(np.arange(eeg.shape[1]) < half, 0.0, 50.0)
    np.testing.assert_allclose(spectrum(jump, (half,)), spectrum(eeg, (half,)), atol=1e-4)
