"""Which columns of a file are EEG at known electrodes; every other one is left out with its reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.signals.montage import EARS, canonical_name, channel_kind, derivation, electrode_positions


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The EEG columns of a file: `index` into its columns, our names, positions, and why the rest is left out.

    `positions` is float32 (n, 3), or (n, 6) where a column is a bipolar derivation (`electrodes` in montage.py).
    """

    index: tuple[int, ...]
    ch_names: tuple[str, ...]
    positions: np.ndarray
    left_out: dict[str, str]
    name_map: dict[str, str]


def _reason(name: str, known: bool, given: str | None) -> str | None:
    if given is not None:
        return given
    if (kind := channel_kind(name)) != "eeg":
        return f"{kind}, not EEG"
    if (pair := derivation(name)) and EARS.issuperset(pair):
        return "one ear against the other, no electrode on the scalp"
    return None if known else "no known position"


def _placed(names: Sequence[str], positions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 6) of columns, anode and cathode, from the file and else by name; and which are known."""
    by_name = electrode_positions(names)
    places = np.full((len(names), 6), np.nan, np.float32)
    places[:, : by_name.shape[1]] = by_name
    single = np.array([derivation(name) is None for name in names], bool)
    if positions is not None:
        # mne gives a derivation the position of its anode: it is no electrode, and is placed by its two names
        from_file = single & np.isfinite(positions).all(axis=1)
        places[from_file, :3] = positions[from_file]
    return places, np.isfinite(places[:, :3]).all(axis=1) & (single | np.isfinite(places[:, 3:]).all(axis=1))


def copied_columns(names: Sequence[str], samples: Callable[[int], np.ndarray]) -> dict[str, str]:
    """Columns that mean the same electrodes as an earlier one and hold its very samples, with that reason.

    CHB-MIT has T8-P8 twice; left out as copies, such columns are no electrode that is there twice.
    """
    first: dict[str, int] = {}
    copies = {}
    for i, name in enumerate(names):
        earlier = first.setdefault(canonical_name(name), i)
        if earlier != i and np.array_equal(samples(earlier), samples(i), equal_nan=True):
            copies[name] = f"a copy of {names[earlier]}"
    return copies


def without_labels(left_out: Mapping[str, str]) -> dict[str, str]:
    """As `left_out`, fit to be stored: what a recorder calls a column that is no electrode is free text.

    >>> without_labels({"T7": "marked bad in the file", "ECG Anna": "ecg, not EEG"})
    {'T7': 'marked bad in the file', 'column 1': 'ecg, not EEG'}
    """
    known = np.isfinite(electrode_positions(list(left_out))[:, :3]).all(axis=1)
    numbers = np.cumsum(~known)
    named = zip(left_out.items(), known, numbers, strict=True)
    return {name if is_known else f"column {number}": why for (name, why), is_known, number in named}


def eeg_columns(
    names: Sequence[str], source: str, *, positions: np.ndarray | None = None, reasons: dict[str, str] | None = None
) -> Columns:
    """Choose the EEG columns of `source` by name: single electrodes, and derivations of two (`Fp1-F7`).

    Args:
        names: the file's own column names.
        source: the file, for messages.
        positions: float (n, 3) in head radii from the file itself; a NaN row means: look the name up.
        reasons: columns that the caller already knows to be no EEG, with the reason.

    Raises:
        DataError: two columns are the same electrode or derivation, or no column is EEG with a known position.
    """
    places, known = _placed(names, positions)
    why = [_reason(name, bool(known[i]), (reasons or {}).get(name)) for i, name in enumerate(names)]
    index = tuple(i for i, reason in enumerate(why) if reason is None)
    if not index:
        raise DataError(
            f"{source}: none of its {len(names)} columns is EEG with a known electrode position; "
            f"found {', '.join(names)}; expected 10-05 names such as Fp1 or Cz, derivations such as Fp1-F7, "
            "GSN-HydroCel E1 ... or BioSemi A1 ...; rename the columns, or put positions into the file"
        )
    ch_names = tuple(canonical_name(names[i]) for i in index)
    if twice := {name for name in ch_names if ch_names.count(name) > 1}:
        columns = [names[i] for i, name in zip(index, ch_names, strict=True) if name in twice]
        raise DataError(
            f"{source}: columns {', '.join(columns)} all mean {', '.join(sorted(twice))}; expected each electrode and "
            "each derivation once; remove or rename the extra columns"
        )
    chosen = places[list(index)]
    return Columns(
        index=index,
        ch_names=ch_names,
        positions=chosen if np.isfinite(chosen[:, 3:]).any() else chosen[:, :3],
        left_out={name: reason for name, reason in zip(names, why, strict=True) if reason is not None},
        name_map={names[i]: ours for i, ours in zip(index, ch_names, strict=True)},
    )
