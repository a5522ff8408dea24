"""The signal front-end while a recording runs: no sample of what it gives depends on a later sample of the device.

What `Preprocess.apply` reads off the whole recording (bad channels, power lines, reference, scale) is decided on the
first seconds. The result is the same bits however the recording is cut into chunks: every filter runs sample by sample,
and every sum is taken in one order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil, floor
from typing import Literal

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.signals.plausibility import PLAUSIBLE, check_recording, pieces
from neuroleon.signals.preprocess import Preprocess, Preprocessed, referential
from neuroleon.signals.recording import Recording
from neuroleon.signals.resampler import Resampler

CALIBRATION_S = 8.0
SHORTEST_S = 0.25  # of a stretch that something can be decided on
# A causal filter turns the phase of slow waves, the more the higher its order. Median Pearson's r with the zero-phase
# signal, at the best delay, over 13 recordings of five devices (shared/data): order 1 .94, 2 .86, 4 .64.
HIGH_PASS_ORDER = 1
LOW_PASS_ORDER = 4
NOTCH_Q = 30.0
DELAY_AT_HZ = 10.0
_BLOCK_S = 40.0  # of a whole recording, filtered at a time


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What is decided at the start of a stream. That of an earlier session, with the same cap, saves the wait.

    `bad_channels` says of each channel that is left out why; `reference="none"`: as recorded.
    """

    scale_uV: float
    bad_channels: dict[str, str] = field(default_factory=dict)
    notch_hz: tuple[float, ...] = ()
    reference: Literal["average", "none"] = "average"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.scale_uV < np.inf or self.reference not in {"average", "none"}:
            raise ConfigError(
                f"decided: scale_uV {self.scale_uV} and reference {self.reference!r}; expected a positive number of "
                "microvolts, and average or none"
            )


@dataclass(frozen=True, eq=False)
class CausalSignal:
    """A stretch of the result: `eeg_uV` float32 (n_chans, n_times); `valid` bool (n_times,), False where a sample was
    lost, in microvolts 0."""

    eeg_uV: np.ndarray
    valid: np.ndarray


def decide(preprocess: Preprocess, recording: Recording) -> Decided:
    """What `Preprocess.apply` decides on a calibration stretch.

    A channel that lacks half of its values is bad. Samples at which another channel lacks its value are lost, and what
    is left between them counts from 0.25 s on.

    Raises:
        DataError: nothing of 0.25 s is left, or it cannot be EEG in microvolts.
    """
    finite = np.isfinite(recording.eeg_uV)
    working = finite.sum(axis=1) * 2 > recording.n_times
    there = finite[working].all(axis=0)
    edges = {*(np.flatnonzero(np.diff(there)) + 1).tolist(), *recording.boundaries}
    spans = [
        (start, stop)
        for start, stop in pieces(recording.n_times, tuple(sorted(edges)))
        if stop - start >= SHORTEST_S * recording.sfreq and there[start]
    ]
    if not spans:
        raise DataError(
            f"{recording.name}: {recording.duration_s:g} s, in which no {SHORTEST_S:g} s hold finite values; expected "
            "that and better 8 s, from which bad channels and the scale are decided; let the stream run longer"
        )
    lengths = np.cumsum([stop - start for start, stop in spans]).tolist()
    eeg_uV = np.concatenate([recording.eeg_uV[:, start:stop] for start, stop in spans], axis=1)
    stretch = replace(recording, eeg_uV=eeg_uV, boundaries=tuple(lengths[:-1]), events=())
    check_recording(stretch, recording.name)
    made = preprocess.apply(stretch)
    return Decided(
        scale_uV=made.scale_uV,
        bad_channels=made.bad_channels,
        notch_hz=made.notch_hz,
        reference=made.reference,
        notes=made.notes,
    )


class CausalFrontEnd:
    """Samples of a device, chunk by chunk, -> the signal that the tokenizer reads, at the rate of `preprocess`.

    It begins with the first sample of the device: the calibration stretch is kept back, decided on, and then filtered
    like the rest. Steps: notch at the lines found, band-pass 0.5 to 45 Hz, resampling, average reference.

    What happens at time t is in the result `delay_s` later: 26 ms for a device of 240 Hz or more, 34 ms for 160 Hz, 54
    ms for 128 Hz, 9 ms for 200 Hz, which needs no resampling. That is for activity at 10 Hz; the phase of slow waves,
    below 2 Hz, is turned forward.

    A sample at which a channel in use is NaN or infinite is lost, for all channels: the filters hold the sample before
    it, and what they make of it is not valid.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        ch_names: Sequence[str],
        positions: np.ndarray,
        sfreq: float,
        *,
        calibration_s: float = CALIBRATION_S,
        decided: Decided | None = None,
    ) -> None:
        """`positions` as in `Recording`; with `decided` there is no calibration.

        Raises:
            DataError: a rate below 100 Hz, or without a simple ratio to ours.
            ConfigError: a calibration below 0.25 s, or `decided` names other channels.
        """
        if not PLAUSIBLE.lowest_sfreq <= sfreq < np.inf:
            raise DataError(f"stream: {sfreq:g} Hz, expected at least {PLAUSIBLE.lowest_sfreq:g}")
        if not SHORTEST_S <= calibration_s < np.inf:
            raise ConfigError(f"stream: calibration_s {calibration_s:g}; expected at least {SHORTEST_S:g}")
        self.preprocess, self.sfreq, self.decided = preprocess, float(sfreq), decided
        self.band_hz = (preprocess.low_hz, min(preprocess.high_hz, 0.4 * sfreq))
        self._all, self._n_calibration = (tuple(ch_names), positions), calibration_samples(calibration_s, sfreq)
        self._resampler = Resampler(self.sfreq, preprocess.sfreq, self.band_hz[1])
        self._waiting: list[np.ndarray] = []
        self._first: np.ndarray | None = None  # sample that is there, (n_chans, 1): what the filters rest at
        if decided is not None:
            self._begin(decided)

    @property
    def ratio(self) -> Fraction:
        """Samples that it gives for each of the device."""
        return self._resampler.ratio

    @cached_property
    def delay_s(self) -> float:
        """Group delay at 10 Hz, without a notch, which adds less than 1 ms."""
        from scipy.signal import sosfreqz

        around = np.array([DELAY_AT_HZ - 0.1, DELAY_AT_HZ + 0.1])
        _, response = sosfreqz(self._sections(()), around, fs=self.sfreq)
        turned = np.angle(response[1] / response[0])
        return float(self._resampler.delay_s - turned / (2 * np.pi * (around[1] - around[0])))

    def _sections(self, notch_hz: tuple[float, ...]) -> np.ndarray:
        from scipy.signal import butter, iirnotch, tf2sos

        low_hz, high_hz = self.band_hz
        notches = [tf2sos(*iirnotch(line_hz, NOTCH_Q, self.sfreq)) for line_hz in notch_hz]
        high_pass = butter(HIGH_PASS_ORDER, low_hz, "highpass", fs=self.sfreq, output="sos")
        return np.concatenate(
            [*notches, high_pass, butter(LOW_PASS_ORDER, high_hz, "lowpass", fs=self.sfreq, output="sos")]
        )

    def _begin(self, decided: Decided) -> None:
        ch_names, positions = self._all
        if unknown := decided.bad_channels.keys() - set(ch_names):
            raise ConfigError(f"stream: {', '.join(sorted(unknown))} are decided to be bad, but not in the stream")
        self._rows = [i for i, name in enumerate(ch_names) if name not in decided.bad_channels]
        if not self._rows:
            raise ConfigError("stream: every channel is decided to be bad; leave `decided` out")
        self.decided = decided
        self.ch_names, self.positions = tuple(ch_names[i] for i in self._rows), positions[self._rows]
        self._filters = self._sections(decided.notch_hz)
        self._state = np.zeros((len(self._filters), len(self._rows), 2))

    def push(self, eeg_uV: np.ndarray) -> CausalSignal:
        """The next samples (n_chans, n) -> all of the result that is due, (0, 0) until the calibration is over.

        Raises:
            DataError: the calibration stretch cannot be EEG in microvolts.
        """
        if self.decided is not None:
            return self._filtered(eeg_uV)
        self._waiting.append(np.array(eeg_uV))
        if sum(chunk.shape[1] for chunk in self._waiting) < self._n_calibration:
            return CausalSignal(np.zeros((0, 0), np.float32), np.zeros(0, bool))
        return self._calibrated()

    def finish(self) -> CausalSignal:
        """The rest of the result: all of it where the stream ended before the calibration did, else nothing.

        Raises:
            DataError: as `push`, or less than 0.25 s have come.
        """
        if self.decided is not None:
            return self._filtered(np.zeros((len(self._all[0]), 0)))
        self._waiting.append(np.zeros((len(self._all[0]), 0)))
        return self._calibrated()

    def _calibrated(self) -> CausalSignal:
        whole, (ch_names, positions) = np.concatenate(self._waiting, axis=1), self._all
        self._waiting = [whole]
        self._begin(
            decide(
                self.preprocess,
                Recording(whole[:, : self._n_calibration], ch_names, positions, self.sfreq, (), "stream", ""),
            )
        )
        self._waiting = []
        return self._filtered(whole)

    def _filtered(self, eeg_uV: np.ndarray) -> CausalSignal:
        signal, valid = self._resampler.push(*self._band_passed(eeg_uV[self._rows].astype(np.float64)))
        if self.decided is not None and self.decided.reference == "average" and signal.size:
            rows = referential(self.positions)
            # not `mean`, whose order depends on the shape
            signal[rows] -= np.add.accumulate(signal[rows])[-1] / rows.sum()
        signal[:, ~valid] = 0.0
        return CausalSignal(signal.astype(np.float32), valid)

    def _band_passed(self, eeg_uV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from scipy.signal import sosfilt

        valid = np.isfinite(eeg_uV).all(axis=0)
        if self._first is None and valid.any():
            self._first = self._last = eeg_uV[:, [int(valid.argmax())]]
        if self._first is None or not eeg_uV.shape[1]:
            return np.zeros(eeg_uV.shape), valid
        last_there = np.maximum.accumulate(np.where(valid, np.arange(1, len(valid) + 1), 0))
        held = np.concatenate([self._last, eeg_uV], axis=1)[:, last_there]
        self._last = held[:, -1:]
        # less the first sample: filters at rest, so that the offset of a device is no step at the start
        signal, self._state = sosfilt(self._filters, held - self._first, axis=1, zi=self._state)
        return signal, valid


def calibration_samples(calibration_s: float, sfreq: float) -> int:
    """Samples of a device that are waited for."""
    return ceil(calibration_s * sfreq)


def apply_causal(
    preprocess: Preprocess, recording: Recording, calibration_s: float = CALIBRATION_S
) -> tuple[Preprocessed, np.ndarray]:
    """A whole recording as `CausalFrontEnd` gives it, each piece on its own; and which samples are valid, (n_times,).

    Raises:
        DataError: as `CausalFrontEnd`.
    """
    n_first, block = calibration_samples(calibration_s, recording.sfreq), round(_BLOCK_S * recording.sfreq)
    inside = tuple(edge for edge in recording.boundaries if edge < n_first)
    decided = decide(preprocess, replace(recording, eeg_uV=recording.eeg_uV[:, :n_first], boundaries=inside))
    parts: list[CausalSignal] = []
    spans = pieces(recording.n_times, recording.boundaries)
    for start, stop in spans:
        front_end = CausalFrontEnd(
            preprocess, recording.ch_names, recording.positions, recording.sfreq, decided=decided
        )
        blocks = [front_end.push(recording.eeg_uV[:, i : min(i + block, stop)]) for i in range(start, stop, block)]
        parts.append(
            CausalSignal(
                np.concatenate([part.eeg_uV for part in blocks], axis=1),
                np.concatenate([part.valid for part in blocks]),
            )
        )
    # a piece starts at the sample nearest to its time, as in `Preprocess.apply`; the last one keeps all that it has
    edges = [floor(start * front_end.ratio + Fraction(1, 2)) for start, _ in spans]
    lengths = [*(stop - start for start, stop in pairwise(edges)), parts[-1].eeg_uV.shape[1]]
    result = replace(
        recording,
        eeg_uV=np.concatenate([part.eeg_uV[:, :n] for part, n in zip(parts, lengths, strict=True)], axis=1),
        ch_names=front_end.ch_names,
        positions=front_end.positions,
        sfreq=preprocess.sfreq,
        boundaries=tuple(edges[1:]),
    )
    made = Preprocessed(
        recording=result,
        scale_uV=decided.scale_uV,
        background=None,  # what is causal begins before its recording is known
        bad_channels=decided.bad_channels,
        notes=decided.notes,
        notch_hz=decided.notch_hz,
        band_hz=front_end.band_hz,
        reference=decided.reference,
    )
    return made, np.concatenate([part.valid[:n] for part, n in zip(parts, lengths, strict=True)])
