"""THINGS-EEG1: 22,248 pictures of 1,854 concepts at 10 Hz, 50 people, 63 channels at 1 kHz (Grootswagers et al. 2022).

OpenNeuro ds003825: BrainVision files `sub-XX/eeg/sub-XX_task-rsvp_eeg.vhdr`, and beside each an `..._events.tsv` whose
`onset` is the sample, not the second as BIDS would have it, and whose `stim` is a path of Windows.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options, whole_number
from neuroleon.data_pipeline.readers.files import files_of, listed, one_file, readable
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.tables import read_table, require_columns
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Event, Recording

PATTERN = r"(?P<subject>sub-\d+)_task-rsvp_eeg\.vhdr$"
COLUMNS = {"onset", "duration", "eventnumber", "blocksequencenumber", "sequencenumber", "stim", "istarget"}
PARTS = ("train", "validation", "test")
LAST_BLOCK = 11  # of the twelve with training pictures
_DEFAULTS: Options = {"files": "sub-*/eeg/*_eeg.vhdr", "validation_block": LAST_BLOCK}

Row = dict[str, str]


def _options(options: Options) -> Options:
    require_options("things_eeg1", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options | {"pattern": PATTERN}
    whole_number("things_eeg1", chosen, "validation_block", least=0, most=LAST_BLOCK)
    return chosen


def _events_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix("_eeg.vhdr") + "_events.tsv")


def _part(row: Row, validation_block: int) -> str:
    """The first subject's table has no column `isteststim`: that session had no test pictures."""
    if row.get("isteststim", "0") == "1":
        return "test"
    return "validation" if row["blocksequencenumber"] == str(validation_block) else "train"


def _read_events(path: Path, validation_block: int) -> dict[str, list[Row]]:
    """Part -> rows. A part is a stretch of the session: twelve blocks with a picture of every concept, then the test.

    Raises:
        DataError: not such a table, onsets that are no samples, or parts that are mixed in time.
    """
    rows = read_table(path)
    require_columns(path, rows, COLUMNS)
    onsets = [row["onset"] for row in rows]
    if not all(onset.isdigit() for onset in onsets):
        raise DataError(
            f"{path}: an onset is no whole number; expected samples, as in ds003825 (not seconds, as in BIDS)"
        )
    if sorted(onsets, key=int) != onsets:
        raise DataError(f"{path}: onsets are not in order of time; expected the table of ds003825; fetch it again")
    parts = [_part(row, validation_block) for row in rows]
    if sum(one != other for one, other in pairwise(parts)) != len(set(parts)) - 1:
        raise DataError(f"{path}: training, validation and test pictures alternate; expected one stretch of each")
    return {part: [row for row, its in zip(rows, parts, strict=True) if its == part] for part in PARTS if part in parts}


def _source(match: re.Match[str], part: str) -> Source:
    return Source(recording=f"{match['subject']}-{part}", subject=match["subject"], group=part)


def locate_things_eeg1(root: Path, options: Options) -> Iterator[Located | Failure]:
    """The parts of each session, by its table of events."""
    chosen = _options(options)
    found, failures = listed(root, chosen)
    yield from failures
    for path, match in found:
        try:
            parts = _read_events(_events_path(path), chosen["validation_block"])
        except DataError as error:
            yield Failure(name=path.relative_to(root).as_posix(), message=str(error))
            continue
        for part in parts:
            yield located(_source(match, part), one_file(root, path, options), *files_of(path), _events_path(path))


def read_things_eeg1(root: Path, options: Options) -> Iterator[Recording]:
    """Three recordings per session, one after the other in time: `train`, `validation`, `test`.

    The test is that of the set: 200 pictures, twelve times each, at the end (`isteststim`). The validation is the block
    `validation_block` (default 11, the last of twelve), pictures that this person sees nowhere else; the set has none.
    Pictures are looked for in `stimuli/` below `root`, where the table says that they are.

    Raises:
        DataError: a file is damaged, or an event lies outside of its recording.
    """
    chosen = _options(options)
    for path, match in readable(root, chosen):
        parts = _read_events(_events_path(path), chosen["validation_block"])
        whole = read_recording(path)
        last = max(int(rows[-1]["onset"]) for rows in parts.values())
        if last >= whole.n_times:
            raise DataError(
                f"{_events_path(path)}: an event at sample {last} of {whole.n_times}; do table and recording belong "
                "together, and is the recording whole?"
            )
        order = sorted(parts, key=lambda part: int(parts[part][0]["onset"]))
        cuts = [0, *((_last(parts[a]) + _first(parts[b])) // 2 for a, b in pairwise(order))]
        for part, start, stop in zip(order, cuts, [*cuts[1:], whole.n_times], strict=True):
            yield _cut(whole, start, stop, parts[part], _source(match, part))


def _first(rows: list[Row]) -> int:
    return int(rows[0]["onset"])


def _last(rows: list[Row]) -> int:
    return int(rows[-1]["onset"])


def _cut(whole: Recording, start: int, stop: int, rows: list[Row], source: Source) -> Recording:
    """The stretch of a recording that holds these events."""
    return replace(
        whole,
        eeg_uV=whole.eeg_uV[:, start:stop],
        events=tuple(_event(row, start, whole.sfreq) for row in rows),
        boundaries=tuple(edge - start for edge in whole.boundaries if start < edge < stop),
        name=source.recording,
        subject=source.subject,
        group=source.group,
    )


def _event(row: Row, start: int, sfreq: float) -> Event:
    """Durations are in samples as well. The test's rows have no `object`: the concept is the picture's folder."""
    image = PurePosixPath(PureWindowsPath(row["stim"]).as_posix())
    info = {
        "image": str(image),
        "trial": int(row["eventnumber"]),
        "block": int(row["blocksequencenumber"]),
        "sequence": int(row["sequencenumber"]),
        "is_target": row["istarget"] == "1",
    }
    code = image.parent.name.replace("_", " ")
    return Event((int(row["onset"]) - start) / sfreq, code, float(row["duration"]) / sfreq, info)
