"""Which windows the EEG tokenizer takes, and which of them fit into one tensor."""

from collections.abc import Sequence

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.signals.background import TOP_HZ
from neuroleon.signals.window import Window

SHORTEST_S = 0.25
LONGEST_S = 16.0  # after which a step's position in the window repeats


def check_window(window: Window, sfreq: float) -> None:
    """Refuse what cannot be tokenized.

    Raises:
        DataError: another rate, too short or too long, no channel, an unknown position, a value that is not finite, or
            a background that is not 45 finite numbers.
    """
    n_chans, n_times = window.eeg_uV.shape
    if window.sfreq != sfreq:
        raise DataError(f"window: {window.sfreq} Hz, the EEG tokenizer takes {sfreq} Hz; preprocess it first")
    if not SHORTEST_S <= n_times / window.sfreq <= LONGEST_S:
        raise DataError(
            f"window: {n_times / window.sfreq:g} s; the EEG tokenizer takes {SHORTEST_S:g} to {LONGEST_S:g} s at a "
            "time; cut it, or give the whole recording to `encode`"
        )
    if n_chans != len(window.ch_names):
        raise DataError(f"window: {n_chans} channels and {len(window.ch_names)} names; expected one for each")
    check_positions(window.positions, window.ch_names)
    if not (np.isfinite(window.eeg_uV).all() and 0 < window.scale_uV < np.inf):
        raise DataError("window: holds NaN or infinite values, or a scale that is not positive; reject it")
    if (found := window.background) is not None and (len(found) != TOP_HZ or not np.isfinite(found).all()):
        raise DataError(
            f"window: a background of {len(found)} numbers; expected {TOP_HZ} finite ones, at 1 to {TOP_HZ} Hz, as "
            "preprocessing measures them; leave it out where it is not known"
        )


def check_positions(positions: np.ndarray, ch_names: Sequence[str]) -> None:
    """Refuse electrodes whose places are not known.

    Raises:
        DataError: positions that are not one for each name, or not finite.
    """
    if not ch_names or positions.shape not in {(len(ch_names), 3), (len(ch_names), 6)}:
        raise DataError(
            f"EEG: {len(ch_names)} channels with positions {positions.shape}; expected one or more, (channels, 3), or "
            "(channels, 6) for bipolar derivations"
        )
    if unknown := [name for name, place in zip(ch_names, positions, strict=True) if not np.isfinite(place[:3]).all()]:
        raise DataError(f"EEG: no known position for {', '.join(unknown)}; leave these channels out")


def same_shape(batch: Sequence[Window]) -> list[list[int]]:
    """Indices of windows grouped by (channels, samples), so that each group is one tensor without padding."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, window in enumerate(batch):
        groups.setdefault(window.eeg_uV.shape, []).append(index)
    return list(groups.values())
