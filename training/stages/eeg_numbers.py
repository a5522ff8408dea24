"""The numbers that labels are read from in the EEG tokenizer, of the labelled trials of a set: responses, shared or of
people's own, and rhythms. Each kind is made of some trials, fits the labels of these, and then says what it makes of
any trial, step by step.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, F features of power, L labels of a set
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression

from neuroleon.tokenizers.eeg.evidence import HEARD, PLACES
from neuroleon.tokenizers.eeg.network import components
from neuroleon.training.stages.eeg_evoked import Labelled, evoked_readout

# Inverse strength of the ridge, strong: a thousand trials are soon known by heart. Numbers of responses are read as
# they are, for what tells labels is loud among them (divided by their spread they gave .35 of the letters, not .60);
# log-power over its spread, but no spread below 0.1 (a tenth of the power): what is filtered out hardly varies.
C_OF_RESPONSES, C_OF_RHYTHMS = 3e-4, 1e-3
LEAST_SPREAD = 0.1
LEAST_LOUDNESS = 1e-3  # of a frequency at which labels do not differ
TINY = 1e-10  # of the largest, below which a direction of trials is nothing but rounding
# Numbers of a person's own are heard three times as loud as those that all share: .90 of the letters, .86 at once as
# loud, .88 at ten times, .82 without them (validation, where this was chosen)
OWN_LOUDNESS = 3.0


@dataclass(frozen=True, kw_only=True)
class SetTrials:
    """Labelled trials of one set in the order of recording: `steps` (n, P, K), the whitened field of each step,
    `rhythms` (n, N, F), its log-power, both NaN where there is no step or none is known, `loudness` (F,) of its
    features and the `frequency` (F,) of each, by number, `stimuli` (n, P * step), what was shown at `sfreq` Hz, 0 to 1,
    NaN where that is not known, `labels` (n,), `subjects` (n,) and `recordings` (n,)."""

    steps: np.ndarray
    rhythms: np.ndarray
    loudness: np.ndarray
    frequency: np.ndarray
    stimuli: np.ndarray
    sfreq: float
    labels: np.ndarray
    subjects: np.ndarray
    recordings: np.ndarray

    @property
    def people(self) -> tuple[str, ...]:
        """Those with a name and two recordings or more, so that one can be left out."""
        names = np.unique(self.subjects)
        n_recordings = [len(np.unique(self.recordings[self.subjects == name])) for name in names]
        return tuple(str(name) for name, n in zip(names, n_recordings, strict=True) if name and n > 1)


@dataclass(frozen=True, kw_only=True)
class LogOdds:
    """Of one set's labels, up to a constant that all labels share: `weights` (P, K, L) or (F, L) of a step's numbers
    less those of the mean trial, `mean` (P, K) or (F,), and `bias` (L,).

    Where people have weights of their own, a first axis of `weights` is everybody else and then `subjects`.
    """

    weights: np.ndarray
    mean: np.ndarray
    bias: np.ndarray
    subjects: tuple[str, ...] = ()

    def plus(self, other: Self, factor: float) -> "LogOdds":
        """The sum with `factor` times another's log-odds of the same labels, people and trials."""
        weights, bias = (getattr(self, name) + factor * getattr(other, name) for name in ("weights", "bias"))
        return LogOdds(weights=weights, mean=self.mean, bias=bias, subjects=self.subjects)

    def for_people(self, subjects: tuple[str, ...]) -> "LogOdds":
        """The same weights for everybody else and for each of some people."""
        return replace(self, weights=np.stack([self.weights] * (1 + len(subjects))), subjects=subjects)

    def of_people(self, whose: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of trials of people (n,) whose weights are the same, and these weights."""
        weights = self.weights if self.subjects else self.weights[None]
        which = np.array([1 + self.subjects.index(name) if name in self.subjects else 0 for name in whose])
        for k in np.unique(which):
            yield np.flatnonzero(which == k), weights[k]


class FieldNumbers:
    """The field of the steps of all trials, less the mean of some `rows` of them; what is read of it adds up."""

    def __init__(self, trials: SetTrials, rows: np.ndarray) -> None:
        self._trials, self._rows = trials, rows
        self._known = self.known_of(trials)
        self._mean = _mean(trials.steps[rows], self._known[rows], over=0)
        self._centred = np.where(self._known[..., None], trials.steps - self._mean, np.float32(0.0))

    @staticmethod
    def known_of(trials: SetTrials) -> np.ndarray:
        """Which steps there are: (n, P) bool."""
        return np.isfinite(trials.steps).all(axis=2)

    def _log_odds(self, weights: list[np.ndarray], bias: np.ndarray, subjects: tuple[str, ...]) -> LogOdds:
        """Weights (P, K, L) of all, or of everybody else and then of `subjects`."""
        stacked = np.stack(weights) if subjects else weights[0]
        return LogOdds(weights=stacked, mean=self._mean, bias=bias, subjects=subjects)

    def so_far(self, found: LogOdds, trials: np.ndarray) -> np.ndarray:
        """Log-odds of some trials after each step (n, P, L)."""
        log_odds = np.empty((len(trials), PLACES, len(found.bias)), np.float32)
        for rows, weights in found.of_people(self._trials.subjects[trials]):
            log_odds[rows] = np.einsum("npk,pkl->npl", self._centred[trials[rows]], weights, optimize=True)
        return log_odds.cumsum(axis=1) + found.bias


class Responses(FieldNumbers):
    """Numbers of the field, each place of a window with weights of its own."""

    name = "responses"

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        """Of all trials, by numbers that are made of some `rows` of them."""
        super().__init__(trials, rows)
        self._heard = _heard(self._centred, self._known, trials, rows, seed)
        self.of_trials = (self._centred @ self._heard.T).reshape(len(self._centred), -1).astype(np.float64)

    def fitted(self) -> LogOdds:
        """To the labels of the trials that it is made of."""
        rows, bias = regression(self.of_trials, self._trials.labels, self._rows, C_OF_RESPONSES)
        return self._log_odds([self._by_place(rows)], bias, ())

    def _by_place(self, rows: np.ndarray) -> np.ndarray:
        """(L, P * H) -> weights (P, K, L)."""
        by_place = rows.reshape(len(rows), PLACES, len(self._heard)).transpose(1, 2, 0)
        return np.einsum("hk,phl->pkl", self._heard, by_place.astype(np.float32))


class OwnResponses(Responses):
    """The same numbers, read with weights that all share and, beside them, weights of each person's own, under one
    ridge: what people have in common goes into the former, for there it costs least."""

    name = "responses of people's own"

    def fitted(self) -> LogOdds:
        """To the labels of the trials that it is made of, with weights for everybody else and for the set's people."""
        rows, bias = _own_regression(self.of_trials, self._trials, self._rows, C_OF_RESPONSES, OWN_LOUDNESS)
        return self._log_odds([self._by_place(of) for of in rows], bias, self._trials.people)


class Rhythms:
    """Log-power, whatever the place of a step: its mean tells. A frequency is heard as loud as labels differ at it."""

    name = "rhythms"

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        """Of all trials, in units that are made of some `rows` of them."""
        self._trials, self._rows = trials, rows
        self.known = self.known_of(trials)
        means = _mean(trials.rhythms, self.known, over=1)
        some = rows[self.known[rows].any(axis=1)] if self.known[rows].any() else rows
        self._mean, spread = means[some].mean(axis=0), means[some].std(axis=0).clip(LEAST_SPREAD)
        told = _loudness(means[some], trials.labels[some], trials.frequency)
        self._unit = spread / (trials.loudness * told)
        self._centred = np.where(self.known[..., None], trials.rhythms - self._mean, 0.0)

    @staticmethod
    def known_of(trials: SetTrials) -> np.ndarray:
        """Which steps have power: (n, N) bool."""
        return np.isfinite(trials.rhythms).all(axis=2)

    def fitted(self) -> LogOdds:
        """To the labels of the trials that it is made of."""
        of_trials = (_mean(self._centred, self.known, over=1) / self._unit).astype(np.float64)
        rows, bias = regression(of_trials, self._trials.labels, self._rows, C_OF_RHYTHMS)
        return LogOdds(weights=(rows / self._unit).T, mean=self._mean, bias=bias)

    def so_far(self, found: LogOdds, trials: np.ndarray) -> np.ndarray:
        """Log-odds of some trials after each step (n, N, L)."""
        n_known = self.known[trials].cumsum(axis=1).clip(1)[..., None]
        return (self._centred[trials] @ found.weights).cumsum(axis=1) / n_known + found.bias


def _loudness(numbers: np.ndarray, labels: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """How loud each feature (n, F) is to be heard: the spread that weights of its frequency can be expected to have, as
    labels differ at it (the F statistic of its features less 1, which noise has), of mean square 1.

    A ridge is the prior that all weights are as large, and a flicker is at a few frequencies (empirical Bayes).
    """
    numbers = (numbers - numbers.mean(axis=0)).astype(np.float64)
    varies, n_labels = numbers.std(axis=0) > LEAST_SPREAD, len(np.unique(labels))
    statistic = np.ones(len(frequency))
    if varies.any() and 1 < n_labels < len(labels):
        statistic[varies], _ = f_classif(numbers[:, varies], labels)
    beyond_noise = (np.bincount(frequency, statistic) / np.bincount(frequency) - 1).clip(0)
    if not beyond_noise.any():
        return np.ones(len(frequency))
    return np.sqrt(beyond_noise / beyond_noise.mean()).clip(LEAST_LOUDNESS)[frequency]


def _own_regression(
    numbers: np.ndarray, trials: SetTrials, some: np.ndarray, c: float, loudness: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """As `regression`, with weights that all share and, `loudness` times as loud, those of each person's own, under one
    ridge -> rows of everybody else and of each of the people, and bias.

    Weights under a ridge are sums of trials, and what the regression sees of two trials is their product: however many
    people there are, it is as large as there are trials.
    """
    of_some, whose = numbers[some], trials.subjects[some]
    same = (whose[:, None] == whose) & np.isin(whose, trials.people)
    products, axes = np.linalg.eigh((of_some @ of_some.T) * (1 + loudness**2 * same))
    root = np.sqrt(products.clip(TINY * products[-1]))
    rows, bias = _log_odds(axes * root, trials.labels[some], c * len(trials.labels) / len(some))
    of_trials = rows @ (axes / root).T
    shared = of_trials @ of_some
    return [shared, *(shared + loudness**2 * (of_trials * (whose == name)) @ of_some for name in trials.people)], bias


def regression(numbers: np.ndarray, labels: np.ndarray, some: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows (L, numbers) and bias (L,) of the log-odds of `some` trials' labels; `c` is the inverse of the ridge."""
    # a strong ridge makes weights in proportion to the trials: as large as those of all trials
    return _log_odds(numbers[some], labels[some], c * len(labels) / len(some))


def _log_odds(numbers: np.ndarray, labels: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    found = LogisticRegression(C=c, max_iter=300, class_weight="balanced").fit(numbers, labels)
    rows, bias = found.coef_, found.intercept_
    if len(rows) == 1:  # of two labels
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    return rows, bias


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
