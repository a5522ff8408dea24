"""From a recording in microvolts to the signal that tokenizers read: filtered, 200 Hz, no bad channels, referenced.

One frozen setting, with a fingerprint: shards, tokenizers and model folders carry it, so that a model meets at use the
signal that it met in training.
"""

from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any, Literal, Self

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import sha256_json
from neuroleon.signals.background import background_of
from neuroleon.signals.montage import electrodes
from neuroleon.signals.plausibility import PLAUSIBLE, alike, excerpt, pieces, robust_scale, saturated_channels
from neuroleon.signals.recording import Recording

VERSION = 2
_LINES_HZ = (50.0, 60.0, 100.0, 120.0)
_LINE_OVER_FLOOR = 10.0  # power in the line's bin over the median of the bins 2 to 6 Hz away
_LINE_SMOOTHING_S = 0.25
_LOUD_MADS = 6.0
_SMALLEST_MAD = 0.3  # of natural log power: with a few alike channels a factor of 6 is still no fault
_SMALLEST_FAST_MAD = 0.5  # above 2/3 of the upper edge, where muscles make the difference: a factor of 20 is no fault
_FEWEST_TO_COMPARE = 4  # channels; fewer give neither an average reference nor an outlier
# 80 dB, where the usual 50 let a drift of 10 mV through as 3 uV of other frequencies
_ANTI_ALIAS = ("kaiser", 8.0)


@dataclass(frozen=True)
class Preprocessed:
    """A recording after `Preprocess.apply`: microvolts at `sfreq`, its robust scale, its background spectrum where it
    is long enough to have one, and all that was decided."""

    recording: Recording
    scale_uV: float
    background: tuple[float, ...] | None
    bad_channels: dict[str, str]  # channel -> why it is not in the recording
    notes: tuple[str, ...]
    notch_hz: tuple[float, ...]
    band_hz: tuple[float, float]
    reference: Literal["average", "none"]  # `none`: as recorded


def _ratio(sfreq_in: float, sfreq_out: float, n_times: int) -> Fraction:
    """The resampling ratio as the simplest fraction that drifts by less than half a sample over the recording."""
    exact = sfreq_out / sfreq_in
    for largest in (1_000, 10_000, 100_000):
        ratio = Fraction(exact).limit_denominator(largest)
        if abs(float(ratio) - exact) * n_times < 0.5:
            return ratio
    raise DataError(f"{sfreq_in!r} Hz has no simple ratio to {sfreq_out:g} Hz; resample the recording first")


def _find_lines(recording: Recording, below_hz: float) -> tuple[float, ...]:
    """Power-line frequencies that stand out of the spectrum (median over channels, mean over pieces)."""
    from scipy.signal import welch

    eeg_uV, sfreq, spans = recording.eeg_uV, recording.sfreq, pieces(recording.n_times, recording.boundaries)
    long_enough = [(start, stop) for start, stop in spans if stop - start >= sfreq]
    if not long_enough:
        return ()
    segment = min(int(2 * sfreq), *(stop - start for start, stop in long_enough))
    spectra = [welch(eeg_uV[:, a:b], sfreq, nperseg=segment) for a, b in long_enough]
    frequencies, power = spectra[0][0], np.mean([np.median(p, axis=0) for _, p in spectra], axis=0)
    found = []
    for line in _LINES_HZ:
        distance = np.abs(frequencies - line)
        around = power[(distance > 2) & (distance <= 6)]
        if line < below_hz and around.size and power[distance <= 1].max() > _LINE_OVER_FLOOR * np.median(around):
            found.append(line)
    return tuple(found)


def _without_line(eeg_uV: np.ndarray, sfreq: float, line_hz: float) -> np.ndarray:
    """Subtract the sine at `line_hz` whose amplitude and phase change slowly (complex demodulation, 0.6 Hz wide).

    Unlike mne's notch filters it does not ring at the ends of a piece: of a hum of 60 uV they left up to 80 uV there.
    """
    from scipy.signal import oaconvolve
    from scipy.signal.windows import gaussian

    width = _LINE_SMOOTHING_S * sfreq
    kernel = gaussian(2 * round(4 * width) + 1, width)[None]
    n_times = eeg_uV.shape[1]
    carrier = np.exp(2j * np.pi * line_hz / sfreq * np.arange(n_times))
    weight = oaconvolve(np.ones((1, n_times)), kernel, mode="same", axes=1)
    amplitude = oaconvolve(eeg_uV * carrier.conj(), kernel, mode="same", axes=1) / weight
    return eeg_uV - 2 * (amplitude * carrier).real


def referential(positions: np.ndarray) -> np.ndarray:
    """Channels, bool (n_chans,), that are measured against the common reference, not against another electrode."""
    return electrodes(positions)[:, 6] == 0


def _detrended(eeg_uV: np.ndarray) -> np.ndarray:
    """Without the straight line of least squares, row by row."""
    time = np.arange(eeg_uV.shape[1]) - (eeg_uV.shape[1] - 1) / 2
    slope = eeg_uV @ time / max(time @ time, 1.0)
    return eeg_uV - eeg_uV.mean(axis=1, keepdims=True) - slope[:, None] * time


def _filter(
    eeg_uV: np.ndarray, edges: list[int], sfreq: float, band: tuple[float, float], notch: tuple[float, ...]
) -> None:
    """Detrend, notch and band-pass each piece in place, zero phase.

    Butterworth: FIR filters need longer pieces than trials.
    """
    from mne.filter import create_filter, filter_data

    iir = {"order": 4, "ftype": "butter", "output": "sos"}
    design = create_filter(None, sfreq, *band, method="iir", iir_params=iir, verbose="ERROR")
    for start, stop in pairwise(edges):
        signal = _detrended(eeg_uV[:, start:stop])
        for line_hz in notch:
            signal = _without_line(signal, sfreq, line_hz)
        eeg_uV[:, start:stop] = signal
    for group in alike(list(pairwise(edges))):
        together = np.stack([eeg_uV[:, start:stop] for start, stop in group])
        filter_data(together, sfreq, *band, method="iir", iir_params=design, copy=False, verbose="ERROR")
        for (start, stop), signal in zip(group, together, strict=True):
            eeg_uV[:, start:stop] = signal


def _deviation(power: np.ndarray) -> np.ndarray:
    """Natural log power of each channel over that of the middle one."""
    log_power = np.log(np.maximum(power, np.finfo(float).tiny))
    return log_power - np.median(log_power)


def _spread(deviation: np.ndarray, least: float) -> float:
    return max(float(np.median(np.abs(deviation))), least)


def _loud(eeg_uV: np.ndarray, sfreq: float, band: tuple[float, float]) -> np.ndarray:
    """Channels whose log power is far from the others', or far above theirs in the fastest third of the band.

    Where blinks and drifts make the channels differ, only the fast part shows white noise and hum.
    """
    from scipy.signal import welch

    if len(eeg_uV) < _FEWEST_TO_COMPARE:
        return np.zeros(len(eeg_uV), bool)
    frequencies, spectrum = welch(eeg_uV, sfreq, nperseg=min(round(sfreq), eeg_uV.shape[1]))
    fast = spectrum[:, frequencies >= 2 / 3 * band[1]].sum(axis=1)
    all_over, above = (_deviation(power) for power in (eeg_uV.var(axis=1), fast))
    return (np.abs(all_over) > _LOUD_MADS * _spread(all_over, _SMALLEST_MAD)) | (
        above > _LOUD_MADS * _spread(above, _SMALLEST_FAST_MAD)
    )


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The signal front-end of all stages.

    The upper edge is lowered to 0.4 times the recording's rate. `notch="auto"` removes a power line that stands out of
    the spectrum, where the band-pass alone would leave some of it (below twice the upper edge). `reference="average"`
    needs four good channels against a common reference, else the recording stays as it is referenced; bipolar
    derivations always do. Windows are clipped at `clip` robust scales by those who write them.
    """

    version: int = VERSION
    low_hz: float = 0.5
    high_hz: float = 45.0
    notch: Literal["auto", "none"] = "auto"
    sfreq: float = 200.0
    reference: Literal["average", "none"] = "average"
    clip: float = 15.0

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ConfigError(
                f"preprocess version {self.version}, this program has {VERSION}; use the program that made it"
            )
        if not 0 < self.low_hz < self.high_hz < self.sfreq / 2:
            raise ConfigError(
                f"preprocess: 0 < low_hz {self.low_hz:g} < high_hz {self.high_hz:g} < {self.sfreq / 2:g} Hz fails"
            )
        if self.notch not in {"auto", "none"} or self.reference not in {"average", "none"} or not self.clip > 0:
            raise ConfigError(
                f"preprocess: notch {self.notch!r}, reference {self.reference!r}, clip {self.clip!r}; expected auto or "
                "none, average or none, and a positive number"
            )

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON-able dict, whole numbers as floats: `45` and `45.0` are the same setting."""
        return {k: float(v) if isinstance(v, int) and k != "version" else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ConfigError: a field is missing, unknown or out of range.
        """
        expected = {field.name for field in fields(cls)}
        if value.keys() != expected:
            raise ConfigError(f"preprocess: fields {sorted(value)}, expected {sorted(expected)}")
        return cls(**value)

    @property
    def fingerprint(self) -> str:
        """sha256 of the settings."""
        return sha256_json(self.to_json())

    def apply(self, recording: Recording) -> Preprocessed:
        """Filter, resample, drop bad channels, reference and measure. Events and boundaries keep their times.

        Raises:
            DataError: most channels hold NaN or infinity, or no signal is left.
        """
        finite = np.isfinite(recording.eeg_uV).all(axis=1)
        if finite.sum() * 2 < len(finite):
            raise DataError(
                f"{recording.name}: {(~finite).sum()} of {len(finite)} channels hold NaN or infinity; cut out the gaps"
            )
        band = (self.low_hz, min(self.high_hz, 0.4 * recording.sfreq))
        cleaned, notch_hz = self._resample_and_filter(recording, finite, band)
        suspects = self._suspects(replace(recording, eeg_uV=recording.eeg_uV[finite]), cleaned, band)
        suspects = {int(np.flatnonzero(finite)[i]): why for i, why in suspects.items()}
        bad = dict.fromkeys(np.flatnonzero(~finite).tolist(), "holds NaN or infinity")
        notes = []
        if (len(bad) + len(suspects)) * 2 > len(finite):
            names = ", ".join(recording.ch_names[i] for i in suspects)
            notes.append(f"kept {names}, which look bad: without them less than half of the channels would be left")
        else:
            bad |= suspects
        keep = [i for i in range(len(finite)) if i not in bad]
        signal = cleaned.eeg_uV[[i not in bad for i in np.flatnonzero(finite)]]
        against_common = referential(recording.positions[keep])
        reference = self.reference if against_common.sum() >= _FEWEST_TO_COMPARE else "none"
        if reference == "average":
            signal[against_common] -= signal[against_common].mean(axis=0)
        if not against_common.all():
            notes.append("bipolar derivations stay as they are, without the average reference")
        scale_uV = robust_scale(signal)
        if not scale_uV > 0:
            raise DataError(f"{recording.name}: nothing is left between {band[0]:g} and {band[1]:g} Hz; is this EEG?")
        result = replace(
            recording,
            eeg_uV=signal.astype(np.float32),
            ch_names=tuple(recording.ch_names[i] for i in keep),
            positions=recording.positions[keep],
            sfreq=cleaned.sfreq,
            boundaries=cleaned.boundaries,
        )
        return Preprocessed(
            recording=result,
            scale_uV=scale_uV,
            background=background_of(result.eeg_uV, result.sfreq, result.boundaries),
            bad_channels={recording.ch_names[i]: why for i, why in sorted(bad.items())},
            notes=tuple(notes),
            notch_hz=notch_hz,
            band_hz=band,
            reference=reference,
        )

    @staticmethod
    def _suspects(recording: Recording, cleaned: Recording, band: tuple[float, float]) -> dict[int, str]:
        """Channels, by their row, that look bad in the recording as it came or in its filtered signal, and why."""
        flat = recording.eeg_uV.std(axis=1) < PLAUSIBLE.flat_std_uV
        saturated = saturated_channels(recording) & ~flat
        alive = np.flatnonzero(~flat & ~saturated)
        loud = alive[_loud(excerpt(cleaned).eeg_uV[alive], cleaned.sfreq, band)]
        found = {"flat": np.flatnonzero(flat), "saturated": np.flatnonzero(saturated)}
        found["its power is far from the other channels'"] = loud
        return {row: why for why, rows in found.items() for row in rows.tolist()}

    def _resample_and_filter(
        self, recording: Recording, rows: np.ndarray, band: tuple[float, float]
    ) -> tuple[Recording, tuple[float, ...]]:
        """The chosen rows at our rate, filtered there, and the power lines that were removed."""
        from scipy.signal import resample_poly

        spans = pieces(recording.n_times, recording.boundaries)
        ratio = _ratio(recording.sfreq, self.sfreq, recording.n_times)
        # a piece starts at the sample nearest to its time, so that rounding does not add up over many pieces; halves go
        # up, so that no piece needs more samples than resampling gives
        edges = [floor(edge * ratio + Fraction(1, 2)) for edge in (0, *recording.boundaries, recording.n_times)]
        eeg_uV = np.empty((rows.sum(), edges[-1]))
        places = dict(zip(spans, pairwise(edges), strict=True))
        for group in alike(spans):
            together = np.stack([recording.eeg_uV[rows, start:stop] for start, stop in group]).astype(np.float64)
            if ratio != 1:
                together = resample_poly(
                    together, ratio.numerator, ratio.denominator, axis=-1, padtype="line", window=_ANTI_ALIAS
                )
            for (first, end), piece in zip((places[span] for span in group), together, strict=True):
                eeg_uV[:, first:end] = piece[:, : end - first]
        at_our_rate = replace(recording, eeg_uV=eeg_uV, sfreq=self.sfreq, boundaries=tuple(edges[1:-1]))
        below_hz = min(2 * band[1], 0.45 * recording.sfreq, 0.45 * self.sfreq)
        notch = _find_lines(excerpt(at_our_rate), below_hz) if self.notch == "auto" else ()
        _filter(eeg_uV, edges, self.sfreq, band, notch)
        return at_our_rate, notch
