"""The readers: one file into a recording, and the named readers of recipes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neuroleon.data_pipeline.readers.bci2_p300 import bci2_p300_recordings
from neuroleon.data_pipeline.readers.mne_raw import mne_recordings, read_recording
from neuroleon.data_pipeline.readers.muse import muse_recordings
from neuroleon.data_pipeline.readers.npz_trials import npz_trials
from neuroleon.signals.recording import Recording

__all__ = ["READERS", "read_recording"]

# (the data set's folder, the recipe's options) -> its recordings
READERS: dict[str, Callable[[Path, dict[str, Any]], Iterator[Recording]]] = {
    "mne": mne_recordings,
    "npz_trials": npz_trials,
    "muse": muse_recordings,
    "bci2_p300": bci2_p300_recordings,
}
