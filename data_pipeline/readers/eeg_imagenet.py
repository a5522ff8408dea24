"""EEG-ImageNet: 80 classes of ImageNet, coarse and fine, 16 people, 62 channels at 1 kHz (Zhu et al. 2024). Two .pth
files of eight people each:

    {"dataset": [{"eeg_data": (62, 501), "granularity": "coarse" or "fine", "subject": 0 ... 15, "label": wnid,
                  "image": "wnid_number.JPEG"}, ...], "labels": [wnid, ...], "images": [...]}
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_torch
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options, whole_number
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

SFREQ = 1000.0
PICTURES, TRAIN = 50, 30  # of a class; the authors' benchmark trains on the first 30 and tests on the other 20
FIELDS = {"eeg_data", "granularity", "subject", "label", "image"}
# the order of the authors' code (src/model/rgnn.py); their list of 69 names has the ears, eyes and trigger as well
CHANNELS = (  # noqa: SIM905 (read as one text, as the authors give it)
    "FP1 FPZ FP2 AF3 AF4 F7 F5 F3 F1 FZ F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCZ FC2 FC4 FC6 FT8 T7 C5 C3 C1 CZ C2 C4 C6 T8 TP7 "
    "CP5 CP3 CP1 CPZ CP2 CP4 CP6 TP8 P7 P5 P3 P1 PZ P2 P4 P6 P8 PO7 PO5 PO3 POZ PO4 PO6 PO8 CB1 O1 OZ O2 CB2"
).split()

_DEFAULTS: Options = {"files": "EEG-ImageNet_*.pth", "validation": 5, "images": "imageNet_images"}


def _options(options: Options) -> Options:
    require_options("eeg_imagenet", options, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options
    whole_number("eeg_imagenet", chosen, "validation", least=0, most=TRAIN - 1)
    return chosen


def _read_trials(path: Path) -> list[dict[str, Any]]:
    content = load_torch(path)
    if not isinstance(content, dict) or "dataset" not in content:
        raise DataError(f"{path}: expected a dictionary with dataset, labels and images; is this an EEG-ImageNet file?")
    for number, item in enumerate(content["dataset"]):
        if not item.keys() >= FIELDS or item["eeg_data"].shape[0] != len(CHANNELS):
            raise DataError(
                f"{path}: trial {number} has {sorted(item)}; expected {sorted(FIELDS)}, with eeg_data "
                f"({len(CHANNELS)}, n_times); fetch it again"
            )
    return list(content["dataset"])


def _parts(trials: list[dict[str, Any]], validation: int) -> dict[tuple[int, str], list[int]]:
    """(subject, part) -> indices of its trials, by the place of a picture among those of its class.

    As in the benchmark, where each class is shown once; here a picture that comes again stays in its part.
    """
    seen: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    parts: dict[tuple[int, str], list[int]] = defaultdict(list)
    for index, item in enumerate(trials):
        subject = int(item["subject"])
        pictures = seen[subject, item["label"]]
        place = pictures.setdefault(item["image"], len(pictures)) % PICTURES
        part = "test" if place >= TRAIN else "validation" if place >= TRAIN - validation else "train"
        parts[subject, part].append(index)
    return dict(sorted(parts.items()))


def _source(subject: int, part: str) -> Source:
    return Source(recording=f"sub-{subject:02d}-{part}", subject=f"sub-{subject:02d}", group=part)


def locate_eeg_imagenet(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Each subject of each file, by part. A file must be read to know them: some GB, one at a time."""
    chosen = _options(options)
    files, failures = listed(root, {"files": chosen["files"]})
    yield from failures
    for path, _ in files:
        try:
            found = _parts(_read_trials(path), chosen["validation"])
        except DataError as error:
            yield Failure(name=path.name, message=str(error))
            continue
        for subject, part in found:
            yield located(_source(subject, part), one_file(root, path, options), path)


def read_eeg_imagenet(root: Path, options: Options) -> Iterator[Recording]:
    """One recording per subject and part: of each class, the first 30 pictures are for training, the last 20 for test.

    Options: `files`, a glob; `validation`, how many of the 30 (the last of them; default 5) are for validation;
    `images`, the folder of WNID/WNID_NUMBER.JPEG below `root`. The unit of the numbers is not given: a recipe says
    `unit_unknown: true`.

    Raises:
        DataError: a file is damaged or of another kind.
    """
    chosen = _options(options)
    columns = eeg_columns(CHANNELS, "EEG-ImageNet")
    for path, _ in readable(root, {"files": chosen["files"]}):
        trials = _read_trials(path)
        for (subject, part), indices in _parts(trials, chosen["validation"]).items():
            chosen_trials = [_trial(trials[i], i, chosen["images"]) for i in indices]
            yield joined(chosen_trials, columns, _source(subject, part), SFREQ)


def _trial(item: dict[str, Any], index: int, images: str) -> Trial:
    wnid = str(item["label"])
    return Trial(
        eeg=item["eeg_data"].numpy(),
        code=wnid,
        info={"image": f"{images}/{wnid}/{item['image']}", "granularity": str(item["granularity"]), "trial": index},
    )
