"""What is a person's own is read, and trusted, where their own trials say so, and where it is told whose EEG it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_trials import CONFIG, STEPS, accuracy, people, posterior, some, trials
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.eeg.evidence import Evidence
from neuroleon.tokenizers.eeg.spatial import HARMONICS
from neuroleon.training.stages import eeg_evidence
from neuroleon.training.stages.eeg_cross_validation import make_folds, trusted
from neuroleon.training.stages.eeg_evidence import fit_evidence
from neuroleon.training.stages.eeg_numbers import (
    C_OF_RESPONSES,
    OWN_LOUDNESS,
    OwnResponses,
    SetTrials,
)


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
    right = np.where(labels[:, None] == ["a", "b"], 1.0, -1.0)
    log_odds = right + noise
    log_odds[:10] = 2.0 * right[:10]
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
