"""The contract of the data pipeline: what a recording, a window and a sample are.

Shapes: `eeg_uV` is float32 (n_chans, n_times), in microvolts. `positions` is float32 (n_chans, 3), electrode positions
in units of the head radius (x right, y front, z up; `signals/montage.py`). Where a channel is a bipolar derivation
(`Fp1-F7`) it is (n_chans, 6), anode and cathode; channels against the common reference then have a NaN cathode. Times
are seconds from the first sample.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroleon.signals.window import Window

__all__ = ["Event", "Recording", "Window"]


@dataclass(frozen=True)
class Event:
    """Something that happened at `onset_s`; `code` is the file's own word for it, `duration_s` may be 0."""

    onset_s: float
    code: str
    duration_s: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """One EEG recording of one subject, in microvolts, without its non-EEG columns.

    `boundaries` are sample indices at which time jumps (concatenated trials): filters run inside the pieces only.
    `left_out` says which columns of the file are not here, and why; `skipped` counts trials of it that are not here, by
    reason; `notes` counts what else was decided about the file, for the report.
    """

    eeg_uV: np.ndarray
    ch_names: tuple[str, ...]
    positions: np.ndarray
    sfreq: float
    events: tuple[Event, ...]
    name: str  # of the recording, never a path: unique inside its data set
    subject: str
    group: str = ""  # session or block inside the subject, where splits need it
    boundaries: tuple[int, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    name_map: dict[str, str] = field(default_factory=dict)  # the file's channel name -> ours
    skipped: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def n_times(self) -> int:
        return self.eeg_uV.shape[1]

    @property
    def duration_s(self) -> float:
        return self.n_times / self.sfreq
