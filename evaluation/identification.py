"""n-way identification and rank from scores of candidates: exact over all sets of distractors, so nothing is drawn.

The field draws n - 1 distractors at random and counts how often the true candidate is among the best k; with few draws
the number depends on the seed. Its expectation over every set of n - 1 distractors is a hypergeometric sum.
"""

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


def by_answer(scores: np.ndarray, answers: list[str]) -> tuple[np.ndarray, list[str]]:
    """Scores (n_trials, n_candidates) of candidates with `answers` -> (n_trials, n_answers): of each its best."""
    names = list(dict.fromkeys(answers))
    found = np.array(answers, dtype=object)
    return np.stack([scores[:, found == name].max(axis=1) for name in names], axis=1), names
