"""What must not change the ids, and what may change them little: order, unit, lost channels, the recording's rate.

Channels that were dropped are also estimated from the ids of the others, beside mne's spherical splines (Perrin et al.
1989), which any lab has.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, log

import numpy as np

from neuroleon.common.seed import generator
from neuroleon.evaluation.eeg.fidelity import mean_correlation
from neuroleon.evaluation.metrics import nmse
from neuroleon.evaluation.stats import Estimate
from neuroleon.evaluation.tokenizers import over_windows
from neuroleon.signals.montage import HEAD_RADIUS_M
from neuroleon.signals.preprocess import Preprocessed
from neuroleon.signals.recording import Recording
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.recordings import stretch
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, EEGTokens

DROPPED_SHARE = 0.25
DRAWS = 5
FILLERS = ("tokenizer", "splines")
FACTORS = (10.0, 1000.0)  # from uV to another unit
SOURCE_HZ = 500.0
SOURCE_WINDOW_S = 4.0
FEWEST_TO_DROP_FROM = 4


@dataclass(frozen=True, kw_only=True)
class FilledIn:
    """How near dropped channels are estimated, by the tokenizer or by splines."""

    nmse: Estimate
    correlation: Estimate


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Shares of ids that stay, on one set.

    `dropped` is the agreement of the first id of each step after a quarter of the channels is gone; it and `filled` are
    None for sets with fewer than four channels (or bipolar ones, for the splines). `units` is, per factor, the share of
    ids that stay, and whether every scale token moved as far as the factor says (or to the outermost bin).
    """

    recipe: str
    n_windows: int
    permuted: float
    units: dict[str, tuple[float, bool]]
    dropped: Estimate | None
    filled: dict[str, FilledIn]


def robustness(
    tokenizer: EEGTokenizer, recipe: str, windows: Sequence[Window], clusters: np.ndarray, seed: int
) -> Robustness:
    """Measure one set; the tokenizer is asked for every level that it has in use."""
    whole = tokenizer.encode_windows(list(windows))
    rng = generator("permuted", seed, recipe)
    permuted = tokenizer.encode_windows([_permuted(window, rng) for window in windows])
    agreement, filled = _dropped(tokenizer, windows, whole, seed)
    several = np.isfinite(agreement).sum() > 1
    return Robustness(
        recipe=recipe,
        n_windows=len(windows),
        permuted=_same_ids(whole, permuted),
        units={f"x{factor:g}": _in_unit(tokenizer, windows, whole, factor) for factor in FACTORS},
        dropped=over_windows(agreement, clusters, seed) if several else None,
        filled={
            name: FilledIn(
                nmse=over_windows(rows[:, 0], clusters, seed), correlation=over_windows(rows[:, 1], clusters, seed)
            )
            for name, rows in filled.items()
            if np.isfinite(rows).all(axis=1).sum() > 1
        },
    )


def _permuted(window: Window, rng: np.random.Generator) -> Window:
    order = rng.permutation(len(window.ch_names))
    return replace(
        window,
        eeg_uV=window.eeg_uV[order],
        positions=window.positions[order],
        ch_names=tuple(window.ch_names[i] for i in order),
    )


def _same_ids(first: Sequence[EEGTokens], second: Sequence[EEGTokens]) -> float:
    """Share of ids, of all levels, that are equal."""
    return float(np.mean(np.concatenate([a.ids == b.ids for a, b in zip(first, second, strict=True)])))


def _in_unit(
    tokenizer: EEGTokenizer, windows: Sequence[Window], whole: Sequence[EEGTokens], factor: float
) -> tuple[float, bool]:
    """Share of ids that stay when all numbers are `factor` times as large, and whether every scale token is right."""
    other = tokenizer.encode_windows(
        [replace(w, eeg_uV=w.eeg_uV * np.float32(factor), scale_uV=w.scale_uV * factor) for w in windows]
    )
    moved = all(
        b.scale == _bin_after(tokenizer, w.scale_uV, factor) for w, b in zip(windows, other, strict=True)
    )  # fmt: skip
    return _same_ids(whole, other), moved


def _bin_after(tokenizer: EEGTokenizer, scale_uV: float, factor: float) -> int:
    """The bin by arithmetic of its own: bins are equal steps of log amplitude, and the outer ones are open."""
    config = tokenizer.config
    per_octave = config.scale_bins / log(config.scale_max_uV / config.scale_min_uV)
    place = floor((log(scale_uV / config.scale_min_uV) + log(factor)) * per_octave)
    return min(max(place, 0), config.scale_bins - 1)


def first_ids(tokenizer: EEGTokenizer, tokens: EEGTokens) -> np.ndarray:
    """The first id of each step (n_steps,)."""
    return tokens.ids[:: tokenizer.tokens_per_step]


def _dropped(
    tokenizer: EEGTokenizer, windows: Sequence[Window], whole: Sequence[EEGTokens], seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Agreement of each window (n,), and NMSE and correlation of its dropped channels (n, 2): means over the draws.

    NaN where a window has too few channels. Draws are shared by the windows of one montage.
    """
    agreement = np.full((DRAWS, len(windows)), np.nan)
    filled = {name: np.full((DRAWS, len(windows), 2), np.nan) for name in FILLERS}
    for members in _montages(windows):
        first = windows[members[0]]
        n_chans = len(first.ch_names)
        if n_chans < FEWEST_TO_DROP_FROM:
            continue
        for draw in range(DRAWS):
            order = generator("dropped", seed, draw, *first.ch_names).permutation(n_chans)
            gone = np.sort(order[: max(1, round(DROPPED_SHARE * n_chans))])
            kept = [without(windows[i], gone) for i in members]
            tokens = tokenizer.encode_windows(kept)
            for i, found in zip(members, tokens, strict=True):
                agreement[draw, i] = np.mean(first_ids(tokenizer, found) == first_ids(tokenizer, whole[i]))
            restored = tokenizer.decode_windows(tokens, first.positions, first.ch_names)
            estimates = {"tokenizer": np.stack([window.eeg_uV for window in restored])}
            if first.positions.shape[1] == 3:
                estimates["splines"] = _by_splines(np.stack([windows[i].eeg_uV for i in members]), first, gone)
            for name, estimate in estimates.items():
                for i, found in zip(members, estimate, strict=True):
                    filled[name][draw, i] = _nearness(windows[i], found, gone)
    return agreement.mean(axis=0), {name: values.mean(axis=0) for name, values in filled.items()}


def _montages(windows: Sequence[Window]) -> list[list[int]]:
    """Indices of windows of one montage, length and reference."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, window in enumerate(windows):
        groups[window.ch_names, window.positions.tobytes(), window.eeg_uV.shape, window.averaged].append(i)
    return list(groups.values())


def without(window: Window, gone: np.ndarray) -> Window:
    """The window without channels; where it is average-referenced, referenced to those that are left.

    Without that the lost channels would be there still: minus the sum of the others.
    """
    eeg_uV = np.delete(window.eeg_uV, gone, axis=0)
    return replace(
        window,
        eeg_uV=eeg_uV - eeg_uV.mean(axis=0) if window.averaged else eeg_uV,
        positions=np.delete(window.positions, gone, axis=0),
        ch_names=tuple(np.delete(window.ch_names, gone).tolist()),
    )


def _nearness(window: Window, estimate: np.ndarray, gone: np.ndarray) -> tuple[float, float]:
    """NMSE and correlation at the dropped channels, in the reference of the whole window."""
    if window.averaged:
        estimate = estimate - estimate.mean(axis=0)
    true = window.eeg_uV[gone]
    return nmse(true, estimate[gone]), mean_correlation(true, estimate[gone])


def _by_splines(eeg_uV: np.ndarray, window: Window, gone: np.ndarray) -> np.ndarray:
    """Windows (n, n_chans, n_times) with the channels `gone` interpolated from the others by mne."""
    import mne

    names = [f"{i}" for i in range(eeg_uV.shape[1])]  # names may be what mne takes for other sensors
    known = eeg_uV.astype(np.float64)
    if window.averaged:
        known -= np.delete(known, gone, axis=1).mean(axis=1, keepdims=True)
    epochs = mne.EpochsArray(known, mne.create_info(names, window.sfreq, "eeg"), verbose="ERROR")
    places = dict(zip(names, window.positions.astype(np.float64) * HEAD_RADIUS_M, strict=True))
    epochs.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    epochs.info["bads"] = [names[i] for i in gone]
    epochs.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="ERROR")
    return np.asarray(epochs.get_data(copy=False))


@dataclass(frozen=True, kw_only=True)
class SourceRate:
    """Ids of one recording made from its samples at 500 Hz and, resampled, at 200 Hz: shares that agree."""

    recording: str
    sfreq: float
    n_steps: int
    first: float
    every: float


def source_rate(tokenizer: EEGTokenizer, recording: Recording) -> SourceRate | None:
    """Compare the ids of a recording as it is with those of a copy at the tokenizer's rate.

    None where the recording is slower than 500 Hz or shorter than one window of 4 s.
    """
    if recording.sfreq < SOURCE_HZ or recording.duration_s < SOURCE_WINDOW_S:
        return None
    from mne.filter import resample

    preprocess, eeg_uV = tokenizer.preprocess, recording.eeg_uV.astype(np.float64)
    down = recording.sfreq / preprocess.sfreq
    copied = resample(eeg_uV, down=down, method="polyphase", verbose="ERROR").astype(np.float32)
    as_is = replace(recording, boundaries=())  # a jump in time is the same jump in both
    fast, slow = (preprocess.apply(r) for r in (as_is, replace(as_is, eeg_uV=copied, sfreq=preprocess.sfreq)))
    both = [name for name in fast.recording.ch_names if name in slow.recording.ch_names]
    size = round(SOURCE_WINDOW_S * preprocess.sfreq)
    n_windows = min(fast.recording.n_times, slow.recording.n_times) // size
    tokens = [tokenizer.encode_windows(_windows(made, both, size, n_windows)) for made in (fast, slow)]
    first = [np.concatenate([first_ids(tokenizer, t) for t in found]) for found in tokens]
    return SourceRate(
        recording=recording.name,
        sfreq=recording.sfreq,
        n_steps=len(first[0]),
        first=float(np.mean(first[0] == first[1])),
        every=_same_ids(*tokens),
    )


def _windows(made: Preprocessed, names: Sequence[str], size: int, n: int) -> list[Window]:
    rows = [made.recording.ch_names.index(name) for name in names]
    whole = (stretch(made, i * size, (i + 1) * size) for i in range(n))
    return [replace(w, eeg_uV=w.eeg_uV[rows], ch_names=tuple(names), positions=w.positions[rows]) for w in whole]


def streaming(tokenizer: EEGTokenizer, windows: Sequence[Window]) -> float:
    """Share of ids of the first three quarters of a window that are the same without the last quarter; 1 if causal."""
    cuts = [window.eeg_uV.shape[1] * 3 // 4 // tokenizer.step_samples * tokenizer.step_samples for window in windows]
    beginnings = tokenizer.encode_windows(
        [replace(window, eeg_uV=window.eeg_uV[:, :cut]) for window, cut in zip(windows, cuts, strict=True)]
    )
    whole = tokenizer.encode_windows(list(windows))
    return float(
        np.mean(np.concatenate([a.ids == b.ids[: len(a.ids)] for a, b in zip(beginnings, whole, strict=True)]))
    )
