"""BIDS trees of EEG: the recording, and the tables beside it that say what its channels, electrodes and events are."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, located, require_content, require_options
from neuroleon.data_pipeline.readers.bids_sidecars import (
    Table,
    channel_reasons,
    check_names,
    eeg_unit,
    entities,
    read_channels,
    read_events,
    read_montage,
    sidecar,
)
from neuroleon.data_pipeline.readers.edf_header import read_edf_header
from neuroleon.data_pipeline.readers.files import files_of, matching, one_file
from neuroleon.data_pipeline.readers.mne_raw import EDF_UNITS, read_recording
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Recording

SUFFIXES = (".vhdr", ".edf", ".bdf", ".set")  # the formats that BIDS allows for EEG
_OPTIONS = {"files", "task", "event_column", "onset_unit", "unit"}


def _paths(root: Path, options: dict[str, Any]) -> list[Path]:
    require_options("bids", options, allowed=_OPTIONS)
    if options.get("onset_unit", "s") not in {"s", "samples"}:
        raise ConfigError(f"reader bids: onset_unit is {options['onset_unit']!r}; expected s or samples")
    fits = matching(root, {"files": options.get("files", "sub-*/**/eeg/*_eeg.*")})
    found = [path for path, _ in fits if path.suffix.lower() in SUFFIXES]
    tasks = sorted({entities(path.name).get("task", "") for path in found})
    paths = [path for path in found if "task" not in options or entities(path.name).get("task") == options["task"]]
    if not paths:
        raise DataError(
            f"{root}: no recording of a BIDS tree, sub-*/[ses-*/]eeg/*_eeg with {', '.join(SUFFIXES)}, "
            f"fits the options {options}; tasks found: {', '.join(tasks) or 'none'}"
        )
    return paths


def _source(path: Path) -> Source:
    told = entities(path.name)
    return Source(recording=path.stem.removesuffix("_eeg"), subject=told.get("sub", ""), group=told.get("ses", ""))


def _tables(root: Path, path: Path) -> dict[str, Path | None]:
    """The tables of a recording; the frame is that of the very electrodes, which may be given in several."""
    tables = {name: sidecar(root, path, f"{name}.tsv") for name in ("channels", "electrodes", "events")}
    electrodes = tables["electrodes"]
    return {**tables, "coordsystem": sidecar(root, electrodes, "coordsystem.json") if electrodes else None}


def _files(root: Path, path: Path) -> list[Path]:
    """The recording, what its header file only names, and its tables."""
    return [*files_of(path), *(table for table in _tables(root, path).values() if table)]


def locate_bids(root: Path, options: dict[str, Any]) -> Iterator[Located | Failure]:
    """Every recording of the tree, from the paths alone; files whose content is not here fail."""
    for path in _paths(root, options):
        files = _files(root, path)
        try:
            for file in files:
                require_content(file)
        except DataError as error:
            yield Failure(name=path.relative_to(root).as_posix(), message=str(error))
            continue
        yield located(_source(path), one_file(root, path, options), *files)


def _unit(path: Path, channels: Table) -> str | None:
    """The unit of channels.tsv where the file, an EDF, has none of its own."""
    if path.suffix.lower() not in {".edf", ".bdf"}:
        return None
    header, eeg = read_edf_header(path), {row["name"] for row in channels if row["type"].upper() == "EEG"}
    own = {unit for name, unit in zip(header.labels, header.units, strict=True) if name in eeg}
    return None if own <= EDF_UNITS else eeg_unit(channels)


def _read(root: Path, path: Path, options: dict[str, Any]) -> Recording:
    for file in _files(root, path):
        require_content(file)
    tables = _tables(root, path)
    channels = read_channels(tables["channels"]) if tables["channels"] else []
    electrodes, events = tables["electrodes"], tables["events"]
    montage, unused = read_montage(electrodes, tables["coordsystem"]) if electrodes else (None, None)
    notes = {f"positions: {unused}": 1} if unused else {}
    unit = options.get("unit") or _unit(path, channels)
    if path.suffix.lower() == ".set" and "unit" not in options and eeg_unit(channels) not in {None, "uV"}:
        # mne-bids writes V for every set: it is the unit of mne's memory
        notes[f"unit: channels.tsv says {eeg_unit(channels)}; an EEGLAB file holds microvolts and was read so"] = 1
    recording = read_recording(path, unit=unit, montage=montage, reasons=channel_reasons(channels))
    only_told = check_names(channels, recording, tables["channels"]) if tables["channels"] else {}
    column = options.get("event_column", "trial_type")
    if events and column is not None:
        recording = read_events(events, recording, column, options.get("onset_unit") == "samples")
    source = _source(path)
    return replace(
        recording,
        name=source.recording,
        subject=source.subject,
        group=source.group,
        left_out=recording.left_out | only_told,
        notes=recording.notes | notes,
    )


def read_bids(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """Every recording of a BIDS tree in sorted order; `derivatives/` is a tree of its own.

    The subject is the label of `sub-`, the group that of `ses-`, the name the file's without `_eeg`. `channels.tsv`
    says which channels are EEG and not bad, `electrodes.tsv` with `coordsystem.json` where they are, `events.tsv` what
    happened; where there is no `events.tsv`, the file's own events are read. Tables may lie further up in the tree
    (BIDS's inheritance principle). `participants.tsv` is not read.

    The unit is that of the file. `channels.tsv` gives it where an EDF file has none; in EEGLAB files, which have none,
    numbers are microvolts (mne-bids writes `V` into the table of every such file).

    Options: `task`, the one to read; `event_column`, the column of the codes (default `trial_type`; null: `events.tsv`
    is not read); `onset_unit: samples` where onsets are no seconds; `unit` as in the reader `mne`; `files`, a glob.

        source:
          reader: bids
          folder: ds004477
          options: {task: rest, event_column: value}
        split: {by: subject, train: ["0[1-8]"], validation: ["09"], test: ["1*"]}

    Raises:
        ConfigError: an option is unknown.
        DataError: no recording, a file whose content is not here (`datalad get`), a damaged recording or table.
    """
    for path in _paths(root, options):
        yield _read(root, path, options)
