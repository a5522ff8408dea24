import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroleon.common.errors import DataError
from neuroleon.evaluation.controls import derangement, partners_within, phase_randomised


@settings(deadline=None, max_examples=50)
@given(n_chans=st.integers(1, 5), n_times=st.integers(2, 101), seed=st.integers(0, 1000))
def test_phase_randomised_noise_keeps_every_amplitude(n_chans: int, n_times: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    eeg_uV = rng.normal(5.0, 20.0, (n_chans, n_times)).astype(np.float32)
    noise = phase_randomised(eeg_uV, rng)
    assert noise.shape == eeg_uV.shape and noise.dtype == np.float32
    np.testing.assert_allclose(
        np.abs(np.fft.rfft(noise, axis=1)), np.abs(np.fft.rfft(eeg_uV, axis=1)), rtol=1e-3, atol=1e-2
    )


def test_phase_randomised_noise_forgets_the_waveform_and_is_gaussian() -> None:
    spike = np.zeros((2, 1000), np.float32)
    spike[:, 500] = 100.0
    noise = phase_randomised(spike, np.random.default_rng(0))
    assert np.abs(noise).max() < 30.0
    kurtosis = np.mean(noise**4, axis=1) / np.mean(noise**2, axis=1) ** 2
    np.testing.assert_allclose(kurtosis, 3.0, atol=0.6)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.2


@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=12), seed=st.integers(0, 1000))
def test_shuffle_is_a_derangement_of_trials(sizes: list[int], seed: int) -> None:
    clusters = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    if 2 * max(sizes) > sum(sizes):
        with pytest.raises(DataError, match="no EEG of another trial"):
            derangement(clusters, np.random.default_rng(seed))
        return
    permutation = derangement(clusters, np.random.default_rng(seed))
    assert sorted(permutation) == list(range(len(clusters)))
    assert (clusters[permutation] != clusters).all()


def test_shuffle_gives_every_other_trial_in_turn() -> None:
    partners = {int(derangement(np.arange(6), np.random.default_rng(seed))[0]) for seed in range(100)}
    assert partners == {1, 2, 3, 4, 5}


def test_partners_within_a_class_are_other_trials_of_that_class() -> None:
    answers = ["a", "a", "b", "b", "b", "c", None, "d", "d"]
    clusters = np.array(["1", "2", "3", "3", "4", "5", "6", "7", "7"])
    partners = partners_within(answers, clusters, np.random.default_rng(0))
    assert partners == {0: 1, 1: 0}  # of b one trial holds two of three windows, c and d have one trial
    more = partners_within([*answers, "b"], np.append(clusters, "8"), np.random.default_rng(0))
    assert set(more) == {0, 1, 2, 3, 4, 9}
    names = np.append(clusters, "8")
    assert all([*answers, "b"][i] == [*answers, "b"][j] and names[i] != names[j] for i, j in more.items())
