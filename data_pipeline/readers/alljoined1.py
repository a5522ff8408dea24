"""Alljoined-1: pictures of NSD, that is of COCO, 8 people, 64 channels at 512 Hz (Xu et al. 2024; OSF kqgs8).

`subjNN_sessionM_eeg.fif`, whose trigger is the number of a picture, from 1, in the session's list. Which picture that
is stands in two files beside: `nsd_expdesign.mat` of the Natural Scenes Dataset (`sharedix` for even sessions, the
person's row of `subjectim` for odd ones, NSD ids from 1) and a table whose first two columns are NSD id, from 0, and
COCO id (`nsd_coco_conversion.csv` of the authors; NSD's `nsd_stim_info_merged.csv` begins with the same two).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options, whole_number
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.mat_file import load_mat
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.tables import read_table
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Event, Recording

PATTERN = r"subj(?P<subject>\d+)_session(?P<session>\d+)_eeg\.fif$"
PARTS = ("train", "validation", "test")
_DEFAULTS: Options = {
    "files": "**/subj*_session*_eeg.fif",
    "design": "nsd_expdesign.mat",
    "coco": "nsd_coco_conversion.csv",
    "test": "test_indices.json",
    "images": "coco",
    "validation_every": 10,
}


def _options(options: Options) -> Options:
    require_options("alljoined1", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options | {"pattern": PATTERN}
    whole_number("alljoined1", chosen, "validation_every", least=2)
    return chosen


def _source(match: re.Match[str], part: str) -> Source:
    name = f"subj{match['subject']}-session{match['session']}-{part}"
    return Source(recording=name, subject=f"subj{match['subject']}", group=part)


def locate_alljoined1(root: Path, options: Options) -> Iterator[Located | Failure]:
    """The three parts of every session, by its file."""
    chosen = _options(options)
    tables = [root / chosen[name] for name in ("design", "coco", "test")]
    if missing := [path for path in tables if not path.is_file()]:
        raise DataError(f"{missing[0]}: no such file; it says which picture a trigger means; put it there")
    found, failures = listed(root, chosen)
    yield from failures
    for path, match in found:
        for part in PARTS:
            yield located(_source(match, part), one_file(root, path, options), path, *tables)


def _read_design(path: Path) -> dict[str, np.ndarray]:
    fields = load_mat(path, ["sharedix", "subjectim"])
    return {name: np.atleast_2d(value).astype(np.int64) for name, value in fields.items()}


def _read_coco(path: Path) -> dict[int, int]:
    """NSD id, from 0 -> COCO id; lines without one are none."""
    pairs = [list(row.values())[:2] for row in read_table(path)]
    try:
        return {int(nsd): int(coco) for nsd, coco in pairs if nsd}
    except ValueError as error:
        raise DataError(
            f"{path}: its first two columns are no NSD and COCO ids ({error}); is this the table?"
        ) from None


def _nsd_ids(design: dict[str, np.ndarray], subject: int, session: int, path: Path) -> list[int]:
    """NSD ids, from 0, of a session's pictures in the order of their triggers."""
    if session % 2 == 0:
        return (design["sharedix"][0] - 1).tolist()
    if not 1 <= subject <= len(design["subjectim"]):
        raise DataError(f"{path}: subject {subject}, but the design has {len(design['subjectim'])}; is the name right?")
    return (design["subjectim"][subject - 1] - 1).tolist()


def _part(nsd: int, test: set[int], number: int, validation_every: int) -> str:
    if nsd in test:
        return "test"
    return "validation" if number % validation_every == 0 else "train"


def _shown(recording: Recording, nsd_ids: list[int], coco: dict[int, int], images: str, path: Path) -> list[Event]:
    events = []
    for event in recording.events:
        if "channel" not in event.info:
            continue  # an annotation, no trigger
        number = int(event.code)
        if not 1 <= number <= len(nsd_ids) or nsd_ids[number - 1] not in coco:
            raise DataError(
                f"{path}: trigger {number} is none of the session's {len(nsd_ids)} pictures, or has no COCO id; are "
                "the design and the table those of NSD?"
            )
        nsd = nsd_ids[number - 1]
        info = {"image": f"{images}/{coco[nsd]:012d}.jpg", "picture": number, "nsd": nsd, "coco": coco[nsd]}
        events.append(Event(event.onset_s, str(coco[nsd]), 0.0, info))
    return events


def read_alljoined1(root: Path, options: Options) -> Iterator[Recording]:
    """Every session three times, with the events of its training, validation and test pictures.

    Options: `files`; `design`, `coco` and `test` name the files that say which picture a trigger means and which NSD
    ids (from 0) are for test (the authors' test_indices.json); `images`, the folder of COCO's pictures by their 12
    digits, below `root`; `validation_every`: a picture that is not for test and whose number in the session is a
    multiple of it is for validation (the set has none).

    Raises:
        DataError: a file is absent or damaged, or a trigger is no picture.
    """
    chosen = _options(options)
    design, coco = _read_design(root / chosen["design"]), _read_coco(root / chosen["coco"])
    test = set(read_json(root / chosen["test"]))
    for path, match in readable(root, chosen):
        recording = read_recording(path)
        nsd_ids = _nsd_ids(design, int(match["subject"]), int(match["session"]), path)
        events = _shown(recording, nsd_ids, coco, chosen["images"], path)
        for part in PARTS:
            source = _source(match, part)
            mine = tuple(
                event
                for event in events
                if _part(event.info["nsd"], test, event.info["picture"], chosen["validation_every"]) == part
            )
            yield replace(recording, events=mine, name=source.recording, subject=source.subject, group=part)
