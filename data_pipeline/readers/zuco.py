"""ZuCo 1 and 2 (Hollenstein et al. 2018, 2020): people read English sentences; `resultsZAB_SR.mat` ...

One file per person and task (SR sentiment, NR normal, TSR task-specific reading). Its struct array `sentenceData` has
for each sentence the text, `content`, and what was recorded while it was read, `rawData` (105, samples) in microvolts
at 500 Hz. Version 1 is a MATLAB file of version 5, version 2 one of 7.3, which is HDF5. The fields of single words
(fixations, band powers) are not read.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.array_files import numbers
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.hdf5_file import opened, require_own
from neuroleon.data_pipeline.readers.mat_file import load_mat
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import SPLITS, Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

SFREQ = 500.0
# The electrodes of the 128-channel HydroCel net that the authors kept: `chanlocs` in sentence-level/config.py of their
# repository norahollenstein/zuco-benchmark names these 104. Column 105 is Cz, the reference of the recording: so others
# found it in the `chanlocs` of the preprocessed files. Where the data were not referenced anew it is zero throughout.
_NOT_KEPT = {1, 8, 14, 17, 21, 25, 32, 48, 49, 56, 63, 68, 73, 81, 88, 94, 99, 107, 113, 119, 125, 126, 127, 128}
CHANNELS = (*(f"E{n}" for n in range(1, 129) if n not in _NOT_KEPT), "Cz")

_PATTERN = r"(?:^|/)results([A-Z]+)_(SR|NR|TSR)\.mat$"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_Sentences = Iterator[tuple[str, Callable[[], Any]]]


def part_of(sentence: str) -> str:
    """`train` (70 of 100), `validation` (10) or `test` (20): a pure function of the letters of a sentence.

    Everyone reads the same sentences, and some of them in several tasks and in both versions: the parts are the same
    in all. Case, signs, blanks and digits do not count, since the same sentence comes with and without faults in them.
    """
    letters = "".join(filter(str.isalpha, sentence.casefold()))
    draw = int.from_bytes(blake2b(letters.encode(), digest_size=8).digest(), "big") % 10
    return "train" if draw < 7 else "validation" if draw == 7 else "test"


def _sentences(path: Path) -> _Sentences:
    """Each sentence, and a function that gives its `rawData` as it stands in the file."""
    with path.open("rb") as file:
        start = file.read(512 + len(_HDF5))
    return _from_hdf5(path) if _HDF5 in (start[: len(_HDF5)], start[512:]) else _from_version_5(path)


def _from_version_5(path: Path) -> _Sentences:
    fields = load_mat(path, ["sentenceData"], struct_as_record=False, squeeze_me=True)
    for sentence in np.atleast_1d(fields["sentenceData"]):
        text = sentence.content if isinstance(sentence.content, str) else ""  # an empty text is an array
        yield text, partial(getattr, sentence, "rawData")


def _from_hdf5(path: Path) -> _Sentences:
    with opened(path) as file:
        if "sentenceData" not in file or not {"content", "rawData"} <= file["sentenceData"].keys():
            raise DataError(f"{path}: no sentenceData with content and rawData; is this a file of the data set?")
        contents, raws = (file["sentenceData"][name] for name in ("content", "rawData"))
        for fields in (contents, raws):
            require_own(fields, file, str(path))
        for text, raw in zip(contents[:, 0], raws[:, 0], strict=True):
            require_own(file[text], file, str(path))
            characters = [] if "MATLAB_empty" in file[text].attrs else file[text][()].ravel()
            yield "".join(map(chr, characters)), partial(_transposed, file, raw, str(path))


def _transposed(file: Any, reference: Any, where: str) -> np.ndarray:
    """An array of an HDF5 file with its axes in the order that MATLAB shows: the file has them the other way round."""
    require_own(file[reference], file, where)
    return np.asarray(file[reference][()]).T


def _missing(raw: Any, where: str) -> str | None:
    """Why a sentence cannot be used: the files have a single NaN or nothing where there is no recording."""
    array = np.asarray(raw)
    if array.ndim != 2 or array.size <= 1:
        return "no EEG"
    return None if np.isfinite(numbers(array, (len(CHANNELS), None), where)).all() else "EEG that is not finite"


def _parts(path: Path, task: str, wanted: tuple[str, ...]) -> tuple[dict[str, list[Trial]], dict[str, Counter[str]]]:
    """The sentences of each wanted part, and how many of it are left out, by reason.

    Raises:
        DataError: the file is damaged or has other fields.
    """
    trials: dict[str, list[Trial]] = {part: [] for part in wanted}
    skipped: dict[str, Counter[str]] = {part: Counter() for part in wanted}
    try:
        for number, (sentence, read) in enumerate(_sentences(path), 1):
            part, text = part_of(sentence), " ".join(sentence.split())
            if part not in wanted:
                continue
            raw = read()
            reason = _missing(raw, f"{path}, sentence {number}") if text else "no text"
            if reason:
                skipped[part][f"sentences: {reason}"] += 1
            else:
                trials[part].append(
                    Trial(eeg=np.asarray(raw, np.float32), code=task, info={"sentence": text, "number": number})
                )
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise DataError(
            f"{path}: no sentenceData with content and rawData ({type(error).__name__}); the file is damaged or of "
            "another set; fetch it again"
        ) from None
    return trials, skipped


def _options(options: Options) -> tuple[dict[str, Any], tuple[str, ...]]:
    require_options("zuco", options, allowed={"files", "part"})
    part = options.get("part")
    if part not in (None, *SPLITS):
        raise ConfigError(f"reader zuco: part is {part!r}; expected one of {', '.join(SPLITS)}, or none for all three")
    return {"files": options.get("files", "**/results*.mat"), "pattern": _PATTERN}, (part,) if part else SPLITS


def _source(subject: str, task: str, part: str) -> Source:
    return Source(recording=f"{subject}-{task}-{part}", subject=subject, group=part)


def locate_zuco(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Three recordings of every file, by its name."""
    where, parts = _options(options)
    found, failures = listed(root, where)
    yield from failures
    for path, match in found:
        for part in parts:
            yield located(_source(match[1], match[2], part), {**one_file(root, path, options), "part": part}, path)


def read_zuco(root: Path, options: Options) -> Iterator[Recording]:
    """One recording per person, task and part of the sentences; its group is the part (`part_of`).

    Each sentence is a trial, with a boundary behind it, and an event as long as itself: code is the task (SR, NR, TSR),
    info has the `sentence` and its `number` in the file. Options: `files` (a glob), `part` (one of the three alone).

    Raises:
        DataError: the file is damaged, or a part has no sentence with EEG.
    """
    where, parts = _options(options)
    for path, match in readable(root, where):
        trials, skipped = _parts(path, match[2], parts)
        for part in parts:
            if not trials[part]:
                raise DataError(
                    f"{path}: no sentence with EEG in the part {part}, {skipped[part].total()} without; expected some "
                    "of each part; fetch it again"
                )
            source = _source(match[1], match[2], part)
            yield joined(trials[part], eeg_columns(CHANNELS, str(path)), source, SFREQ, skipped=dict(skipped[part]))
