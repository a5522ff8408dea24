"""Alljoined-1.6M as recorded: pictures of THINGS in rapid sequence, 20 people, 32 channels of a consumer headset at
256 Hz (Xu et al. 2025). `raw_eeg/sub-XX/session_YY/block_ZZ/*.edf`; an annotation is `label,picture,deleted,index`,
where `deleted` is -1 for a picture that was kept.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options, whole_number
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.tables import read_rows
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Event, Recording

# the folders say who and when: the files of sub-08 have the number 19 in their names
PATTERN = r"(?P<subject>sub-\d+)/session_(?P<session>\d+)/block_(?P<block>\d+)/[^/]+\.edf$"
TEST_BLOCKS, BLOCKS = range(1, 5), range(1, 20)
LABELS = {"stim_train": "train", "stim_test": "test"}  # others are targets of the task, answers, marks of the software
_DEFAULTS: Options = {
    "files": "raw_eeg/sub-??/session_??/block_??/*.edf",
    "images": "stimuli/images",
    "categories": None,
    "validation_block": 19,
}


def picture_number(image_path: object, path: Path) -> int:
    """The number of a picture: the five digits at the end of its path.

    Raises:
        DataError: it has none.
    """
    match = re.search(r"(\d{5})\.\w+$", str(image_path))
    if match is None:
        raise DataError(f"{path}: an image_path does not end in five digits and an extension; is this the set's table?")
    return int(match[1])


def _options(options: Options) -> Options:
    require_options("alljoined_16m", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options | {"pattern": PATTERN}
    whole_number("alljoined_16m", chosen, "validation_block", least=TEST_BLOCKS.stop, most=BLOCKS.stop - 1)
    return chosen


def _source(match: re.Match[str], validation_block: int) -> Source:
    block = int(match["block"])
    part = "test" if block in TEST_BLOCKS else "validation" if block == validation_block else "train"
    name = f"{match['subject']}-session_{match['session']}-block_{match['block']}"
    return Source(recording=name, subject=match["subject"], group=part)


def locate_alljoined_16m(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Every block, by its path."""
    chosen = _options(options)
    tables = [root / chosen["categories"]] if chosen["categories"] else []
    found, failures = listed(root, chosen)
    yield from failures
    for path, match in found:
        if int(match["block"]) not in BLOCKS:
            name = path.relative_to(root).as_posix()
            yield Failure(name=name, message=f"{path}: a block beyond 1 to 19, which the design does not have")
        else:
            source = _source(match, chosen["validation_block"])
            yield located(source, one_file(root, path, options), path, *tables)


def _categories(path: Path) -> dict[int, str]:
    rows = read_rows(path, {"image_path", "category_name"})
    return {picture_number(row["image_path"], path): str(row["category_name"]) for row in rows}


def _is_kept(event: Event) -> bool:
    """Whether the third field of an annotation does not say that its picture was deleted."""
    label, *fields = event.code.split(",")
    return label not in LABELS or len(fields) < 2 or fields[1] == "-1"


def _event(event: Event, part: str, images: str, categories: dict[int, str] | None, path: Path) -> Event | None:
    """The picture of an annotation, or None; text of other annotations is never shown."""
    label, *fields = event.code.split(",")
    if label not in LABELS:
        return None
    if len(fields) != 3 or not fields[0].isdigit() or LABELS[label] != part:
        raise DataError(
            f"{path}: an annotation {label!r} with {len(fields)} more fields in a block for {part}; expected "
            "label,picture,-1,index, with stim_test in blocks 1 to 4 and stim_train in 5 to 19; is it the right folder?"
        )
    number = int(fields[0])
    if categories is not None and number not in categories:
        raise DataError(f"{path}: picture {number} is not in the table of categories; is it the set's own?")
    code = f"{number:05d}" if categories is None else categories[number]
    return Event(event.onset_s, code, 0.0, {"image": f"{images}/{number:05d}.jpg", "picture": number})


def read_alljoined_16m(root: Path, options: Options) -> Iterator[Recording]:
    """Every block that fits the glob `files`: blocks 1 to 4 of a session are for test, 5 to 19 for training.

    Options: `files`; `images`, the folder of NNNNN.jpg below `root`; `categories`, a parquet file with `image_path` and
    `category_name`: the word of an event is then that name, else the five digits of its picture; `validation_block`
    (default 19), taken from training, for the set has none.

    Raises:
        DataError: a file is damaged, or its annotations are not those of its block.
    """
    chosen = _options(options)
    categories = _categories(root / chosen["categories"]) if chosen["categories"] else None
    for path, match in readable(root, chosen):
        if int(match["block"]) not in BLOCKS:
            continue  # listed by locate
        source = _source(match, chosen["validation_block"])
        recording = read_recording(path)
        part = "test" if source.group == "test" else "train"
        kept = [event for event in recording.events if _is_kept(event)]
        found = (_event(event, part, chosen["images"], categories, path) for event in kept)
        n_deleted = len(recording.events) - len(kept)
        yield replace(
            recording,
            events=tuple(event for event in found if event is not None),
            name=source.recording,
            subject=source.subject,
            group=source.group,
            skipped={"pictures: marked as deleted": n_deleted} if n_deleted else {},
        )
