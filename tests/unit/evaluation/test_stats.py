import numpy as np
import pytest

from neuroleon.common.errors import DataError
from neuroleon.evaluation.stats import bootstrap_ci, compare, holm, paired_permutation_p


def test_interval_of_independent_trials_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    estimate = bootstrap_ci(values, np.arange(400), seed=0)
    half = 1.96 * values.std() / 20
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_copies_of_a_trial_do_not_narrow_the_interval() -> None:
    """Five windows of one trial are one observation: counting them as five is how small sets look sure."""
    values = np.random.default_rng(1).normal(0.0, 1.0, 40)
    alone = bootstrap_ci(values, np.arange(40), seed=0)
    copied = bootstrap_ci(np.repeat(values, 5), np.repeat(np.arange(40), 5), seed=0)
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(2)
    intervals = [bootstrap_ci(rng.normal(0, 1, 30), np.arange(30), n=400, seed=i) for i in range(200)]
    assert 0.89 <= np.mean([e.low <= 0 <= e.high for e in intervals]) <= 0.98


def test_golden_interval() -> None:
    estimate = bootstrap_ci(np.array([0, 1, 1, 0, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2, 3, 3]), seed=0)
    assert (estimate.mean, estimate.low, estimate.high) == (0.625, 0.5, 0.875)


def test_one_trial_has_no_interval() -> None:
    with pytest.raises(DataError, match="two or more"):
        bootstrap_ci(np.ones(5), np.zeros(5))


@pytest.mark.parametrize(("n", "p"), [(3, 2 / 8), (5, 2 / 32), (10, 2 / 1024)])
def test_exact_p_of_differences_of_one_sign(n: int, p: float) -> None:
    assert paired_permutation_p(np.ones(n), np.zeros(n), np.arange(n)) == p


def test_exact_p_counts_patterns_by_hand() -> None:
    """Differences 1, 2, -3 sum to 0: every pattern is at least as far from 0."""
    assert paired_permutation_p(np.array([1.0, 2.0, -3.0]), np.zeros(3), np.arange(3)) == 1.0
    assert paired_permutation_p(np.array([1.0, 2.0, 4.0]), np.zeros(3), np.arange(3)) == 2 / 8
    assert paired_permutation_p(np.array([-1.0, 2.0, 4.0]), np.zeros(3), np.arange(3)) == 4 / 8


def test_windows_of_one_trial_change_sign_together() -> None:
    clusters = np.repeat(np.arange(4), 10)
    assert paired_permutation_p(np.ones(40), np.zeros(40), clusters) == 2 / 16


def test_sampled_p_is_uniform_without_an_effect_and_never_zero() -> None:
    rng = np.random.default_rng(3)
    ps = [
        paired_permutation_p(rng.normal(size=20), rng.normal(size=20), np.arange(20), n=199, seed=i) for i in range(200)
    ]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.09
    assert paired_permutation_p(np.ones(50), np.zeros(50), np.arange(50)) == 1 / 5000


def test_the_interval_over_subjects_is_of_people_not_of_trials() -> None:
    """Two of four people have an effect: with 100 trials of each that is sure of these people, and not of others."""
    subjects = np.repeat(["a", "b", "c", "d"], 100)
    real = np.isin(subjects, ["a", "b"]).astype(float)
    values = {"real": real, "shuffled": np.zeros(400)}
    of_four = compare("hits", "share", values, np.arange(400), chance=None, seed=0, subjects=subjects)
    assert of_four.over_subjects is not None and of_four.n_subjects == 4
    assert (of_four.over_subjects.mean, of_four.over_subjects.low, of_four.over_subjects.high) == (0.5, 0.0, 1.0)
    assert of_four.gain.low > 0.44
    of_one = compare("hits", "share", values, np.arange(400), chance=None, seed=0, subjects=np.repeat("a", 400))
    assert (of_one.over_subjects, of_one.n_subjects) == (None, 1)
    assert compare("hits", "share", values, np.arange(400), chance=None, seed=0).n_subjects is None


def test_holm_by_hand() -> None:
    """Holm 1979: the smallest of four times 4, the next times 3 ...; never below an earlier one, at most 1."""
    assert holm([0.02, 0.01, 0.04, 0.5]) == pytest.approx([0.06, 0.04, 0.08, 0.5])
    assert holm([0.02, 0.021]) == pytest.approx([0.04, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
