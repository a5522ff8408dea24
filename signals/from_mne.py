"""mne objects and plain arrays -> Recording: which columns are EEG, where their electrodes are, where time jumps."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.signals.columns import Columns, copied_columns, eeg_columns
from neuroleon.signals.montage import HEAD_CENTRE_M, HEAD_RADIUS_M, derivation, electrode_positions, file_positions
from neuroleon.signals.recording import Recording

if TYPE_CHECKING:
    from mne import BaseEpochs
    from mne.channels import DigMontage
    from mne.io import BaseRaw

UNITS_UV = {"uV": 1.0, "mV": 1e3, "V": 1e6, "nV": 1e-3}
GAP = "BAD_ACQ_SKIP"  # mne's word for a stretch without data, such as the padding of an EDF's last record
BOUNDARIES = frozenset({"boundary", "bad boundary", "edge boundary"})
STOCK_M = 1e-3  # nearer than measured electrodes come to those of a template
# the last two are spheres; mne 1.13 renamed standard_1005
_STOCK = ("colin27_1005", "standard_1005", "fsaverage_1005", "spherical_1005", "easycap-M1", "biosemi64")
_UNKNOWN = np.full(3, np.nan)
_CHUNK_SAMPLES = 60_000  # read at a time, so that a recording is never in memory twice


def uv_factor(unit: str) -> float:
    """Microvolts per `unit`.

    Raises:
        ConfigError: it is no unit.
    """
    if unit not in UNITS_UV:
        raise ConfigError(f"unit {unit!r} is unknown; expected one of {', '.join(UNITS_UV)}")
    return UNITS_UV[unit]


@cache
def _stock_montages() -> list[dict[str, np.ndarray]]:
    """Electrode name -> metres in the head frame, of those of mne's montages whose names are 10-05 names."""
    from mne.channels import get_builtin_montages, make_standard_montage
    from mne.channels.montage import transform_to_head

    here = [name for name in _STOCK if name in get_builtin_montages()]
    return [transform_to_head(make_standard_montage(name)).get_positions()["ch_pos"] for name in here]


def _told_by_name(names: Sequence[str], metres: np.ndarray) -> np.ndarray:
    """Electrodes, bool (n,), at the place that a stock montage, or ours, has for the name: it says no more than it."""
    by_name = electrode_positions(names)[:, :3]
    stock = [np.array([places.get(name, _UNKNOWN) for name in names]) for places in _stock_montages()]
    stock.append(by_name * HEAD_RADIUS_M + HEAD_CENTRE_M)
    near = [np.linalg.norm(metres - places, axis=1) < STOCK_M for places in stock]
    return np.any(near, axis=0) & np.isfinite(by_name).all(axis=1)


def montage_positions(montage: "DigMontage | None", names: Sequence[str]) -> np.ndarray | None:
    """Positions (n, 3) in head radii of the named electrodes of an mne montage; None where there is no montage.

    NaN where it has none that can be, and where it is a stock montage's, so that the name is looked up: stock montages
    put one and the same name up to 0.4 head radii apart, and the sphere through a few electrodes is not that of a cap.
    """
    from mne.channels.montage import transform_to_head

    if montage is None:
        return None
    in_head = montage.get_positions()["coord_frame"] == "head"
    given = (montage if in_head else transform_to_head(montage)).get_positions()["ch_pos"]
    metres = np.array([given.get(name, _UNKNOWN) for name in names])
    positions = file_positions(names, metres)
    positions[_told_by_name(names, metres)] = np.nan
    return positions


def raw_boundaries(raw: "BaseRaw") -> tuple[int, ...]:
    """Samples at which time jumps: mne's annotations of boundaries, and both ends of stretches without data."""
    sfreq, found = raw.info["sfreq"], set()
    for note in raw.annotations:
        onset_s = float(note["onset"]) - raw.first_time
        if note["description"].lower() in BOUNDARIES:
            found.add(int(np.ceil(onset_s * sfreq - 1e-6)))
        elif note["description"] == GAP:
            found |= {int(np.ceil(t * sfreq - 1e-6)) for t in (onset_s, onset_s + float(note["duration"]))}
    return tuple(sorted(sample for sample in found if 0 < sample < raw.n_times))


def not_eeg(data: "BaseRaw | BaseEpochs") -> dict[str, str]:
    """Columns that an mne object says are no EEG, bad, or a derivation of who knows what; and copies of others."""
    from mne.io.constants import FIFF

    types = data.get_channel_types()
    reasons = {name: f"{kind}, not EEG" for name, kind in zip(data.ch_names, types, strict=True) if kind != "eeg"}
    reasons |= dict.fromkeys(data.info["bads"], "marked bad in the file")
    for channel in data.info["chs"]:  # mne gives a derivation the position of its anode, whatever its name
        if channel["coil_type"] == FIFF.FIFFV_COIL_EEG_BIPOLAR and derivation(channel["ch_name"]) is None:
            reasons[channel["ch_name"]] = "a derivation whose name does not tell its electrodes"
    return copied_columns(data.ch_names, lambda i: data.get_data(picks=[i]).ravel()) | reasons


def mne_columns(
    data: "BaseRaw | BaseEpochs",
    source: str,
    *,
    montage: "DigMontage | None" = None,
    reasons: dict[str, str] | None = None,
) -> Columns:
    """The EEG columns of an mne object: of type `eeg`, not marked bad, at a position of its montage or known by name.

    `montage` stands in place of its own; `reasons` are further columns to leave out, and why.

    Raises:
        DataError: as `eeg_columns`.
    """
    positions = montage_positions(montage or data.get_montage(), data.ch_names)
    return eeg_columns(data.ch_names, source, positions=positions, reasons=not_eeg(data) | (reasons or {}))


def _recording(eeg_uV: np.ndarray, columns: Columns, sfreq: float, name: str, boundaries: tuple[int, ...]) -> Recording:
    return Recording(
        eeg_uV=eeg_uV,
        ch_names=columns.ch_names,
        positions=columns.positions,
        sfreq=sfreq,
        events=(),
        name=name,
        subject="",
        boundaries=boundaries,
        left_out=columns.left_out,
        name_map=columns.name_map,
    )


def raw_recording(raw: "BaseRaw", unit: str = "V") -> Recording:
    """The EEG of an `mne.io.Raw`, without its events; `unit` is what its numbers are.

    Raises:
        DataError: no EEG column whose position is known, or an electrode that is there twice.
        ConfigError: `unit` is no unit.
    """
    factor, files = uv_factor(unit), [file for file in raw.filenames if file is not None]
    name = Path(files[0]).stem if files else "raw"
    columns = mne_columns(raw, name)
    eeg_uV = np.empty((len(columns.index), raw.n_times), np.float32)
    for start in range(0, raw.n_times, _CHUNK_SAMPLES):
        stop = min(start + _CHUNK_SAMPLES, raw.n_times)
        eeg_uV[:, start:stop] = raw.get_data(list(columns.index), start, stop) * factor
    return _recording(eeg_uV, columns, float(raw.info["sfreq"]), name, raw_boundaries(raw))


def epochs_recording(epochs: "BaseEpochs", unit: str = "V") -> Recording:
    """The EEG of `mne.Epochs` one after another, with a boundary between each two.

    Raises:
        DataError: no epoch, or as `raw_recording`.
        ConfigError: `unit` is no unit.
    """
    factor = uv_factor(unit)
    columns = mne_columns(epochs, "epochs")
    eeg_uV = epochs.get_data(picks=list(columns.index)) * factor  # (n_epochs, n_chans, n_times)
    n_epochs, n_chans, n_times = eeg_uV.shape
    if not n_epochs:
        raise DataError("epochs: there is none left; expected at least one; look at epochs.drop_log")
    beside = np.ascontiguousarray(eeg_uV.astype(np.float32).transpose(1, 0, 2)).reshape(n_chans, -1)
    boundaries = tuple(range(n_times, n_epochs * n_times, n_times))
    return _recording(beside, columns, float(epochs.info["sfreq"]), "epochs", boundaries)


def array_recording(eeg: Any, ch_names: Sequence[str], sfreq: float, unit: str = "V") -> Recording:
    """The EEG of an array (n_chans, n_times) whose rows are named.

    Raises:
        DataError: not such an array, no row whose electrode has a known position, or an electrode that is there twice.
        ConfigError: `unit` is no unit.
    """
    factor, eeg = uv_factor(unit), np.asarray(eeg)
    if eeg.ndim != 2 or len(eeg) != len(ch_names) or eeg.dtype.kind not in "fiu":
        raise DataError(
            f"array: shape {eeg.shape}, {eeg.dtype}, with {len(ch_names)} channel names; expected real numbers "
            "(n_chans, n_times) and a name for each row; trials go into mne.EpochsArray"
        )
    columns = eeg_columns(ch_names, "array")
    eeg_uV = (eeg[list(columns.index)] * factor).astype(np.float32)
    return _recording(eeg_uV, columns, float(sfreq), "array", ())
