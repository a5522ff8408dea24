"""Recordings that mne reads: EDF, BDF, GDF, BrainVision, EEGLAB, FIF and CNT files."""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, located, require_content, require_options
from neuroleon.data_pipeline.readers.edf_header import EdfHeader, read_edf_header
from neuroleon.data_pipeline.readers.files import files_of, listed, one_file, readable
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.from_mne import BOUNDARIES, GAP, UNITS_UV, mne_columns, raw_boundaries, uv_factor
from neuroleon.signals.montage import channel_kind
from neuroleon.signals.recording import Event, Recording

if TYPE_CHECKING:
    import mne

SUFFIXES = (".fif.gz", ".fif", ".edf", ".bdf", ".gdf", ".vhdr", ".set", ".cnt")
EDF_UNITS = {"uV", "µV", "mV", "V"}  # the words that mne converts rightly; it takes every other one for volts
_OPTIONS = {"files", "pattern", "unit"}


def _suffix(path: Path) -> str:
    """The recording's extension, after the checks that need no reader."""
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise DataError(f"{path}: extension {path.suffix!r} is not read; expected one of {', '.join(SUFFIXES)}")
    for file in files_of(path):
        require_content(file)
    return suffix


def _other_rate(header: EdfHeader) -> dict[str, str]:
    """Columns of an EDF file sampled at another rate than its EEG; mne would resample everything to the fastest one."""
    rates = dict(zip(header.labels, header.rates_hz, strict=True))
    usual = Counter(rate for name, rate in rates.items() if channel_kind(name) == "eeg").most_common(1)
    return {
        name: f"sampled at {rate:g} Hz, the EEG at {usual[0][0]:g} Hz"
        for name, rate in rates.items()
        if usual and usual[0][0] != rate and "Annotations" not in name
    }


def _open(path: Path, exclude: list[str]) -> "mne.io.BaseRaw":
    """Open with mne, without its warnings.

    Its messages can hold header text, which can name the patient: none is shown.
    """
    import mne

    # EDF+ text is UTF-8 by its definition; older recorders wrote Latin-1
    tries: list[dict[str, Any]] = [{}]
    if path.suffix.lower() in {".edf", ".bdf"}:
        tries = [{"exclude": exclude, "encoding": encoding} for encoding in ("utf8", "latin1")]
    for options in tries:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return mne.io.read_raw(path, preload=True, verbose="ERROR", **options)
        except Exception as error:  # mne's readers raise everything from AssertionError to UnicodeDecodeError
            shown = type(error).__name__
            if isinstance(error, FileNotFoundError):  # of BrainVision files that were renamed
                shown = "a file that it names is not beside it"
    raise DataError(f"{path}: mne cannot read it ({shown}); the file is damaged or of another format")


def _uv_per_read_unit(raw: "mne.io.BaseRaw", suffix: str, unit: str | None) -> np.ndarray:
    """Factor (n_columns,) from what mne returns to microvolts; `unit` replaces the unit that the file gives."""
    volts = np.full(len(raw.ch_names), 1e6)
    if unit is None:
        return volts
    if suffix in {".edf", ".bdf", ".gdf"}:
        read_as_V = np.asarray(raw._raw_extras[0]["units"], float)[: len(raw.ch_names)]
    elif suffix == ".vhdr":
        known = {"µV": 1e-6, "uV": 1e-6, "mV": 1e-3, "nV": 1e-9}
        read_as_V = np.array([known.get(raw._orig_units.get(name, "V"), 1.0) for name in raw.ch_names])
    else:
        read_as_V = np.full(len(raw.ch_names), 1e-6 if suffix == ".set" else 1.0)
    return UNITS_UV[unit] / read_as_V


def _check_edf_units(path: Path, header: EdfHeader, names: list[str]) -> None:
    units = dict(zip(header.labels, header.units, strict=True))
    # mne puts -0, -1 ... behind a label that is there more than once
    found_units = {name: units[name if name in units else name.rpartition("-")[0]] for name in names}
    if wrong := {name: unit for name, unit in found_units.items() if unit not in EDF_UNITS}:
        name, found = next(iter(wrong.items()))
        raise DataError(
            f"{path}: {len(wrong)} EEG columns such as {name!r} have the unit {found!r}, expected uV, mV or V; if you "
            "know what the numbers are, say so with `--unit uV` (or mV, V, nV)"
        )


def _stim_events(codes: np.ndarray, sfreq: float, channel: str) -> list[Event] | None:
    """Each step to a new non-zero code; None where the column does not hold whole numbers."""
    whole = np.round(codes)
    if not np.allclose(codes, whole, atol=1e-3):
        return None
    steps = 1 + np.flatnonzero((whole[1:] != whole[:-1]) & (whole[1:] != 0))
    return [Event(i / sfreq, str(int(whole[i])), info={"channel": channel}) for i in steps.tolist()]


def _events(raw: "mne.io.BaseRaw", suffix: str, left_out: dict[str, str]) -> tuple[tuple[Event, ...], tuple[int, ...]]:
    """Events from annotations and stim columns, and the boundaries that annotations mark."""
    sfreq = raw.info["sfreq"]
    events = [
        Event(float(note["onset"]) - raw.first_time, str(note["description"]), float(note["duration"]))
        for note in raw.annotations
        if note["description"].lower() not in BOUNDARIES and note["description"] != GAP
    ]
    types = raw.get_channel_types()
    for i, name in enumerate(raw.ch_names):
        if types[i] != "stim" and channel_kind(name) != "stim":
            continue
        codes = raw.get_data([i])[0]
        if types[i] != "stim" and suffix in {".edf", ".bdf", ".gdf"}:
            codes = codes / raw._raw_extras[0]["units"][i]
        if suffix == ".bdf":  # the bits above are BioSemi's battery and CMS state
            codes = (codes.astype(np.int64) & 0xFFFF).astype(float)
        found = _stim_events(codes, sfreq, name)
        left_out[name] = "stim, no whole numbers: its events are unknown" if found is None else "stim, read as events"
        events += found or []
    return tuple(sorted(events, key=lambda event: event.onset_s)), raw_boundaries(raw)


def read_recording(
    path: Path | str,
    *,
    unit: str | None = None,
    montage: "mne.channels.DigMontage | None" = None,
    reasons: dict[str, str] | None = None,
) -> Recording:
    """Read one EEG file: EDF, BDF, GDF, BrainVision (.vhdr), EEGLAB (.set), FIF or CNT.

    Args:
        path: the file. Its stem becomes the recording's name; nothing of its header's text is kept.
        unit: `uV`, `mV`, `V` or `nV`: what the numbers in the file are, in place of what the file says.
        montage: electrode positions that lie beside the file, in place of its own.
        reasons: columns to leave out, by the file's own names, and why.

    Returns:
        The EEG columns in microvolts, their positions (from the file, else by name), and the events of annotations and
        stim columns. Other columns are in `left_out`.

    Raises:
        DataError: the file or one beside it is not here, empty, damaged, cut short, of another format, in an unknown
            unit, an electrode that is there twice, or no EEG column whose position is known.
        ConfigError: `unit` is no unit.
    """
    path = Path(path)
    if unit is not None:
        uv_factor(unit)
    suffix = _suffix(path)
    header = read_edf_header(path) if suffix in {".edf", ".bdf"} else None
    unread = _other_rate(header) if header else {}
    raw = _open(path, list(unread))
    columns = mne_columns(raw, str(path), montage=montage, reasons=reasons)
    if header and unit is None:
        _check_edf_units(path, header, list(columns.name_map))
    index = list(columns.index)
    left_out = columns.left_out | unread
    events, boundaries = _events(raw, suffix, left_out)
    return Recording(
        eeg_uV=(raw.get_data(index) * _uv_per_read_unit(raw, suffix, unit)[index, None]).astype(np.float32),
        ch_names=columns.ch_names,
        positions=columns.positions,
        sfreq=float(raw.info["sfreq"]),
        events=events,
        name=path.name[: -len(suffix)],
        subject="",
        boundaries=boundaries,
        left_out=left_out,
        name_map=columns.name_map,
    )


def locate_mne(root: Path, options: dict[str, Any]) -> Iterator[Located | Failure]:
    """What `read_mne` will say of every file, from its path alone."""
    require_options("mne", options, allowed=_OPTIONS)
    found, failures = listed(root, options)
    yield from failures
    for path, match in found:
        words = match.groupdict()
        suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), path.suffix)
        name = words.get("recording") or path.name[: len(path.name) - len(suffix)]
        source = Source(recording=name, subject=words.get("subject") or "", group=words.get("group") or "")
        yield located(source, one_file(root, path, options), *files_of(path))


def read_mne(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """Every file below `root` that matches the glob `files` and the regular expression `pattern`, in sorted order.

    Options: `files`; `pattern`, searched in the path relative to `root`, with any of the named groups `subject`,
    `recording`, `group`, `label` (a label becomes the first event, as long as the recording); `unit`.
    """
    require_options("mne", options, allowed=_OPTIONS)
    for path, match in readable(root, options):
        words = match.groupdict()
        recording = read_recording(path, unit=options.get("unit"))
        events = recording.events
        if label := words.get("label"):
            events = (Event(0.0, label, recording.duration_s, {"label": label}), *events)
        yield replace(
            recording,
            name=words.get("recording") or recording.name,
            subject=words.get("subject") or "",
            group=words.get("group") or "",
            events=events,
        )
