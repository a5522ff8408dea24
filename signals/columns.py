"""Which columns of a file are EEG with a known electrode position; every other one is left out with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.signals.montage import canonical_name, channel_kind, electrode_positions


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The EEG columns of a file: `index` into its columns, our names, positions, and why the rest is left out."""

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
    if known:
        return None
    anode, _, cathode = canonical_name(name).partition("-")
    pair = electrode_positions([anode, cathode]) if cathode else np.array([np.nan])
    return "no known position" if np.isnan(pair).any() else "a difference of two electrodes, not one electrode"


def eeg_columns(
    names: Sequence[str], source: str, *, positions: np.ndarray | None = None, reasons: dict[str, str] | None = None
) -> Columns:
    """Choose the EEG columns of `source` by name.

    Args:
        names: the file's own column names.
        source: the file, for messages.
        positions: float (n, 3) in head radii from the file itself; a NaN row means: look the name up.
        reasons: columns that the caller already knows to be no EEG, with the reason.

    Raises:
        DataError: two columns are the same electrode, or no column is EEG with a known position.
    """
    by_name = electrode_positions(names)
    placed = by_name if positions is None else np.where(np.isnan(positions), by_name, positions).astype(np.float32)
    known = ~np.isnan(placed).any(axis=1)
    why = [_reason(name, bool(known[i]), (reasons or {}).get(name)) for i, name in enumerate(names)]
    index = tuple(i for i, reason in enumerate(why) if reason is None)
    if not index:
        raise DataError(
            f"{source}: none of its {len(names)} columns is EEG with a known electrode position; "
            f"found {', '.join(names)}; expected 10-05 names such as Fp1 or Cz, GSN-HydroCel E1 ... or BioSemi A1 ...; "
            "rename the columns"
        )
    ch_names = tuple(canonical_name(names[i]) for i in index)
    if twice := {name for name in ch_names if ch_names.count(name) > 1}:
        columns = [names[i] for i, name in zip(index, ch_names, strict=True) if name in twice]
        raise DataError(
            f"{source}: columns {', '.join(columns)} all mean {', '.join(sorted(twice))}; expected each electrode "
            "once; remove or rename the extra columns"
        )
    return Columns(
        index=index,
        ch_names=ch_names,
        positions=placed[list(index)],
        left_out={name: reason for name, reason in zip(names, why, strict=True) if reason is not None},
        name_map={names[i]: ours for i, ours in zip(index, ch_names, strict=True)},
    )
