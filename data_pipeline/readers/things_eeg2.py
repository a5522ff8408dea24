"""THINGS-EEG2: 16,540 training and 200 test pictures in rapid sequence, 10 people (Gifford et al. 2022).

Of each person there are `preprocessed_eeg_training.npy` and `preprocessed_eeg_test.npy`, in two kinds:

- of the authors: a dictionary saved by numpy, 17 channels over the back of the head at 100 Hz, -0.2 to 0.79 s;
- of NICE and ATM (Song et al. 2024, Li et al. 2024): a pickle that is only named .npy, 63 channels at 250 Hz, 0 to 1 s,
  whose `times` has the 50 samples before as well.

Both hold `preprocessed_eeg_data` (condition, repetition, channel, time), `ch_names` and `times`. `image_metadata.npy`
lists the pictures; condition i is the i-th of them in sorted order.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_object_array
from neuroleon.data_pipeline.readers.array_files import read_array, sampling_rate
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options, whole_number
from neuroleon.data_pipeline.readers.files import Found, listed, one_file
from neuroleon.data_pipeline.readers.trials import Trial, joined, runs
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

REPETITIONS = {"training": 4, "test": 80}
PATTERN = re.compile(r"(?P<subject>sub-\d+)/(?:.*/)?preprocessed_eeg_(?P<kind>training|test)\.npy$")

_DEFAULTS: Options = {
    "files": "**/preprocessed_eeg_*.npy",
    "metadata": "image_set/image_metadata.npy",
    "images": "image_set",
    "validation_every": 22,
    "trials_per_recording": 2000,
}


def _options(options: Options) -> Options:
    require_options("things_eeg2", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options
    for name in ("validation_every", "trials_per_recording"):
        whole_number("things_eeg2", chosen, name, least=1)
    return chosen


def read_pictures(path: Path) -> dict[str, list[tuple[str, str]]]:
    """(concept, file) of every condition, in the order of the conditions, of `training` and `test`.

    Raises:
        DataError: no such file, or not the set's `image_metadata.npy`.
    """
    content = load_object_array(path)
    pictures = {}
    for kind, key in (("training", "train"), ("test", "test")):
        try:
            concepts, files = (list(content[f"{key}_img_{what}"]) for what in ("concepts", "files"))
            pictures[kind] = sorted((str(c), str(f)) for c, f in zip(concepts, files, strict=True))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise DataError(
                f"{path}: no lists {key}_img_concepts and {key}_img_files of one length ({error!r}); expected the "
                "set's image_metadata.npy"
            ) from None
    return pictures


def concept_word(concept: str) -> str:
    """`00001_aircraft_carrier`, the name of a folder of pictures, as a word: `aircraft carrier`."""
    return concept.partition("_")[2].replace("_", " ")


def shown(picture: tuple[str, str], kind: str, images: str) -> str:
    """The path of a picture below the source folder."""
    return f"{images}/{kind}_images/{picture[0]}/{picture[1]}"


def _conditions(pictures: list[tuple[str, str]], kind: str, validation_every: int) -> dict[str, list[int]]:
    """Part -> conditions. Every so many training concepts are for validation, so that its concepts are new as well."""
    if kind == "test":
        return {"test": list(range(len(pictures)))}
    numbers = {concept: number for number, concept in enumerate(sorted({concept for concept, _ in pictures}))}
    parts: dict[str, list[int]] = {"train": [], "validation": []}
    for condition, (concept, _) in enumerate(pictures):
        held = numbers[concept] % validation_every == validation_every - 1
        parts["validation" if held else "train"].append(condition)
    return parts


def _recordings(
    match: re.Match[str], pictures: dict[str, list[tuple[str, str]]], options: Options
) -> Iterator[tuple[Source, list[tuple[int, int]]]]:
    """The recordings of a file and the (repetition, condition) of their trials: a repetition of all, then the next."""
    kind = match["kind"]
    for part, conditions in _conditions(pictures[kind], kind, options["validation_every"]).items():
        trials = [(repetition, condition) for repetition in range(REPETITIONS[kind]) for condition in conditions]
        for number, run in enumerate(runs(len(trials), options["trials_per_recording"])):
            name = f"{match['subject']}-{part}-{number:02d}"
            yield Source(recording=name, subject=match["subject"], group=part), trials[run]


def _matched(root: Path, options: Options) -> tuple[Found, list[Failure]]:
    files, failures = listed(root, {"files": options["files"]})
    names = {path: path.relative_to(root).as_posix() for path, _ in files}
    found = [(path, match) for path, name in names.items() if (match := PATTERN.search(name))]
    wrong = "expected sub-NN/preprocessed_eeg_training.npy or ..._test.npy; rename it"
    others = names.keys() - dict(found).keys()
    return found, [*failures, *(Failure(name=names[path], message=f"{path}: {wrong}") for path in sorted(others))]


def locate_things_eeg2(root: Path, options: Options) -> Iterator[Located | Failure]:
    """What `read_things_eeg2` will make of each file, from its path and the list of pictures."""
    chosen = _options(options)
    metadata = root / chosen["metadata"]
    pictures = read_pictures(metadata)
    found, failures = _matched(root, chosen)
    yield from failures
    for path, match in found:
        for source, _ in _recordings(match, pictures, chosen):
            yield located(source, one_file(root, path, options), path, metadata)


def read_things_eeg2(root: Path, options: Options) -> Iterator[Recording]:
    """Recordings of at most `trials_per_recording` trials per subject and part: a repetition of all pictures, then the
    next. A file is in memory once, beside one recording.

    Options: `files`, a glob; `metadata`, the set's image_metadata.npy; `images`, the folder of training_images and
    test_images; `validation_every`: of so many training concepts the last is for validation (22: 75 of 1654), which the
    set itself does not have. The numbers are whitened: a recipe says `unit_unknown: true`.

    Raises:
        DataError: a file is damaged, of another kind, or does not fit the list of pictures.
    """
    chosen = _options(options)
    pictures = read_pictures(root / chosen["metadata"])
    for path, match in _matched(root, chosen)[0]:  # the others are listed by locate
        kind = match["kind"]
        data, names, times = read_array(path, (len(pictures[kind]), REPETITIONS[kind]))
        columns = eeg_columns(names, str(path))
        for source, trials in _recordings(match, pictures, chosen):
            yield joined(
                [_trial(data, trial, pictures[kind], kind, chosen["images"]) for trial in trials],
                columns,
                source,
                sampling_rate(times),
                before_s=-float(times[0]),
            )


def _trial(data: np.ndarray, trial: tuple[int, int], pictures: list[tuple[str, str]], kind: str, images: str) -> Trial:
    repetition, condition = trial
    info: dict[str, Any] = {
        "image": shown(pictures[condition], kind, images),
        "condition": condition,
        "repetition": repetition,
    }
    return Trial(eeg=data[condition, repetition], code=concept_word(pictures[condition][0]), info=info)
