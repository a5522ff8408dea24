"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms or not at all is found by cross-validation inside training.
# n trials, P places, H numbers heard, F features of power, S semantic numbers of one kind
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from loguru import logger
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

FOLDS = 5
STANDARD_ERRORS = 3.0  # above chance in cross-validation, from where on labels count as told


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How numbers of a kind are read."""

    strength: float
    over_spread: bool


# Inverse strength of the ridge, strong: a thousand trials are soon known by heart. Numbers of the waveform are read as
# they are, for what tells labels is loud among them (divided by their spread they gave .35 of the letters, not .60);
# log-power over its spread.
RESPONSES = Kind(strength=3e-4, over_spread=False)
RHYTHMS = Kind(strength=1e-3, over_spread=True)


@dataclass(frozen=True, kw_only=True)
class SetTrials:
    """Labelled trials of one set in the order of recording: `responses` (n, P, H), zeros behind a window's end,
    `rhythms` (n, F), the mean over its steps, and `labels` (n,)."""

    responses: np.ndarray
    rhythms: np.ndarray
    labels: np.ndarray


def fit_evidence(sets: Mapping[str, SetTrials], semantic_dim: int) -> tuple[Tensor, Tensor]:
    """Templates (P, H, S) and rhythms (F, S), S = `semantic_dim`, as `Evidence` holds them.

    The labels of a set give numbers of one kind, that by which cross-validation tells them better, or none. Where they
    are more than S, they become their principal components.
    """
    first = next(iter(sets.values()))
    _, places, heard = first.responses.shape
    responses, rhythms = [np.zeros((0, places * heard))], [np.zeros((0, first.rhythms.shape[1]))]
    for name, trials in sets.items():
        flat = trials.responses.reshape(len(trials.labels), -1)
        of_response, of_rhythm = told(flat, trials.labels, RESPONSES), told(trials.rhythms, trials.labels, RHYTHMS)
        logger.info(f"{name}: labels told by responses {of_response:.2f}, by rhythms {of_rhythm:.2f}; chance 0")
        if max(of_response, of_rhythm) <= STANDARD_ERRORS * _standard_error(trials.labels):
            continue
        if of_response >= of_rhythm:
            rows = _rows(flat, trials.labels, RESPONSES)
            of_steps = np.einsum("npk,rpk->npr", trials.responses, rows.reshape(-1, places, heard))
            responses.append(rows / of_steps[trials.responses.any(axis=2)].std())
        else:
            rows = _rows(trials.rhythms, trials.labels, RHYTHMS)
            rhythms.append(rows / (trials.rhythms @ rows.T).std())
    templates, turned = (_fitting(np.concatenate(rows), semantic_dim) for rows in (responses, rhythms))
    return (
        torch.from_numpy(templates.T.reshape(places, heard, semantic_dim).copy()).float(),
        torch.from_numpy(turned.T.copy()).float(),
    )


def told(features: np.ndarray, labels: np.ndarray, kind: Kind) -> float:
    """Accuracy above chance, a mean over labels, on trials left out: whole stretches of the recording, as trials that
    follow one another are alike. 0 where a label has fewer trials than there are folds."""
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < 2 or counts.min() < FOLDS:
        return 0.0
    guessed = cross_val_predict(_regression(kind), features, labels, cv=StratifiedKFold(FOLDS))
    return float(balanced_accuracy_score(labels, guessed)) - 1 / len(counts)


def _standard_error(labels: np.ndarray) -> float:
    chance = 1 / len(np.unique(labels))
    return float(np.sqrt(chance * (1 - chance) / len(labels)))


def _regression(kind: Kind) -> Pipeline:
    return make_pipeline(
        StandardScaler(with_std=kind.over_spread),
        LogisticRegression(C=kind.strength, max_iter=300, class_weight="balanced"),
    )


def _rows(features: np.ndarray, labels: np.ndarray, kind: Kind) -> np.ndarray:
    """(labels, features): what features add to the evidence for each label."""
    scaler, regression = _regression(kind).fit(features, labels)
    rows: np.ndarray = regression.coef_ / (scaler.scale_ if kind.over_spread else 1.0)
    return rows if len(rows) > 1 else np.concatenate([-rows, rows]) / 2


def _fitting(rows: np.ndarray, n: int) -> np.ndarray:
    """(n, ...): the rows, with zeros behind them, or their n principal components where they are more."""
    if len(rows) > n:
        _, sizes, components = np.linalg.svd(rows, full_matrices=False)
        rows = sizes[:n, None] * components[:n]
    return np.concatenate([rows, np.zeros((n - len(rows), rows.shape[1]))])
