"""Alljoined-1.6M as its authors preprocess it: whitened trials in flat arrays (the format of ENIGMA).

Of each person `preprocessed_eeg_training_flat.npy` and `preprocessed_eeg_test_flat.npy`, pickles that are only named
.npy: `preprocessed_eeg_data` (trial, channel, 250) at 250 Hz from the onset on, `ch_names`, `times`, `configs`. Beside
them `experiment_metadata.parquet` has a row for every picture shown; rows of one partition that are not `dropped` are
the trials, session after session.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.alljoined_16m import picture_number
from neuroleon.data_pipeline.readers.array_files import read_array, sampling_rate
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options, whole_number
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.tables import read_rows
from neuroleon.data_pipeline.readers.trials import Trial, joined, runs
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

PATTERN = r"(?P<subject>sub-\d+)/preprocessed_eeg_(?P<kind>training|test)_flat\.npy$"
PARTITIONS = {"training": "stim_train", "test": "stim_test"}
COLUMNS = {"partition", "dropped", "session", "image_path"}
_DEFAULTS: Options = {
    "files": "preprocessed_eeg/sub-??/preprocessed_eeg_*_flat.npy",
    "metadata": "experiment_metadata.parquet",
    "images": "stimuli/images",
    "validation_every": 20,
    "trials_per_recording": 2000,
}


def _options(options: Options) -> Options:
    require_options("alljoined_flat", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options | {"pattern": PATTERN}
    for name in ("validation_every", "trials_per_recording"):
        whole_number("alljoined_flat", chosen, name, least=2)
    return chosen


def _rows(path: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of the trials, in their order: kept as the file has them inside a session.

    Sorting by the columns of the design as well would undo the mended order of sub-06.
    """
    rows = [row for row in read_rows(path, COLUMNS) if row["partition"] == PARTITIONS[kind] and not row["dropped"]]
    return sorted(rows, key=lambda row: int(str(row["session"])))


def _recordings(
    match: re.Match[str], rows: list[dict[str, Any]], options: Options, path: Path
) -> Iterator[tuple[Source, list[int]]]:
    """The recordings of a file and the indices of their trials."""
    parts: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        held = picture_number(row["image_path"], path) % options["validation_every"] == 0
        part = "test" if match["kind"] == "test" else "validation" if held else "train"
        parts.setdefault(part, []).append(index)
    for part, trials in parts.items():
        for number, run in enumerate(runs(len(trials), options["trials_per_recording"])):
            name = f"{match['subject']}-{part}-{number:02d}"
            yield Source(recording=name, subject=match["subject"], group=part), trials[run]


def locate_alljoined_flat(root: Path, options: Options) -> Iterator[Located | Failure]:
    """What `read_alljoined_flat` will make of each file, from the table of its trials."""
    chosen = _options(options)
    found, failures = listed(root, chosen)
    yield from failures
    for path, match in found:
        metadata = path.with_name(chosen["metadata"])
        try:
            rows = _rows(metadata, match["kind"])
            recordings = list(_recordings(match, rows, chosen, metadata))
        except DataError as error:
            yield Failure(name=path.relative_to(root).as_posix(), message=str(error))
            continue
        for source, _ in recordings:
            yield located(source, one_file(root, path, options), path, metadata)


def read_alljoined_flat(root: Path, options: Options) -> Iterator[Recording]:
    """Recordings of at most `trials_per_recording` trials per subject and part. A file is in memory once.

    Options: `files`, a glob; `metadata`, the name of the table beside each file; `images`, the folder of NNNNN.jpg
    below `root`; `validation_every`: training pictures whose number is a multiple of it are for validation, which the
    set does not have. The word of an event is the table's `category_name` where there is one, else the five digits of
    its picture. The numbers are whitened: a recipe says `unit_unknown: true`.

    Raises:
        DataError: a file is damaged, or array and table do not fit each other.
    """
    chosen = _options(options)
    for path, match in readable(root, chosen):
        metadata = path.with_name(chosen["metadata"])
        rows = _rows(metadata, match["kind"])
        data, names, times = read_array(path, (len(rows),))
        columns = eeg_columns(names, str(path))
        for source, indices in _recordings(match, rows, chosen, metadata):
            trials = [_trial(data[i], rows[i], i, chosen["images"], metadata) for i in indices]
            yield joined(trials, columns, source, sampling_rate(times), before_s=-float(times[0]))


def _trial(eeg: np.ndarray, row: dict[str, Any], index: int, images: str, metadata: Path) -> Trial:
    number = picture_number(row["image_path"], metadata)
    info = {"image": f"{images}/{number:05d}.jpg", "picture": number, "trial": index, "session": int(row["session"])}
    return Trial(eeg=eeg, code=str(row.get("category_name") or f"{number:05d}"), info=info)
