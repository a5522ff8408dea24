"""How well a window is given back; and whether it is EEG, for what cannot be given back is unlike what was learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.signals.window import Window

UNLIKE_EEG_Z = 3.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Mean and standard deviation of the log of `nmse`, at all levels, over windows of held-out EEG."""

    log_nmse_mean: float
    log_nmse_std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.log_nmse_mean) and 0 < self.log_nmse_std < math.inf):
            raise ConfigError(f"calibration: {self}; expected finite numbers and a positive standard deviation")

    @classmethod
    def of(cls, errors: Sequence[float]) -> "Calibration":
        """From the `nmse` of held-out windows.

        Raises:
            DataError: fewer than two windows, or all alike.
        """
        logs = np.log(errors)
        if len(logs) < 2 or not logs.std() > 0:
            raise DataError(f"calibration: {len(logs)} windows; expected two or more that differ")
        return cls(log_nmse_mean=float(logs.mean()), log_nmse_std=float(logs.std(ddof=1)))

    def z(self, error: float) -> float:
        """How many standard deviations an `nmse` lies above those of held-out EEG."""
        return (math.log(error) - self.log_nmse_mean) / self.log_nmse_std


def nmse(window: Window, restored: Window) -> float:
    """Power of the difference over the power of the window; 1 is what a line at zero would have."""
    error, power = (np.square(x, dtype=np.float64).mean() for x in (restored.eeg_uV - window.eeg_uV, window.eeg_uV))
    return float(max(error, 1e-12) / max(power, 1e-12))


def correlations(window: Window, restored: Window) -> np.ndarray:
    """Pearson's, of each channel: (n_chans,); NaN where one of the two is flat."""
    a, b = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in (window.eeg_uV, restored.eeg_uV))
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), size, out=np.full(len(a), np.nan), where=size > 0)


def flag(z: float | None) -> str:
    """A word of warning above `UNLIKE_EEG_Z`, else nothing."""
    return f"unlike EEG (z = {z:.1f})" if z is not None and z > UNLIKE_EEG_Z else ""
