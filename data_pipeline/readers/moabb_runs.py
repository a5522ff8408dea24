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
    """An instance of the class that `dataset` names.

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
    if not isinstance(wanted, list) or not wanted or any(one not in dataset.subject_list for one in wanted):
        raise ConfigError(f"reader moabb: subjects is {wanted!r}; expected a list out of {dataset.subject_list}")
    interval = options.get("interval", dataset.interval)
    numbers = isinstance(interval, list | tuple) and all(isinstance(value, int | float) for value in interval)
    if not numbers or len(interval) != 2 or not interval[0] < interval[1]:
        raise ConfigError(f"reader moabb: interval is {interval!r}; expected [start, end] in seconds after the event")
    return dataset


def _runs(dataset: Any, subject: Any) -> Iterator[tuple[str, str, "BaseRaw"]]:
    """Session, run and signal, whose annotations are the paradigm's events at their own onsets.

    moabb's own pipeline puts them at the start of the interval, and mne moves those that would begin before the signal.
    """
    from moabb.datasets.bids_interface import StepType
    from moabb.datasets.preprocessing import SetRawAnnotations
    from sklearn.pipeline import Pipeline

    steps = Pipeline([(StepType.RAW, SetRawAnnotations(dataset.event_id, interval=(0, 0)))])
    for session, runs in dataset.get_data([subject], process_pipeline=steps)[subject].items():
        for run, raw in runs.items():
            yield session, run, raw


def _events(raw: "BaseRaw", event_id: dict[str, Any], interval: tuple[float, float]) -> tuple[Event, ...]:
    start_s, stop_s = interval
    events = [
        Event(float(note["onset"]) - raw.first_time + start_s, str(note["description"]), stop_s - start_s)
        for note in raw.annotations
        if note["description"] in event_id
    ]
    return tuple(sorted(events, key=lambda event: event.onset_s))


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
    interval = tuple(options.get("interval", dataset.interval))
    for subject in options["subjects"]:
        try:
            runs = list(_runs(dataset, subject))
        except Exception as error:  # what moabb raises is that of its downloaders and of mne's readers
            raise DataError(
                f"moabb, {options['dataset']}, subject {subject}: cannot be fetched or read ({type(error).__name__}); "
                "check the network and MNE_DATA, and that moabb itself reads it"
            ) from None
        for session, run, raw in runs:
            yield replace(
                raw_recording(raw),
                name=f"{subject}-{session}-{run}",
                subject=str(subject),
                group=str(session),
                events=_events(raw, dataset.event_id, interval),
            )
