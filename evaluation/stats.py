"""Intervals and p-values over trials whose windows are not independent: whole clusters are drawn, or change sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator

Better = Literal["higher", "lower", "neither"]
Verdict = Literal["no difference shown", "above shuffled", "below shuffled"]
LEVEL = 0.05  # of p
EXACT_CLUSTERS = 12  # up to 2^12 sign patterns are all tried; beyond, a random sample of them


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def _cluster_sums(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} cluster names; give one name per value")
    _, index = np.unique(clusters, return_inverse=True)
    return np.bincount(index, weights=values), np.bincount(index)


def bootstrap_ci(values: np.ndarray, clusters: np.ndarray, n: int = 2000, seed: int = 0) -> Estimate:
    """Mean and percentile interval (2.5 %, 97.5 %) of the cluster bootstrap (Davison and Hinkley 1997, section 3.8).

    Args:
        values: (n_windows,) one number per window.
        clusters: (n_windows,) the trial of each window; windows of one trial are drawn together.

    Raises:
        DataError: fewer than two trials, from which no interval can be made.
    """
    values = np.asarray(values, dtype=np.float64)
    sums, counts = _cluster_sums(values, np.asarray(clusters))
    draws = cluster_draws(len(sums), n, seed)
    means = (draws @ sums) / (draws @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high))


def bootstrap_share(
    part: np.ndarray, whole: np.ndarray, clusters: np.ndarray, n: int = 2000, seed: int = 0
) -> Estimate:
    """The mean of `part` as a share of the mean of `whole`, paired, with its interval as `bootstrap_ci`; not finite
    where `whole` is nothing in a draw.

    Raises:
        DataError: fewer than two trials, from which no interval can be made.
    """
    parts, counts = _cluster_sums(np.asarray(part, dtype=np.float64), np.asarray(clusters))
    wholes, _ = _cluster_sums(np.asarray(whole, dtype=np.float64), np.asarray(clusters))
    draws = cluster_draws(len(counts), n, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.quantile((draws @ parts) / (draws @ wholes), [0.025, 0.975])
        return Estimate(mean=float(parts.sum() / wholes.sum()), low=float(low), high=float(high))


def cluster_draws(n_clusters: int, n: int, seed: int) -> np.ndarray:
    """How often each cluster is in a bootstrap: (n, n_clusters).

    Raises:
        DataError: fewer than two, from which no interval can be made.
    """
    if n_clusters < 2:
        raise DataError(f"{n_clusters} trial(s) to evaluate; an interval needs two or more, raise --limit or add data")
    shares = np.full(n_clusters, 1 / n_clusters)
    return generator("bootstrap", seed).multinomial(n_clusters, shares, size=n)


def paired_permutation_p(
    first: np.ndarray, second: np.ndarray, clusters: np.ndarray, n: int = 4999, seed: int = 0
) -> float:
    """Two-sided p of the mean of `first - second` under exchange of the two inside each trial (sign flips).

    Exact for up to 12 trials; else `n` random patterns, counted with the observed one, so that p is never 0
    (Phipson and Smyth 2010).
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    sums, _ = _cluster_sums(difference, np.asarray(clusters))
    observed = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()  # equal patterns stay equal under rounding
    if len(sums) <= EXACT_CLUSTERS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sums))))
        return float(np.mean(np.abs(signs @ sums) >= observed))
    signs = generator("permutation", seed).choice((-1.0, 1.0), size=(n, len(sums)))
    return float((1 + np.sum(np.abs(signs @ sums) >= observed)) / (1 + n))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number beside its controls.

    Attributes:
        unit: "share" of windows that are right, "bits", or what a measure is counted in.
        chance: None where there is none.
        gain: real minus shuffled, paired, with its interval over trials.
        p: of the gain, of this number alone; `p_holm` is corrected for all primary numbers of the report
            (`families.py`), and None of any other number.
        over_subjects: the gain with its interval over subjects, who are drawn whole: what to expect of other people.
            None for one subject.
        better: whether more of it is better, less, or neither.
        n_answers: how many answers were chosen from, where one was; shares of different choices are not comparable.
    """

    metric: str
    unit: str
    n_windows: int
    n_trials: int
    conditions: dict[str, Estimate]
    chance: float | None
    gain: Estimate
    p: float
    verdict: str
    over_subjects: Estimate | None = None
    n_subjects: int | None = None
    p_holm: float | None = None
    better: Better = "higher"
    n_answers: int | None = None


def same_question(one: Comparison, other: Comparison) -> bool:
    """Whether both chose among as many answers; other shares are not comparable."""
    return one.n_answers is not None and one.n_answers == other.n_answers


def verdict(gain: Estimate, p: float) -> Verdict:
    """What the paired interval and p say together; an interval that is not finite says nothing."""
    if p >= LEVEL or not (gain.low > 0 or gain.high < 0):
        return "no difference shown"
    return "above shuffled" if gain.mean > 0 else "below shuffled"


def compare(
    metric: str,
    unit: str,
    values: dict[str, np.ndarray],
    clusters: np.ndarray,
    *,
    chance: float | None,
    seed: int,
    subjects: np.ndarray | None = None,
    better: Better = "higher",
    n_answers: int | None = None,
) -> Comparison:
    """Put the values (n_windows,) of each condition beside each other; `values` has "real" and "shuffled" at least.

    `subjects` (n_windows,) are the people, where they are known. The verdict needs both the paired interval and the
    permutation p: with few trials the interval alone is too narrow.
    """
    difference = values["real"] - values["shuffled"]
    gain = bootstrap_ci(difference, clusters, seed=seed)
    n_subjects = None if subjects is None else len(np.unique(subjects))
    p = paired_permutation_p(values["real"], values["shuffled"], clusters, seed=seed)
    return Comparison(
        metric=metric,
        unit=unit,
        n_windows=len(clusters),
        n_trials=len(np.unique(clusters)),
        conditions={name: bootstrap_ci(v, clusters, seed=seed) for name, v in values.items()},
        chance=chance,
        gain=gain,
        p=p,
        verdict=verdict(gain, p),
        over_subjects=None if subjects is None or n_subjects == 1 else bootstrap_ci(difference, subjects, seed=seed),
        n_subjects=n_subjects,
        better=better,
        n_answers=n_answers,
    )


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm (1979, Scand. J. Statist. 6, 65), in the order given.

    The share of families of true null hypotheses in which any p is below a level stays below that level, however the
    tests depend on each other.
    """
    order = np.argsort(ps)
    stepped = np.asarray(ps)[order] * np.arange(len(ps), 0, -1)
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()
