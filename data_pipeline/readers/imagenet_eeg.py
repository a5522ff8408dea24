"""ImageNet-EEG (EEGCVPR40): 40 classes of ImageNet, 6 people, 128 channels at 1 kHz (Spampinato et al. 2017, Palazzo et
al. 2021; perceivelab). One .pth file of trials, and one of the split by image.

    {"dataset": [{"eeg": (128, n_times), "image": 0 ... 1995, "label": 0 ... 39, "subject": 1 ... 6}, ...],
     "labels": [wnid, ...], "images": [wnid_number, ...]}                     the raw file also has "means", "stddevs"
    {"splits": [{"train": [index, ...], "val": [...], "test": [...]}, ...]}
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.unpickle import load_torch
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

SFREQ = 1000.0
SHORTEST, LONGEST = 450, 600  # samples; the set's own loader leaves out what is shorter or longer
PARTS = {"train": "train", "validation": "val", "test": "test"}  # ours -> the split file's
# rows 0 to 127: the set's author, issue 4 of perceivelab/eeg_visual_classification; microvolts per count from there too
CHANNELS = (  # noqa: SIM905 (read as one text, in the order of the amplifiers)
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 TP9 CP5 CP1 CP2 CP6 TP10 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10 "
    "AF7 AF3 AF4 AF8 F5 F1 F2 F6 FT9 FT7 FC3 FC4 FT8 FT10 C5 C1 C2 C6 TP7 CP3 CPz CP4 TP8 P5 P1 P2 P6 PO7 PO3 POz PO4 "
    "PO8 Fpz F9 AFF5h AFF1h AFF2h AFF6h F10 FTT9h FTT7h FCC5h FCC3h FCC1h FCC2h FCC4h FCC6h FTT8h FTT10h TPP9h TPP7h "
    "CPP5h CPP3h CPP1h CPP2h CPP4h CPP6h TPP8h TPP10h POO9h POO1 POO2 POO10h Iz AFp1 AFp2 FFT9h FFT7h FFC5h FFC3h "
    "FFC1h FFC2h FFC4h FFC6h FFT8h FFT10h TTP7h CCP5h CCP3h CCP1h CCP2h CCP4h CCP6h TTP8h P9 PPO9h PPO5h PPO1h PPO2h "
    "PPO6h PPO10h P10 I1 OI1h OI2h I2"
).split()
RAW_COUNT_UV = np.array([0.5] * 32 + [0.1] * 96)

_DEFAULTS: Options = {
    "split": 0,
    "subjects": [1, 2, 3, 4, 5, 6],
    "images": "images",
    "image_order": None,
    "crop": [0, None],
}


def _options(options: Options) -> Options:
    require_options("imagenet_eeg", options, needed={"file", "splits"}, allowed=set(_DEFAULTS))
    chosen = _DEFAULTS | options
    crop = chosen["crop"]
    if not (isinstance(crop, list) and len(crop) == 2 and 0 <= crop[0] < (SHORTEST if crop[1] is None else crop[1])):
        raise ConfigError(
            f"reader imagenet_eeg: crop is {crop!r}; expected [first, stop] in samples, such as [20, 460]"
        )
    return chosen


def _source(subject: int, part: str) -> Source:
    return Source(recording=f"sub-{subject}-{part}", subject=f"sub-{subject}", group=part)


def _read_trials(path: Path) -> dict[str, Any]:
    content = load_torch(path)
    if not isinstance(content, dict) or not {"dataset", "labels", "images"} <= content.keys():
        raise DataError(f"{path}: expected a dictionary with dataset, labels and images; is this an ImageNet-EEG file?")
    for number, item in enumerate(content["dataset"]):
        if not {"eeg", "image", "label", "subject"} <= item.keys() or item["eeg"].shape[0] != len(CHANNELS):
            raise DataError(
                f"{path}: trial {number} has {sorted(item)} and the wrong fields or not {len(CHANNELS)} channels; "
                "expected eeg (128, n_times), image, label, subject; fetch it again"
            )
    return content


def _read_split(path: Path, number: int, images: list[int], n_all: int) -> dict[str, list[int]]:
    """Indices into the trials of the chosen subjects, by our names of the parts.

    Args:
        images: the picture of each of these trials, which may be in one part only.
        n_all: trials of the file. Where all are chosen, the split must cover them.
    """
    content = load_torch(path)
    try:
        split = {part: [int(i) for i in content["splits"][number][theirs]] for part, theirs in PARTS.items()}
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{path}: no split {number} with train, val and test ({error!r}); expected a file block_splits_by_image_*"
        ) from None
    everywhere = [i for indices in split.values() for i in indices]
    n_trials = len(images)
    if len(set(everywhere)) < len(everywhere) or not set(everywhere) <= set(range(n_trials)):
        raise DataError(
            f"{path}: {len(everywhere)} indices up to {max(everywhere)}, expected each in one part and below "
            f"{n_trials}, the number of trials; the split ..._single goes with subjects: [4], ..._all with all six"
        )
    if len(everywhere) < n_trials == n_all:
        raise DataError(
            f"{path}: has {len(everywhere)} of {n_trials} trials, expected all; the split ..._all goes with all six "
            "subjects, ..._single goes with subjects: [4]"
        )
    part_of: dict[int, str] = {}
    for part, indices in split.items():
        for image in (images[i] for i in indices):
            if part_of.setdefault(image, part) != part:
                raise DataError(f"{path}: picture {image} is in {part_of[image]} and {part}; is it of other trials?")
    return split


def _read_order(path: Path) -> dict[str, dict[str, int]]:
    """Picture -> its place in the session and the number of its block, from the names in order of presentation.

    A block shows the pictures of one class.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the list of pictures in the order in which they were shown")
    names = [PurePosixPath(line.strip()).stem for line in path.read_text().splitlines() if line.strip()]
    order, block = {}, -1
    for place, name in enumerate(names):
        if place == 0 or name.split("_")[0] != names[place - 1].split("_")[0]:
            block += 1
        order[name] = {"order": place, "block": block}
    return order


def locate_imagenet_eeg(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Each chosen subject three times: train, validation and test are recordings of their own."""
    chosen = _options(options)
    files = [root / chosen[name] for name in ("file", "splits", "image_order") if chosen[name]]
    if missing := [path for path in files if not path.is_file()]:
        raise DataError(f"{missing[0]}: no such file; put it there, or mend the options of the recipe")
    for subject in chosen["subjects"]:
        for part in PARTS:
            yield located(_source(subject, part), options, *files)


def read_imagenet_eeg(root: Path, options: Options) -> Iterator[Recording]:
    """One recording per subject and part of the split by image (Palazzo et al. 2021).

    Options: `file` and `splits` name the two .pth files; `split` is the number of the split in it; `subjects` are kept
    before the indices of the split are looked up, as the set's own loader does; `images` is the folder of
    WNID/WNID_NUMBER.JPEG below `root`; `image_order` names the list of pictures in order of presentation, from which
    events get `order` and `block`; `crop`, in samples, cuts each trial, as [20, 460] of the set's loader does: the
    event is then its first sample.

    Trials of fewer than 450 or more than 600 samples are left out, as in the set's loader. The filtered files are
    z-scores: a recipe says `unit_unknown: true`. The raw file holds counts, and is converted to microvolts.

    Raises:
        DataError: a file is absent, damaged or of another kind, or the split does not fit the trials.
    """
    chosen = _options(options)
    content = _read_trials(root / chosen["file"])
    trials = [item for item in content["dataset"] if int(item["subject"]) in chosen["subjects"]]
    images = [int(item["image"]) for item in trials]
    split = _read_split(root / chosen["splits"], chosen["split"], images, len(content["dataset"]))
    order = _read_order(root / chosen["image_order"]) if chosen["image_order"] else {}
    columns = eeg_columns(CHANNELS, "ImageNet-EEG")
    first, stop = chosen["crop"]
    for subject in chosen["subjects"]:
        for part, indices in split.items():
            mine = [i for i in indices if int(trials[i]["subject"]) == subject]
            kept = [i for i in mine if SHORTEST <= trials[i]["eeg"].shape[1] <= LONGEST]
            n_others = len(mine) - len(kept)
            yield joined(
                [_trial(trials[i], i, content, chosen["images"], order, slice(first, stop)) for i in kept],
                columns,
                _source(subject, part),
                SFREQ,
                unit_uV=RAW_COUNT_UV if "means" in content else 1.0,
                skipped={f"trials: not {SHORTEST} to {LONGEST} samples long": n_others} if n_others else {},
            )


def _trial(
    item: dict[str, Any],
    index: int,
    content: dict[str, Any],
    images: str,
    order: dict[str, dict[str, int]],
    crop: slice,
) -> Trial:
    name = str(content["images"][int(item["image"])])
    info = {"image": f"{images}/{name.split('_')[0]}/{name}.JPEG", "trial": index, **order.get(name, {})}
    return Trial(eeg=item["eeg"].numpy()[:, crop], code=str(content["labels"][int(item["label"])]), info=info)
