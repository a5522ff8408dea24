"""Numbers that belong to a whole corpus and are no mean over its windows (BLEU, FID, a median), beside their controls.

A `Statistic` takes values (n_rows, ...) and weights (n_draws, n_rows), whole numbers that say how often each row is in
the corpus, and gives one number per draw (n_draws,). Bootstrap and exchange of conditions are then choices of weights.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from neuroleon.common.seed import generator
from neuroleon.evaluation.stats import EXACT_CLUSTERS, Better, Comparison, Estimate, cluster_draws, verdict

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def compare_corpus(
    metric: str,
    unit: str,
    values: dict[str, np.ndarray],
    clusters: np.ndarray,
    statistic: Statistic,
    *,
    chance: float | None,
    seed: int,
    n_draws: int = 5000,
    biased: bool = False,
    better: Better = "higher",
) -> Comparison:
    """As `stats.compare`, of a statistic of all windows; values[condition] is (n_windows, ...).

    The interval is that of the cluster bootstrap, p that of exchanging real and shuffled inside each trial. Of a
    `biased` statistic, such as FID, the interval is moved by the bootstrap's bias: a resample holds some windows twice
    and others not at all, which alone raises it.

    Raises:
        DataError: fewer than two trials.
    """
    names, index = np.unique(clusters, return_inverse=True)
    weights = cluster_draws(len(names), n_draws, seed)[:, index]
    whole = np.ones((1, len(index)), dtype=np.int64)
    found = {c: (float(statistic(v, whole)[0]), statistic(v, weights)) for c, v in values.items()}
    (real, drawn_real), (shuffled, drawn_shuffled) = found["real"], found["shuffled"]
    gain = _interval(real - shuffled, drawn_real - drawn_shuffled, biased)
    p = _exchange_p(values["real"], values["shuffled"], index, statistic, seed, n_draws)
    return Comparison(
        metric=metric,
        unit=unit,
        n_windows=len(index),
        n_trials=len(names),
        conditions={c: _interval(value, drawn, biased) for c, (value, drawn) in found.items()},
        chance=chance,
        gain=gain,
        p=p,
        verdict=verdict(gain, p),
        better=better,
    )


def _interval(value: float, drawn: np.ndarray, biased: bool) -> Estimate:
    drawn = drawn[np.isfinite(drawn)]  # a draw of one window has no pairs, so no KID
    low, high = np.quantile(drawn, [0.025, 0.975]) + (value - drawn.mean() if biased else 0.0)
    return Estimate(mean=value, low=float(low), high=float(high))


def _exchange_p(
    first: np.ndarray, second: np.ndarray, index: np.ndarray, statistic: Statistic, seed: int, n_draws: int
) -> float:
    """Two-sided p of the difference of the statistic of `first` and `second` under exchange inside each cluster.

    Exact for up to `EXACT_CLUSTERS`, else counted with the observed pattern (as `stats.paired_permutation_p`).
    """
    n_clusters = int(index.max()) + 1
    exact = n_clusters <= EXACT_CLUSTERS and 2**n_clusters <= n_draws
    if exact:
        patterns = np.array(list(product((0, 1), repeat=n_clusters)))
    else:
        drawn = generator("permutation", seed).integers(0, 2, size=(n_draws - 1, n_clusters))
        patterns = np.concatenate([np.zeros((1, n_clusters), dtype=np.int64), drawn])
    swapped = patterns[:, index]
    both = np.concatenate([first, second])
    differences = np.abs(
        statistic(both, np.concatenate([1 - swapped, swapped], axis=1))
        - statistic(both, np.concatenate([swapped, 1 - swapped], axis=1))
    )
    return float(np.mean(differences >= differences[0] * (1 - 1e-9)))


def ratio(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of values[:, 0] over sum of values[:, 1]: wrong words over words, or a weighted mean."""
    sums = weights @ values
    return np.asarray(sums[:, 0] / sums[:, 1])


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median of `values` (n_rows,); of an even number of them the mean of the middle two."""
    order = np.argsort(values, kind="stable")
    ordered, counts = values[order], np.cumsum(weights[:, order], axis=1)
    total = counts[:, -1:]
    low, high = (counts < (total + 1) // 2).sum(axis=1), (counts < total // 2 + 1).sum(axis=1)
    return np.asarray((ordered[low] + ordered[high]) / 2)
