"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms, by both or not at all is found by cross-validation inside
training, which also says how far the regression may be trusted after each number of steps, and whether responses of
each person's own, beside those that all share, tell more in other recordings of the person. Nothing that is made with
the labels of trials that are left out may touch them: what responses are heard by is made anew for every part.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, F features of power, L labels of a set
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from loguru import logger
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from torch import Tensor
from tqdm import tqdm

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.eeg.evidence import PLACES, Evidence, Posterior
from neuroleon.training.stages.eeg_numbers import OwnResponses, Responses, Rhythms, SetTrials

FOLDS = 5
STANDARD_ERRORS = 3.0  # above chance in cross-validation, from where on labels count as told
LOG_TRUST = (-5.0, 5.0)  # range of the factor that log-odds may be scaled by


@dataclass(frozen=True, kw_only=True)
class LogOdds:
    """Of one set's labels, up to a constant that all labels share: `weights` (P, K, L) or (F, L) of a step's numbers,
    `usual` (P, L) or (L,), what they make of the mean trial, and `bias` (L,)."""

    weights: np.ndarray
    usual: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OwnLogOdds(LogOdds):
    """What some `subjects` of one set respond beside what all share: `heard` (H, K), `weights` (subjects, P, H, L) and
    what they make of the mean trial, `usual` (subjects, P, L); `bias` of these people as in `LogOdds`."""

    subjects: tuple[str, ...]
    heard: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Of one set: what was found of all trials, and of all but those of each fold; `trust` (P + 1,) after so many steps
    is the same of all, as far as trials that were left out went."""

    of_all: LogOdds
    without: tuple[LogOdds, ...]
    trust: np.ndarray

    def but(self, fold: int | None) -> LogOdds:
        """What a fold's trials had no part in, or, of None and of a fold that this set does not have, all."""
        return self.of_all if fold is None or fold >= len(self.without) else self.without[fold]


Kind = type[Responses] | type[Rhythms]  # OwnResponses are responses
Folds = list[tuple[np.ndarray, np.ndarray]]  # trials to fit, trials to leave out


def fit_evidence(
    evidence: Evidence, sets: Iterable[tuple[str, SetTrials]], seed: int
) -> tuple[list[Evidence], dict[str, np.ndarray]]:
    """Fits `evidence` to the labels of every set, by each kind of numbers that tells them in cross-validation, and by
    responses of people's own where these tell more.

    Returns:
        For cross-fitting (Chernozhukov et al. 2018): the same, fitted to all trials but those of one fold; and which
        fold each trial (n,) is left out in, of every set whose labels are read.

    Raises:
        ConfigError: more labels than there are semantic numbers, or a person in two sets.
    """
    fits: dict[str, list[Fit]] = {Responses.name: [], Rhythms.name: []}
    own: list[Fit | None] = []
    fold_of: dict[str, np.ndarray] = {}
    for name, trials in sets:
        above, read, outside = {}, [], {}
        folds = _folds(trials.labels, trials.recordings)
        for kind in (Responses, Rhythms):
            outside[kind.name], without = _outside(kind, trials, folds, seed, name)
            above[kind.name] = _above_chance(outside[kind.name][:, -1], trials.labels)
            if above[kind.name] > STANDARD_ERRORS * _standard_error(trials.labels):
                read.append(kind.name)
                fits[kind.name].append(_fitted(kind, trials, outside[kind.name], without, seed))
        if Responses.name in read:
            own.append(None)
            if len(OwnResponses.people(trials)) > 1:  # of a single person all is their own
                above[OwnResponses.name], own[-1] = _fitted_own(trials, outside[Responses.name], folds, seed, name)
                read += [OwnResponses.name] if own[-1] else []
        if read:
            fold_of[name] = _fold_of_trials(folds)
        told = (f"{by:.2f} from {kind}" + ("" if kind in read else " (not read)") for kind, by in above.items())
        logger.info(f"{name}: labels of trials left out are told above chance by {', '.join(told)}")
    n_folds = max((int(folds_of.max()) + 1 for folds_of in fold_of.values()), default=0)
    without_folds = [copy.deepcopy(evidence) for _ in range(n_folds)]
    for fold, fitted in [(None, evidence), *enumerate(without_folds)]:
        _set(fitted.of_responses, fitted.templates, fitted.usual_response, fits[Responses.name], fold)
        _set(fitted.of_rhythms, fitted.spectra, fitted.usual_power, fits[Rhythms.name], fold)
        _set_own(fitted, fits[Responses.name], own, fold)
    return without_folds, fold_of


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


def _set_own(evidence: Evidence, shared: list[Fit], own: list[Fit | None], fold: int | None) -> None:
    """Sets what people respond beside what all share; `own` of each set of `shared`, None where it tells nothing.

    Raises:
        ConfigError: a person in two sets, whose numbers are heard by different ones.
    """
    subjects = [subject for fit in own if fit for subject in _own(fit.of_all).subjects]
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
    for of_everybody, fit in zip(shared, own, strict=True):
        columns = slice(column, column + len(of_everybody.of_all.bias))
        column = columns.stop
        if fit is None:
            continue
        of_set = _own(fit.but(fold))
        rows = slice(row, row + len(of_set.subjects))
        row = rows.stop
        people.told[rows, columns] = 1.0
        people.heard[rows, : len(of_set.heard)] = torch.from_numpy(of_set.heard)
        people.templates[rows, :, : len(of_set.heard), columns] = torch.from_numpy(of_set.weights).float()
        people.usual[rows, :, columns] = torch.from_numpy(of_set.usual).float()
        people.posterior.bias[columns] = torch.from_numpy(of_set.bias).float()
        people.posterior.trust[:, columns] = torch.from_numpy(fit.trust).float()[:, None]


def _own(found: LogOdds) -> OwnLogOdds:
    assert isinstance(found, OwnLogOdds), f"expected what was found of OwnResponses, found {type(found).__name__}"
    return found


def _fill(buffer: Tensor, parts: list[np.ndarray]) -> None:
    """Columns of the sets' labels, one set's after another's, and zeros behind."""
    buffer.zero_()
    if parts:
        columns = torch.from_numpy(np.concatenate(parts, axis=-1)).float()
        buffer[..., : columns.shape[-1]] = columns


def _outside(kind: Kind, trials: SetTrials, folds: Folds, seed: int, name: str) -> tuple[np.ndarray, list[LogOdds]]:
    """Log-odds (n, N, L) after each step of trials that were left out, zeros where none can be, and what was found of
    the rest of each fold."""
    known = kind.known_of(trials)
    log_odds = np.zeros((*known.shape, len(np.unique(trials.labels))), np.float32)
    found = []
    for rest, left_out in tqdm(folds, desc=f"{kind.name} of {name}", unit="fold", leave=False, dynamic_ncols=True):
        numbers = kind(trials, rest, seed)
        rows, bias = _regression(numbers.of_trials, trials.labels, rest, kind.ridge)
        log_odds[left_out] = numbers.so_far(rows, left_out) + bias
        found.append(_log_odds(numbers, rows, bias, trials.labels, rest))
    return log_odds, found


def _folds(labels: np.ndarray, recordings: np.ndarray) -> Folds:
    """Trials to fit and trials to leave out, at most `FOLDS` times: whole recordings, as it is in new recordings that
    labels must be told; of one recording, or where a label is in one alone, whole stretches, as trials that follow one
    another are alike. None where a label has a single trial, or there is one label."""
    names, counts = np.unique(labels, return_counts=True)
    folds, n_recordings = min(FOLDS, int(counts.min())), len(np.unique(recordings))
    if len(names) < 2 or folds < 2:
        return []
    if n_recordings > 1:
        by_recording = StratifiedGroupKFold(min(folds, n_recordings)).split(labels, labels, recordings)
        found = [(rest, left_out) for rest, left_out in by_recording if len(left_out)]
        if all(len(np.unique(labels[rest])) == len(names) for rest, _ in found):
            return found
        logger.info(f"a label is in too few of {n_recordings} recordings: stretches are left out, not recordings")
    return list(StratifiedKFold(folds).split(labels, labels))


def _fold_of_trials(folds: Folds) -> np.ndarray:
    """Which fold each trial (n,) is left out in; in every one of them it is in one."""
    of_trials = np.zeros(sum(len(left_out) for _, left_out in folds), np.int64)
    for fold, (_, left_out) in enumerate(folds):
        of_trials[left_out] = fold
    return of_trials


def _above_chance(log_odds: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy above chance, a mean over labels; 0 where all log-odds are the same."""
    names = np.unique(labels)
    if not log_odds.any():
        return 0.0
    return float(balanced_accuracy_score(labels, names[log_odds.argmax(axis=1)])) - 1 / len(names)


def _tells_more(log_odds: np.ndarray, others: np.ndarray, labels: np.ndarray) -> bool:
    """Whether one names more labels of the same trials than another: the mean over labels of the paired difference,
    against its standard error where there is none (as McNemar's test: only trials that differ count)."""
    names = np.unique(labels)
    right, others_right = (names[found.argmax(axis=1)] == labels for found in (log_odds, others))
    gains = [right[labels == name].astype(float) - others_right[labels == name] for name in names]
    error = np.sqrt(sum(np.square(gain).sum() / len(gain) ** 2 for gain in gains)) / len(names)
    return bool(np.mean([gain.mean() for gain in gains]) > STANDARD_ERRORS * error)


def _standard_error(labels: np.ndarray) -> float:
    """Of the accuracy at chance, a mean over labels, each with its own number of trials."""
    names, counts = np.unique(labels, return_counts=True)
    chance = 1 / len(names)
    return float(np.sqrt((chance * (1 - chance) / counts).sum()) / len(names))


def _trust(log_odds: np.ndarray, known: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The factors (P + 1,) that make log-odds of trials left out most likely after each number of steps: a strong ridge
    understates what a whole window knows, and what holds of a window's mean says too much of a step.

    After more steps than half of the trials have, it is that of the step before.
    """
    names, trust = np.unique(labels), np.zeros(PLACES + 1)
    n_known = known.cumsum(axis=1)
    for n_seen in range(1, PLACES + 1):
        last = n_known[:, -1] >= n_seen
        if last.mean() < 0.5:
            trust[n_seen] = trust[n_seen - 1]
            continue
        at = (n_known[last] >= n_seen).argmax(axis=1)
        trust[n_seen] = _likeliest_factor(log_odds[last, at], labels[last], names)
    return trust


def _likeliest_factor(log_odds: np.ndarray, labels: np.ndarray, names: np.ndarray) -> float:
    found = minimize_scalar(
        lambda log_trust: log_loss(labels, softmax(np.exp(log_trust) * log_odds, axis=1), labels=names),
        bounds=LOG_TRUST,
        method="bounded",
    )
    return float(np.exp(found.x))


def _regression(
    numbers: np.ndarray, labels: np.ndarray, some: np.ndarray, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (L, numbers) and bias (L,) of the log-odds, of `some` trials."""
    # a strong ridge makes weights in proportion to the trials: as large as those of all trials
    ridge *= len(labels) / len(some)
    found = LogisticRegression(C=ridge, max_iter=300, class_weight="balanced").fit(numbers[some], labels[some])
    rows, bias = found.coef_, found.intercept_
    if len(rows) == 1:  # of two labels
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    return rows, bias


def _log_odds(
    numbers: Responses | Rhythms, rows: np.ndarray, bias: np.ndarray, labels: np.ndarray, some: np.ndarray
) -> LogOdds:
    """The regression of `some` trials' `numbers` as weights of a step."""
    if not isinstance(numbers, OwnResponses):
        weights, usual = numbers.weights(rows)
        return LogOdds(weights=weights, usual=usual, bias=bias)
    for_all, _ = _regression(numbers.shared, labels, some, numbers.ridge)
    weights = numbers.added(rows, for_all)
    return OwnLogOdds(
        subjects=numbers.subjects,
        heard=numbers.heard,
        weights=weights,
        usual=np.einsum("ph,sphl->spl", numbers.usual @ numbers.heard.T, weights),
        bias=bias,
    )


def _fitted(kind: Kind, trials: SetTrials, outside: np.ndarray, without: list[LogOdds], seed: int) -> Fit:
    """Of all trials, trusted as far as those that were `outside` of each part went."""
    every = np.arange(len(trials.labels))
    numbers = kind(trials, every, seed)
    rows, bias = _regression(numbers.of_trials, trials.labels, every, kind.ridge)
    found = _log_odds(numbers, rows, bias, trials.labels, every)
    return Fit(of_all=found, without=tuple(without), trust=_trust(outside, numbers.known, trials.labels))


def _fitted_own(trials: SetTrials, shared: np.ndarray, folds: Folds, seed: int, name: str) -> tuple[float, Fit | None]:
    """How far above chance labels of trials left out are told with responses of people's own, and what is to be added
    to the weights of all; None where it is no more than `shared` log-odds (n, P, L) tell.
    """
    outside, without = _outside(OwnResponses, trials, folds, seed, name)
    above = _above_chance(outside[:, -1], trials.labels)
    if not _tells_more(outside[:, -1], shared[:, -1], trials.labels):
        return above, None
    return above, _fitted(OwnResponses, trials, outside, without, seed)
