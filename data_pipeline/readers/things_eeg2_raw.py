"""THINGS-EEG2 as recorded: one file per session and kind, 63 channels and the triggers at 1 kHz (Gifford et al. 2022).

`sub-XX/ses-0Y/raw_eeg_training.npy` and `raw_eeg_test.npy` are dictionaries saved by numpy: `raw_eeg_data` in volts
(64, n_times), `ch_names`, of which `stim` holds the number of the picture, from 1, at the sample of its onset, `sfreq`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_object_array
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.things_eeg2 import concept_word, read_pictures, shown
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Event, Recording

STIM = "stim"
TARGET = 99999  # the picture of the counting task, which is none of the set
PATTERN = r"(?P<subject>sub-\d+)/(?P<session>ses-\d+)/raw_eeg_(?P<kind>training|test)\.npy$"
_DEFAULTS: Options = {
    "files": "**/raw_eeg_*.npy",
    "metadata": "image_set/image_metadata.npy",
    "images": "image_set",
}


def _options(options: Options) -> Options:
    require_options("things_eeg2_raw", options, allowed=set(_DEFAULTS))
    return _DEFAULTS | options | {"pattern": PATTERN}


def _source(match: re.Match[str]) -> Source:
    part = "train" if match["kind"] == "training" else "test"
    name = f"{match['subject']}-{match['session']}-{part}"
    return Source(recording=name, subject=match["subject"], group=match["session"])


def locate_things_eeg2_raw(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Every file, by its path."""
    chosen = _options(options)
    found, failures = listed(root, chosen)
    yield from failures
    for path, match in found:
        yield located(_source(match), one_file(root, path, options), path, root / chosen["metadata"])


def _events(
    stim: np.ndarray, sfreq: float, pictures: list[tuple[str, str]], kind: str, images: str, path: Path
) -> tuple[list[Event], int]:
    """An event per picture, and how many targets there were besides."""
    codes = np.round(stim).astype(np.int64)
    onsets = np.flatnonzero((codes != 0) & (codes != np.r_[0, codes[:-1]]))
    kept = onsets[codes[onsets] != TARGET]
    if not len(kept) or codes[kept].min() < 1 or codes[kept].max() > len(pictures):
        found = f"{codes[kept].min()} to {codes[kept].max()}" if len(kept) else "none"
        raise DataError(
            f"{path}: picture numbers in {STIM} are {found}, expected 1 to {len(pictures)}; do the file and "
            "image_metadata.npy belong together?"
        )
    events = []
    for onset in kept.tolist():
        picture = pictures[codes[onset] - 1]
        info = {"image": shown(picture, kind, images), "condition": int(codes[onset]) - 1}
        events.append(Event(onset / sfreq, concept_word(picture[0]), 0.1, info))
    return events, len(onsets) - len(kept)


def read_things_eeg2_raw(root: Path, options: Options) -> Iterator[Recording]:
    """Every recording that fits the glob `files`; its group is the session, its name ends in `train` or `test`.

    Options: `files`; `metadata`, the set's image_metadata.npy; `images`, the folder of training_images and test_images.

    Raises:
        DataError: a file is damaged, of another kind, or does not fit the list of pictures.
    """
    chosen = _options(options)
    pictures = read_pictures(root / chosen["metadata"])
    for path, match in readable(root, chosen):
        content = load_object_array(path)
        if not isinstance(content, dict) or not {"raw_eeg_data", "ch_names", "sfreq"} <= content.keys():
            raise DataError(
                f"{path}: expected a dictionary with raw_eeg_data, ch_names, sfreq; is this the right file?"
            )
        data, names = np.asarray(content["raw_eeg_data"]), [str(name) for name in content["ch_names"]]
        if data.ndim != 2 or len(data) != len(names) or STIM not in names:
            raise DataError(f"{path}: data {data.shape} with {len(names)} names, expected one of them to be {STIM!r}")
        sfreq, kind = float(content["sfreq"]), match["kind"]
        events, n_targets = _events(data[names.index(STIM)], sfreq, pictures[kind], kind, chosen["images"], path)
        columns = eeg_columns(names, str(path), reasons={STIM: "stim, read as events"})
        source = _source(match)
        yield Recording(
            eeg_uV=(data[list(columns.index)] * 1e6).astype(np.float32),
            ch_names=columns.ch_names,
            positions=columns.positions,
            sfreq=sfreq,
            events=tuple(events),
            name=source.recording,
            subject=source.subject,
            group=source.group,
            left_out=columns.left_out,
            name_map=columns.name_map,
            skipped={"pictures: targets of the task": n_targets} if n_targets else {},
        )
