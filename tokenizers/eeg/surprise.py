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
    """What the log of `nmse`, at all levels, is for windows of held-out EEG, and how far it goes up.

    The ids of a step are as many for 64 channels as for 4, so more channels come back worse: the log is taken to be
    linear in that of the number of channels, between the fewest and the most there were. The spread is of what lies
    above that line, as if it were the same below: windows with a blink or a drift come back far better than others,
    which says nothing of what is too bad.

    Attributes:
        log_nmse: the median for one channel.
        per_octave: added for twice as many channels.
        spread: standard deviation, from the upper half alone.
        fewest, most: channels.
    """

    log_nmse: float
    per_octave: float
    spread: float
    fewest: int
    most: int

    def __post_init__(self) -> None:
        finite = math.isfinite(self.log_nmse) and math.isfinite(self.per_octave)
        if not (finite and 0 < self.spread < math.inf and 1 <= self.fewest <= self.most):
            raise ConfigError(f"calibration: {self}; expected finite numbers, a positive spread and channels in order")

    @classmethod
    def of(cls, errors: Sequence[float], n_channels: Sequence[int]) -> "Calibration":
        """From the `nmse` of held-out windows and their numbers of channels.

        Raises:
            DataError: fewer than two windows, or all alike.
        """
        logs, octaves = np.log(errors), np.log2(n_channels)
        around = octaves - octaves.mean()
        slope = float(around @ logs / (around @ around)) if len(set(n_channels)) > 1 else 0.0
        rest = logs - slope * octaves
        level = float(np.median(rest))
        above = (rest - level).clip(min=0.0)
        if len(logs) < 2 or not above.any():
            raise DataError(f"calibration: {len(logs)} windows; expected two or more that differ")
        return cls(
            log_nmse=level,
            per_octave=slope,
            spread=float(np.sqrt(2 * np.square(above).mean())),
            fewest=int(min(n_channels)),
            most=int(max(n_channels)),
        )

    def z(self, error: float, n_channels: int) -> float:
        """How many spreads an `nmse` lies above that of held-out EEG of as many channels."""
        octaves = math.log2(min(max(n_channels, self.fewest), self.most))
        return (math.log(error) - self.log_nmse - self.per_octave * octaves) / self.spread


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
