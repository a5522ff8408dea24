"""SEED (Zheng and Lu 2015): 15 people watched 15 film clips on three days; `Preprocessed_EEG/1_20131027.mat` ..."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.array_files import ArrayFiles, numbers
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located
from neuroleon.data_pipeline.readers.mat_file import load_mat
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

SFREQ = 200.0
# channel-order.xlsx of the set
CHANNELS = (  # noqa: SIM905 (read as one line)
    "Fp1 Fpz Fp2 AF3 AF4 F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 T7 C5 C3 C1 Cz C2 C4 C6 T8 "
    "TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO5 PO3 POz PO4 PO6 PO8 CB1 O1 Oz O2 CB2"
).split()
EMOTIONS = {1: "positive", 0: "neutral", -1: "negative"}
LABELS = "label.mat"
_CLIP = re.compile(r".*_eeg(\d+)", re.DOTALL)  # what comes before is the person's initials


def _source(path: Path, match: re.Match[str]) -> Source:
    """The day becomes the number of the session among those of the same person that lie beside it: no date is kept."""
    days = sorted(other.name for other in path.parent.glob(f"{match[1]}_*.mat"))
    session = str(days.index(path.name) + 1)
    return Source(recording=f"{match[1]}-{session}", subject=match[1], group=session)


_FILES = ArrayFiles(reader="seed", files="*_*.mat", pattern=r"(?:^|/)(\d+)_\d{8}\.mat$", source=_source)


def locate_seed(root: Path, options: Options) -> Iterator[Located | Failure]:
    """Every session by its file's name; the labels beside it are one of its files."""
    for one in _FILES.locate(root, options):
        if isinstance(one, Failure):
            yield one
        else:
            yield located(one.source, dict(one.options), *one.files, one.files[0].with_name(LABELS))


def _emotions(path: Path) -> list[str]:
    """The emotion of each clip, in the order in which they were shown, which is the same for everyone."""
    values = numbers(load_mat(path, ["label"])["label"], (1, None), f"{path}, label")[0].tolist()
    if strange := set(values) - EMOTIONS.keys():
        raise DataError(f"{path}: label {strange.pop():g}; expected 1, 0 or -1 for each clip")
    return [EMOTIONS[value] for value in values]


def _clips(path: Path, n_clips: int) -> list[np.ndarray]:
    """The signals of clips 1, 2 ..., each (column, sample)."""
    arrays = {int(match[1]): value for name, value in load_mat(path).items() if (match := _CLIP.fullmatch(name))}
    if sorted(arrays) != list(range(1, n_clips + 1)):
        raise DataError(f"{path}: clips {sorted(arrays)}, expected 1 to {n_clips}, as {LABELS} has; fetch both again")
    return [numbers(arrays[k], (len(CHANNELS), None), f"{path}, clip {k}") for k in range(1, n_clips + 1)]


def read_seed(root: Path, options: Options) -> Iterator[Recording]:
    """One recording per session, its clips in the order of the experiment, at 200 Hz; the numbers are microvolts.

    The code of an event is the emotion that its clip is meant to cause, its info has the `clip`, 1 to 15. `label.mat`
    lies beside the files. Option: `files` (a glob).
    """
    for path, source in _FILES.each(root, options):
        emotions = _emotions(path.with_name(LABELS))
        trials = [
            Trial(eeg=eeg_uV, code=emotion, info={"clip": k})
            for k, (eeg_uV, emotion) in enumerate(zip(_clips(path, len(emotions)), emotions, strict=True), 1)
        ]
        yield joined(trials, eeg_columns(CHANNELS, str(path)), source, SFREQ)
