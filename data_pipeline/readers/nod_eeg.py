"""NOD-EEG: 56,000 pictures of ImageNet, 19 people, 62 channels at 500 Hz or 1 kHz (Zhang et al.; OpenNeuro ds005811).

EEGLAB files `sub-XX/ses-ImageNetYY/eeg/..._run-ZZ_eeg.set`, beside each a table of events without the pictures, and in
`derivatives/detailed_events/sub-XX_events.csv` a row for every trial of the person, in order, with the picture.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options
from neuroleon.data_pipeline.readers.bids_sidecars import disagreeing
from neuroleon.data_pipeline.readers.files import files_of, listed, one_file, readable
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.tables import read_table, require_columns
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Event, Recording

PATTERN = r"(?P<subject>sub-\d+)_ses-(?P<session>ImageNet\d+)_task-ImageNet_run-(?P<run>\d+)_eeg\.set$"
DETAILS = "derivatives/detailed_events"
IMAGES = "stimuli/ImageNet"
_ANIMACY = {"true": "animate", "1": "animate", "false": "inanimate", "0": "inanimate"}
_DEFAULTS: Options = {"files": "sub-*/ses-*/eeg/*_eeg.set", "code": "class"}


def _options(options: Options) -> Options:
    require_options("nod_eeg", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options | {"pattern": PATTERN}
    if chosen["code"] not in ("class", "animacy"):
        raise ConfigError(f"reader nod_eeg: code is {chosen['code']!r}; expected class or animacy")
    return chosen


def _source(match: re.Match[str]) -> Source:
    name = f"{match['subject']}_ses-{match['session']}_run-{match['run']}"
    return Source(recording=name, subject=match["subject"], group=match["session"])


def _tables(root: Path, path: Path, match: re.Match[str]) -> tuple[Path, Path]:
    events = path.with_name(path.name.removesuffix("_eeg.set") + "_events.tsv")
    return events, root / DETAILS / f"{match['subject']}_events.csv"


def locate_nod_eeg(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Every run, by its path."""
    found, failures = listed(root, _options(options))
    yield from failures
    for path, match in found:
        files = (*files_of(path), *_tables(root, path, match))
        yield located(_source(match), one_file(root, path, options), *files)


def _onsets(path: Path, sfreq: float) -> list[float]:
    """Seconds at which pictures came on.

    Sessions differ in their rate: `onset`, in seconds, and `sample` must say the same of the rate of the recording.
    """
    rows = read_table(path)
    require_columns(path, rows, {"trial_type", "onset", "sample"})
    shown = [row for row in rows if row["trial_type"] == "stim_on"]
    try:
        sample = np.array([int(row["sample"]) for row in shown], float)
        onset_s = np.array([float(row["onset"]) for row in shown])
    except ValueError as error:
        raise DataError(f"{path}: a sample or an onset is no number ({error}); fetch it again") from None
    apart = np.flatnonzero(disagreeing(path, onset_s, sample, sfreq)).tolist()
    if apart:
        raise DataError(
            f"{path}: an event at {onset_s[apart[0]]:g} s lies at {sample[apart[0]] / sfreq:g} s by its sample and the "
            f"{sfreq:g} Hz of the recording; do table and recording belong together?"
        )
    by_sample: list[float] = (sample / sfreq).tolist()
    return by_sample


def _trials(path: Path, session: str, run: int) -> list[dict[str, str]]:
    rows = read_table(path)
    require_columns(path, rows, {"session", "run", "image_id", "stim_is_animate"})
    return [row for row in rows if row["session"] == session and row["run"].isdigit() and int(row["run"]) == run]


def _event(row: dict[str, str], number: int, onset_s: float, code: str, path: Path) -> Event:
    name = row["image_id"].removesuffix(".JPEG")
    wnid, animacy = name.split("_")[0], _ANIMACY.get(row["stim_is_animate"].lower())
    if animacy is None:
        raise DataError(f"{path}: stim_is_animate is {row['stim_is_animate']!r}; expected True or False")
    info = {"image": f"{IMAGES}/{name}.JPEG", "trial": number, "class": wnid, "animacy": animacy}
    return Event(onset_s, wnid if code == "class" else animacy, 0.0, info)


def read_nod_eeg(root: Path, options: Options) -> Iterator[Recording]:
    """Every run that fits the glob `files`; its group is the session.

    Options: `files`; `code`, the word of an event: `class` (the wnid of ImageNet, default) or `animacy` (`animate`,
    `inanimate`: what the person was asked); both are in its info.

    Raises:
        DataError: a file is absent, not fetched or damaged, or the two tables have different numbers of trials.
    """
    chosen = _options(options)
    for path, match in readable(root, chosen):
        events_path, details_path = _tables(root, path, match)
        recording = read_recording(path)
        onsets = _onsets(events_path, recording.sfreq)
        trials = _trials(details_path, match["session"], int(match["run"]))
        if len(onsets) != len(trials):
            raise DataError(
                f"{events_path}: {len(onsets)} pictures, but {details_path.name} has {len(trials)} trials of this run; "
                "expected as many; fetch both again"
            )
        events = tuple(
            _event(row, number, onset_s, chosen["code"], details_path)
            for number, (row, onset_s) in enumerate(zip(trials, onsets, strict=True))
        )
        source = _source(match)
        yield replace(recording, events=events, name=source.recording, subject=source.subject, group=source.group)
