"""Trials in time: whether labels come in blocks, and how far filters reach from one trial into the next.

Where labels come in blocks, whatever drifts slowly (impedances, fatigue) tells them, without any response to a stimulus
(Li et al. 2021, PAMI 43, 316).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from neuroleon.common.seed import generator
from neuroleon.data_pipeline.windows import WindowSpec
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Recording

SLACK_S = 0.003  # onsets are whole samples at 200 Hz
N_SHUFFLES = 999
RINGING = 1e-3  # of the peak, as in mne.filter.estimate_ringing_samples
Meta = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Presentations that follow each other in a recording.

    Attributes:
        same: share of the pairs with one label; `expected` if the labels of the split came in random order.
        p: one-sided, of `same` under random order.
        gap_s: median time from the end of one to the start of the next; negative where windows overlap.
    """

    n_pairs: int
    same: float
    expected: float
    p: float
    gap_s: float

    @property
    def in_blocks(self) -> bool:
        """Whether one label follows itself more often than any of the random orders gives."""
        return self.p <= 1 / (1 + N_SHUFFLES)


def neighbours(metas: Sequence[Meta], spec: WindowSpec) -> Neighbours | None:
    """How the labels of windows cut by `spec` follow each other; None where no two presentations share a recording.

    A window that `spec` repeats after an event is of one presentation with the first one.
    """
    recordings = _presentations(metas, spec)
    pairs = [pair for onsets in recordings for pair in pairwise(onsets)]
    labels = [label for onsets in recordings for _, label in onsets]
    if not pairs or len(set(labels)) < 2:
        return None
    _, codes = np.unique(labels, return_inverse=True)
    ends = np.cumsum([len(onsets) for onsets in recordings])
    firsts = np.setdiff1d(np.arange(len(codes)), ends - 1)  # the last of a recording has no follower
    shuffled = generator("neighbours").permuted(np.tile(codes, (N_SHUFFLES, 1)), axis=1)
    same = float(np.mean(codes[firsts] == codes[firsts + 1]))
    random = np.mean(shuffled[:, firsts] == shuffled[:, firsts + 1], axis=1)
    counts = np.bincount(codes)
    lasts_s = spec.duration_s + (spec.repeats - 1) * (spec.repeat_every_s or 0.0)
    return Neighbours(
        n_pairs=len(pairs),
        same=same,
        expected=float(np.sum(counts * (counts - 1)) / (len(codes) * (len(codes) - 1))),
        p=float((1 + np.sum(random >= same - 1e-12)) / (1 + N_SHUFFLES)),
        gap_s=float(np.median([after - before - lasts_s for (before, _), (after, _) in pairs])),
    )


def _presentations(metas: Sequence[Meta], spec: WindowSpec) -> list[list[tuple[float, str]]]:
    """Onset and label of the first window of each event, in order, per recording."""
    recordings: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for meta in metas:
        if meta.get("label") is not None:
            recordings[str(meta["subject"]), str(meta["recording"])].append((meta["onset_s"], str(meta["label"])))
    return [_firsts(sorted(windows), spec) for windows in recordings.values()]


def _firsts(windows: list[tuple[float, str]], spec: WindowSpec) -> list[tuple[float, str]]:
    if spec.repeats == 1 or spec.repeat_every_s is None:
        return windows
    turns: list[int] = []  # which repeat of its event a window is
    for i, (onset_s, label) in enumerate(windows):
        since = bisect_left(windows, (onset_s - spec.repeat_every_s - SLACK_S, ""))
        before = [k for k in range(since, i) if windows[k][0] < onset_s - spec.repeat_every_s + SLACK_S]
        same = [turns[k] for k in before if windows[k][1] == label]
        turns.append((same[0] + 1) % spec.repeats if same else 0)
    return [window for window, turn in zip(windows, turns, strict=True) if turn == 0]


@cache
def filter_reach_s(preprocess: Preprocess) -> float:
    """How far the preprocessing spreads an instant to either side, in seconds: until 0.1 % of the peak is left.

    Measured on what it does: the response of a recording to one sample that is added to it.
    """
    n_times = round(60 * preprocess.sfreq)
    noise = generator("impulse").normal(0.0, 10.0, (3, n_times))  # three channels: none is compared, no reference
    spike = noise.copy()
    spike[:, n_times // 2] += 1000.0
    filtered = []
    for eeg_uV in (noise, spike):
        recording = Recording(
            eeg_uV=eeg_uV, ch_names=("Fz", "Cz", "Pz"), positions=np.full((3, 3), np.nan), sfreq=preprocess.sfreq,
            events=(), name="impulse", subject="none",
        )  # fmt: skip
        filtered.append(preprocess.apply(recording).recording.eeg_uV.astype(np.float64))
    response = np.abs(filtered[1] - filtered[0]).mean(axis=0)
    above = np.flatnonzero(response > RINGING * response.max())
    return float(max(above[-1] - response.argmax(), response.argmax() - above[0]) / preprocess.sfreq)
