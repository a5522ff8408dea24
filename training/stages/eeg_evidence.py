"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms, by both or not at all is found by cross-validation inside
training, which also says how far the regression may be trusted after each number of steps, by all people and by each,
whether people's own responses, beside those that all share, tell more in other recordings of the person, and whether
what a known stimulus evokes does. Nothing that is made with the labels of trials that are left out may touch them: what
responses are heard by, and how loud a frequency is, is made anew for every part, and how far it is trusted is what the
other parts say. What kinds are read is decided once, by all.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, L labels of a set
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from loguru import logger
from torch import Tensor
from tqdm import tqdm

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.eeg.evidence import HEARD, Evidence, Own, Posterior
from neuroleon.training.stages.eeg_cross_validation import (
    Folds,
    above_chance,
    fold_of_trials,
    is_likelier,
    is_told,
    likeliest_share,
    make_folds,
    trust_in,
    trusted,
)
from neuroleon.training.stages.eeg_numbers import LogOdds, OwnResponses, Responses, Rhythms, SetTrials
from neuroleon.training.stages.eeg_reconvolution import OwnReconvolved, Reconvolved, has_stimuli

Kind = type[Responses] | type[Rhythms] | type[Reconvolved]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Of one set: what was found of all trials, and of all but those of each fold (`without`); what the latter said of
    the trials that were left out, `outside` (n, N, L) after each step that is `known` (n, N); and how far all of that
    may be trusted after so many steps, (P + 1,) or (people, P + 1): `trust`, and without each fold's,
    `trust_without`."""

    of_all: LogOdds
    without: tuple[LogOdds, ...]
    outside: np.ndarray
    known: np.ndarray
    trust: np.ndarray
    trust_without: tuple[np.ndarray, ...]

    @property
    def at_end(self) -> np.ndarray:
        """What is said of trials left out after their last step (n, L)."""
        return self.outside[:, -1]

    def trusted_at_end(self, trials: SetTrials) -> np.ndarray:
        """The same, as far as it may be trusted: of people of whom that is known, each as far as they may."""
        people = self.of_all.subjects
        whose = np.where(np.isin(trials.subjects, people), trials.subjects, "") if people else None
        return trusted(self.at_end, trials.labels, whose)

    def without_fold(self, fold: int | None) -> tuple[LogOdds, np.ndarray]:
        """What a fold's trials had no part in, and its trust; of None, or a fold that the set does not have, of all."""
        if fold is None or fold >= len(self.without):
            return self.of_all, self.trust
        return self.without[fold], self.trust_without[fold]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What tells one set's labels: `responses`, `rhythms`, and what is people's own of them, trust or weights too; and
    the `fold` (n,) that each trial is left out in."""

    fold: np.ndarray
    responses: Fit | None = None
    own_responses: Fit | None = None
    rhythms: Fit | None = None
    own_rhythms: Fit | None = None

    @property
    def people(self) -> tuple[str, ...]:
        """Those of whom anything is known beside what all share; both kinds are of all people of the set."""
        own = self.own_responses or self.own_rhythms
        return own.of_all.subjects if own else ()


Pairs = list[tuple[tuple[str, ...], Fit, Fit | None]]  # people, what all of a set share, and what is people's own


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
    by_responses = [(of.people, of.responses, of.own_responses) for of in told.values() if of.responses]
    by_rhythms = [(of.people, of.rhythms, of.own_rhythms) for of in told.values() if of.rhythms]
    people = _people(told.values())
    for fold, fitted in [(None, evidence), *enumerate(without_folds)]:
        _set(fitted.of_responses, fitted.templates, fitted.usual_response, by_responses, fold)
        _set(fitted.of_rhythms, fitted.spectra, fitted.usual_power, by_rhythms, fold)
        fitted.know(people, responses=_any_own(by_responses), rhythms=_any_own(by_rhythms))
        _set_own_responses(fitted, by_responses, fold)
        if fitted.own_rhythms is not None:
            _set_people(fitted, fitted.own_rhythms, fitted.of_rhythms, by_rhythms, fold)
    return without_folds, {name: of_set.fold for name, of_set in told.items()}


def _told(trials: SetTrials, seed: int, name: str) -> Told:
    """By what a set's labels are told, which the log says."""
    labels, folds = trials.labels, make_folds(trials.labels, trials.subjects, trials.recordings)
    fold, said = fold_of_trials(folds), []
    if not folds:
        logger.info(f"{name}: labels are not read: no trial can be left out of those of one label, or of a single one")
        return Told(fold=fold)
    fit = partial(_fit, trials=trials, folds=folds, seed=seed, name=name)

    def read(what: str, found: Fit, is_read: bool) -> Fit | None:
        said.append(f"{above_chance(found.at_end, labels):.2f} from {what}" + ("" if is_read else " (not read)"))
        return found if is_read else None

    def likelier(one: Fit, other: Fit) -> bool:
        return is_likelier(one.trusted_at_end(trials), other.trusted_at_end(trials), labels)

    responses, power = fit(Responses), fit(Rhythms)
    shared = read("responses", responses, is_told(responses.at_end, labels))
    rhythms = read("rhythms", power, is_told(power.at_end, labels))
    if has_stimuli(trials):
        both = _mixed(responses, fit(Reconvolved), trials, fold)
        is_read = is_told(both.at_end, labels) and likelier(both, responses)
        shared = read("responses and reconvolution", both, is_read) or shared
    elif np.isfinite(trials.stimuli).any():
        logger.info(f"{name}: stimuli are not those of labels, or are not known of all: not used")
    own_responses = own_rhythms = None
    if len(trials.people) > 1:  # of a single person all is their own
        own_rhythms = rhythms and _each_trusted(rhythms, trials, fold)
        own_responses = shared and _each_trusted(shared, trials, fold)
    if own_responses:
        of_people = fit(OwnResponses)
        is_read = likelier(of_people, own_responses)
        own_responses = read("responses of people's own", of_people, is_read) or own_responses
        if has_stimuli(trials):
            both = _mixed(of_people, fit(OwnReconvolved), trials, fold)
            is_read = likelier(both, own_responses)
            own_responses = read("responses of people's own and reconvolution", both, is_read) or own_responses
    logger.info(f"{name}: labels of trials left out are told above chance by {', '.join(said)}")
    return Told(fold=fold, responses=shared, own_responses=own_responses, rhythms=rhythms, own_rhythms=own_rhythms)


def _fit(kind: Kind, trials: SetTrials, folds: Folds, seed: int, name: str) -> Fit:
    """To all trials, and to those that are not left out in each fold."""
    every, known = np.arange(len(trials.labels)), kind.known_of(trials)
    outside = np.zeros((*known.shape, len(np.unique(trials.labels))), np.float32)
    without = []
    for rest, left_out in tqdm(folds, desc=f"{kind.name} of {name}", unit="fold", leave=False, dynamic_ncols=True):
        numbers = kind(trials, rest, seed)
        without.append(numbers.fitted())
        outside[left_out] = numbers.so_far(without[-1], left_out)
    of_all = kind(trials, every, seed).fitted()
    return _with_trust(of_all, tuple(without), outside, known, trials, fold_of_trials(folds))


def _with_trust(
    of_all: LogOdds,
    without: tuple[LogOdds, ...],
    outside: np.ndarray,
    known: np.ndarray,
    trials: SetTrials,
    fold: np.ndarray,
) -> Fit:
    """Each person's own trust, where weights are people's own: of some nothing can be told."""
    labels, names = trials.labels, np.unique(trials.labels)

    def trust_of(some: np.ndarray) -> np.ndarray:
        usual = trust_in(outside[some], known[some], labels[some], names)
        of_people = [some & (trials.subjects == name) for name in of_all.subjects]
        own = [trust_in(outside[of], known[of], labels[of], names, usual) for of in of_people]
        return np.stack(own) if own else usual

    parts = (np.full(len(labels), True), *(fold != k for k in range(len(without))))
    trust, *trust_without = (trust_of(some) for some in parts)
    return Fit(
        of_all=of_all, without=without, outside=outside, known=known, trust=trust, trust_without=tuple(trust_without)
    )


def _each_trusted(shared: Fit, trials: SetTrials, fold: np.ndarray) -> Fit:
    """What all people share, each person trusted as far as their own trials say."""
    of_all, *without = (one.for_people(trials.people) for one in (shared.of_all, *shared.without))
    return _with_trust(of_all, tuple(without), shared.outside, shared.known, trials, fold)


def _mixed(first: Fit, second: Fit, trials: SetTrials, fold: np.ndarray) -> Fit:
    """Both together, the second as loud as makes the labels of trials left out, but for those of a fold, likeliest."""
    labels = trials.labels
    of_all = first.of_all.plus(second.of_all, likeliest_share(first.at_end, second.at_end, labels))
    without, outside = [], first.outside.copy()
    for k, (mine, its) in enumerate(zip(first.without, second.without, strict=True)):
        others, own = fold != k, fold == k
        factor = likeliest_share(first.at_end[others], second.at_end[others], labels[others])
        without.append(mine.plus(its, factor))
        outside[own] += factor * second.outside[own]
    return _with_trust(of_all, tuple(without), outside, first.known, trials, fold)


def _set(posterior: Posterior, weights: Tensor, usual: Tensor, fits: Pairs, fold: int | None) -> None:
    """Sets the labels of a kind, one set's after another's, as they are told without a fold."""
    found = [shared.without_fold(fold) for _, shared, _ in fits]
    n, sizes = len(posterior.bias), [len(of_set.bias) for of_set, _ in found]
    if sum(sizes) > n:
        raise ConfigError(
            f"network.semantic_dim is {n}, but one kind of numbers tells {sum(sizes)} labels of the aligned sets: set "
            f"it to at least {sum(sizes)}, or name in data.aligned the sets whose labels are to be read"
        )
    _fill(weights, [of_set.weights for of_set, _ in found])
    _fill(usual, [np.einsum("...k,...kl->...l", of_set.mean, of_set.weights) for of_set, _ in found])
    _fill(posterior.bias, [of_set.bias for of_set, _ in found])
    _fill(posterior.trust, [np.tile(trust[:, None], len(of_set.bias)) for of_set, trust in found])
    posterior.same_set.copy_(torch.block_diag(*(torch.ones(size, size) for size in sizes), torch.eye(n - sum(sizes))))


def _fill(buffer: Tensor, parts: list[np.ndarray]) -> None:
    """Columns of the sets' labels, one set's after another's, and zeros behind."""
    buffer.zero_()
    if parts:
        columns = torch.from_numpy(np.concatenate(parts, axis=-1)).float()
        buffer[..., : columns.shape[-1]] = columns


def _people(told: Iterable[Told]) -> list[str]:
    """People of whom more is known than what all share, one set's after another's.

    Raises:
        ConfigError: a person in two sets, whose numbers are heard by different ones.
    """
    people = [name for of_set in told for name in of_set.people]
    if twice := sorted({name for name in people if people.count(name) > 1}):
        raise ConfigError(
            f"data.aligned: {', '.join(twice)} are people of two sets, and the tokenizer can know a person by one set "
            "only: name in data.aligned all sets but one of these, or prepare one under another recipe name"
        )
    return people


def _any_own(fits: Pairs) -> bool:
    return any(own for _, _, own in fits)


def _set_own_responses(evidence: Evidence, by_responses: Pairs, fold: int | None) -> None:
    """Sets how far people are trusted, and what they respond beside what all share, of each set that is told by it."""
    if evidence.own is None:
        return
    for rows, columns, shared, found in _set_people(evidence, evidence.own, evidence.of_responses, by_responses, fold):
        added = found.weights[1:] - shared.weights
        if not added.any():
            continue
        heard = _axes(added)
        templates = np.einsum("spkl,hk->sphl", added, heard, optimize=True)
        evidence.own.heard[rows, : len(heard)] = torch.from_numpy(heard)
        evidence.own.templates[rows, :, : len(heard), columns] = torch.from_numpy(templates)
        usual = np.einsum("ph,sphl->spl", found.mean @ heard.T, templates)
        evidence.own.usual[rows, :, columns] = torch.from_numpy(usual)


def _set_people(
    evidence: Evidence, own: Own, posterior: Posterior, fits: Pairs, fold: int | None
) -> list[tuple[slice, slice, LogOdds, LogOdds]]:
    """Sets who is told which labels by a kind, the bias, and how far each is trusted. Of each set with people: where
    they and its labels are, and what was found without a fold, shared and own."""
    own.posterior.same_set.copy_(posterior.same_set)
    column, places = 0, []
    for people, shared_fit, own_fit in fits:
        (shared, _) = shared_fit.without_fold(fold)
        columns = slice(column, column + len(shared.bias))
        column = columns.stop
        if own_fit is None:
            continue
        found, trust = own_fit.without_fold(fold)
        first = evidence.subjects.index(people[0])
        rows = slice(first, first + len(people))
        own.told[rows, columns] = 1.0
        own.posterior.bias[columns] = torch.from_numpy(found.bias).float()
        own.posterior.trust[rows, :, columns] = torch.from_numpy(trust).float()[:, :, None]
        places.append((rows, columns, shared, found))
    return places


def _axes(weights: np.ndarray) -> np.ndarray:
    """Rows (H, K), orthonormal: the few numbers of a step that weights (subjects, P, K, L) are nearly made of; those of
    responses to each label are made of no more, a reconvolution has some more
    (.92 of the letters of `cvep20` on validation, cut or not)."""
    products = sum(np.einsum("pkl,pjl->kj", of, of, optimize=True) for of in weights)
    _, axes = np.linalg.eigh(np.asarray(products, np.float64))
    return np.asarray(axes[:, ::-1][:, :HEARD].T, dtype=np.float32)
