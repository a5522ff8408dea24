"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms, by both or not at all is found by cross-validation inside
training, which also says how far the regression may be trusted after each number of steps, and whether responses of
each person's own, beside those that all share, tell more in other recordings of the person, and whether what a known
stimulus evokes does. Nothing that is made with the labels of trials that are left out may touch them: what responses
are heard by is made anew for every part.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, L labels of a set
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from loguru import logger
from torch import Tensor
from tqdm import tqdm

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.eeg.evidence import HEARD, Evidence, Posterior
from neuroleon.training.stages.eeg_cross_validation import (
    Folds,
    above_chance,
    fold_of_trials,
    is_told,
    likeliest_share,
    make_folds,
    tells_more,
    trust_in,
)
from neuroleon.training.stages.eeg_numbers import LogOdds, OwnResponses, Responses, Rhythms, SetTrials
from neuroleon.training.stages.eeg_reconvolution import OwnReconvolved, Reconvolved, has_stimuli

Kind = type[Responses] | type[Rhythms] | type[Reconvolved]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Of one set: what was found of all trials, and of all but those of each fold; and what the latter said of the
    trials that were left out, `outside` (n, N, L), after each step that is `known` (n, N), and how far that may
    be trusted, `trust` (P + 1,) after so many steps."""

    of_all: LogOdds
    without: tuple[LogOdds, ...]
    outside: np.ndarray
    known: np.ndarray
    trust: np.ndarray

    def but(self, fold: int | None) -> LogOdds:
        """What a fold's trials had no part in, or, of None and of a fold that this set does not have, all."""
        return self.of_all if fold is None or fold >= len(self.without) else self.without[fold]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What tells one set's labels: `responses`, `rhythms`, and responses of people's `own`, where these tell more; and
    the `fold` (n,) that each trial is left out in."""

    fold: np.ndarray
    responses: Fit | None = None
    own: Fit | None = None
    rhythms: Fit | None = None


def fit_evidence(
    evidence: Evidence, sets: Iterable[tuple[str, SetTrials]], seed: int
) -> tuple[list[Evidence], dict[str, np.ndarray]]:
    """Fits `evidence` to the labels of every set, by each kind of numbers that tells them in cross-validation.

    Returns:
        For cross-fitting (Chernozhukov et al. 2018): the same, fitted to all trials but those of one fold; and which
        fold each trial (n,) is left out in, of every set whose labels are read.

    Raises:
        ConfigError: more labels than there are semantic numbers, or a person in two sets.
    """
    found = {name: _told(trials, seed, name) for name, trials in sets}
    told = {name: of_set for name, of_set in found.items() if of_set.responses or of_set.rhythms}
    n_folds = max((int(of_set.fold.max()) + 1 for of_set in told.values()), default=0)
    without_folds = [copy.deepcopy(evidence) for _ in range(n_folds)]
    by_responses = [(of_set.responses, of_set.own) for of_set in told.values() if of_set.responses]
    shared, rhythms = [of_all for of_all, _ in by_responses], [of.rhythms for of in told.values() if of.rhythms]
    for fold, fitted in [(None, evidence), *enumerate(without_folds)]:
        _set(fitted.of_responses, fitted.templates, fitted.usual_response, shared, fold)
        _set(fitted.of_rhythms, fitted.spectra, fitted.usual_power, rhythms, fold)
        _set_own(fitted, by_responses, fold)
    return without_folds, {name: of_set.fold for name, of_set in told.items()}


def _told(trials: SetTrials, seed: int, name: str) -> Told:
    labels, folds = trials.labels, make_folds(trials.labels, trials.recordings)
    fold, said = fold_of_trials(folds), []
    if not folds:
        logger.info(f"{name}: labels are not read: no trial can be left out of those of one label, or of a single one")
        return Told(fold=fold)

    def fit(kind: Kind) -> Fit:
        return _fit(kind, trials, folds, seed, name)

    def read(found: Fit, what: str, instead_of: Fit | None = None) -> Fit | None:
        """It, if it tells labels, or more than what it would stand for."""
        at_end = found.outside[:, -1]
        is_read = tells_more(at_end, instead_of.outside[:, -1], labels) if instead_of else is_told(at_end, labels)
        said.append(f"{above_chance(at_end, labels):.2f} from {what}" + ("" if is_read else " (not read)"))
        return found if is_read else None

    responses, rhythms, own = read(fit(Responses), "responses"), read(fit(Rhythms), "rhythms"), None
    if responses and has_stimuli(trials):
        both = _mixed(responses, fit(Reconvolved), labels)
        responses = read(both, "responses and their reconvolution", responses) or responses
    if responses and len(trials.people) > 1:  # of a single person all is their own
        own = fit(OwnResponses)
        if has_stimuli(trials):
            both = _mixed(own, fit(OwnReconvolved), labels)
            own = read(both, "responses of people's own and their reconvolution", own) or own
        own = read(own, "responses of people's own", responses)
    logger.info(f"{name}: labels of trials left out are told above chance by {', '.join(said)}")
    return Told(fold=fold, responses=responses, own=own, rhythms=rhythms)


def _fit(kind: Kind, trials: SetTrials, folds: Folds, seed: int, name: str) -> Fit:
    """To all trials, and to those that are not left out in each fold."""
    every, known = np.arange(len(trials.labels)), kind.known_of(trials)
    outside = np.zeros((*known.shape, len(np.unique(trials.labels))), np.float32)
    without = []
    for rest, left_out in tqdm(folds, desc=f"{kind.name} of {name}", unit="fold", leave=False, dynamic_ncols=True):
        numbers = kind(trials, rest, seed)
        without.append(numbers.fitted())
        outside[left_out] = numbers.so_far(without[-1], left_out)
    return Fit(
        of_all=kind(trials, every, seed).fitted(),
        without=tuple(without),
        outside=outside,
        known=known,
        trust=trust_in(outside, known, trials.labels),
    )


def _mixed(first: Fit, second: Fit, labels: np.ndarray) -> Fit:
    """Both together, the second as loud as makes the labels of trials left out likeliest."""
    factor = likeliest_share(first.outside[:, -1], second.outside[:, -1], labels)
    parts = zip((first.of_all, *first.without), (second.of_all, *second.without), strict=True)
    of_all, *without = (mine.plus(its, factor) for mine, its in parts)
    outside = first.outside + factor * second.outside
    trust = trust_in(outside, first.known, labels)
    return Fit(of_all=of_all, without=tuple(without), outside=outside, known=first.known, trust=trust)


def _set(posterior: Posterior, weights: Tensor, usual: Tensor, fits: list[Fit], fold: int | None) -> None:
    """Sets the labels of a kind, one set's after another's, as they are told without a fold."""
    found = [fit.but(fold) for fit in fits]
    n, sizes = len(posterior.bias), [len(of_set.bias) for of_set in found]
    if sum(sizes) > n:
        raise ConfigError(
            f"network.semantic_dim is {n}, but one kind of numbers tells {sum(sizes)} labels of the aligned sets: set "
            f"it to at least {sum(sizes)}"
        )
    _fill(weights, [of_set.weights for of_set in found])
    _fill(usual, [of_set.usual for of_set in found])
    _fill(posterior.bias, [of_set.bias for of_set in found])
    _fill(posterior.trust, [np.tile(fit.trust[:, None], size) for fit, size in zip(fits, sizes, strict=True)])
    posterior.same_set.copy_(torch.block_diag(*(torch.ones(size, size) for size in sizes), torch.eye(n - sum(sizes))))


def _fill(buffer: Tensor, parts: list[np.ndarray]) -> None:
    """Columns of the sets' labels, one set's after another's, and zeros behind."""
    buffer.zero_()
    if parts:
        columns = torch.from_numpy(np.concatenate(parts, axis=-1)).float()
        buffer[..., : columns.shape[-1]] = columns


def _set_own(evidence: Evidence, by_responses: list[tuple[Fit, Fit | None]], fold: int | None) -> None:
    """Sets what people respond beside what all share, of each set whose labels are told by responses.

    Raises:
        ConfigError: a person in two sets, whose numbers are heard by different ones.
    """
    subjects = [subject for _, own in by_responses if own for subject in own.of_all.subjects]
    if twice := sorted({name for name in subjects if subjects.count(name) > 1}):
        raise ConfigError(
            f"data.aligned: {', '.join(twice)} are people of two sets, and the tokenizer can know a person by one set "
            "only: leave one of the sets out of data.aligned, or prepare one under another recipe name"
        )
    evidence.know(subjects)
    if evidence.own is None:
        return
    people, column, row = evidence.own, 0, 0
    people.posterior.same_set.copy_(evidence.of_responses.same_set)
    for of_all, own in by_responses:
        shared = of_all.but(fold)
        columns = slice(column, column + len(shared.bias))
        column = columns.stop
        if own is None:
            continue
        found = own.but(fold)
        rows = slice(row, row + len(found.subjects))
        row = rows.stop
        added = found.weights[1:] - shared.weights
        heard = _axes(added)
        people.told[rows, columns] = 1.0
        people.heard[rows, : len(heard)] = torch.from_numpy(heard)
        people.templates[rows, :, : len(heard), columns] = torch.from_numpy(added.mT @ heard.T).mT
        people.usual[rows, :, columns] = torch.from_numpy(found.usual[1:] - shared.usual)
        people.posterior.bias[columns] = torch.from_numpy(found.bias)
        people.posterior.trust[:, columns] = torch.from_numpy(own.trust).float()[:, None]


def _axes(weights: np.ndarray) -> np.ndarray:
    """Rows (H, K), orthonormal: the few numbers of a step that weights (subjects, P, K, L) are nearly made of."""
    columns = weights.swapaxes(-1, -2).reshape(-1, weights.shape[2]).astype(np.float64)
    _, axes = np.linalg.eigh(columns.T @ columns)
    return axes[:, ::-1][:, :HEARD].T.astype(np.float32)
