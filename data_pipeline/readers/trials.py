"""Sets that come as trials: each becomes a piece of one recording, which holds them one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import Columns
from neuroleon.signals.recording import Event, Recording


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial: `eeg` (n_columns, n_times) as the file has it, the word of its class, and what else is known of it.

    Without a word there is no event.
    """

    eeg: np.ndarray
    code: str | None
    info: dict[str, Any] = field(default_factory=dict)


def joined(
    trials: Sequence[Trial],
    columns: Columns,
    source: Source,
    sfreq: float,
    *,
    before_s: float = 0.0,
    unit_uV: np.ndarray | float = 1.0,
    skipped: dict[str, int] | None = None,
) -> Recording:
    """A recording of trials, with a boundary between each two and an event for each that has a word.

    Args:
        columns: those of the trials' rows that are used.
        before_s: seconds of a trial before its event, which lasts to the trial's end.
        unit_uV: microvolts per unit of the file, one for all rows or (n_columns,).
        skipped: trials of the file that are not among them, by reason.

    Raises:
        DataError: no trial.
    """
    if not trials:
        raise DataError(f"{source.recording}: the file holds no trial of it; expected one at least; fetch it again")
    rows = list(columns.index)
    eeg_uV = np.concatenate([trial.eeg[rows] for trial in trials], axis=1, dtype=np.float32)
    unit = np.broadcast_to(np.asarray(unit_uV, np.float32), len(columns.index) + len(columns.left_out))
    if (unit != 1).any():
        eeg_uV *= unit[rows, None]
    edges = list(accumulate((trial.eeg.shape[1] for trial in trials), initial=0))
    events = tuple(
        Event(edge / sfreq + before_s, trial.code, trial.eeg.shape[1] / sfreq - before_s, trial.info)
        for edge, trial in zip(edges[:-1], trials, strict=True)
        if trial.code is not None
    )
    return Recording(
        eeg_uV=eeg_uV,
        ch_names=columns.ch_names,
        positions=columns.positions,
        sfreq=sfreq,
        events=events,
        name=source.recording,
        subject=source.subject,
        group=source.group,
        boundaries=tuple(edges[1:-1]),
        left_out=columns.left_out,
        name_map=columns.name_map,
        skipped=skipped or {},
    )


def runs(n_trials: int, at_most: int) -> list[slice]:
    """Trials 0 to n_trials - 1 in stretches of `at_most`: recordings that fit into memory, and into a shard."""
    return [slice(start, min(start + at_most, n_trials)) for start in range(0, n_trials, at_most)]
