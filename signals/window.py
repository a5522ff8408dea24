"""A window: the stretch of EEG that becomes one span of tokens."""

from dataclasses import dataclass

import numpy as np

AVERAGED = 0.01  # of the scale: the median |mean over channels| of an average-referenced window is below it


@dataclass(frozen=True)
class Window:
    """A stretch of a preprocessed recording.

    `eeg_uV` is float32 (n_chans, n_times) in microvolts at `sfreq` Hz; `positions` is float32 (n_chans, 3) in head
    radii (x right, y front, z up), or (n_chans, 6), anode and cathode, where a channel is a bipolar derivation; a NaN
    cathode is the common reference. `scale_uV` is the robust scale (IQR / 1.349) of the recording that it was cut from:
    the EEG tokenizer divides by it and keeps it as a token. `subject` is whose EEG it is, as sample shards name people;
    a tokenizer that knows the person (`EEGTokenizer.subjects`) reads labels by what it knows of them. `background` is
    the spectrum of the recording (`signals/background.py`), from which the tokenizer tells a window's power; it is
    absent where the recording is short.
    """

    eeg_uV: np.ndarray
    ch_names: tuple[str, ...]
    positions: np.ndarray
    scale_uV: float
    sfreq: float = 200.0
    subject: str | None = None
    background: tuple[float, ...] | None = None

    @property
    def averaged(self) -> bool:
        """Whether the channels are referenced to their average: then their mean is zero but for storage."""
        return bool(np.median(np.abs(self.eeg_uV.mean(axis=0))) < AVERAGED * self.scale_uV)
