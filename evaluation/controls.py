"""What a model is fed in place of the real EEG, and answers without a model, so that no number stands alone.

real: the trial's own EEG. shuffled: the EEG of another trial of the same set. within class: the EEG of another
trial with the same answer: what it has above `shuffled` is of the class, what `real` has above it is of the trial.
before: the EEG just before the trial's event, which cannot know the answer. noise: the trial's own amplitude spectrum
with random phases. none: no EEG, the unconditional prompt. untold: the trial's own EEG, of which nobody says whose it
is, where the EEG tokenizer knows the person: what somebody gets who does not tell it.

oracle: what comes when the true class is told in place of the EEG: the bound of a decoder of classes. ceiling: the true
answer through its tokenizer and back: the bound of any model on these ids.
"""

from collections.abc import Sequence

import numpy as np

from neuroleon.common.errors import DataError

CONDITIONS = ("real", "shuffled", "within class", "before", "noise", "untold", "none")


def phase_randomised(eeg_uV: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with the amplitude spectrum of each channel of `eeg_uV` (n_chans, n_times), microvolts, float32.

    Phases are drawn anew per channel and frequency (surrogate data, Theiler et al. 1992); the mean and the Nyquist bin
    of a channel stay. Whatever lies in the power spectrum alone survives here: a model that reads
    frequencies (SSVEP) may stay above chance on this control.
    """
    n_times = eeg_uV.shape[1]
    spectrum = np.fft.rfft(eeg_uV.astype(np.float64), axis=1)
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape))
    phases[:, 0] = 1.0
    if n_times % 2 == 0:  # this bin must stay real, or its amplitude would change
        phases[:, -1] = 1.0
    return np.fft.irfft(spectrum * phases, n=n_times, axis=1).astype(np.float32)


def derangement(clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation (n,) that gives every window the EEG of another trial: `clusters[p] != clusters` everywhere.

    The windows are laid in a circle, trial by trial in random order, and turned by at least the largest trial.

    Raises:
        DataError: one trial holds more than half of the windows, so that no such permutation exists.
    """
    names, index, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    n, largest = len(index), int(counts.max())
    if 2 * largest > n:
        raise DataError(
            f"{len(names)} trial(s), the largest with {largest} of {n} windows: no EEG of another trial to shuffle in; "
            "evaluate more trials (raise --limit or add data)"
        )
    circle = np.lexsort((rng.random(n), rng.permutation(len(names))[index]))
    shift = int(rng.integers(largest, n - largest + 1))
    permutation = np.empty(n, dtype=np.int64)
    permutation[circle] = np.roll(circle, -shift)
    return permutation


def partners_within(answers: Sequence[str | None], clusters: np.ndarray, rng: np.random.Generator) -> dict[int, int]:
    """Window -> a window of another trial with the same answer: a derangement inside each answer.

    Windows without an answer, and answers of which one trial holds more than half of the windows, have no partners.
    """
    partners: dict[int, int] = {}
    for answer in sorted({answer for answer in answers if answer is not None}):
        members = np.array([i for i, other in enumerate(answers) if other == answer])
        try:
            turned = members[derangement(clusters[members], rng)]
        except DataError:
            continue
        partners |= dict(zip(members.tolist(), turned.tolist(), strict=True))
    return partners
