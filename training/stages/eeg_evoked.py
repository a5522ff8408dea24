"""What of an EEG tells what was seen: a linear estimate of the evoked response, in closed form, from labelled trials.

Where few bits must carry a response that lies hidden in the EEG, the best code is a code of the best estimate of that
response (remote source coding: Dobrushin and Tsybakov 1962, Wolf and Ziv 1970). The estimate is the Wiener filter
S / C over the coefficients of a step: C is their covariance, and S that of the responses, which is what trials of one
label share beyond what all trials share.
# N trials, S steps, F numbers of a step: harmonics times samples
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from neuroleon.common.seed import generator

# Of the mean variance, added to every direction: directions that no electrode measures are else taken for responses
RIDGE = 1e-2
SHUFFLES = 3  # a direction counts where it is more evoked than any is after this many shuffles of the labels


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One trial: its label, whose it is, and its whole steps (S, F)."""

    label: str
    subject: str
    steps: Tensor


def evoked_readout(trials: Sequence[Labelled], seed: int) -> Tensor:
    """Rows (r, F) such that, of the coefficients x of a step, |rows @ x| is the size of the evoked response in it.

    Labels are compared inside a subject, at the same step of windows of one length: responses differ between people.
    There are as many rows as directions in which the trials of a label are more alike than after shuffling the labels
    of each subject; none where labels tell nothing.
    """
    steps = torch.cat([trial.steps for trial in trials]).double()
    products = steps.mT @ steps
    covariance, size = products / len(steps), len(products)
    variance, axes = torch.linalg.eigh(covariance)
    variance = variance.clamp_min(0.0) + RIDGE * covariance.trace() / size
    whiten, colour = (axes * variance.pow(power) @ axes.mT for power in (-0.5, 0.5))

    labels = np.array([trial.label for trial in trials])
    shared = _shared(trials, labels, products)
    if not shared.any():
        return torch.zeros(0, size)
    subjects = np.array([trial.subject for trial in trials])
    rng = generator("evoked", seed)
    chance = 0.0
    for _ in range(SHUFFLES):
        shuffled = labels.copy()
        for subject in np.unique(subjects):
            own = np.flatnonzero(subjects == subject)
            shuffled[own] = rng.permutation(shuffled[own])
        chance = max(chance, _largest(whiten @ _shared(trials, shuffled, products) @ whiten))
    share, directions = torch.linalg.eigh(whiten @ shared @ whiten)
    found = share > chance
    share, directions = share[found], directions[:, found]
    # S / C = colour @ directions @ diag(share) @ directions.T @ whiten, as rows with the same inner products
    response = colour @ directions * share
    values, mix = torch.linalg.eigh(response.mT @ response)
    return ((mix * values.clamp_min(0.0).sqrt()).mT @ directions.mT @ whiten).float()


def _largest(matrix: Tensor) -> float:
    """The largest eigenvalue of a symmetric matrix."""
    return float(eigsh(matrix.numpy(), k=1, which="LA", v0=np.ones(len(matrix)), return_eigenvectors=False)[0])


def _shared(trials: Sequence[Labelled], labels: np.ndarray, products: Tensor) -> Tensor:
    """Covariance (F, F) of what trials of one label share, over what trials of different labels share.

    From products of different trials only (without `products`, those of each step with itself), so that noise, which no
    two trials share, adds nothing on average. Zeros where no subject has two trials of a label, or two labels.
    """
    groups: dict[tuple[str, int], dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for trial, label in zip(trials, labels, strict=True):
        groups[trial.subject, len(trial.steps)][label].append(trial.steps)
    same, other = torch.zeros_like(products), torch.zeros_like(products)
    same_pairs = other_pairs = 0
    for (_, n_steps), by_label in groups.items():
        sums = torch.stack([torch.stack(steps).sum(0) for steps in by_label.values()])  # (labels, S, F)
        counts = np.array([len(steps) for steps in by_label.values()])
        of_label, of_all = (sums.mT @ sums).sum(0), sums.sum(0).mT @ sums.sum(0)
        same += of_label
        other += of_all - of_label
        same_pairs += n_steps * int((counts**2 - counts).sum())
        other_pairs += n_steps * int(counts.sum() ** 2 - (counts**2).sum())
    if not same_pairs or not other_pairs:
        return torch.zeros_like(products)
    shared = (same - products) / same_pairs - other / other_pairs
    return (shared + shared.mT) / 2
