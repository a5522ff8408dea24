"""The numbers that labels are read from in the EEG tokenizer, of the labelled trials of a set: responses, shared or of
people's own, and rhythms. Each kind is made of some trials, and then says what all trials are in it.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, F features of power, L labels of a set
"""

from dataclasses import dataclass

import numpy as np
import torch

from neuroleon.tokenizers.eeg.evidence import HEARD, PLACES
from neuroleon.tokenizers.eeg.network import components
from neuroleon.training.stages.eeg_evoked import Labelled, evoked_readout

# Inverse strength of the ridge, strong: a thousand trials are soon known by heart. Numbers of responses are read as
# they are, for what tells labels is loud among them (divided by their spread they gave .35 of the letters, not .60);
# log-power over its spread, but no spread below 0.1 (a tenth of the power): what is filtered out hardly varies.
RIDGE_OF_RESPONSES, RIDGE_OF_RHYTHMS = 3e-4, 3e-3
LEAST_SPREAD = 0.1
# Numbers of a person's own are heard three times as loud as those that all share: .90 of the letters, .86 at once as
# loud, .88 at ten times, .82 without them (validation, where this was chosen)
OWN_LOUDNESS = 3.0


@dataclass(frozen=True, kw_only=True)
class SetTrials:
    """Labelled trials of one set in the order of recording: `steps` (n, P, K), the whitened field of each step,
    `rhythms` (n, N, F), its log-power, both NaN where there is no step or none is known, `loudness` (F,) of its
    features, `labels` (n,), `subjects` (n,) and `recordings` (n,)."""

    steps: np.ndarray
    rhythms: np.ndarray
    loudness: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    recordings: np.ndarray


class Responses:
    """Numbers of the field, each place of a window with weights of its own: evidence adds up."""

    name, ridge = "responses", RIDGE_OF_RESPONSES

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        """Of all trials, by numbers that are made of some `rows` of them."""
        self.known = self.known_of(trials)
        self.usual = _mean(trials.steps[rows], self.known[rows], over=0)
        centred = np.where(self.known[..., None], trials.steps - self.usual, np.float32(0.0))
        self.heard = _heard(centred, self.known, trials, rows, seed)
        self._centred = centred @ self.heard.T
        self.of_trials = self._centred.reshape(len(centred), -1).astype(np.float64)

    @staticmethod
    def known_of(trials: SetTrials) -> np.ndarray:
        """Which steps there are: (n, P) bool."""
        return np.isfinite(trials.steps).all(axis=2)

    def so_far(self, rows: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """rows (L, P * H) -> log-odds of some trials after each step (n, P, L)."""
        return np.einsum("nph,phl->npl", self._centred[trials], self.by_place(rows)).cumsum(axis=1)

    def weights(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """rows (L, P * H) -> weights (P, K, L) and what they make of the mean trial (P, L)."""
        weights = np.einsum("hk,phl->pkl", self.heard, self.by_place(rows))
        return weights, np.einsum("pk,pkl->pl", self.usual, weights)

    def by_place(self, rows: np.ndarray) -> np.ndarray:
        """(L, P * H) -> (P, H, L)."""
        return rows.reshape(len(rows), PLACES, len(self.heard)).transpose(1, 2, 0)


class OwnResponses(Responses):
    """The same numbers, read with weights that all share and, beside them, weights of each person's own, under one
    ridge: what people have in common goes into the former, for there it costs least.

    Attributes:
        subjects: people with a name and two recordings or more, so that one can be left out.
    """

    name = "responses of people's own"

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        super().__init__(trials, rows, seed)
        self.subjects, whose = self.people(trials), trials.subjects
        self._whose, self.shared = whose, self.of_trials
        own = [OWN_LOUDNESS * self.shared * (whose == name)[:, None] for name in self.subjects]
        self.of_trials = np.concatenate([self.shared, *own], axis=1)

    @staticmethod
    def people(trials: SetTrials) -> tuple[str, ...]:
        """Those with a name and two recordings or more."""
        names, whose = np.unique(trials.subjects), trials.subjects
        n_recordings = [len(np.unique(trials.recordings[whose == name])) for name in names]
        return tuple(str(name) for name, n in zip(names, n_recordings, strict=True) if name and n > 1)

    def so_far(self, rows: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """rows (L, (1 + subjects) * P * H) -> log-odds of some trials after each step (n, P, L)."""
        shared, *own = np.split(rows, 1 + len(self.subjects), axis=1)
        found = super().so_far(shared, trials)
        for name, weights in zip(self.subjects, own, strict=True):
            of_subject = self._whose[trials] == name
            found[of_subject] += OWN_LOUDNESS * super().so_far(weights, trials[of_subject])
        return found

    def added(self, rows: np.ndarray, shared: np.ndarray) -> np.ndarray:
        """rows (L, (1 + subjects) * P * H) -> what each person's weights have beyond `shared` rows (L, P * H), those
        of everybody: (subjects, P, H, L)."""
        of_all, *own = np.split(rows, 1 + len(self.subjects), axis=1)
        return np.stack([self.by_place(of_all + OWN_LOUDNESS * weights - shared) for weights in own])


class Rhythms:
    """Log-power, whatever the place of a step: its mean tells."""

    name, ridge = "rhythms", RIDGE_OF_RHYTHMS

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        """Of all trials, in units that are made of some `rows` of them."""
        self.known = self.known_of(trials)
        means = _mean(trials.rhythms[rows], self.known[rows], over=1)
        if self.known[rows].any():
            means = means[self.known[rows].any(axis=1)]
        self._usual = means.mean(axis=0)
        self._unit = means.std(axis=0).clip(LEAST_SPREAD) / trials.loudness
        self._centred = np.where(self.known[..., None], (trials.rhythms - self._usual) / self._unit, 0.0)
        self.of_trials = _mean(self._centred, self.known, over=1).astype(np.float64)

    @staticmethod
    def known_of(trials: SetTrials) -> np.ndarray:
        """Which steps have power: (n, N) bool."""
        return np.isfinite(trials.rhythms).all(axis=2)

    def so_far(self, rows: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """rows (L, F) -> log-odds of some trials after each step (n, N, L)."""
        n_known = self.known[trials].cumsum(axis=1).clip(1)[..., None]
        return (self._centred[trials] @ rows.T).cumsum(axis=1) / n_known

    def weights(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """rows (L, F) -> weights (F, L) and what they make of the mean trial (L,)."""
        weights = (rows / self._unit).T
        return weights, self._usual @ weights


def _heard(centred: np.ndarray, known: np.ndarray, trials: SetTrials, rows: np.ndarray, seed: int) -> np.ndarray:
    """Rows (H, K): what the responses of some trials, `centred` (n, P, K), are best heard by."""
    some = [
        Labelled(label=str(trials.labels[i]), subject=str(trials.subjects[i]), steps=torch.from_numpy(steps))
        for i in rows
        if len(steps := centred[i][known[i]])
    ]
    if not some:
        return np.zeros((HEARD, centred.shape[2]), np.float32)
    steps = torch.cat([trial.steps for trial in some]).double()
    heard, _ = components(steps.mT @ steps / len(steps), evoked_readout(some, seed), HEARD)
    return heard.float().numpy()


def _mean(numbers: np.ndarray, known: np.ndarray, over: int) -> np.ndarray:
    """Mean over trials (0) or steps (1) of what is known, 0 where nothing is."""
    total = np.where(known[..., None], numbers, 0.0).sum(axis=over)
    return np.asarray(total / known.sum(axis=over).clip(1)[..., None], dtype=np.float32)
