"""DEAP (Koelstra et al. 2012): 32 people rated 40 music videos; `data_preprocessed_python/s01.dat` ..."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_pickle
from neuroleon.data_pipeline.readers.array_files import ArrayFiles, numbers
from neuroleon.data_pipeline.readers.base import Options
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

SFREQ = 128.0
BASELINE_S = 3.0  # before the video, at the start of each trial
N_TIMES = 8064  # 63 s
MIDDLE = 5.0  # of the ratings, 1 to 9; the paper's own threshold
# the "Geneva" order of the set's description of the preprocessed files
CHANNELS = (  # noqa: SIM905 (read as one line)
    "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2 "
    "hEOG vEOG zEMG tEMG GSR Resp Plet Temp"
).split()
RATINGS = ("valence", "arousal", "dominance", "liking")

_FILES = ArrayFiles(
    reader="deap",
    files="s*.dat",
    pattern=r"(?:^|/)(s\d\d)\.dat$",
    source=lambda path, match: Source(recording=match[1], subject=match[1]),
)
locate_deap = _FILES.locate


def _code(rating: dict[str, float]) -> str:
    """Such as `valence-high arousal-low`: above the middle is high, the middle itself is low."""
    return " ".join(f"{name}-{'high' if rating[name] > MIDDLE else 'low'}" for name in ("valence", "arousal"))


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Signals (trial, column, sample) and ratings (trial, 4)."""
    with path.open("rb") as file:
        fields = load_pickle(file, str(path), encoding="latin1")
    if not isinstance(fields, dict) or not {"data", "labels"} <= fields.keys():
        raise DataError(f"{path}: expected a dictionary with data and labels; is this a file of the data set?")
    data = numbers(fields["data"], (None, len(CHANNELS), N_TIMES), f"{path}, data")
    return data, numbers(fields["labels"], (len(data), len(RATINGS)), f"{path}, labels")


def read_deap(root: Path, options: Options) -> Iterator[Recording]:
    """One recording per person, in microvolts at 128 Hz, its trials in the order of the videos, not of the experiment.

    An event starts with the video, 3 s after its trial, and lasts a minute. Its code says whether this person's ratings
    of valence and arousal were high (above 5) or low, as in `valence-high arousal-low`; a recipe's map picks one of the
    two with a pattern. Its info has the `video`, 1 to 40, and the four ratings. Option: `files` (a glob).
    """
    for path, source in _FILES.each(root, options):
        data, labels = _arrays(path)
        ratings = [dict(zip(RATINGS, row, strict=True)) for row in labels.tolist()]
        trials = [
            Trial(eeg=eeg_uV, code=_code(rating), info={"video": k, **rating})
            for k, (eeg_uV, rating) in enumerate(zip(data, ratings, strict=True), 1)
        ]
        yield joined(trials, eeg_columns(CHANNELS, str(path)), source, SFREQ, before_s=BASELINE_S)
