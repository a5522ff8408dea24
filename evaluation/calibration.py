"""Which answer is given for which, and whether the model is as sure as it is right."""

from collections.abc import Sequence

import numpy as np

from neuroleon.evaluation.results import Confusion, Reliability

N_BINS = 10


def confusion(
    metric: str, true: Sequence[str], given: dict[str, list[str | None]], answers: Sequence[str]
) -> Confusion:
    """Counts of (true answer, given answer) of each condition; what is no answer of the set goes to the last column."""
    place = {answer: i for i, answer in enumerate(answers)}
    counts = {}
    for condition, found in given.items():
        table = np.zeros((len(answers), len(answers) + 1), dtype=int)
        for wanted, got in zip(true, found, strict=True):
            table[place[wanted], len(answers) if got is None else place[got]] += 1
        counts[condition] = table.tolist()
    return Confusion(metric=metric, answers=tuple(answers), counts=counts)


def reliability(metric: str, bits: dict[str, np.ndarray], places: np.ndarray) -> Reliability:
    """Whether the likeliest of a closed set of answers is right as often as it is probable.

    Args:
        bits: condition -> log2 p (n_trials, n_answers); p is taken among these answers.
        places: which of them is true (n_trials,).

    Returns:
        Of 10 equal bins of p those that are not empty, and the expected calibration error: the mean, over trials, of
        the distance of share and probability in the trial's bin (Guo et al. 2017, section 2).
    """
    bins, error = {}, {}
    for condition, rows in bits.items():
        sure = 2.0 ** (rows.max(axis=1) - np.logaddexp2.reduce(rows, axis=1))
        right = rows.argmax(axis=1) == places
        bin_of = np.minimum((sure * N_BINS).astype(int), N_BINS - 1)
        members = [bin_of == b for b in np.unique(bin_of)]
        found = [(float(sure[m].mean()), float(right[m].mean()), int(m.sum())) for m in members]
        bins[condition] = found
        error[condition] = sum(n * abs(share - p) for p, share, n in found) / len(places)
    return Reliability(metric=metric, bins=bins, error=error)
