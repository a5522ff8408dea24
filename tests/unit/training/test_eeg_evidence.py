"""What tells labels is found where it was planted, by the right kind of numbers, and trusted as far as it goes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_trials import CONFIG, N_FEATURES, STEPS, accuracy, people, posterior, some, trials
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.eeg.evidence import PLACES, Evidence
from neuroleon.tokenizers.eeg.spatial import HARMONICS
from neuroleon.training.stages.eeg_cross_validation import is_likelier, standard_error, trusted
from neuroleon.training.stages.eeg_evidence import _fit, fit_evidence
from neuroleon.training.stages.eeg_numbers import (
    C_OF_RESPONSES,
    OwnResponses,
    Responses,
    Rhythms,
    SetTrials,
    _loudness,
)
from neuroleon.training.stages.eeg_reconvolution import OwnReconvolved, Reconvolved


def test_labels_are_read_by_the_kind_of_numbers_that_tells_them_and_not_where_none_does() -> None:
    evidence = Evidence(CONFIG)
    sets = {
        "responses": trials(300, response=6.0, seed=1),
        "rhythms": trials(300, 2, rhythm=4.0, seed=2),
        "nothing": trials(300, seed=3),
    }
    fit_evidence(evidence, sets.items(), seed=0)
    of_responses, of_rhythms = posterior(evidence, trials(200, response=6.0, seed=4))
    assert accuracy(of_responses[:, -1, :3], trials(200, seed=4).labels) > 0.9
    assert not of_responses[..., 3:].any(), "no other set has labels there"
    assert not of_rhythms[..., 2:].any()
    new = trials(200, 2, rhythm=4.0, seed=5)
    assert accuracy(posterior(evidence, new)[1][:, -1, :2], new.labels) > 0.9


def test_labels_that_only_their_own_recording_tells_are_not_read() -> None:
    """A response that is another in every recording is told by trials of the same recording, and by no others."""
    given, rng = trials(300, 2, seed=1), np.random.default_rng(0)
    order = np.tile(np.arange(5), 60)  # the recordings' trials in turn
    own = 4.0 * rng.standard_normal((5, 2, STEPS, HARMONICS)).astype(np.float32)
    given.steps[:, :STEPS] += own[order, (given.labels == "b").astype(int)]
    one = replace(given, recordings=np.repeat("one", 300))
    several = replace(given, recordings=order)
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", several)], seed=0)
    assert not posterior(evidence, given)[0].any()
    fit_evidence(evidence, [("set", one)], seed=0)
    assert posterior(evidence, given)[0].any()


def test_a_label_of_one_recording_alone_is_left_out_by_stretches() -> None:
    given = trials(300, response=6.0, seed=1)
    given.recordings[:] = given.labels
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    new = trials(100, response=6.0, seed=2)
    assert accuracy(posterior(evidence, new)[0][:, -1, :3], new.labels) > 0.9


def test_what_was_not_fitted_says_nothing() -> None:
    evidence = Evidence(CONFIG)
    single = trials(40, 2, response=9.0, seed=1)
    single.labels[0] = "c"  # the only trial of its label cannot be left out
    fit_evidence(evidence, [("nothing", trials(300, seed=3)), ("single", single)], seed=0)
    assert not any(numbers.any() for numbers in posterior(evidence, trials(20, response=9.0)))


def test_labels_of_three_trials_each_are_read_where_they_are_told() -> None:
    evidence, names = Evidence(replace(CONFIG, semantic_dim=12)), "abcdefghijkl"
    given = trials(36, 12, response=12.0, names=names)
    order = np.tile(np.arange(12), 3)
    given.steps[:, 3:15, 1:13] = 5.0
    given.steps[np.arange(36), 3 + order, 1 + order] += 12.0
    given.labels[:] = np.array(list(names))[order]
    fit_evidence(evidence, [("set", given)], seed=0)
    numbers, _ = posterior(evidence, given)
    assert accuracy(numbers[:, -1, :12], given.labels, names) == 1.0


def test_chance_of_a_rare_label_is_as_wide_as_its_few_trials_make_it() -> None:
    rare = np.repeat(["rare", "common"], [60, 300])
    rng = np.random.default_rng(0)
    guessed = rng.random((2000, 360)) < 0.5
    spread = ((guessed[:, :60].mean(axis=1) + guessed[:, 60:].mean(axis=1)) / 2).std()
    assert standard_error(rare) == pytest.approx(spread, rel=0.05)


def test_at_the_end_of_a_window_it_is_a_logistic_regression_of_the_window() -> None:
    """Up to the factor of trust, and before the end it knows less."""
    evidence, given = Evidence(CONFIG), trials(300, response=1.5, seed=1)
    fit_evidence(evidence, [("set", given)], seed=0)
    heard = Responses(given, np.arange(300), seed=0).of_trials
    plain = LogisticRegression(C=C_OF_RESPONSES, max_iter=300, class_weight="balanced")
    log_odds = plain.fit(heard, given.labels).decision_function(heard)
    numbers, _ = posterior(evidence, given)
    probabilities = numbers[:, :, :3] + 1 / 3
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, atol=1e-5)
    found = np.log(probabilities[:, -1])
    found, log_odds = (x - x.mean(axis=1, keepdims=True) for x in (found, log_odds))
    trust = (found * log_odds).sum() / np.square(log_odds).sum()
    np.testing.assert_allclose(found, trust * log_odds, atol=1e-3 * np.abs(found).max())
    assert accuracy(numbers[:, 2, :3], given.labels) < accuracy(numbers[:, 6, :3], given.labels) - 0.2


@pytest.mark.parametrize("kind", ["responses", "rhythms"])
def test_it_is_trusted_as_far_as_it_goes_after_every_number_of_steps(kind: str) -> None:
    """No other factor makes new trials much likelier, though the ridge understates what it knows of a whole window and
    a mean over the window overstates what one step tells."""
    evidence = Evidence(CONFIG)
    planted = {"response": 2.0} if kind == "responses" else {"rhythm": 2.0}
    fit_evidence(evidence, [("set", trials(1500, **planted, seed=1))], seed=0)  # type: ignore[arg-type]
    new = trials(1500, **planted, seed=2)  # type: ignore[arg-type]
    numbers = posterior(evidence, new)[0 if kind == "responses" else 1]

    def nats(n_seen: int, factor: float) -> float:
        scaled = np.exp(factor * np.log(numbers[:, n_seen - 1, :3] + 1 / 3))
        return float(log_loss(new.labels, scaled / scaled.sum(axis=1, keepdims=True), labels=list("abc")))

    for n_seen in (1, 2, 5, 10, STEPS):
        assert nats(n_seen, 1.0) < min(nats(n_seen, factor) for factor in np.geomspace(0.1, 10, 30)) + 0.01
    assert nats(STEPS, 1.0) < 0.8 * np.log(3)
    assert nats(1, 1.0) > nats(STEPS, 1.0) + 0.05


def test_what_all_trials_share_is_no_evidence_at_any_place() -> None:
    """The usual response is subtracted where it comes: the mean trial says nothing, at its first step or its last."""
    given = trials(300, response=3.0, seed=1)
    alike = np.concatenate([np.flatnonzero(given.labels == label)[:80] for label in "abc"])
    given = some(given, alike)
    given.steps[:, :STEPS] += 20.0 * np.random.default_rng(0).standard_normal((STEPS, HARMONICS)).astype(np.float32)
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    mean = replace(some(given, np.arange(1)), steps=given.steps.mean(axis=0, keepdims=True))
    of_mean, of_trials = (posterior(evidence, of)[0][..., :3] for of in (mean, given))
    nothing = evidence.of_responses(torch.zeros(1, STEPS, CONFIG.semantic_dim), torch.arange(1, STEPS + 1)[None])
    np.testing.assert_allclose(of_mean, nothing[..., :3], atol=1e-3)
    assert np.abs(of_mean).max() < 0.1
    assert np.abs(of_trials).mean() > 0.1


def test_power_that_hardly_varied_in_training_has_no_say_when_it_does() -> None:
    """Above the band that the front-end lets pass, power is the floor, and a spread of next to nothing is no unit."""
    given, new = trials(300, rhythm=3.0, seed=1), trials(100, rhythm=3.0, seed=2)
    for of in (given, new):
        of.rhythms[..., 100:] = -4.6 + 1e-5 * of.rhythms[..., 100:]
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    before = posterior(evidence, new)[1]
    new.rhythms[..., 100:] += 0.01
    np.testing.assert_allclose(posterior(evidence, new)[1], before, atol=0.02)
    assert accuracy(before[:, -1, :3], new.labels) > 0.8


def test_trials_that_end_early_leave_trust_as_it_was() -> None:
    """And what is not known of a trial is neither its response nor its power."""
    given = trials(300, response=3.0, seed=1)
    given.steps[::3, 8:] = np.nan
    given.rhythms[::3, 8:] = np.nan
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    trust = evidence.of_responses.trust[:, 0]
    assert trust[0] == 0
    assert len(trust[: STEPS + 1].unique()) > STEPS / 2
    assert (trust[STEPS:] == trust[STEPS]).all()
    assert evidence.templates.isfinite().all()
    assert not evidence.templates[STEPS:].any(), "no trial has steps there"


def test_steps_that_do_not_exist_or_have_no_power_tell_nothing() -> None:
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", trials(300, rhythm=3.0, seed=2))], seed=0)
    steps, power = torch.zeros(1, 4, HARMONICS), torch.full((1, 4, N_FEATURES), -2.0)
    power[0, 0, 10] += 3.0
    power[0, 1:3] = 100.0
    exists, known = torch.tensor([[True, False, True, True]]), torch.tensor([[True, True, False, True]])

    def rhythms(*of: torch.Tensor, exists: torch.Tensor) -> torch.Tensor:
        evidence.numbers = lambda field, valid, background: of  # type: ignore[method-assign, assignment, return-value]
        found: torch.Tensor = evidence(torch.zeros(0), torch.zeros(0), exists, evidence.indices([None]))
        return found[0, :, CONFIG.semantic_dim :]

    numbers = rhythms(steps, power, known, exists=exists)
    assert numbers.isfinite().all()
    torch.testing.assert_close(numbers[1], numbers[0])
    torch.testing.assert_close(numbers[2], numbers[0])
    both = torch.ones(1, 2, dtype=torch.bool)
    two = rhythms(steps[:, :2], torch.stack([power[:, 0], power[:, 3]], dim=1), both, exists=both)
    torch.testing.assert_close(numbers[3], two[1])


@pytest.mark.parametrize("kind", [Responses, OwnResponses, Rhythms, Reconvolved, OwnReconvolved])
def test_labels_of_trials_left_out_have_no_part_in_what_is_said_of_them(
    kind: type[Responses] | type[Rhythms] | type[Reconvolved],
) -> None:
    given, left_out = people(90, own=1.0, shared=1.0, seed=1), np.arange(30)
    given.rhythms[np.arange(90), :, 10 * np.unique(given.labels, return_inverse=True)[1]] += 1.0
    tracks = np.random.default_rng(0).integers(2, size=(3, PLACES)).astype(np.float32)
    folds = [(np.arange(30, 90), left_out), (np.arange(30), np.arange(30, 90))]
    others = replace(given, labels=given.labels.copy())
    others.labels[left_out] = np.roll(given.labels[left_out], 7)
    before, after = (
        _fit(kind, replace(of, stimuli=tracks[np.unique(of.labels, return_inverse=True)[1]]), folds, 0, "set")
        for of in (given, others)
    )
    np.testing.assert_array_equal(before.outside[left_out], after.outside[left_out])
    assert np.abs(before.outside[30:] - after.outside[30:]).max() > 0.01
    np.testing.assert_array_equal(before.without[0].weights, after.without[0].weights)
    assert np.abs(before.without[1].weights - after.without[1].weights).max() > 1e-4


def test_likelier_is_what_is_surer_of_the_true_labels_and_no_less_often_right() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=300)
    noise = rng.standard_normal((300, 4))
    weak, strong = np.eye(4)[labels] + noise, 1.3 * np.eye(4)[labels] + noise
    other = np.eye(4)[labels] + rng.standard_normal((300, 4))
    weak, strong, louder, other = (trusted(of, labels) for of in (weak, strong, 5 * weak, other))
    assert is_likelier(strong, weak, labels)
    assert not is_likelier(weak, strong, labels)
    assert not is_likelier(louder, weak, labels), "each is trusted as it may be"
    assert not is_likelier(other, weak, labels), "no better, only other"


def test_a_few_trials_of_one_label_are_not_likelier() -> None:
    def log_odds(labels: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        return np.eye(12)[np.where(wrong, (labels + 1) % 12, labels)]

    few, many = np.repeat(np.arange(12), 3), np.repeat(np.arange(12), 60)
    assert not is_likelier(log_odds(few, few < 0), log_odds(few, few == 0), few)
    right, worse = log_odds(many, many < 0), log_odds(many, np.arange(720) % 3 == 0)
    assert is_likelier(right, worse, many)
    assert not is_likelier(worse, right, many)
    assert not is_likelier(worse, worse, many)


def test_how_frequent_a_label_is_makes_nothing_likelier() -> None:
    """A guess of what is frequent is likelier than none, a mean over trials, and tells nothing."""
    labels = np.repeat(["common", "rare"], [500, 100])
    rng = np.random.default_rng(0)
    frequent = np.tile([1.0, 0.0], (600, 1)) + 0.1 * rng.standard_normal((600, 2))
    nothing = 0.1 * rng.standard_normal((600, 2))
    assert not is_likelier(trusted(frequent, labels), trusted(nothing, labels), labels)


def test_power_that_is_to_be_heard_louder_is() -> None:
    """The ridge falls hardest on what is quiet: a faint rhythm of one feature is told when that is heard as loud."""
    quiet, new = trials(150, rhythm=1.5, seed=1), trials(300, rhythm=1.5, seed=2)
    # of one frequency, so that what tells labels is not found to be loud
    quiet = replace(quiet, frequency=np.zeros(N_FEATURES, np.int64))
    loud = replace(quiet, loudness=np.where(np.isin(np.arange(N_FEATURES), [0, 10, 20]), 10.0, 1.0).astype(np.float32))
    assert rhythms_told(loud, new) > rhythms_told(quiet, new) + 0.1


def test_a_frequency_is_heard_as_loud_as_labels_differ_at_it() -> None:
    """At several places a faint rhythm of one frequency is told better where it is known that they are of one."""
    given, new = trials(200, seed=1), trials(400, seed=2)
    at_one = np.arange(N_FEATURES) % 45
    for of in (given, new):
        of.rhythms[:, :, [7, 52, 97, 142]] += 0.6 * (of.labels == "b")[:, None, None]
    flat = replace(given, frequency=np.zeros(N_FEATURES, np.int64))
    assert rhythms_told(replace(given, frequency=at_one), new) > rhythms_told(flat, new) + 0.05


def test_loudness_is_of_mean_square_1_and_all_alike_where_no_frequency_tells() -> None:
    rng = np.random.default_rng(0)
    labels, numbers = np.repeat(["a", "b"], 200), rng.standard_normal((400, 60))
    numbers[200:, 3] += 1.0
    loudness = _loudness(numbers, labels, np.arange(60))
    assert loudness.argmax() == 3
    assert np.square(loudness).mean() == pytest.approx(1.0, abs=1e-3)
    assert loudness.min() > 0, "what is heard at nothing has no unit"
    alike = np.zeros((400, 60))
    np.testing.assert_array_equal(_loudness(alike, labels, np.arange(60)), 1.0)
    for few in ([0, 399], list(range(10))):  # one trial of each label, trials of one label
        np.testing.assert_array_equal(_loudness(numbers[few], labels[few], np.arange(60)), 1.0)
    # a mean far from 0, as log-power has, changes nothing, in single precision either
    np.testing.assert_allclose(_loudness((numbers - 50).astype(np.float32), labels, np.arange(60)), loudness, rtol=1e-2)
    faint = numbers * np.where(np.arange(60) == 3, 0.01, 1.0)
    assert _loudness(faint, labels, np.arange(60))[3] < 1, "what is filtered out hardly varies, and tells nothing"


def rhythms_told(given: SetTrials, new: SetTrials) -> float:
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    return accuracy(posterior(evidence, new)[1][:, -1, :3], new.labels)


def test_more_labels_than_semantic_numbers_are_refused() -> None:
    sets = {name: trials(300, response=6.0, seed=seed) for seed, name in enumerate(("one", "two"))}
    fit_evidence(Evidence(CONFIG), sets.items(), seed=0)
    with pytest.raises(ConfigError, match=r"semantic_dim is 5, .* 6 labels.* data\.aligned"):
        fit_evidence(Evidence(replace(CONFIG, semantic_dim=5)), sets.items(), seed=0)
