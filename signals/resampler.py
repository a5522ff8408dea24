"""Resampling while a recording runs, by a rational ratio and a linear-phase filter."""

import numpy as np

from neuroleon.signals.preprocess import _ratio

STOP_BAND_DB = 60.0
_DAY_S = 86_400  # there is no last sample yet that could tell how far a ratio may be off


class Resampler:
    """Rational resampling by a linear-phase FIR filter; the sample at time t needs those of the device up to t."""

    def __init__(self, sfreq: float, sfreq_out: float, top_hz: float) -> None:
        from scipy.signal import firwin, kaiserord

        self.ratio = _ratio(sfreq, sfreq_out, round(sfreq * _DAY_S))
        up, rate, lower = self.ratio.numerator, self.ratio.numerator * sfreq, min(sfreq, sfreq_out)
        kernel = np.ones(1)
        if self.ratio != 1:  # the band itself passes, and what would fold into it does not
            n_taps, beta = kaiserord(STOP_BAND_DB, (lower - 2 * top_hz) / (rate / 2))
            kernel = up * firwin(n_taps | 1, lower / 2, window=("kaiser", beta), fs=rate)
        self.delay_s = (len(kernel) - 1) / 2 / rate
        width = -(-len(kernel) // up)
        self._taps = np.pad(kernel, (0, width * up - len(kernel))).reshape(width, up)
        self._tail: np.ndarray | None = None  # the last samples before the next chunk, and whether they were lost
        self._lost = np.zeros(width - 1, np.int64)
        self._n_in = self._n_out = 0

    def push(self, signal: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n_chans, n), (n,) -> all samples that are due; a sample is valid where all that it is made of are."""
        width, n_before = len(self._taps), len(self._taps) - 1
        before = np.zeros((len(signal), n_before)) if self._tail is None else self._tail  # a band-pass rests at 0
        signal, lost = np.concatenate([before, signal], axis=1), np.concatenate([self._lost, ~valid])
        oldest = self._n_in - n_before
        self._n_in += len(valid)
        # how many are due; Python's integers, for the product of a day of samples may be large
        stop = -(-self._n_in * self.ratio.numerator // self.ratio.denominator)
        newest, phase = np.divmod(np.arange(self._n_out, stop) * self.ratio.denominator, self.ratio.numerator)
        result, n_lost = np.zeros((len(signal), len(newest))), np.zeros(len(newest), np.int64)
        for j in range(width if len(newest) else 0):  # not one product of matrices, whose sums have no fixed order
            result += self._taps[j, phase] * signal[:, newest - oldest - j]
            n_lost += lost[newest - oldest - j]
        self._n_out = stop
        self._tail, self._lost = signal[:, signal.shape[1] - n_before :], lost[len(lost) - n_before :]
        return result, n_lost == 0
