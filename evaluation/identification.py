"""n-way identification and rank from scores of candidates: exact over all sets of distractors, so nothing is drawn.

The field draws n - 1 distractors at random and counts how often the true candidate is among the best k; with few draws
the number depends on the seed. Its expectation over every set of n - 1 distractors is a hypergeometric sum.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import comb

import numpy as np

NWAY = (2, 10, 50, 200)
TOP = (1, 5)


def ranks(scores: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of scores (n_trials, n_candidates), how many candidates score above the one at `places` (n_trials,), and how many
    others score the same; each (n_trials,)."""
    own = scores[np.arange(len(scores)), places][:, None]
    return (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1


@cache
def chosen_share(above: int, equal: int, n_distractors: int, n: int, k: int) -> float:
    """Probability that a candidate is among the best `k` of itself and `n` - 1 distractors.

    The distractors are drawn without replacement from `n_distractors`, `above` of which score higher and `equal` the
    same; those that score the same come in random order. With no knowledge it is k / n on average.
    """
    below = n_distractors - above - equal
    ways = 0.0
    for a in range(min(k - 1, above) + 1):
        for e in range(min(equal, n - 1 - a) + 1):
            ways += comb(above, a) * comb(equal, e) * comb(below, n - 1 - a - e) * min(k - a, e + 1) / (e + 1)
    return ways / comb(n_distractors, n - 1)


def identified(scores: np.ndarray, places: np.ndarray, n: int, k: int) -> np.ndarray:
    """`chosen_share` of each trial (n_trials,) from scores (n_trials, n_candidates) and the place of the true one."""
    n_distractors = scores.shape[1] - 1
    pairs = zip(*ranks(scores, places), strict=True)
    return np.array([chosen_share(int(a), int(e), n_distractors, n, k) for a, e in pairs])


def expected_rank(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rank of the true candidate, from 1 (n_trials,); those that score the same share the middle of their places."""
    above, equal = ranks(scores, places)
    return 1 + above + equal / 2


def top1_chance(candidates: Sequence[str], answers: Sequence[str | None]) -> float:
    """How often a candidate that is drawn at random has the true answer, over trials with these `answers`; an answer
    of which there are several candidates is drawn more often."""
    n_of: Counter[str | None] = Counter(candidates)
    return float(np.mean([n_of[answer] for answer in answers])) / len(candidates)


def rank_chances(sizes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Probabilities (n_answers,) that 0, 1 ... of the other answers score above the true one if scores say nothing.

    Answer k has `sizes[k]` candidates and scores as its best one (`by_answer`): the largest of so many independent
    uniform scores, which is below x with probability x ** sizes[k]. Given the true answer's x, the others are above it
    independently of each other; the integral over x is of a polynomial, which Gauss-Legendre quadrature has exactly. A
    mean over trials, of which `places` are the true answers.
    """
    if len(set(sizes.tolist())) == 1:
        return np.full(len(sizes), 1 / len(sizes))
    found = np.zeros(len(sizes))
    for size, n_trials in zip(*np.unique(sizes[places], return_counts=True), strict=True):
        others = np.delete(sizes, np.flatnonzero(sizes == size)[0])
        found += n_trials / len(places) * _above(int(size), others)
    return found


def _above(own: int, others: np.ndarray) -> np.ndarray:
    """Probabilities (n_others + 1,) of how many of `others` score above an answer with `own` candidates."""
    from scipy.special import roots_legendre

    nodes, weights = roots_legendre((own + int(others.sum())) // 2 + 1)
    x, weights = (nodes + 1) / 2, weights / 2
    chances = np.zeros((len(others) + 1, len(x)))
    chances[0] = own * x ** (own - 1)  # the density of the true answer's score
    for size in others:
        is_above = 1 - x**size
        chances[1:] += is_above * (chances[:-1] - chances[1:])
        chances[0] *= 1 - is_above
    return np.asarray(chances @ weights)


def chance_identified(chances: np.ndarray, n: int, k: int) -> float:
    """`identified` without knowledge, from `rank_chances`."""
    if np.ptp(chances) == 0:
        return k / n  # what the sum comes to, which takes minutes for thousands of answers
    shares = [chosen_share(above, 0, len(chances) - 1, n, k) for above in range(len(chances))]
    return float(chances @ shares)


def chance_median_rank(chances: np.ndarray) -> float:
    """The median, from 1, of ranks with these `rank_chances`; between two ranks where half of them lie below."""
    below = np.cumsum(chances)
    low, high = (int(np.argmax(below > level)) for level in (0.5 - 1e-9, 0.5 + 1e-9))
    return 1 + (low + high) / 2


def by_answer(scores: np.ndarray, answers: list[str]) -> tuple[np.ndarray, list[str]]:
    """Scores (n_trials, n_candidates) of candidates with `answers` -> (n_trials, n_answers): of each its best."""
    names = list(dict.fromkeys(answers))
    found = np.array(answers, dtype=object)
    return np.stack([scores[:, found == name].max(axis=1) for name in names], axis=1), names
