"""The abnormal EEG corpus (TUAB) and the events corpus (TUEV) of Temple University Hospital (Obeid and Picone 2016).

    TUAB 3   edf/train/abnormal/01_tcp_ar/aaaaaaaq_s004_t000.edf
    TUAB 2   edf/train/abnormal/01_tcp_ar/076/00007671/s001_2011_02_22/00007671_s001_t000.edf, 00007671_s001.txt beside
    TUEV 2   edf/train/aaaaaaar/aaaaaaar_00000001.edf, edf/eval/000/bckg_000_a_.edf, .rec beside

Of a path only the folder `train` or `eval`, the class and the file's own name are used: session folders are dates.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path
from re import Match
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.tuh_report import read_section
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Event, Recording

_PATTERNS = {
    "tuab": r"(?:^|/)(?P<part>train|eval)/(?P<label>normal|abnormal)/(?:.*/)?"
    r"(?P<name>(?P<subject>[^_/]+)_s\d+_t\d+)\.edf$",
    "tuev": r"(?:^|/)(?P<part>train|eval)/(?P<subject>[^/]+)/(?P<name>[^/]+)\.edf$",
}
EVENTS = {1: "spsw", 2: "gped", 3: "pled", 4: "eyem", 5: "artf", 6: "bckg"}  # the corpus's own words, from its README


def _where(options: Options) -> dict[str, Any]:
    """What `listed` needs, after a check of the options."""
    require_options("tuh", options, needed={"corpus"}, allowed={"files", "section"})
    corpus = options["corpus"]
    if corpus not in _PATTERNS:
        raise ConfigError(f"reader tuh: corpus is {corpus!r}; expected one of {', '.join(_PATTERNS)}")
    if "section" in options and corpus != "tuab":
        raise ConfigError(f"reader tuh: {corpus} has no reports; section goes with tuab")
    return {"files": options.get("files", "**/*.edf"), "pattern": _PATTERNS[corpus]}


def _source(match: Match[str]) -> Source:
    part = match["part"]
    return Source(recording=f"{part}-{match['name']}", subject=f"{part}-{match['subject']}", group=part)


def _report(path: Path) -> Path:
    """The report of a session, beside its recordings: 00007671_s001.txt of 00007671_s001_t000.edf."""
    return path.with_name(f"{path.stem.rpartition('_t')[0]}.txt")


def _beside(path: Path, options: Options) -> list[Path]:
    """The file that the events come from, where it is there."""
    other = _report(path) if "section" in options else path.with_suffix(".rec")
    return [other] if other.is_file() else []


def locate_tuh(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Every file by its path."""
    found, failures = listed(root, _where(options))
    yield from failures
    for path, match in found:
        yield located(_source(match), one_file(root, path, options), path, *_beside(path, options))


def read_events(path: Path) -> tuple[Event, ...]:
    """The events of a `.rec` file, lines of channel, start, end (seconds) and class (1 to 6), in order of time.

    An event that several derivations show has a line for each; it is one event here, since a window has all channels.

    Raises:
        DataError: absent, empty, or a line is something else.
    """
    events: dict[tuple[float, float, int], None] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                events[_line(row, f"{path}, line {number}")] = None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}); expected it beside the .edf") from None
    if not events:
        raise DataError(f"{path}: no line in it; expected one per event; fetch it again")
    return tuple(Event(start, EVENTS[kind], end - start) for start, end, kind in sorted(events))


def _line(row: list[str], where: str) -> tuple[float, float, int]:
    """Start, end and class of an event."""
    try:
        _, start, end, kind = (float(value) for value in row)
    except ValueError:
        raise DataError(f"{where}: expected four numbers: channel, start, end, class") from None
    if not (isfinite(end) and 0 <= start < end and kind in EVENTS):
        raise DataError(
            f"{where}: from {start:g} to {end:g} s, class {kind:g}; expected 0 <= start < end, class 1 to 6"
        )
    return start, end, int(kind)


def read_tuh(root: Path, options: Options) -> Iterator[Recording]:
    """Every recording, with the corpus's labels as its only events; annotations of the EDF files are free text.

    Options: `corpus`, `tuab` or `tuev`; `files`, a glob; `section`, a heading of the reports of TUAB 2, whose text
    becomes `sentence` in the event's info (mind `tuh_report`). In TUAB one event, `normal` or `abnormal`, lasts as long
    as the recording; the code of an event in TUEV is spsw, gped, pled, eyem, artf or bckg. The group is `train` or
    `eval`; names start with it, as in `train-aaaaaaaq_s004_t000`.

    Raises:
        DataError: a file is damaged, or its labels or the section of its report are absent.
    """
    for path, match in readable(root, _where(options)):
        if options["corpus"] == "tuev":
            events = read_events(path.with_suffix(".rec"))
            recording = read_recording(path)
        else:
            info = {"sentence": read_section(_report(path), options["section"])} if "section" in options else {}
            recording = read_recording(path)
            events = (Event(0.0, match["label"], recording.duration_s, info),)
        source = _source(match)
        yield replace(recording, name=source.recording, subject=source.subject, group=source.group, events=events)
