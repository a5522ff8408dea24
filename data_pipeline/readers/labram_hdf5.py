"""HDF5 sets of whole recordings, as LaBraM writes them (Jiang et al. 2024; `make_h5dataset_for_pretrain.py` in theirs).

One group per recording with a data set `eeg` (channels, samples), whose attributes are `lFreq`, `hFreq`, `rsFreq` (Hz)
and `chOrder` (names). NeuroLM's SEED file has trials as well: attributes `trialStart`, `trialEnd` (s) and `label` of
the group. Their scripts write microvolts; their loaders divide by 100, the files do not.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, located, require_options
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.hdf5_file import opened, require_own
from neuroleon.data_pipeline.readers.segments import by_recording, signal, word
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.from_mne import uv_factor
from neuroleon.signals.recording import Event, Recording

if TYPE_CHECKING:
    import h5py

_PATTERN = r"/(?P<recording>.+)"


def _sources(path: Path, options: dict[str, Any]) -> dict[Source, str]:
    """The name of each recording's group in the file, by what the pattern makes of `STEM/GROUP`."""
    with opened(path) as file:
        names = options.get("only") or list(file)
    told = {f"{path.stem}/{name}": "" for name in names}
    found = by_recording(told, options.get("pattern", _PATTERN), str(path))
    if several := next((source for source, names in found.items() if len(names) > 1), None):
        raise ConfigError(f"{path}: the pattern names several groups {several.recording!r}; expected one name each")
    return {source: names[0].removeprefix(f"{path.stem}/") for source, names in found.items()}


def _where(options: dict[str, Any]) -> dict[str, Any]:
    """What `listed` needs, after a check of the options."""
    require_options("labram_hdf5", options, allowed={"files", "pattern", "unit", "only"})
    uv_factor(options.get("unit", "uV"))
    return {"files": options.get("files", "*.hdf5")}


def locate_labram_hdf5(root: Path, options: dict[str, Any]) -> Iterator[Located | Failure]:
    """Every recording, from the names of the groups alone."""
    files, failures = listed(root, _where(options))
    yield from failures
    for path, _ in files:
        try:
            sources = _sources(path, options)
        except DataError as error:
            yield Failure(name=path.relative_to(root).as_posix(), message=str(error))
            continue
        for source, name in sources.items():
            yield located(source, {**one_file(root, path, options), "only": [name]}, path)


def _trials(group: "h5py.Group", where: str) -> tuple[Event, ...]:
    """The trials of NeuroLM's SEED file; none where the group has no such attributes."""
    keys = ("trialStart", "trialEnd", "label")
    if not all(key in group.attrs for key in keys):
        return ()
    starts, ends, labels = (np.atleast_1d(group.attrs[key]).tolist() for key in keys)
    if not len(starts) == len(ends) == len(labels):
        raise DataError(f"{where}: {len(starts)} trialStart, {len(ends)} trialEnd, {len(labels)} label; expected equal")
    return tuple(
        Event(float(start), word(label, where) or "", float(end) - float(start), {"trial": i})
        for i, (start, end, label) in enumerate(zip(starts, ends, labels))
    )


def _recording(file: "h5py.File", name: str, source: Source, unit: str, where: str) -> Recording:
    import h5py

    group = file.get(name)
    data = group.get("eeg") if isinstance(group, h5py.Group) else None
    if not isinstance(data, h5py.Dataset):
        raise DataError(f"{where}: no data set eeg; expected (channels, samples); is this a file of LaBraM's form?")
    require_own(data, file, where)
    if missing := [name for name in ("chOrder", "rsFreq") if name not in data.attrs]:
        raise DataError(f"{where}: eeg has no attribute {missing[0]}; expected chOrder and rsFreq; write them into it")
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in data.attrs["chOrder"]]
    columns = eeg_columns(names, where)
    eeg = signal(data[()], len(names), where)
    return Recording(
        eeg_uV=eeg[list(columns.index)] * np.float32(uv_factor(unit)),
        ch_names=columns.ch_names,
        positions=columns.positions,
        sfreq=float(data.attrs["rsFreq"]),
        events=_trials(group, where),
        name=source.recording,
        subject=source.subject,
        group=source.group,
        left_out=columns.left_out,
        name_map=columns.name_map,
    )


def read_labram_hdf5(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """One recording per group of every file.

    Options: `files`, a glob (default `*.hdf5`); `pattern`, searched in `STEM/GROUP`, with the named group `recording`
    and perhaps `subject` and `group` (default: the group's name is the recording's); `unit` where somebody else's
    script wrote other than microvolts; `only`, a list of groups, which `locate` sets.

    SEED as NeuroLM prepares it, group `1_20131027` of `seed-3.hdf5`:

        source:
          reader: labram_hdf5
          folder: h5Data
          options: {files: seed-3.hdf5, pattern: '/(?P<recording>(?P<subject>\\d+)_\\d+)'}
        windows: [{by: sliding, duration_s: 4}]
        labels: {map: {H: positive, N: neutral, S: negative}}
        split: {by: subject, train: ["[1-9]", "1[0-2]"], validation: ["13"], test: ["14", "15"]}

    Raises:
        ConfigError: h5py is not installed, or an option is unknown or not well formed.
        DataError: no file, no HDF5, or a group of another form.
    """
    for path, _ in readable(root, _where(options)):
        for source, name in _sources(path, options).items():
            with opened(path) as file:
                recording = _recording(file, name, source, options.get("unit", "uV"), f"{path}, {name}")
            yield recording
