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
from neuroleon.training.stages import eeg_evidence
from neuroleon.training.stages.eeg_cross_validation import is_likelier, make_folds, standard_error, trusted
from neuroleon.training.stages.eeg_evidence import _fit, fit_evidence
from neuroleon.training.stages.eeg_numbers import (
    C_OF_RESPONSES,
    OWN_LOUDNESS,
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


def test_recordings_of_a_person_are_left_out_apart() -> None:
    """Else nothing of the person is left to learn from, and in new recordings there is."""
    subjects = np.repeat(["ann", "bob", "eve", "ida", "joe"], 40)
    recordings = np.repeat(np.arange(10), 20)
    labels = np.tile(np.repeat(["a", "b"], 10), 10)
    folds = make_folds(labels, subjects, recordings)
    assert len(folds) == 5
    for rest, left_out in folds:
        assert set(subjects[rest]) == set(subjects)
        assert not set(recordings[rest]) & set(recordings[left_out])


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


def test_responses_of_peoples_own_are_read_where_the_person_is_told() -> None:
    """Of somebody else, and where nobody is told, what all share says what it said."""
    given, new = people(600, own=2.5, shared=1.0, seed=1), people(300, own=2.5, shared=1.0, seed=2)
    evidence, strangers = Evidence(CONFIG), replace(new, subjects=np.repeat("eve", 300))
    fit_evidence(evidence, [("set", given)], seed=0)
    assert evidence.subjects == ("ann", "bob")
    told, untold = (posterior(evidence, of)[0][:, -1, :3] for of in (new, strangers))
    assert accuracy(told, new.labels) > accuracy(untold, new.labels) + 0.1
    evidence.own = None
    np.testing.assert_array_equal(posterior(evidence, new)[0][:, -1, :3], untold)


def test_what_was_fitted_without_a_fold_tells_its_trials_as_surely_as_new_ones() -> None:
    """What was fitted to a trial tells it surer than that; each set's folds are its own, of whole recordings."""
    given, new = people(600, own=2.5, shared=1.0, seed=1), people(600, own=2.5, shared=1.0, seed=2)
    other = replace(trials(300, rhythm=4.0, seed=3), subjects=np.repeat("eve", 300))
    evidence = Evidence(CONFIG)
    without_folds, fold_of = fit_evidence(evidence, [("set", given), ("other", other), ("no", trials(300))], seed=0)
    assert set(fold_of) == {"set", "other"}, "no label of the third is read"
    assert len(without_folds) == 5 > len(np.unique(fold_of["other"])) == 3
    for of, trials_of in ((given, fold_of["set"]), (other, fold_of["other"])):
        assert all(len(np.unique(trials_of[of.recordings == name])) == 1 for name in np.unique(of.recordings))
    left_out = np.zeros((600, 3))
    for fold, fitted in enumerate(without_folds):
        assert fitted.subjects == evidence.subjects == ("ann", "bob")
        rows = np.flatnonzero(fold_of["set"] == fold)
        left_out[rows] = posterior(fitted, some(given, rows))[0][:, -1, :3]
    own, of_new = (posterior(evidence, of)[0][:, -1, :3] for of in (given, new))
    true = {name: one_hot(of.labels) for name, of in (("given", given), ("new", new))}
    surely = [
        float((told * true[of]).sum(axis=1).mean())
        for told, of in ((own, "given"), (left_out, "given"), (of_new, "new"))
    ]
    assert surely[0] > surely[2] + 0.05
    assert surely[1] == pytest.approx(surely[2], abs=0.03)
    none_left_out = posterior(without_folds[4], other)[1]
    np.testing.assert_array_equal(none_left_out, posterior(evidence, other)[1])


def test_people_of_trials_left_out_are_trusted_as_they_may_be_of_new_ones() -> None:
    given, new = (one_who_tells(600, seed=seed, rhythm=3.0) for seed in (1, 2))
    evidence = Evidence(CONFIG)
    without_folds, fold_of = fit_evidence(evidence, [("set", given)], seed=0)
    left_out = np.zeros((600, 3))
    for fold, fitted in enumerate(without_folds):
        assert fitted.own_rhythms is not None
        rows = np.flatnonzero(fold_of["set"] == fold)
        left_out[rows] = posterior(fitted, some(given, rows))[1][:, -1, :3]
    of_new = posterior(evidence, new)[1][:, -1, :3]
    for name in ("ann", "bob"):
        rows = given.subjects == name
        surely = [
            float((told * one_hot(of.labels))[rows].sum(axis=1).mean())
            for told, of in ((left_out, given), (of_new, new))
        ]
        assert surely[0] == pytest.approx(surely[1], abs=0.04)


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(3)[np.unique(labels, return_inverse=True)[1]]


def test_people_who_respond_alike_have_no_responses_of_their_own() -> None:
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", people(300, own=0.0, shared=1.5, seed=1))], seed=0)
    assert evidence.templates.any()
    assert evidence.own is not None
    assert not evidence.own.templates.any()
    ann, bob = evidence.own.posterior.trust[:, STEPS, 0]
    assert float(ann) == pytest.approx(float(bob), rel=0.5), "and are trusted about as far"


def test_a_person_of_one_recording_has_no_responses_of_their_own() -> None:
    """In cross-validation nothing of the person is left to learn from."""
    given = people(300, shared=4.0, seed=1)
    given.recordings[:] = given.subjects
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    assert evidence.own is None


def test_responses_of_peoples_own_leave_labels_of_other_sets_as_they_were() -> None:
    """Each set's labels and people have places of their own; of the labels of another set a person is anybody."""
    first, second = people(600, own=2.0, shared=1.5, seed=3), people(600, shared=1.5, seed=2)
    first = replace(first, subjects=np.char.add("other ", first.subjects))
    evidence, alone = Evidence(CONFIG), Evidence(CONFIG)
    fit_evidence(evidence, [("first", first), ("second", second)], seed=0)
    fit_evidence(alone, [("second", second)], seed=0)
    assert evidence.subjects == ("other ann", "other bob", "ann", "bob")
    together, expected = posterior(evidence, second)[0], posterior(alone, second)[0]
    np.testing.assert_allclose(together[..., 3:6], expected[..., :3], atol=1e-5)
    unknown = posterior(evidence, replace(second, subjects=np.repeat("eve", 600)))[0]
    np.testing.assert_allclose(together[..., :3], unknown[..., :3], atol=1e-5)
    assert np.abs(together[..., 3:6] - unknown[..., 3:6]).max() > 0.1


def test_a_person_of_two_sets_is_refused() -> None:
    sets = [("one", people(600, shared=1.5, seed=1)), ("two", people(600, shared=1.5, seed=2))]
    with pytest.raises(ConfigError, match="ann, bob are people of two sets"):
        fit_evidence(Evidence(CONFIG), sets, seed=0)


@pytest.mark.parametrize("names", [["ann", "ann"], ["", "ann"]])
def test_a_single_person_or_nobody_by_name_has_no_responses_of_their_own(names: list[str]) -> None:
    """What only one person is there for is shared, and who has no name cannot be told."""
    given = people(600, shared=1.5, seed=1)
    given.subjects[:] = np.where(given.subjects == "ann", *names)
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    assert evidence.templates.any()
    assert evidence.own is None


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


def test_at_the_end_of_a_window_it_is_a_logistic_regression_with_weights_of_each_persons_own() -> None:
    given = people(600, own=1.5, shared=0.5, seed=1)
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    assert evidence.own is not None
    heard = OwnResponses(given, np.arange(600), seed=0).of_trials
    own = [OWN_LOUDNESS * heard * (given.subjects == name)[:, None] for name in ("ann", "bob")]
    numbers = np.concatenate([heard, *own], axis=1)
    plain = LogisticRegression(C=C_OF_RESPONSES, max_iter=300, class_weight="balanced")
    log_odds = plain.fit(numbers, given.labels).decision_function(numbers)
    found = np.log(posterior(evidence, given)[0][:, -1, :3] + 1 / 3)
    found, log_odds = (x - x.mean(axis=1, keepdims=True) for x in (found, log_odds))
    for name in ("ann", "bob"):
        said, expected = (of[given.subjects == name] for of in (found, log_odds))
        trust = (said * expected).sum() / np.square(expected).sum()
        np.testing.assert_allclose(said, trust * expected, atol=1e-3 * np.abs(said).max())


def one_who_tells(n: int, *, seed: int = 0, **planted: float) -> SetTrials:
    """Trials of two people, of whom the EEG of `bob` says nothing of the labels."""
    given, silent = trials(n, seed=seed, **planted), trials(n, seed=seed + 100)  # type: ignore[arg-type]
    order = np.arange(n)
    given.subjects[:] = np.array(["ann", "bob"])[order % 2]
    given.recordings[:] = np.array(["one", "two", "three", "four", "five", "six"])[order % 6]
    given.steps[1::2], given.rhythms[1::2] = silent.steps[1::2], silent.rhythms[1::2]
    return given


@pytest.mark.parametrize(("kind", "planted"), [(0, {"response": 2.5}), (1, {"rhythm": 3.0})])
def test_a_person_of_whom_nothing_can_be_told_is_not_trusted(kind: int, planted: dict[str, float]) -> None:
    """Who tells is trusted further than all are together, and who does not, hardly; of somebody else it says what it
    said."""
    given, new = one_who_tells(600, seed=1, **planted), one_who_tells(600, seed=2, **planted)
    evidence, strangers = Evidence(CONFIG), replace(new, subjects=np.repeat("eve", 600))
    fit_evidence(evidence, [("set", given)], seed=0)
    own = (evidence.own, evidence.own_rhythms)[kind]
    assert own is not None
    anybody = (evidence.of_responses, evidence.of_rhythms)[kind].trust[STEPS, 0]
    ann, bob = own.posterior.trust[:, STEPS, 0]
    assert ann > anybody > bob
    told, untold = (posterior(evidence, of)[kind][:, -1, :3] for of in (new, strangers))

    def nats(numbers: np.ndarray, name: str) -> float:
        rows = new.subjects == name
        return float(log_loss(new.labels[rows], numbers[rows] + 1 / 3, labels=list("abc")))

    assert nats(told, "ann") < nats(untold, "ann") - 0.02
    assert nats(told, "bob") < min(nats(untold, "bob") - 0.05, np.log(3) + 0.02)
    evidence.own = evidence.own_rhythms = None
    np.testing.assert_array_equal(posterior(evidence, new)[kind][:, -1, :3], untold)


def test_a_few_trials_of_a_person_without_an_error_are_not_trusted_without_end() -> None:
    labels = np.tile(["a", "b"], 100)
    noise = np.random.default_rng(0).standard_normal((200, 2))
    log_odds = 2.0 * (labels[:, None] == ["a", "b"]) + noise
    log_odds[:10] = 4.0 * (labels[:10, None] == ["a", "b"])
    whose = np.where(np.arange(200) < 10, "few", "many")
    usual, own = (trusted(log_odds, labels, of) / log_odds for of in (None, whose))
    assert 1 < own[0, 0] / usual[0, 0] < 3
    assert own[-1, 0] == pytest.approx(usual[-1, 0], rel=0.1)


def test_people_are_trusted_by_their_own_labels_and_those_of_other_sets_are_as_they_were() -> None:
    both, other = one_who_tells(600, seed=1, response=2.5, rhythm=3.0), people(600, own=2.0, shared=1.5, seed=2)
    other = replace(other, subjects=np.char.add("other ", other.subjects))
    evidence, alone = Evidence(CONFIG), Evidence(CONFIG)
    fit_evidence(evidence, [("other", other), ("both", both)], seed=0)
    fit_evidence(alone, [("both", both)], seed=0)
    assert evidence.subjects == ("other ann", "other bob", "ann", "bob")
    together, expected = posterior(evidence, both), posterior(alone, both)
    np.testing.assert_allclose(together[0][..., 3:6], expected[0][..., :3], atol=1e-5)
    np.testing.assert_allclose(together[1][..., :3], expected[1][..., :3], atol=1e-5)
    untold = posterior(alone, replace(both, subjects=np.repeat("eve", 600)))
    assert all(np.abs(one - another).max() > 0.1 for one, another in zip(expected, untold, strict=True))


def test_a_person_read_by_fewer_numbers_than_there_are_still_has_a_usual_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mean trial says nothing more of a person's labels when their weights are cut to a few numbers."""
    given = people(600, own=2.5, shared=1.0, seed=1)
    given.steps[:, :STEPS] += 20.0 * np.random.default_rng(0).standard_normal((STEPS, HARMONICS)).astype(np.float32)
    monkeypatch.setattr(eeg_evidence, "HEARD", 8)
    evidence = Evidence(CONFIG)
    fit_evidence(evidence, [("set", given)], seed=0)
    assert evidence.own is not None
    assert not evidence.own.heard[:, 8:].any()
    mean = torch.from_numpy(np.nan_to_num(given.steps.mean(axis=0, keepdims=True)))[:, :STEPS]
    said = evidence.own(mean, torch.tensor([0]))
    assert said.abs().max() < 1e-2 * evidence.own.usual.abs().max()


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
