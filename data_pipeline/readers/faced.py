"""FACED (Chen et al. 2023): 123 people watched 28 film clips of nine emotions; `Processed_data/sub000.pkl` ..."""

from collections.abc import Iterator
from pathlib import Path

from neuroleon.common.unpickle import load_pickle
from neuroleon.data_pipeline.readers.array_files import ArrayFiles, numbers
from neuroleon.data_pipeline.readers.base import Options
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

SFREQ = 250.0
# Electrode_Location.xlsx of the set, table of the second cohort: its preprocessing brings the first one to that order
CHANNELS = (  # noqa: SIM905 (read as one line)
    "Fp1 Fp2 Fz F3 F4 F7 F8 FC1 FC2 FC5 FC6 Cz C3 C4 T7 T8 CP1 CP2 CP5 CP6 Pz P3 P4 P7 P8 PO3 PO4 Oz O1 O2 A2 A1"
).split()
# clips of each emotion, in the order of the clips
EMOTIONS = {
    "anger": 3,
    "disgust": 3,
    "fear": 3,
    "sadness": 3,
    "neutral": 4,
    "amusement": 3,
    "inspiration": 3,
    "joy": 3,
    "tenderness": 3,
}
CLIPS = tuple(emotion for emotion, n in EMOTIONS.items() for _ in range(n))

_FILES = ArrayFiles(
    reader="faced",
    files="sub*.pkl",
    pattern=r"(?:^|/)(sub\d{3})\.pkl$",
    source=lambda path, match: Source(recording=match[1], subject=match[1]),
)
locate_faced = _FILES.locate


def read_faced(root: Path, options: Options) -> Iterator[Recording]:
    """One recording per person: the last 30 s of each clip, in the order of the clips, not in that of the experiment.

    A file is an array, float (28, 32, 7500), in microvolts at 250 Hz. The code of an event is the emotion that its clip
    is meant to cause, its info has the `clip`, 1 to 28. Option: `files` (a glob).
    """
    for path, source in _FILES.each(root, options):
        with path.open("rb") as file:
            clips = numbers(load_pickle(file, str(path)), (len(CLIPS), len(CHANNELS), 7500), str(path))
        trials = [
            Trial(eeg=eeg_uV, code=emotion, info={"clip": k})
            for k, (eeg_uV, emotion) in enumerate(zip(clips, CLIPS, strict=True), 1)
        ]
        yield joined(trials, eeg_columns(CHANNELS, str(path)), source, SFREQ)
