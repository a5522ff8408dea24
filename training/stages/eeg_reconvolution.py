"""Responses as what the rises and falls of a known stimulus evoke, whatever the label: a label's response is its
stimulus, convolved with theirs (reconvolution: Thielen et al. 2015; temporal response functions: Crosse et al. 2016).

All labels teach the same few numbers, so that few trials of each are enough.
# n trials, P places, K numbers of a step's field, T samples of P steps, C spatial filters, G lags of rises and falls, L
# labels of a set
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from neuroleon.tokenizers.eeg.evidence import PLACES
from neuroleon.tokenizers.eeg.spatial import HARMONICS
from neuroleon.training.stages.eeg_numbers import (
    C_OF_RESPONSES,
    OWN_LOUDNESS,
    FieldNumbers,
    LogOdds,
    SetTrials,
)

FILTERS = 8  # spatial ones, by which responses are loudest
LAGS_S = np.arange(0, 0.5, 0.01)  # after a rise or a fall
MOST_JITTER = 0.1  # mean deviation of trials' stimuli from that of their label
LEAST_VARIANCE = 1e-2  # of the largest of the events', added to all before their inverse is taken
ROUNDS = 60  # of L-BFGS


def has_stimuli(trials: SetTrials) -> bool:
    """Whether each label has one stimulus that is known, nearly the same in all of its trials, and labels differ in
    when it rises or falls."""
    if not np.isfinite(trials.stimuli).any():
        return False
    tracks = _tracks(trials)
    deviation = np.abs(trials.stimuli - tracks[np.unique(trials.labels, return_inverse=True)[1]])
    is_known = np.isfinite(tracks).any(axis=1).all()
    return bool(is_known and np.nanmean(deviation) < MOST_JITTER and np.abs(_shifted_events(tracks, [0])).max() > 0.1)


def _tracks(trials: SetTrials) -> np.ndarray:
    """The stimulus (L, T) of each label, a median over its trials; NaN where none is known."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of nothing but NaN
        return np.stack(
            [np.nanmedian(trials.stimuli[trials.labels == label], axis=0) for label in np.unique(trials.labels)]
        )


class Reconvolved(FieldNumbers):
    """What rises and falls of the stimulus evoke, read from all labels together."""

    name = "reconvolution of the stimulus"

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        """Of all trials, by spatial filters that are made of some `rows` of them."""
        super().__init__(trials, rows)
        lags = np.unique(np.round(LAGS_S * trials.sfreq).astype(int)).tolist()
        self._events = _uncorrelated(_shifted_events(_tracks(trials), lags))
        field = _as_field(self._centred)
        self._filters = _loudest(field[rows], trials.labels[rows])
        heard = np.einsum("nkt,ck->nct", field, self._filters, optimize=True)
        numbers = np.einsum("nct,glt->nlgc", heard, self._events, optimize=True)
        self._of_trials = rearrange(numbers, "n l g c -> n l (g c)")

    def fitted(self) -> LogOdds:
        """To the labels of the trials that it is made of."""
        return self._fitted(())

    def _fitted(self, subjects: tuple[str, ...]) -> LogOdds:
        """With weights of everybody else and of some `subjects`."""
        whose = self._trials.subjects
        of_people = [np.flatnonzero(whose[self._rows] == name) for name in subjects]
        labels = np.unique(self._trials.labels, return_inverse=True)[1]
        numbers = self._of_trials[self._rows]
        unit = numbers.std().clip(1e-12)
        numbers /= unit
        found, bias = _conditional_logit(numbers, labels[self._rows], of_people, len(labels))
        return self._log_odds([self._templates(of / unit) for of in found], bias, subjects)

    def _templates(self, evoked: np.ndarray) -> np.ndarray:
        """What uncorrelated events evoke (G * C,) -> the response to each label's stimulus, as weights (P, K, L)."""
        by_lag = evoked.reshape(-1, len(self._filters))
        response = np.einsum("glt,gc,ck->lkt", self._events, by_lag, self._filters, optimize=True)
        return rearrange(response, "l k (p t) -> p (k t) l", p=PLACES)


class OwnReconvolved(Reconvolved):
    """The same, with what they evoke in each person beside what they evoke in all."""

    name = "reconvolution in people's own way"

    def fitted(self) -> LogOdds:
        """To the labels of the trials that it is made of, with weights for everybody else and for the set's people."""
        return self._fitted(self._trials.people)


def _as_field(steps: np.ndarray) -> np.ndarray:
    """(n, P, K) -> the field's harmonics over time (n, harmonics, T)."""
    return rearrange(steps, "n p (k t) -> n k (p t)", k=HARMONICS)


def _shifted_events(tracks: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    """Stimuli (L, T) -> their rises, then their falls, at every lag, less the mean over labels: (G, L, T).

    Where a stimulus has ended, nothing rises or falls; nor at a window's start, where it is not known what was before.
    """
    change = np.nan_to_num(np.diff(tracks, axis=1, prepend=tracks[:, :1]))
    events = [change.clip(min=0.0), (-change).clip(min=0.0)]
    shifted = np.stack([np.pad(of, ((0, 0), (lag, 0)))[:, : tracks.shape[1]] for of in events for lag in lags])
    return (shifted - shifted.mean(axis=1, keepdims=True)).astype(np.float32)


def _uncorrelated(events: np.ndarray) -> np.ndarray:
    """Events (G, L, T), mixed so that none goes with another: a strong ridge takes what was evoked 50 ms after a rise
    for what follows the fall that came between (letters by reconvolution alone .83 of validation, and .88 so)."""
    flat = events.reshape(len(events), -1).astype(np.float64)
    variance, axes = np.linalg.eigh(flat @ flat.T)
    variance = variance.clip(min=0.0) + LEAST_VARIANCE * variance.max()
    mix = axes / np.sqrt(variance) @ axes.T
    return np.einsum("hg,glt->hlt", mix, events, optimize=True).astype(np.float32)


def _loudest(field: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows (C, harmonics): the filters by which the mean response to each label is loudest, against all that there is.

    field (n, harmonics, T) of trials with these labels.
    """
    size = field.shape[1]
    every = np.einsum("nkt,njt->kj", field, field, optimize=True) / len(field)
    means = np.stack([field[labels == label].mean(axis=0) for label in np.unique(labels)])
    evoked = np.einsum("lkt,ljt->kj", means, means, optimize=True) / len(means)
    variance, axes = np.linalg.eigh(every + 1e-3 * np.trace(every) / size * np.eye(size))
    whiten = axes / np.sqrt(variance.clip(1e-12)) @ axes.T
    _, loud = np.linalg.eigh(whiten @ evoked @ whiten)
    return np.asarray(loud[:, ::-1][:, :FILTERS].T @ whiten, dtype=np.float32)


def _conditional_logit(
    numbers: np.ndarray, labels: np.ndarray, of_people: list[np.ndarray], n_trials: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Weights (D,) and bias (L,) by which the softmax over labels of `numbers` (n, L, D) @ weights + bias is likeliest
    to be `labels` (n,), a conditional logit (McFadden 1974): weights of everybody else, and of each of `of_people`,
    whose trials these are.

    `n_trials`: of the set, whose part these trials are: weights are as large as those of all.
    """
    given, true = torch.from_numpy(numbers), torch.from_numpy(labels)
    people = [(torch.from_numpy(rows), given[rows]) for rows in of_people]
    balance = 1.0 / torch.bincount(true, minlength=given.shape[1]).clamp_min(1)
    each = (balance / balance[true].mean())[true]
    ridge = len(labels) / n_trials / C_OF_RESPONSES
    weights = torch.zeros(1 + len(people), given.shape[2], requires_grad=True)
    bias = torch.zeros(given.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        log_odds = given @ weights[0] + bias
        for own, (rows, theirs) in zip(weights[1:], people, strict=True):
            log_odds = log_odds.index_add(0, rows, OWN_LOUDNESS * (theirs @ own))
        misfit = functional.cross_entropy(log_odds, true, reduction="none")
        total = (each * misfit).sum() + 0.5 * ridge * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    shared, *own = weights.detach().numpy()
    return [shared, *(shared + OWN_LOUDNESS * of for of in own)], bias.detach().numpy()
