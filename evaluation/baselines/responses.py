"""What responses to a known rhythm or code are read with: bands, canonical correlations, task-related components.

Arrays are (..., n_chans, n_times). moabb's pipelines have CCA and TRCA as well, but theirs take mne Epochs and labels
that are frequencies, cut at the wrong time axis (the last sample is at n / sfreq), and invert covariances that an
average reference makes singular.
"""

from collections.abc import Sequence

import numpy as np

HARMONICS, HIGHEST_HZ = 3, 45.0
RIDGE = 1e-2  # of the mean variance of a channel: filters on coarsely coded EEG are else unstable

_SSVEP40_KEYS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "space", ",", ".", "backspace"]
SSVEP40_HZ = {key: 8 + i % 8 + i // 8 / 5 for i, key in enumerate(_SSVEP40_KEYS)}  # `freq_hz` of the set


def band_passed(signals: np.ndarray, band_hz: tuple[float, float], sfreq: float = 200.0) -> np.ndarray:
    """Signals (..., n_times), Butterworth of order 3, forwards and backwards."""
    from scipy.signal import butter, sosfiltfilt

    return sosfiltfilt(butter(3, band_hz, "bandpass", fs=sfreq, output="sos"), signals, axis=-1)


def centred(signals: np.ndarray) -> np.ndarray:
    """Without the mean over time."""
    return signals - signals.mean(axis=-1, keepdims=True)


def sines(hertz: float, n_times: int, sfreq: float = 200.0, harmonics: int = HARMONICS) -> np.ndarray:
    """Sine and cosine of a frequency and its harmonics that are left in the signal: (2 * harmonics, n_times)."""
    multiples = [k * hertz for k in range(1, harmonics + 1) if k * hertz < HIGHEST_HZ]
    phases = [2 * np.pi * multiple / sfreq * np.arange(n_times) for multiple in multiples]
    return centred(np.array([f(phase) for phase in phases for f in (np.sin, np.cos)]))


def canonical_correlations(signals: np.ndarray, references: Sequence[np.ndarray]) -> np.ndarray:
    """The largest correlation of any mix of channels with any mix of a reference's rows (Lin et al. 2006).

    Args:
        signals: (n, n_chans, n_times).
        references: m arrays (k, n_times).

    Returns:
        (n, m), between 0 and 1.
    """
    bases = [_orthonormal(centred(reference)) for reference in references]
    found = np.empty((len(signals), len(bases)))
    for i, signal in enumerate(signals):
        basis = _orthonormal(centred(signal))
        found[i] = [np.linalg.norm(basis @ other.T, 2) for other in bases]
    return found


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis (k, n_times) of what rows (m, n_times) span; average-referenced ones span less than m."""
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    return basis[sizes > 1e-6 * sizes[0]]


def task_related_filters(means: np.ndarray, signals: np.ndarray, n_filters: int = 1) -> np.ndarray:
    """Spatial filters (n_chans, n_filters) that make class means largest over all activity.

    Task-related components (Nakanishi et al. 2018, section II.D), one set of filters for all classes together: with few
    trials of a class its own filter is noise.

    Args:
        means: (n_classes, n_chans, n_times), without their mean over time.
        signals: (n, n_chans, n_times), the training windows they are means of.
    """
    from scipy.linalg import eigh

    locked, total = (np.einsum("nct,ndt->cd", x, x) / len(x) for x in (means, signals))
    ridge = RIDGE * np.trace(total) / len(total) * np.eye(len(total))
    return eigh(locked, total + ridge)[1][:, : -n_filters - 1 : -1]
