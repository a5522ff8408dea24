"""The tables that lie beside a recording in a BIDS tree: what its channels are, where its electrodes are, its events.

From the EEG part of the specification (Pernet et al. 2019; bids-specification.readthedocs.io). `participants.tsv` and
`scans.tsv` say who somebody is and when they came: nothing here reads them.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json
from neuroleon.data_pipeline.readers.base import require_content
from neuroleon.data_pipeline.readers.tables import read_table
from neuroleon.signals.from_mne import BOUNDARIES, UNITS_UV
from neuroleon.signals.recording import Event, Recording

if TYPE_CHECKING:
    from mne.channels import DigMontage

Table = list[dict[str, str]]
_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
# the frames whose origin lies between the ears: axes right, front, up, and axes front, left, up
_RIGHT_FRONT_UP = {"CapTrak", "ElektaNeuromag", "NeuromagElektaMEGIN"}
_FRONT_LEFT_UP = {"CTF", "EEGLAB", "EEGLAB-HJ", "4DBti", "KitYokogawa"}
_PLACED = {"onset", "duration", "sample"}  # columns of events.tsv that say when, not what
_AGREE_SAMPLES = 1.5  # EEGLAB counts samples from 1
_ONE_FACTOR = 0.01  # factors that differ by less, relatively, are one


def entities(name: str) -> dict[str, str]:
    """`sub-01_task-rest_eeg.edf` -> {sub: 01, task: rest}."""
    parts = [part.partition("-") for part in name.split(".")[0].split("_")]
    return {key: value for key, dash, value in parts if dash}


def sidecar(root: Path, recording: Path, suffix: str) -> Path | None:
    """The file `*SUFFIX` that applies to a recording: the nearest one, in its folder or above, up to `root`.

    By BIDS's inheritance principle it applies where the recording has all of its entities; `space`, which only tables
    of electrodes have, does not count for a recording. Of several in one folder the one with most entities is nearest.
    """
    own = entities(recording.name)
    for folder in recording.parents:
        fits = [path for path in sorted(folder.glob(f"*{suffix}")) if _applies(path.name, suffix, own)]
        if fits:
            return max(fits, key=lambda path: len(entities(path.name)))
        if folder == root:
            break
    return None


def _applies(name: str, suffix: str, own: dict[str, str]) -> bool:
    told = entities(name)
    if "space" not in own:
        told.pop("space", None)
    return (name == suffix or name.endswith(f"_{suffix}")) and told.items() <= own.items()


def channel_reasons(channels: Table) -> dict[str, str]:
    """Channel -> why it is left out: of a type other than EEG, or marked bad."""
    reasons = {}
    for row in channels:
        kind = row.get("type", "n/a")
        if kind.upper() not in {"EEG", "N/A", ""}:
            reasons[row["name"]] = f"{kind.lower()}, not EEG"
        elif row.get("status", "").lower() == "bad":
            reasons[row["name"]] = "marked bad in channels.tsv"
    return reasons


def eeg_unit(channels: Table) -> str | None:
    """The one unit of the EEG channels, or None where there is none or several."""
    eeg = [row for row in channels if row["type"].upper() == "EEG"]
    units = {row.get("units", "n/a").replace("µ", "u").replace("μ", "u") for row in eeg}
    return next(iter(units)) if len(units) == 1 and units <= UNITS_UV.keys() else None


def check_names(channels: Table, recording: Recording, path: Path) -> dict[str, str]:
    """The channels that only the table has, with that reason.

    Raises:
        DataError: no channel is in the file, or one that is marked bad is not: its column would be used.
    """
    in_file = recording.name_map.keys() | recording.left_out.keys()
    only_here = [row for row in channels if row["name"] not in in_file]
    bad = [row["name"] for row in only_here if row.get("status", "").lower() == "bad"]
    if bad or len(only_here) == len(channels):
        raise DataError(
            f"{path}: channel {(bad or [only_here[0]['name']])[0]!r} is no column of the recording; expected the names "
            "of the file, letter for letter; mend the table"
        )
    return {row["name"]: "in channels.tsv, not in the file" for row in only_here}


def read_channels(path: Path) -> Table:
    """The rows of a `channels.tsv`.

    Raises:
        DataError: not a table, or without its columns `name` and `type`.
    """
    rows = read_table(path)
    if not rows or not {"name", "type"} <= rows[0].keys():
        raise DataError(f"{path}: found {', '.join(rows[0]) if rows else 'no row'}; expected columns name and type")
    return rows


def read_montage(electrodes: Path, coordsystem: Path | None) -> tuple["DigMontage | None", str | None]:
    """The electrodes in mne's head frame and in metres, or None and why they cannot be placed there.

    Raises:
        DataError: a table without x, y or z, a place that is no number, or a damaged `coordsystem.json`.
    """
    from mne.channels import make_dig_montage

    if coordsystem is None:
        return None, "electrodes.tsv without a coordsystem.json, not used"
    require_content(coordsystem)
    told = read_json(coordsystem)
    if not isinstance(told, dict):
        raise DataError(f"{coordsystem}: found {type(told).__name__}, expected a JSON object; fetch it again")
    system, unit = told.get("EEGCoordinateSystem"), told.get("EEGCoordinateUnits")
    if system not in _RIGHT_FRONT_UP | _FRONT_LEFT_UP or unit not in _METRES:
        return None, f"electrodes.tsv in coordinates {str(system)[:40]!r} and unit {str(unit)[:10]!r}, not used"
    rows = read_table(electrodes)
    if not rows or not {"name", "x", "y", "z"} <= rows[0].keys():
        raise DataError(f"{electrodes}: found {', '.join(rows[0]) if rows else 'no row'}; expected name, x, y, z")
    places = {}
    for row in rows:
        xyz = [_number(row[axis], electrodes, axis) for axis in "xyz"]
        if None not in xyz:
            x, y, z = np.array(xyz, float) * _METRES[unit]
            places[row["name"]] = np.array([-y, x, z] if system in _FRONT_LEFT_UP else [x, y, z])
    return make_dig_montage(places, coord_frame="head"), None


def disagreeing(path: Path, onset_s: np.ndarray, sample: np.ndarray, sfreq: float) -> np.ndarray:
    """The rows of a table of events whose `onset` and `sample` are more than 1.5 samples apart, bool (n_rows,).

    Args:
        path: the table, for messages.
        onset_s, sample: float (n_rows,), NaN where a row has none.

    Raises:
        DataError: most rows are, or three and more by one factor: `sample` was counted at another rate.
    """
    apart = np.abs(onset_s * sfreq - sample) > _AGREE_SAMPLES
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = sample[apart] / (onset_s[apart] * sfreq)
        one_factor = len(np.unique(onset_s[apart])) > 2 and np.ptp(factors) < _ONE_FACTOR * np.abs(factors).min()
    n_both = np.count_nonzero(np.isfinite(onset_s + sample))
    if one_factor or 2 * np.count_nonzero(apart) > n_both:
        first = int(np.flatnonzero(apart)[0])
        raise DataError(
            f"{path}: onset and sample disagree in {np.count_nonzero(apart)} of {n_both} rows; the event at "
            f"{onset_s[first]:g} s lies at {sample[first] / sfreq:g} s by its sample and the {sfreq:g} Hz of the "
            "recording; do table and recording belong together? If so, leave the wrong one of the two columns out"
        )
    return apart


def read_events(path: Path, recording: Recording, column: str, in_samples: bool) -> Recording:
    """The recording with the events of an `events.tsv` in place of its own; `notes` tells what was odd in them.

    Args:
        column: what an event is: its code. The other columns become its info, `stim_file` also its `image`, for
            recipes with `picture: {kind: own}`. Rows where it is n/a are no events.
        in_samples: `onset` counts samples (as in ds003825), against the specification.

    Where `onset` and `sample` of a row disagree by more than 1.5 samples, `sample` is taken: it was counted on this
    very signal. Boundaries of joined pieces become boundaries.

    Raises:
        DataError: no such column, a time that is no number, an event without one, most events after the end, or rows
            that `disagreeing` refuses.
    """
    events, boundaries = [], set(recording.boundaries)
    rows = read_table(path)
    if rows and not {column, "onset"} <= rows[0].keys():
        raise DataError(
            f"{path}: found columns {', '.join(rows[0])}; expected onset and {column}: name the column of the codes "
            "with event_column, or say null to leave the table"
        )
    told = {name: [_number(row.get(name, ""), path, name) for row in rows] for name in ("onset", "sample")}
    onset, sample = np.array(told["onset"], float), np.array(told["sample"], float)  # None becomes NaN
    onset = onset / recording.sfreq if in_samples else onset
    apart = disagreeing(path, onset, sample, recording.sfreq)
    unlike = int(np.count_nonzero(apart))
    placed = np.where(apart | np.isnan(onset), sample / recording.sfreq, onset)
    for row, onset_s in zip(rows, placed.tolist(), strict=True):
        if row[column] in {"n/a", ""}:
            continue
        if np.isnan(onset_s):
            raise DataError(f"{path}: an event has neither onset nor sample; expected one of them; mend the table")
        if row[column].lower() in BOUNDARIES:
            boundaries.add(int(np.ceil(onset_s * recording.sfreq - 1e-6)))
            continue
        info = {name: value for name, value in row.items() if name not in _PLACED and value not in {"n/a", ""}}
        if "stim_file" in info:  # BIDS: relative to the folder stimuli of the tree
            info["image"] = f"stimuli/{info['stim_file']}"
        duration_s = _number(row.get("duration", ""), path, "duration") or 0.0
        events.append(Event(onset_s, row[column], duration_s, info))
    after = [event.onset_s for event in events if event.onset_s > recording.duration_s]
    if 2 * len(after) > len(events):
        raise DataError(
            f"{path}: {len(after)} of {len(events)} events come after the end of the recording "
            f"({recording.duration_s:g} s), the first at {min(after):g} s; expected seconds; if these are samples, say "
            "`onset_unit: samples`"
        )
    return replace(
        recording,
        events=tuple(sorted(events, key=lambda event: event.onset_s)),
        boundaries=tuple(sorted(sample for sample in boundaries if 0 < sample < recording.n_times)),
        notes=recording.notes | ({"events: onset and sample disagree, sample was taken": unlike} if unlike else {}),
    )


def _number(text: str, path: Path, column: str) -> float | None:
    """A cell as a number; None for n/a."""
    if text.strip() in {"n/a", ""}:
        return None
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(f"{path}: a cell of column {column} is no number; expected numbers or n/a; mend the table")
    return value
