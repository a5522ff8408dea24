"""Data sets of MOABB (Aristimunha et al. 2023): their continuous recordings, with the events of their paradigm."""

import difflib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, located, require_options, source_of
from neuroleon.signals.from_mne import raw_recording
from neuroleon.signals.recording import Event, Recording

if TYPE_CHECKING:
    from mne.io import BaseRaw


def _dataset(options: dict[str, Any]) -> Any:
    """An instance of the class that `dataset` names, with the interval of the options.

    Raises:
        ConfigError: moabb is not installed, there is no such class, or an option is not what it must be.
    """
    require_options("moabb", options, needed={"dataset", "subjects", "download"}, allowed={"interval"})
    if options["download"] is not True:
        raise ConfigError(
            f"reader moabb: download is {options['download']!r}; moabb fetches what is not in its folder (MNE_DATA) "
            "and cannot be asked first; if that is meant, say `download: true`"
        )
    try:
        from moabb import datasets
        from moabb.datasets.base import BaseDataset
    except ImportError:
        raise ConfigError('reader moabb needs moabb: pip install "neuroleon[moabb]"') from None

    classes = {name: value for name, value in vars(datasets).items() if isinstance(value, type)}
    known = {name: kind for name, kind in classes.items() if issubclass(kind, BaseDataset)}
    if options["dataset"] not in known:
        close = difflib.get_close_matches(str(options["dataset"]), known, n=1)
        raise ConfigError(
            f"reader moabb: {options['dataset']!r} is no data set of moabb.datasets"
            + (f"; did you mean {close[0]!r}?" if close else "; see moabb's list of data sets")
        )
    dataset, wanted = known[options["dataset"]](), options["subjects"]
    if not isinstance(wanted, list) or not wanted or set(wanted) - set(dataset.subject_list):
        raise ConfigError(f"reader moabb: subjects is {wanted!r}; expected a list out of {dataset.subject_list}")
    if "interval" in options:
        dataset.interval = list(options["interval"])
    return dataset


def _recording(raw: "BaseRaw", name: str, subject: str, session: str, event_id: dict[str, Any]) -> Recording:
    """moabb has made the paradigm's events annotations: one from the start to the end of each trial."""
    recording = raw_recording(raw)
    events = [
        Event(float(note["onset"]) - raw.first_time, str(note["description"]), float(note["duration"]))
        for note in raw.annotations
        if note["description"] in event_id
    ]
    events.sort(key=lambda event: event.onset_s)
    return replace(recording, name=name, subject=subject, group=session, events=tuple(events))


def locate_moabb(root: Path, options: dict[str, Any]) -> Iterator[Located | Failure]:
    """Every run of every subject. moabb names sessions and runs only with their signals, so each is read once here."""
    _dataset(options)
    for subject in options["subjects"]:
        one = {**options, "subjects": [subject]}
        try:
            for recording in read_moabb(root, one):
                yield located(source_of(recording), one)
        except DataError as error:
            yield Failure(name=f"subject {subject}", message=str(error))


def read_moabb(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """Every run of the subjects, continuous, with moabb's channel types and montage; `root` is not looked at.

    Options: `dataset`, a class of `moabb.datasets`; `subjects`, a list of its numbers; `download: true`, which says
    that moabb may fetch what is not yet in its own folder (`mne.get_config("MNE_DATA")`, by default `~/mne_data`):
    moabb cannot read without that leave; `interval`, [start, end] in seconds after the event, in place of the data
    set's. An event stands at the start of its interval and lasts as long; its code is MOABB's name for it. A recording
    is `SUBJECT-SESSION-RUN`, its group the session.

        source:
          reader: moabb
          options: {dataset: BNCI2014_001, subjects: [1, 2, 3], download: true}
        windows: [{by: events, duration_s: 4}]
        labels: {map: {left_hand: left hand, right_hand: right hand, feet: feet, tongue: tongue}}
        split: {by: subject, train: ["1"], validation: ["2"], test: ["3"]}

    Raises:
        ConfigError: moabb is not installed, or an option is unknown, missing or wrong.
        DataError: moabb cannot fetch or read a subject.
    """
    dataset = _dataset(options)
    for subject in options["subjects"]:
        try:
            sessions = dataset.get_data([subject])[subject]
        except Exception as error:  # what moabb raises is that of its downloaders and of mne's readers
            raise DataError(
                f"moabb, {options['dataset']}, subject {subject}: cannot be fetched or read ({type(error).__name__}); "
                "check the network and MNE_DATA, and that moabb itself reads it"
            ) from None
        for session, runs in sessions.items():
            for run, raw in runs.items():
                name = f"{subject}-{session}-{run}"
                yield _recording(raw, name, str(subject), str(session), dataset.event_id)
