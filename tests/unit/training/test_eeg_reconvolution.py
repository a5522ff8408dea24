"""What a known stimulus evokes is found where it was planted, and read where it tells more."""

from dataclasses import replace

import numpy as np
import torch
from planted_trials import CONFIG, N_FEATURES, accuracy, trials

from neuroleon.tokenizers.eeg.evidence import PLACES, Evidence
from neuroleon.training.stages.eeg_evidence import _fit, fit_evidence
from neuroleon.training.stages.eeg_numbers import Responses, SetTrials
from neuroleon.training.stages.eeg_reconvolution import Reconvolved, has_stimuli

LETTERS = "abcdefghijklmnopqrst"


def shown(n: int, n_labels: int = 20, *, loud: float = 1.0, own: bool = False, seed: int = 0) -> SetTrials:
    """Trials in which every rise of the label's stimulus evokes one response, every fall its opposite 20 ms later; in
    people's own way, the second person responds 60 ms later than the first, and upside down at one time; noise of 1."""
    rng = np.random.default_rng(seed)
    tracks = np.random.default_rng(99).integers(2, size=(n_labels, PLACES)).astype(np.float32)
    given = trials(n, seed=seed)
    label = np.arange(n) % n_labels
    given.labels[:] = np.array(list(LETTERS))[label]
    given.steps[:] = rng.standard_normal(given.steps.shape)
    given.stimuli[:] = tracks[label]
    order = np.arange(n) // n_labels
    given.recordings[:] = np.array(["one", "two", "three", "four"])[order % 4]
    given.subjects[:] = np.array(["ann", "bob"])[order % 2]
    change = np.diff(tracks, axis=1, prepend=tracks[:, :1])
    for sign, lags in ((1.0, (2, 4)), (-1.0, (4, 6))):
        event = (sign * change).clip(min=0.0)
        for name in ("ann", "bob"):
            later, flip = (6, -1.0) if own and name == "bob" else (0, 1.0)
            response = _later(event, lags[0] + later) + flip * _later(event, lags[1] + later)
            of = given.subjects == name
            given.steps[of, :, 7] += sign * loud * response[label[of]]
    return given


def _later(event: np.ndarray, lag: int) -> np.ndarray:
    return np.pad(event, ((0, 0), (lag, 0)))[:, :PLACES]


def test_a_response_that_all_labels_share_is_found_from_few_trials_of_each() -> None:
    """Two trials of each label are too few to know the response to each, and enough to know that to a rise."""
    given = replace(shown(80, loud=0.6, seed=1), subjects=np.repeat("someone", 80))
    folds = [(np.arange(40), np.arange(40, 80)), (np.arange(40, 80), np.arange(40))]
    alone, together = (_fit(kind, given, folds, 0, "set") for kind in (Responses, Reconvolved))
    assert accuracy(together.outside[:, -1], given.labels, LETTERS) > 0.2
    assert (
        accuracy(together.outside[:, -1], given.labels, LETTERS)
        > accuracy(alone.outside[:, -1], given.labels, LETTERS) + 0.08
    )


def test_the_response_to_rises_and_falls_is_the_one_that_was_planted() -> None:
    given = replace(shown(600, loud=0.5, seed=1), subjects=np.repeat("someone", 600))
    weights = Reconvolved(given, np.arange(600), seed=0).fitted().weights  # (P, K, L)
    change = np.diff(np.stack([given.stimuli[given.labels == name][0] for name in LETTERS]), axis=1, prepend=0.0)
    change[:, 0] = 0.0
    rises, falls = change.clip(min=0.0), (-change).clip(min=0.0)
    planted = _later(rises, 2) + _later(rises, 4) - _later(falls, 4) - _later(falls, 6)
    planted = planted - planted.mean(axis=0)
    assert np.corrcoef(weights[:, 7].T.ravel(), planted.ravel())[0, 1] > 0.97
    assert np.square(weights[:, 7]).sum() > 0.8 * np.square(weights).sum()


def test_what_a_stimulus_evokes_in_people_is_their_own() -> None:
    """It tells more of their labels than their responses to each, and nothing where it is taken for another's."""
    given, new = (shown(400, loud=0.8, own=True, seed=seed) for seed in (1, 2))
    swapped = replace(new, subjects=np.where(new.subjects == "ann", "bob", "ann"))
    told = {}
    for stimuli in (given.stimuli, np.full_like(given.stimuli, np.nan)):
        evidence = Evidence(replace(CONFIG, semantic_dim=20))
        fit_evidence(evidence, [("set", replace(given, stimuli=stimuli))], seed=0)
        told[bool(np.isfinite(stimuli).all())] = [
            accuracy(posterior_of_all(evidence, of)[:, -1, :20], of.labels, LETTERS) for of in (new, swapped)
        ]
        assert evidence.subjects == ("ann", "bob")
    assert told[True][0] > told[False][0] + 0.05
    assert told[True][1] < told[True][0] - 0.3


def test_labels_are_told_more_where_what_was_shown_is_known() -> None:
    given = replace(shown(80, loud=0.6, seed=2), subjects=np.repeat("someone", 80))
    big = replace(CONFIG, semantic_dim=20)
    evidence, without = Evidence(big), Evidence(big)
    fit_evidence(evidence, [("set", given)], seed=0)
    fit_evidence(without, [("set", replace(given, stimuli=np.full_like(given.stimuli, np.nan)))], seed=0)
    new = shown(400, loud=0.6, seed=3)
    told, less = (accuracy(posterior_of_all(of, new)[:, -1, :20], new.labels, LETTERS) for of in (evidence, without))
    assert told > less + 0.1


def test_a_stimulus_that_evokes_nothing_leaves_what_labels_are_read_by() -> None:
    given = trials(300, response=1.5, seed=1)
    tracks = np.random.default_rng(0).integers(2, size=(3, PLACES)).astype(np.float32)
    stimuli = tracks[np.unique(given.labels, return_inverse=True)[1]]
    with_stimuli, without = Evidence(CONFIG), Evidence(CONFIG)
    fit_evidence(with_stimuli, [("set", replace(given, stimuli=stimuli))], seed=0)
    fit_evidence(without, [("set", given)], seed=0)
    torch.testing.assert_close(with_stimuli.templates, without.templates)


def test_stimuli_are_those_of_labels_or_none() -> None:
    given = shown(60)
    assert has_stimuli(given)
    shorter = replace(given, stimuli=given.stimuli.copy())
    shorter.stimuli[::2, 20:] = np.nan
    shorter.stimuli[1] = np.nan
    assert has_stimuli(shorter), "trials may be shorter, or lack it, where another trial of the label has it"
    jittered = replace(given, stimuli=given.stimuli.copy())
    jittered.stimuli[5] = np.roll(given.stimuli[5], 1)
    assert has_stimuli(jittered), "onsets may be off by a sample"
    another = replace(given, stimuli=np.random.default_rng(0).permutation(given.stimuli))
    assert not has_stimuli(another), "trials of one label were shown different things"
    level = np.where(given.labels == "a", 1.0, 0.0)[:, None] + np.zeros_like(given.stimuli)
    assert not has_stimuli(replace(given, stimuli=level)), "nothing rises or falls"
    assert not has_stimuli(replace(given, stimuli=np.where(given.labels[:, None] == "a", np.nan, given.stimuli)))
    assert not has_stimuli(replace(given, stimuli=np.ones_like(given.stimuli))), "all labels were shown the same"


def posterior_of_all(evidence: Evidence, given: SetTrials) -> np.ndarray:
    """Semantic numbers (n, PLACES, S) of responses."""
    steps, exists = torch.from_numpy(given.steps), torch.ones(len(given.steps), PLACES, dtype=torch.bool)
    power = torch.zeros(*steps.shape[:2], N_FEATURES)
    evidence.numbers = lambda field, valid, background: (steps, power, exists)  # type: ignore[method-assign]
    found = evidence(torch.zeros(0), torch.zeros(0), exists, evidence.indices(given.subjects.tolist()))
    return np.asarray(found.chunk(2, dim=-1)[0].numpy())
