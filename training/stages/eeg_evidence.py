"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms or not at all is found by cross-validation inside training,
which also says how far the regression may be trusted.
# n trials, P places, H numbers heard, F features of power, S semantic numbers of one kind
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from loguru import logger
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.eeg.evidence import Evidence, Posterior

FOLDS = 5
STANDARD_ERRORS = 3.0  # above chance in cross-validation, from where on labels count as told
LOG_TRUST = (-5.0, 5.0)  # range of the factor that log-odds may be scaled by


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How numbers of a kind are read."""

    name: str
    strength: float
    over_spread: bool


# Inverse strength of the ridge, strong: a thousand trials are soon known by heart. Numbers of the waveform are read as
# they are, for what tells labels is loud among them (divided by their spread they gave .35 of the letters, not .60);
# log-power over its spread.
RESPONSES = Kind(name="responses", strength=3e-4, over_spread=False)
RHYTHMS = Kind(name="rhythms", strength=3e-3, over_spread=True)


@dataclass(frozen=True, kw_only=True)
class SetTrials:
    """Labelled trials of one set in the order of recording: `responses` (n, P, H), zeros behind a window's end,
    `rhythms` (n, F), the mean over its steps, and `labels` (n,)."""

    responses: np.ndarray
    rhythms: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class LogOdds:
    """Of one set's labels: `rows` (labels, features) and `bias` (labels,), up to a constant that all labels share."""

    rows: np.ndarray
    bias: np.ndarray


def fit_evidence(evidence: Evidence, sets: Mapping[str, SetTrials]) -> None:
    """Fits `evidence` to the labels of every set, by the kind of numbers that cross-validation tells them better by,
    or not at all.

    Raises:
        ConfigError: more labels than there are semantic numbers.
    """
    found: dict[Kind, list[LogOdds]] = {RESPONSES: [], RHYTHMS: []}
    for name, trials in sets.items():
        heard = {RESPONSES: trials.responses.reshape(len(trials.labels), -1), RHYTHMS: trials.rhythms}
        outside = {kind: _outside(numbers, trials.labels, kind) for kind, numbers in heard.items()}
        above = {kind: _above_chance(log_odds, trials.labels) for kind, log_odds in outside.items()}
        best = max(above, key=lambda kind: above[kind])
        told = above[best] > STANDARD_ERRORS * _standard_error(trials.labels)
        logger.info(
            f"{name}: labels above chance by {above[RESPONSES]:.2f} from responses, {above[RHYTHMS]:.2f} from rhythms: "
            f"read from {best.name if told else 'neither'}"
        )
        if told:
            found[best].append(_fitted(heard[best], trials.labels, best, _trust(outside[best], trials.labels)))
    places_and_heard = evidence.templates.shape[:2]
    rows = _set(evidence.of_responses, found[RESPONSES], places_and_heard.numel())
    evidence.templates.copy_(rows.unflatten(1, places_and_heard).movedim(0, 2))
    evidence.spectra.copy_(_set(evidence.of_rhythms, found[RHYTHMS], len(evidence.spectra)).mT)


def _set(posterior: Posterior, found: list[LogOdds], n_features: int) -> Tensor:
    """Sets the labels of a posterior, one set's after another's; returns their rows (S, n_features), zeros behind."""
    n, sizes = len(posterior.bias), [len(of_set.bias) for of_set in found]
    if sum(sizes) > n:
        raise ConfigError(
            f"network.semantic_dim is {n}, but one kind of numbers tells {sum(sizes)} labels of the aligned sets: set "
            f"it to at least {sum(sizes)}"
        )
    posterior.bias.copy_(torch.from_numpy(np.concatenate([*(f.bias for f in found), np.zeros(n - sum(sizes))])))
    posterior.same_set.copy_(torch.block_diag(*(torch.ones(size, size) for size in sizes), torch.eye(n - sum(sizes))))
    return torch.from_numpy(np.concatenate([*(f.rows for f in found), np.zeros((n - sum(sizes), n_features))])).float()


def _outside(numbers: np.ndarray, labels: np.ndarray, kind: Kind) -> np.ndarray:
    """Log-odds (n, labels) of trials that were left out: whole stretches of the recording, as trials that follow one
    another are alike. As many folds as the rarest label has trials, at most `FOLDS`; zeros where that is one trial."""
    names, counts = np.unique(labels, return_counts=True)
    folds = min(FOLDS, int(counts.min()))
    if len(names) < 2 or folds < 2:
        return np.zeros((len(labels), len(names)))
    log_odds = cross_val_predict(
        _regression(kind), numbers, labels, cv=StratifiedKFold(folds), method="predict_log_proba"
    )
    return np.asarray(log_odds)


def _above_chance(log_odds: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy above chance, a mean over labels; 0 where all log-odds are the same."""
    names = np.unique(labels)
    if not log_odds.any():
        return 0.0
    return float(balanced_accuracy_score(labels, names[log_odds.argmax(axis=1)])) - 1 / len(names)


def _standard_error(labels: np.ndarray) -> float:
    """Of the accuracy at chance, a mean over labels, each with its own number of trials."""
    names, counts = np.unique(labels, return_counts=True)
    chance = 1 / len(names)
    return float(np.sqrt((chance * (1 - chance) / counts).sum()) / len(names))


def _trust(log_odds: np.ndarray, labels: np.ndarray) -> float:
    """The factor that makes log-odds of trials left out most likely: a strong ridge understates them."""
    names = np.unique(labels)
    found = minimize_scalar(
        lambda log_trust: log_loss(labels, softmax(np.exp(log_trust) * log_odds, axis=1), labels=names),
        bounds=LOG_TRUST,
        method="bounded",
    )
    return float(np.exp(found.x))


def _regression(kind: Kind) -> Pipeline:
    return make_pipeline(
        StandardScaler(with_std=kind.over_spread),
        LogisticRegression(C=kind.strength, max_iter=300, class_weight="balanced"),
    )


def _fitted(numbers: np.ndarray, labels: np.ndarray, kind: Kind, trust: float) -> LogOdds:
    scaler, regression = _regression(kind).fit(numbers, labels)
    rows = regression.coef_ / (scaler.scale_ if kind.over_spread else 1.0)
    bias = regression.intercept_ - rows @ scaler.mean_
    if len(rows) == 1:  # of two labels
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    return LogOdds(rows=trust * rows, bias=trust * bias)
