"""Stretches of samples that two recordings share: a copied file, a recording that holds another, exports that overlap.

In two splits they are learned and then asked about. Each recording leaves landmarks, hashes of short runs of its
samples as they were read, before any filter. Which runs are kept depends on what is in them alone (winnowing:
Schleimer, Wilkerson and Aiken, SIGMOD 2003), so that both recordings keep the same ones of a stretch that they share,
wherever it lies; and these lie equally far apart in both (Wang, ISMIR 2003), which chance does not do. What counts is
what windows of both hold: a reader may give one signal as several recordings, each with other events.
"""

import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.files import write_atomic
from neuroleon.data_pipeline.splits import SPLITS, Source
from neuroleon.signals.recording import Recording

STEP_UV = 0.1037  # values are rounded to it; crooked, or those of many amplifiers would lie half-way between two steps
RUN = 16  # samples that are hashed together: 62 ms at 256 Hz
APART_S = 0.125  # so many runs that follow each other have a landmark among them
GAP_S = 0.5  # landmarks further apart are of two stretches; else what lies between them counts too
LEAST_S = 0.75  # shorter stretches do not count; from LEAST_S + 2 * APART_S on, which is 1 s, each is found
_LIMIT_UV = np.float32(1e7)
_PIECE = 1 << 15  # numbers that are worked on at a time: they stay in the processor's cache
_NONE = float(1 << 53)  # no hash: above all of them
_MOST_PARTNERS = 16  # for each hash of a recording, so that a hundred equal recordings are no thousands of pairs
_ROUNDING_S = 0.1  # less than that of windows is no overlap
_SAID = 10  # pairs that a message names


@dataclass(frozen=True)
class Landmarks:
    """Of one recording: hashes, uint64 in ascending order, each once, and the samples at which their runs begin.

    `windows_s` (n, 2) are the first and last second of each window that became a sample.
    """

    hashes: np.ndarray
    samples: np.ndarray
    windows_s: np.ndarray
    sfreq: float


NOTHING = Landmarks(np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty((0, 2)), 0.0)


@dataclass(frozen=True)
class Shared:
    """Two recordings, the split of each, and how many seconds of their windows are the same: up to 0.25 s more for each
    stretch.
    """

    recordings: tuple[Source, Source]
    splits: tuple[str, str]
    seconds: float

    def __str__(self) -> str:
        first, second = (f"{one.recording} ({split})" for one, split in zip(self.recordings, self.splits, strict=True))
        return f"{first} and {second} share {self.seconds:.1f} s"


def landmarks(
    recording: Recording, windows_s: Sequence[tuple[float, float]], *, unit_unknown: bool = False
) -> Landmarks:
    """The landmarks of a recording: 16 per second, 0.7 MB per hour, whatever its rate and number of channels.

    The lowest hash of all channels stands for each instant, so their order does not matter; where a copy lacks some,
    the landmarks that these gave are missing in it. Runs that stand still, or swing with a period of 2, 4 or 8 samples,
    have no hash, and what comes again is kept where it comes first: flat and saturated stretches and periodic signals
    leave next to nothing.

    Args:
        recording: as it was read.
        windows_s: first and last second of each of its windows.
        unit_unknown: nobody knows how large a microvolt is in it; its numbers are then compared bit by bit.
    """
    from scipy.ndimage import grey_opening

    lowest = _lowest_hashes(recording.eeg_uV, None if unit_unknown else STEP_UV)
    width = max(round(APART_S * recording.sfreq), 1)
    # what an opening leaves as it is, is the lowest of some window
    chosen = np.flatnonzero((grey_opening(lowest, size=width) == lowest) & (lowest < _NONE))
    hashes, first = np.unique(lowest[chosen], return_index=True)
    spans = np.array(windows_s, dtype=float).reshape(-1, 2)
    return Landmarks(hashes.astype(np.uint64), chosen[first].astype(np.uint32), spans, recording.sfreq)


def _lowest_hashes(eeg_uV: np.ndarray, step_uV: float | None) -> np.ndarray:
    """At each sample the lowest hash, over channels, of the run that begins there; float64 holds their 53 bits."""
    n_chans, n_times = eeg_uV.shape
    lowest = np.full(max(n_times - RUN + 1, 0), _NONE)
    length = max(_PIECE // n_chans, RUN)
    for start in range(0, len(lowest), length):
        hashes = _hashes(_whole(eeg_uV[:, start : start + length + RUN - 1], step_uV))
        lowest[start : start + length] = hashes.min(axis=0)
    return lowest


def _whole(eeg_uV: np.ndarray, step_uV: float | None) -> np.ndarray:
    """Numbers of steps, as uint64; without a step, the bits of the numbers."""
    if step_uV is None:
        return np.ascontiguousarray(eeg_uV, np.float32).view(np.uint32).astype(np.uint64)
    bounded = np.clip(np.nan_to_num(eeg_uV), -_LIMIT_UV, _LIMIT_UV)
    return np.rint(bounded / np.float32(step_uV)).astype(np.int64).view(np.uint64)


def _hashes(values: np.ndarray) -> np.ndarray:
    """Of every run of each channel: a polynomial of the values modulo 2^64, mixed as MurmurHash3 does."""
    hashes, factor, reach = values, 0x9E3779B97F4A7C15, 1
    while reach < RUN:  # runs of twice the length, of two that follow each other
        one, next_one = hashes[:, :-reach], hashes[:, reach:]
        hashes, stands = one * np.uint64(factor) + next_one, one == next_one
        factor, reach = factor**2 % (1 << 64), 2 * reach
    for odd in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes ^= hashes >> np.uint64(33)
        hashes *= np.uint64(odd)
    return np.where(stands, _NONE, hashes >> np.uint64(11))


def write_landmarks(path: Path, found: Sequence[Landmarks]) -> None:
    """Write those of several recordings, in their order, to an .npz that `find_shared` reads."""
    content = io.BytesIO()
    np.savez(
        content,
        hashes=np.concatenate([NOTHING.hashes, *(one.hashes for one in found)]),
        samples=np.concatenate([NOTHING.samples, *(one.samples for one in found)]),
        windows_s=np.concatenate([NOTHING.windows_s, *(one.windows_s for one in found)]),
        ends=np.cumsum([[len(one.hashes), len(one.windows_s)] for one in found], axis=0, dtype=np.int64),
        sfreq=np.array([one.sfreq for one in found]),
    )
    write_atomic(path, content.getvalue())


def _read(files: Sequence[Path]) -> Iterator[Landmarks]:
    for path in files:
        try:
            with np.load(path, allow_pickle=False) as file:
                names = ("hashes", "samples", "windows_s", "ends", "sfreq")
                hashes, samples, windows_s, ends, sfreq = (file[name] for name in names)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: landmarks of recordings, not readable ({error}); delete it, run again") from None
        for ((a, b), (c, d)), hz in zip(pairwise([[0, 0], *ends.tolist()]), sfreq.tolist(), strict=True):
            yield Landmarks(hashes[a:c], samples[a:c], windows_s[b:d], hz)


def find_shared(files: Sequence[Path], recordings: Sequence[tuple[Source, str]]) -> list[Shared]:
    """Every two recordings whose windows hold the same samples, of stretches of `LEAST_S` or more; longest first.

    Args:
        files: of `write_landmarks`. They are read twice, so that of all recordings only the hashes are in memory.
        recordings: those of all files, in their order, and the split of each.

    Raises:
        DataError: a file is absent or damaged.
    """
    hashes = np.concatenate([NOTHING.hashes, *(one.hashes for one in _read(files))])
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(repeated):
        return []
    kept, cuts = [], []
    for number, one in enumerate(_read(files)):
        known = np.searchsorted(repeated, one.hashes, "right") > np.searchsorted(repeated, one.hashes)
        kept.append((one.hashes[known], np.full(known.sum(), number), one.samples[known].astype(np.int64)))
        cuts.append(replace(NOTHING, windows_s=one.windows_s, sfreq=one.sfreq))
    met = _met(*(np.concatenate(column) for column in zip(*kept, strict=True)))
    found = []
    for (first, second), seconds in _seconds(met, cuts).items():
        (a, split_a), (b, split_b) = recordings[first], recordings[second]
        found.append(Shared((a, b), (split_a, split_b), seconds))
    return sorted(found, key=lambda shared: -shared.seconds)


def _met(hashes: np.ndarray, owners: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Where two recordings have the same hash: sorted rows (first, second, samples by which it is later in the second,
    sample in the first).
    """
    order = np.lexsort((owners, hashes))
    hashes, owners, samples = hashes[order], owners[order], samples[order]
    rows = []
    for step in range(1, min(_MOST_PARTNERS + 1, len(hashes))):
        same = hashes[step:] == hashes[:-step]
        one, other = samples[:-step][same], samples[step:][same]
        rows.append(np.stack([owners[:-step][same], owners[step:][same], other - one, one], axis=1))
    met = np.concatenate(rows)
    return met[np.lexsort(met.T[::-1])]


def _seconds(met: np.ndarray, cuts: Sequence[Landmarks]) -> dict[tuple[int, int], float]:
    """How much of the windows of each two recordings is the same, all stretches that count together."""
    rate = np.array([one.sfreq for one in cuts])[met[:, 0]]
    steps = np.diff(met, axis=0)
    is_new = (steps[:, :3] != 0).any(axis=1) | (steps[:, 3] > GAP_S * rate[1:])
    starts = np.flatnonzero(np.concatenate([[True], is_new]))
    ends = np.concatenate([starts[1:], [len(met)]]) - 1
    spans_s = np.stack([met[starts, 3], met[ends, 3] + RUN], axis=1) / rate[starts, None]
    later_s = met[starts, 2] / rate[starts]
    total: dict[tuple[int, int], float] = defaultdict(float)
    for i in np.flatnonzero(spans_s[:, 1] - spans_s[:, 0] >= LEAST_S).tolist():
        first, second = met[starts[i], :2].tolist()
        one = cuts[first].windows_s
        other = (cuts[second].windows_s - later_s[i]).clip(*spans_s[i])
        total[first, second] += _covered_s(one) + _covered_s(other) - _covered_s(np.concatenate([one, other]))
    return {pair: seconds for pair, seconds in total.items() if seconds >= _ROUNDING_S}


def _covered_s(spans_s: np.ndarray) -> float:
    """How much time lies in one span at least."""
    if not len(spans_s):
        return 0.0
    spans_s = spans_s[np.argsort(spans_s[:, 0])]
    reached = np.maximum.accumulate(spans_s[:, 1])
    return float(reached[-1] - spans_s[0, 0] - np.maximum(spans_s[1:, 0] - reached[:-1], 0).sum())


def refuse_across_splits(shared: Sequence[Shared], folder: Path) -> None:
    """Refuse a set in which recordings of different splits share samples: no number about it would mean anything.

    Raises:
        DataError: some do; it names them, their splits, for how long, and what to write into the recipe.
    """
    across = [one for one in shared if len(set(one.splits)) > 1]
    if not across:
        return
    said = "; ".join(map(str, across[:_SAID])) + (f"; and {len(across) - _SAID} pairs more" * (len(across) > _SAID))
    split, learned = min(zip(across[0].splits, across[0].recordings, strict=True), key=lambda x: SPLITS.index(x[0]))
    raise DataError(
        f"{folder}: recordings of different splits hold the same samples, so that what one split learns another asks: "
        f"{said}; leave one of each two out in the recipe, such as the one for {split} with split: {{exclude: "
        f"['{learned.subject}/{learned.group}/{learned.recording}']}}, or put both into one split; then run it again"
    )
