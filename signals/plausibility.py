"""Is this EEG? Gates for whole recordings and for windows, and the way in for recordings whose unit nobody knows."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.signals.recording import Recording, Window

UNKNOWN_UNIT_SCALE_UV = 10.0  # the usual robust scale of scalp EEG after the band-pass
_EXCERPT_S = 4.0
_EXCERPTS = 16
_PIECES_TOGETHER = 64


@dataclass(frozen=True, kw_only=True)
class Plausible:
    """What recordings and windows must satisfy. Amplitudes are microvolts."""

    lowest_median_uV: float = 0.5  # of |x| above 1 Hz
    highest_median_uV: float = 500.0
    lowest_sfreq: float = 100.0  # twice the upper edge of the band, and some room
    flat_std_uV: float = 0.1
    saturated_share: float = 0.05  # of a channel's samples that stand at its largest or smallest value
    largest_uV: float = 1500.0
    channel_share: float = 0.25  # of a window's channels that may be flat


PLAUSIBLE = Plausible()


def pieces(n_times: int, boundaries: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last-plus-one sample of each stretch without a jump in time."""
    return list(pairwise([0, *boundaries, n_times]))


def alike(spans: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Pieces in groups of one length, at most 64 in each, for functions that work row by row on a stack of them.

    scipy and mne design a filter anew in each call: 10 to 20 ms, several times what filtering a short trial takes.
    """
    by_length = defaultdict(list)
    for start, stop in spans:
        by_length[stop - start].append((start, stop))
    for group in by_length.values():
        yield from (group[i : i + _PIECES_TOGETHER] for i in range(0, len(group), _PIECES_TOGETHER))


def excerpt(recording: Recording) -> Recording:
    """At most 16 stretches of 4 s, spread evenly: enough to judge a unit, a power line or a channel by.

    A recording that is not longer comes back as it is; events do not.
    """
    longest = round(_EXCERPT_S * recording.sfreq)
    if recording.n_times <= _EXCERPTS * longest:
        return recording
    edges = pieces(recording.n_times, recording.boundaries)
    spans = [(a, min(a + longest, stop)) for start, stop in edges for a in range(start, stop, longest)]
    picked = [spans[i] for i in np.linspace(0, len(spans) - 1, min(len(spans), _EXCERPTS)).round().astype(int)]
    eeg_uV = np.concatenate([recording.eeg_uV[:, a:b] for a, b in picked], axis=1)
    lengths = np.cumsum([b - a for a, b in picked]).tolist()
    return replace(recording, eeg_uV=eeg_uV, boundaries=tuple(lengths[:-1]), events=())


def high_passed(recording: Recording, cutoff_hz: float = 1.0) -> np.ndarray:
    """The recording without its slow drifts, float64 (n_chans, n_times); each piece is filtered alone.

    Channels with a value that is not finite come back as zeros.
    """
    from scipy.signal import butter, detrend, sosfiltfilt

    sos = butter(2, cutoff_hz, "highpass", fs=recording.sfreq, output="sos")
    finite = np.isfinite(recording.eeg_uV).all(axis=1)
    result = np.where(finite[:, None], recording.eeg_uV, 0.0).astype(np.float64)
    for start, stop in pieces(recording.n_times, recording.boundaries):
        centred = detrend(result[:, start:stop], type="constant")
        pad = min(int(recording.sfreq / cutoff_hz), stop - start - 1)
        result[:, start:stop] = sosfiltfilt(sos, centred, padlen=pad)
    return result


def check_recording(recording: Recording, path: Path | str, limits: Plausible = PLAUSIBLE) -> None:
    """Refuse a recording that cannot be EEG in microvolts. `path` is for the message.

    A few channels that are flat or hold NaN are not refused here: preprocessing masks them and says so.

    Raises:
        DataError: no samples, a rate too low, an electrode twice, most channels not finite, all flat, or
            amplitudes that no EEG in microvolts has.
    """
    if recording.n_times == 0:
        raise DataError(f"{path}: no samples; expected a recording of some seconds")
    if not recording.sfreq >= limits.lowest_sfreq:
        raise DataError(
            f"{path}: {recording.sfreq:g} Hz, expected at least {limits.lowest_sfreq:g}; too slow for EEG to 45 Hz"
        )
    if len(set(recording.ch_names)) < len(recording.ch_names):
        raise DataError(f"{path}: electrode names {', '.join(recording.ch_names)} are not unique; rename the columns")
    finite = np.isfinite(recording.eeg_uV).all(axis=1)
    if finite.sum() * 2 < len(finite):
        broken = [name for name, good in zip(recording.ch_names, finite, strict=True) if not good]
        raise DataError(
            f"{path}: {len(broken)} of {len(finite)} channels ({', '.join(broken[:8])} ...) hold NaN or infinity; "
            "expected finite numbers; cut out or interpolate the gaps"
        )
    part = excerpt(recording)
    alive = finite & (np.ptp(part.eeg_uV, axis=1) > 0)
    if not alive.any():
        raise DataError(f"{path}: every channel is flat; expected EEG; is this the right file?")
    median_uV = float(np.median(np.abs(high_passed(part)[alive])))
    if not limits.lowest_median_uV <= median_uV <= limits.highest_median_uV:
        raise DataError(
            f"{path}: median amplitude above 1 Hz is {median_uV:.3g} uV, expected {limits.lowest_median_uV:g} to "
            f"{limits.highest_median_uV:g}: the unit is wrong; say what the numbers are with `--unit` uV, mV, V or nV"
        )


def reject_reason(window: Window, limits: Plausible = PLAUSIBLE) -> str | None:
    """Why a window is not fit for use: `non-finite`, `too large`, `flat`; None where it is fit."""
    eeg_uV = window.eeg_uV
    if not np.isfinite(eeg_uV).all():
        return "non-finite"
    if np.abs(eeg_uV).max() > limits.largest_uV:
        return "too large"
    flat = eeg_uV.std(axis=1) < limits.flat_std_uV
    return "flat" if flat.mean() > limits.channel_share else None


def saturated_channels(recording: Recording, limits: Plausible = PLAUSIBLE) -> np.ndarray:
    """Channels, bool (n_chans,), that stand at their largest or smallest value for long: clipped, at a rail, or dead.

    Only a recording as it came from the amplifier shows it: filtering moves every sample. Each piece has its own
    extremes; at least three equal samples in a row count, so that a coarse resolution is no saturation.
    """
    standing = np.zeros(len(recording.eeg_uV))
    for start, stop in pieces(recording.n_times, recording.boundaries):
        eeg_uV = recording.eeg_uV[:, start:stop]
        extreme = (eeg_uV == eeg_uV.max(axis=1, keepdims=True)) | (eeg_uV == eeg_uV.min(axis=1, keepdims=True))
        standing += np.count_nonzero(extreme[:, 2:] & extreme[:, 1:-1] & extreme[:, :-2], axis=1)
    return standing >= limits.saturated_share * recording.n_times


def robust_scale(eeg_uV: np.ndarray) -> float:
    """Median over channels of the interquartile range / 1.349: the standard deviation that outliers do not move."""
    low, high = np.percentile(eeg_uV, [25, 75], axis=1)
    return float(np.median(high - low) / 1.349)


def normalise_unknown_unit(recording: Recording) -> Recording:
    """Scale a recording whose unit nobody knows so that its robust scale above 1 Hz is 10 uV; `left_out` says so.

    Raises:
        DataError: the recording is flat.
    """
    scale = robust_scale(high_passed(recording))
    if not scale > 0:
        raise DataError(f"{recording.name}: flat, so its unknown unit cannot be made up for; is this the right file?")
    factor = UNKNOWN_UNIT_SCALE_UV / scale
    note = f"unknown: multiplied by {factor:.4g}, so that the robust scale is {UNKNOWN_UNIT_SCALE_UV:g} uV"
    return replace(
        recording,
        eeg_uV=(recording.eeg_uV * factor).astype(np.float32),
        left_out=recording.left_out | {"(unit)": note},
    )
