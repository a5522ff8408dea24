"""Trials with a response or a rhythm planted in noise, and what an `Evidence` says of them, for tests."""

from dataclasses import replace

import numpy as np
import torch

from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.evidence import PLACES, Evidence
from neuroleon.tokenizers.eeg.spatial import HARMONICS
from neuroleon.training.stages.eeg_numbers import SetTrials

# a step is one sample, so that its field is few numbers
CONFIG = EEGTokenizerConfig(step_samples=1, sources=4, dim=32, heads=2, levels=3, codes=16, code_dim=16, semantic_dim=6)
N_FEATURES = 5 * 45
STEPS = 16


def trials(
    n: int, n_labels: int = 3, response: float = 0.0, rhythm: float = 0.0, *, seed: int = 0, names: str = "abc"
) -> SetTrials:
    """Trials of 2 s, in noise of 1; the response of a label is a number of the field at one place, its rhythm one
    feature of every step, in noise of 1 that a trial keeps and noise of 2 that each step has anew."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_labels, size=n)
    steps = np.full((n, PLACES, HARMONICS), np.nan, np.float32)
    steps[:, :STEPS] = rng.standard_normal((n, STEPS, HARMONICS)) + 5.0
    rhythms = rng.standard_normal((n, 1, N_FEATURES)) + 2.0 * rng.standard_normal((n, STEPS, N_FEATURES)) - 2
    steps[np.arange(n), 3 + labels, 1 + labels] += response
    rhythms[np.arange(n), :, 10 * labels] += rhythm
    return SetTrials(
        steps=steps,
        rhythms=rhythms.astype(np.float32),
        loudness=np.ones(N_FEATURES, np.float32),
        frequency=np.arange(N_FEATURES),
        stimuli=np.full((n, PLACES), np.nan, np.float32),
        sfreq=200.0,
        labels=np.array(list(names))[labels],
        subjects=np.repeat("someone", n),
        recordings=np.repeat(["one", "two", "three"], -(-n // 3))[:n],
    )


def some(given: SetTrials, which: np.ndarray) -> SetTrials:
    rows = {
        name: numbers[which] for name, numbers in vars(given).items() if name not in ("loudness", "frequency", "sfreq")
    }
    return replace(given, **rows)


def posterior(evidence: Evidence, given: SetTrials) -> tuple[np.ndarray, np.ndarray]:
    """Semantic numbers (n, STEPS, S) of responses and of rhythms."""
    steps, power = torch.from_numpy(given.steps[:, :STEPS]), torch.from_numpy(given.rhythms)
    exists = torch.ones(len(steps), STEPS, dtype=torch.bool)
    evidence.numbers = lambda field, valid, background: (steps, power, exists)  # type: ignore[method-assign]
    subject = evidence.indices(given.subjects.tolist())
    of_responses, of_rhythms = evidence(torch.zeros(0), torch.zeros(0), exists, subject).chunk(2, dim=-1)
    return of_responses.numpy(), of_rhythms.numpy()


def accuracy(numbers: np.ndarray, labels: np.ndarray, names: str = "abc") -> float:
    return float((np.array(list(names))[numbers.argmax(axis=1)] == labels).mean())


def people(n: int, own: float = 4.0, *, shared: float = 0.0, seed: int = 0) -> SetTrials:
    """Trials of two people in three recordings each, who respond to the same label at different places."""
    given = trials(n, response=shared, seed=seed)
    order = np.arange(n)
    given.subjects[:] = np.array(["ann", "bob"])[order % 2]
    given.recordings[:] = np.array(["one", "two", "three", "four", "five", "six"])[order % 6]
    label = np.unique(given.labels, return_inverse=True)[1]
    place = np.where(given.subjects == "ann", 3 + label, 9 - label)
    given.steps[order, place, 5] += own
    return given
