"""Numbers of a whole corpus beside their controls; confusion and calibration."""

import numpy as np
import pytest

from neuroleon.common.errors import DataError
from neuroleon.evaluation.calibration import confusion, reliability
from neuroleon.evaluation.corpus import compare_corpus, median, ratio
from neuroleon.evaluation.stats import bootstrap_ci, compare, paired_permutation_p


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights @ values / weights.sum(axis=1))


@pytest.mark.parametrize("n_trials", [9, 30])
def test_the_mean_as_a_statistic_is_compared_as_a_mean_is(n_trials: int) -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(n_trials), 2)
    values = {c: rng.normal(shift, 1, 2 * n_trials) for c, shift in (("real", 0.5), ("shuffled", 0.0), ("none", 0.1))}
    found = compare_corpus("m", "score", values, clusters, mean, chance=0.0, seed=0)
    wanted = compare("m", "score", values, clusters, chance=0.0, seed=0)
    assert (found.n_windows, found.n_trials, found.chance) == (2 * n_trials, n_trials, 0.0)
    assert found.conditions.keys() == values.keys() and found.verdict == wanted.verdict
    for estimate, other in zip(found.conditions.values(), wanted.conditions.values(), strict=True):
        assert estimate.mean == pytest.approx(other.mean)
        assert (estimate.low, estimate.high) == pytest.approx((other.low, other.high), abs=0.05)
    exact = n_trials <= 12
    assert found.p == pytest.approx(wanted.p, abs=1e-12 if exact else 0.02)


def test_windows_of_a_trial_are_drawn_and_exchanged_together() -> None:
    """Four trials can be exchanged in sixteen ways, two of which are as extreme as the observed one."""
    clusters = np.repeat(np.arange(4), 10)
    values = {"real": np.ones(40), "shuffled": np.zeros(40)}
    found = compare_corpus("m", "score", values, clusters, mean, chance=None, seed=0)
    assert found.p == paired_permutation_p(values["real"], values["shuffled"], clusters) == 2 / 16
    one_each = np.repeat(np.arange(4.0), 10)
    spread = compare_corpus("m", "score", {"real": one_each, "shuffled": one_each}, clusters, mean, chance=None, seed=0)
    wanted = bootstrap_ci(one_each, clusters)
    assert spread.conditions["real"].low == pytest.approx(wanted.low, abs=0.05)
    assert (spread.p, spread.verdict) == (1.0, "no difference shown")


def test_the_interval_of_a_biased_statistic_is_about_its_value() -> None:
    """The least of a sample is higher in every resample that leaves it out."""
    values = {c: np.arange(20.0) for c in ("real", "shuffled")}

    def least(v: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([v[w > 0].min() for w in weights])

    plain, moved = (
        compare_corpus("m", "score", values, np.arange(20), least, chance=None, seed=0, n_draws=500, biased=biased)
        for biased in (False, True)
    )
    assert plain.conditions["real"].low == 0.0
    assert moved.conditions["real"].low < moved.conditions["real"].mean == 0.0 < moved.conditions["real"].high


def test_one_trial_is_refused() -> None:
    values = {"real": np.ones(3), "shuffled": np.ones(3)}
    with pytest.raises(DataError, match=r"1 trial\(s\)"):
        compare_corpus("m", "score", values, np.zeros(3), mean, chance=None, seed=0)


def test_ratio_and_median_count_rows_by_their_weights() -> None:
    weights = np.array([[1, 1, 1, 1], [2, 0, 0, 1], [0, 0, 3, 0]])
    assert ratio(np.array([[1, 2], [0, 2], [3, 4], [2, 2]]), weights).tolist() == [0.6, 4 / 6, 0.75]
    assert median(np.array([5.0, 1.0, 4.0, 2.0]), weights).tolist() == [3.0, 5.0, 4.0]
    rng = np.random.default_rng(0)
    values, many = rng.integers(0, 5, 9).astype(float), rng.integers(0, 3, (50, 9))
    assert median(values, many).tolist() == [np.median(np.repeat(values, w)) for w in many]


def test_confusion_has_a_column_for_no_answer() -> None:
    found = confusion("m", ["a", "b", "b"], {"real": ["a", "a", None], "none": ["b", "b", "b"]}, ["a", "b"])
    assert found.answers == ("a", "b")
    assert found.counts == {"real": [[1, 0, 0], [1, 0, 1]], "none": [[0, 1, 0], [0, 2, 0]]}


def test_reliability_golden() -> None:
    """Sure by .75 and right half of the time: off by a quarter; sure by .5 twice, right once: not off."""
    p = np.array([[0.75, 0.25], [0.75, 0.25], [0.5, 0.5], [0.5, 0.5]])
    bits = np.log2(p) - 7.0  # of all that could be said, these answers are a small part
    found = reliability("m", {"real": bits}, np.array([0, 1, 0, 1]))
    # log2 differs by its last bit between processors
    np.testing.assert_allclose(found.bins["real"], [(0.5, 0.5, 2), (0.75, 0.5, 2)], rtol=1e-12)
    assert found.error["real"] == pytest.approx(0.125)
    certain = reliability("m", {"real": np.array([[0.0, -2000.0]])}, np.array([1]))
    assert certain.bins["real"] == [(1.0, 0.0, 1)] and certain.error["real"] == 1.0
