"""Tokens to mne objects, at the electrodes that were recorded or at any others."""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.signals.from_mne import montage_positions
from neuroleon.signals.montage import HEAD_CENTRE_M, HEAD_RADIUS_M, canonical_name, electrode_positions
from neuroleon.signals.preprocess import Preprocessed
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.recordings import WindowTokenizer, stretch
from neuroleon.tokenizers.eeg.surprise import correlations, flag
from neuroleon.tokenizers.eeg.tokens import RecordingTokens

if TYPE_CHECKING:
    from mne import EpochsArray, Info
    from mne.channels import DigMontage
    from mne.io import RawArray


def restored_windows(
    tokenizer: WindowTokenizer, tokens: RecordingTokens, ch_names: tuple[str, ...], positions: np.ndarray
) -> Iterator[tuple[int, Window]]:
    """Each window of a recording decoded at the named electrodes, with its first sample, one after another.

    Raises:
        CheckpointError: the tokens are another tokenizer's.
        DataError: an electrode without a known position.
    """
    if tokens.fingerprint != tokenizer.fingerprint:
        raise CheckpointError(
            f"{tokens.name}: its tokens were made by EEG tokenizer {tokens.fingerprint[:12]}, this one is "
            f"{tokenizer.fingerprint[:12]}; load that one, with the same number of levels"
        )
    for start_s, window in zip(tokens.starts_s, tokens.windows, strict=True):
        start = round((start_s - tokens.tmin_s) * tokens.sfreq)
        yield start, tokenizer.decode_windows([window], positions, ch_names)[0]


def decode(
    tokenizer: WindowTokenizer,
    tokens: RecordingTokens | Sequence[RecordingTokens],
    montage: "str | Sequence[str] | DigMontage | None",
) -> "RawArray | EpochsArray":
    """See `EEGTokenizer.decode`."""
    import mne

    each = [tokens] if isinstance(tokens, RecordingTokens) else list(tokens)
    alike = {(one.n_times, one.tmin_s, one.ch_names if montage is None else ()) for one in each}
    if not each or len(alike) > 1:
        raise DataError(f"decode: {len(each)} epochs of {len(alike)} lengths or channels; expected one kind; give each")
    first = each[0]
    ch_names, positions = electrodes_of(montage) if montage is not None else (first.ch_names, first.positions)
    for line in sorted({flag(one.ood_z) for one in each} - {""}):
        warnings.warn(f"{first.name}: {line}; what is decoded is the tokenizer's guess", stacklevel=3)
    eeg_V = np.zeros((len(each), len(ch_names), first.n_times))
    for row, one in zip(eeg_V, each, strict=True):
        for start, window in restored_windows(tokenizer, one, ch_names, positions):
            row[:, start : start + window.eeg_uV.shape[1]] = window.eeg_uV * 1e-6
    info = _info(first, ch_names, positions)
    if not isinstance(tokens, RecordingTokens):
        return mne.EpochsArray(eeg_V, info, tmin=first.tmin_s, verbose="ERROR")
    raw = mne.io.RawArray(eeg_V[0], info, verbose="ERROR")
    edges_s = [sample / first.sfreq for sample in first.boundaries]
    marks = [(t, 0.0, "EDGE boundary") for t in edges_s]
    marks += [(start, stop - start, "BAD_ACQ_SKIP") for start, stop in first.gaps_s]
    return raw.set_annotations(mne.Annotations(*zip(*marks, strict=True))) if marks else raw


def mean_correlation(tokenizer: WindowTokenizer, made: Preprocessed, tokens: RecordingTokens) -> float:
    """Pearson's between a preprocessed recording and what its tokens give back, mean over windows and channels."""
    each = [
        correlations(stretch(made, start, start + window.eeg_uV.shape[1]), window)
        for start, window in restored_windows(tokenizer, tokens, tokens.ch_names, tokens.positions)
    ]
    return float(np.nanmean(np.concatenate(each)))


def estimated(tokens: RecordingTokens, ch_names: Sequence[str]) -> list[str]:
    """Those of the named electrodes that were not recorded: what is decoded there, the tokenizer estimates."""
    return [name for name in ch_names if canonical_name(name) not in tokens.ch_names]


def _info(tokens: RecordingTokens, ch_names: tuple[str, ...], positions: np.ndarray) -> "Info":
    """Rate, electrodes (metres in mne's head frame; a derivation of two has no place) and what was estimated."""
    import mne

    info = mne.create_info(list(ch_names), tokens.sfreq, "eeg")
    alone = np.isnan(positions[:, 3:]).any(axis=1) if positions.shape[1] == 6 else np.ones(len(positions), bool)
    metres = positions[:, :3].astype(float) * HEAD_RADIUS_M + HEAD_CENTRE_M
    places = {name: place for name, place, single in zip(ch_names, metres, alone, strict=True) if single}
    if places:
        info.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), on_missing="ignore")
    filled_in = ", ".join(estimated(tokens, ch_names)) or "none"
    info["description"] = f"restored by EEG tokenizer {tokens.fingerprint[:12]}; not recorded, estimated: {filled_in}"
    return info


def electrodes_of(montage: "str | Sequence[str] | DigMontage") -> tuple[tuple[str, ...], np.ndarray]:
    """Names and positions (n, 3) in head radii of electrode names, of one of mne's montages by name, or of a montage.

    Electrodes that a montage has under an old and a new name (T3 and T7) come once. Unknown positions are NaN.

    Raises:
        ConfigError: mne has no montage of that name.
        DataError: an electrode that is named twice, or a montage without electrodes on a head.
    """
    if isinstance(montage, Sequence) and not isinstance(montage, str):
        if len(set(montage)) < len(montage) or not montage:
            raise DataError(f"electrodes {', '.join(montage)}: expected one or more, each once")
        return tuple(montage), electrode_positions(montage)
    whole = _builtin_montage(montage) if isinstance(montage, str) else montage
    once = {canonical_name(name): name for name in reversed(whole.ch_names)}.values()
    names = tuple(name for name in whole.ch_names if name in set(once))
    positions = montage_positions(whole, names)
    by_name = electrode_positions(names)
    placed = by_name[:, :3] if positions is None else np.where(np.isnan(positions), by_name[:, :3], positions)
    if np.isnan(placed).all():
        raise DataError(f"montage: its {len(names)} electrodes are not at known places of a head; give electrode names")
    return names, placed


def _builtin_montage(name: str) -> "DigMontage":
    from mne.channels import get_builtin_montages, make_standard_montage

    known = get_builtin_montages()
    renamed = name.replace("standard_", "colin27_")  # by mne 1.13
    name = renamed if renamed in known else name
    if name not in known:
        raise ConfigError(f"montage {name!r}: mne has none of that name; expected one of {', '.join(known)}")
    return make_standard_montage(name)
