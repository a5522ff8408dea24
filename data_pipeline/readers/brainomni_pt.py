"""Segments in `.pt` files beside a JSON list of them, as BrainOmni writes them (Xiao et al. 2025; `factory/process.py`
and `downstream/dataset_maker/` in theirs).

A file is {"x": (sensors, samples), "pos": (sensors, 6), "sensor_type": (sensors,)}: 0 EEG, 1 magnetometer, 2
gradiometer. The list has one object per file: `path`, and `subject`, `label`, `split` or `dataset` where known.

Their scripts divide every segment by its own standard deviation: no unit is left, a recipe says `unit_unknown: true`,
and amplitudes of two segments do not compare. They move and scale the EEG positions of mne's head frame to mean 0 and
mean square 1/3; a sphere through them gives our frame back. Names and rate are not in the files.
"""

from collections import defaultdict
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import read_json
from neuroleon.common.unpickle import load_torch
from neuroleon.data_pipeline.readers.base import Located, located, require_content, require_options
from neuroleon.data_pipeline.readers.segments import (
    by_recording,
    named_channels,
    positive_rate,
    signal,
    word,
)
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import Columns, eeg_columns
from neuroleon.signals.montage import to_head_radii
from neuroleon.signals.recording import Recording

_KINDS = {1: "magnetometer, not EEG", 2: "gradiometer, not EEG"}
_WHOLE_CAP = 16  # electrodes through which to_head_radii lays a sphere

Entry = dict[str, Any]


def _entries(root: Path, options: dict[str, Any]) -> list[Entry]:
    require_options("brainomni_pt", options, needed={"metadata", "sfreq"}, allowed={"pattern", "channels", "only"})
    positive_rate("brainomni_pt", options["sfreq"])
    if "channels" in options:
        named_channels("brainomni_pt", options["channels"])
    path = root / options["metadata"]
    entries = options.get("only") or read_json(path)
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "path" in one for one in entries):
        raise DataError(f"{path}: no list of objects with a path; expected BrainOmni's info.json, train.json ...")
    for one in entries:
        if not Path(normpath(root / one["path"])).is_relative_to(normpath(root)):  # links inside it may lead away
            raise DataError(
                f"{path}: the file {one['path']} is not below {root}; source.folder is BrainOmni's checkout"
            )
    return entries


def _sources(root: Path, options: dict[str, Any]) -> dict[Source, list[Entry]]:
    """The segments of each recording: the files of one folder, or what the pattern names."""
    entries = {Path(one["path"]).as_posix(): one for one in _entries(root, options)}
    groups = {path: str(one.get("split", "")) for path, one in entries.items()}
    pattern = options.get("pattern", r"(?P<recording>[^/]+)/[^/]+$")
    found: dict[Source, list[Entry]] = defaultdict(list)
    for source, paths in by_recording(groups, pattern, str(root / options["metadata"])).items():
        folders = sorted({str(Path(path).parent) for path in paths})
        if "pattern" not in options and len(folders) > 1:
            raise ConfigError(
                f"{root / options['metadata']}: {folders[0]} and {folders[1]} would both be the recording "
                f"{source.recording!r}; name recordings apart with the option pattern"
            )
        for path in paths:
            subject = source.subject or str(entries[path].get("subject", ""))
            found[Source(recording=source.recording, subject=subject, group=source.group)].append(entries[path])
    return dict(found)


def locate_brainomni_pt(root: Path, options: dict[str, Any]) -> Iterator[Located]:
    """Every recording, from the JSON list alone."""
    for source, entries in _sources(root, options).items():
        files = [root / one["path"] for one in entries]
        yield located(source, {**options, "only": entries}, *files)


def _loaded(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a segment.

    Raises:
        DataError: not such a file, or its arrays do not fit together.
    """
    require_content(path)
    value = load_torch(path)
    keys = ("x", "pos", "sensor_type")
    if not isinstance(value, dict) or not all(hasattr(value.get(key), "numpy") for key in keys):
        found = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise DataError(f"{path}: found {found}; expected tensors x, pos and sensor_type")
    arrays = {key: value[key].detach().float().numpy() for key in keys}  # some keep bfloat16
    n_sensors = len(arrays["x"])
    if arrays["pos"].shape != (n_sensors, 6) or arrays["sensor_type"].shape != (n_sensors,):
        shapes = {key: array.shape for key, array in arrays.items()}
        raise DataError(f"{path}: shapes {shapes}; expected (sensors, samples), (sensors, 6) and (sensors,)")
    return arrays


def _columns(arrays: dict[str, np.ndarray], channels: list[str] | None, path: Path) -> Columns:
    """The EEG sensors, by name where the recipe names them, else at the places of the file."""
    kinds, pos = arrays["sensor_type"], arrays["pos"]
    names = channels or [f"sensor {i + 1}" for i in range(len(kinds))]
    if len(names) != len(kinds):
        raise DataError(f"{path}: {len(kinds)} sensors, {len(names)} names in the option channels")
    is_eeg = kinds == 0
    reasons = {name: _KINDS.get(int(kind), "of an unknown type") for name, kind in zip(names, kinds) if kind != 0}
    positions = np.full((len(names), 3), np.nan, np.float32)
    if channels is None and is_eeg.any():
        if is_eeg.sum() < _WHOLE_CAP:
            raise DataError(
                f"{path}: {is_eeg.sum()} electrodes are too few to find their places on a head (at least "
                f"{_WHOLE_CAP}); name all rows with the option channels"
            )
        positions[is_eeg] = to_head_radii(pos[is_eeg, :3].astype(np.float64))
    return eeg_columns(names, str(path), positions=positions, reasons=reasons)


def read_brainomni_pt(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """One recording for all segments that lie in one folder, in the order of their numbers.

    Options: `metadata`, the JSON list below `root`, whose paths are relative to `root` as well (BrainOmni's checkout);
    `sfreq` (their scripts: 256); `channels`, the names of all sensors, which then give the positions; `pattern`,
    searched in the paths, with the named group `recording` and perhaps `subject` and `group`, in place of the folder's
    name and the `subject` and `split` of the list; `only`, such a list, which `locate` sets.

        source:
          reader: brainomni_pt
          folder: BrainOmni
          options: {metadata: share/metadata/evaluate/TUAB/BrainOmni/info.json, sfreq: 256}
        unit_unknown: true
        windows: [{by: sliding, duration_s: 10}]
        labels: {map: {"0": normal, "1": abnormal}}
        split: {by: group, train: [train], test: [eval]}

    Raises:
        ConfigError: an option is unknown, missing or not well formed, or two folders have one name.
        DataError: no such list, a file of anything but tensors, of another form, or without EEG.
    """
    for source, entries in _sources(root, options).items():
        paths = [root / one["path"] for one in entries]
        loaded = [_loaded(path) for path in paths]
        for path, arrays in zip(paths, loaded):
            if not all(np.array_equal(arrays[key], loaded[0][key]) for key in ("pos", "sensor_type")):
                raise DataError(f"{path}: other sensors than {paths[0]}; expected the same in all of a recording")
        columns = _columns(loaded[0], options.get("channels"), paths[0])
        segments = [
            Trial(
                eeg=signal(arrays["x"], len(arrays["pos"]), str(path)),
                code=word(one.get("label"), str(path)),
                info={"segment": number},
            )
            for number, (path, one, arrays) in enumerate(zip(paths, entries, loaded))
        ]
        yield joined(segments, columns, source, float(options["sfreq"]))
