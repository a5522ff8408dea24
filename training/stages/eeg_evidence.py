"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms, by both or not at all is found by cross-validation inside
training, which also says how far the regression may be trusted after each number of steps, and whether responses of
each person's own, beside those that all share, tell more in other recordings of the person. Nothing that is made with
the labels of trials that are left out may touch them: what responses are heard by is made anew for every part.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, F features of power, L labels of a set
"""

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
    `usual` (P, L) or (L,), what they make of the mean trial, `bias` (L,), and `trust` (P + 1,) after so many steps."""

    weights: np.ndarray
    usual: np.ndarray
    bias: np.ndarray
    trust: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OwnLogOdds:
    """What some `subjects` of one set respond beside what all share: `heard` (H, K), `weights` (subjects, P, H, L) and
    what they make of the mean trial, `usual` (subjects, P, L); `bias` and `trust` of these people as in `LogOdds`."""

    subjects: tuple[str, ...]
    heard: np.ndarray
    weights: np.ndarray
    usual: np.ndarray
    bias: np.ndarray
    trust: np.ndarray


Kind = type[Responses] | type[Rhythms]  # OwnResponses are responses


def fit_evidence(evidence: Evidence, sets: Iterable[tuple[str, SetTrials]], seed: int) -> None:
    """Fits `evidence` to the labels of every set, by each kind of numbers that tells them in cross-validation, and by
    responses of people's own where these tell more.

    Raises:
        ConfigError: more labels than there are semantic numbers.
    """
    found: dict[str, list[LogOdds]] = {Responses.name: [], Rhythms.name: []}
    own: list[OwnLogOdds | None] = []
    for name, trials in sets:
        above, read, outside = {}, [], {}
        for kind in (Responses, Rhythms):
            outside[kind.name] = _outside(kind, trials, seed, name)
            above[kind.name] = _above_chance(outside[kind.name][:, -1], trials.labels)
            if above[kind.name] > STANDARD_ERRORS * _standard_error(trials.labels):
                read.append(kind.name)
                found[kind.name].append(_fitted(kind, trials, seed, outside[kind.name]))
        if Responses.name in read:
            above[OwnResponses.name], of_people = _fitted_own(trials, outside[Responses.name], seed, name)
            own.append(of_people)
            read += [OwnResponses.name] if of_people else []
        told = (f"{by:.2f} from {kind}" + ("" if kind in read else " (not read)") for kind, by in above.items())
        logger.info(f"{name}: labels of trials left out are told above chance by {', '.join(told)}")
    _set(evidence.of_responses, evidence.templates, evidence.usual_response, found[Responses.name])
    _set(evidence.of_rhythms, evidence.spectra, evidence.usual_power, found[Rhythms.name])
    _set_own(evidence, found[Responses.name], own)


def _set(posterior: Posterior, weights: Tensor, usual: Tensor, found: list[LogOdds]) -> None:
    """Sets the labels of a kind, one set's after another's."""
    n, sizes = len(posterior.bias), [len(of_set.bias) for of_set in found]
    if sum(sizes) > n:
        raise ConfigError(
            f"network.semantic_dim is {n}, but one kind of numbers tells {sum(sizes)} labels of the aligned sets: set "
            f"it to at least {sum(sizes)}"
        )
    _fill(weights, [of_set.weights for of_set in found])
    _fill(usual, [of_set.usual for of_set in found])
    _fill(posterior.bias, [of_set.bias for of_set in found])
    _fill(posterior.trust, [np.tile(of_set.trust[:, None], len(of_set.bias)) for of_set in found])
    posterior.same_set.copy_(torch.block_diag(*(torch.ones(size, size) for size in sizes), torch.eye(n - sum(sizes))))


def _set_own(evidence: Evidence, shared: list[LogOdds], own: list[OwnLogOdds | None]) -> None:
    """Sets what people respond beside what all share; `own` of each set of `shared`, None where it tells nothing.

    Raises:
        ConfigError: a person in two sets, whose numbers are heard by different ones.
    """
    subjects = [subject for of_set in own if of_set for subject in of_set.subjects]
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
    for of_all, of_set in zip(shared, own, strict=True):
        columns = slice(column, column + len(of_all.bias))
        column = columns.stop
        if of_set is None:
            continue
        rows = slice(row, row + len(of_set.subjects))
        row = rows.stop
        people.told[rows, columns] = 1.0
        people.heard[rows, : len(of_set.heard)] = torch.from_numpy(of_set.heard)
        people.templates[rows, :, : len(of_set.heard), columns] = torch.from_numpy(of_set.weights).float()
        people.usual[rows, :, columns] = torch.from_numpy(of_set.usual).float()
        people.posterior.bias[columns] = torch.from_numpy(of_set.bias).float()
        people.posterior.trust[:, columns] = torch.from_numpy(of_set.trust).float()[:, None]


def _fill(buffer: Tensor, parts: list[np.ndarray]) -> None:
    """Columns of the sets' labels, one set's after another's, and zeros behind."""
    buffer.zero_()
    if parts:
        columns = torch.from_numpy(np.concatenate(parts, axis=-1)).float()
        buffer[..., : columns.shape[-1]] = columns


def _outside(kind: Kind, trials: SetTrials, seed: int, name: str) -> np.ndarray:
    """Log-odds (n, N, L) after each step of trials that were left out; zeros where none can be."""
    labels, known = trials.labels, kind.known_of(trials)
    log_odds = np.zeros((*known.shape, len(np.unique(labels))), np.float32)
    folds = _folds(labels, trials.recordings)
    for rest, left_out in tqdm(folds, desc=f"{kind.name} of {name}", unit="fold", leave=False, dynamic_ncols=True):
        numbers = kind(trials, rest, seed)
        # a strong ridge makes weights in proportion to the trials: as large as those of all trials
        rows, bias = _regression(numbers.of_trials[rest], labels[rest], kind.ridge * len(labels) / len(rest))
        log_odds[left_out] = numbers.so_far(rows, left_out) + bias
    return log_odds


def _folds(labels: np.ndarray, recordings: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
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


def _regression(numbers: np.ndarray, labels: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows (L, numbers) and bias (L,) of the log-odds."""
    found = LogisticRegression(C=ridge, max_iter=300, class_weight="balanced").fit(numbers, labels)
    rows, bias = found.coef_, found.intercept_
    if len(rows) == 1:  # of two labels
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    return rows, bias


def _fitted(kind: Kind, trials: SetTrials, seed: int, outside: np.ndarray) -> LogOdds:
    """Of all trials, trusted as far as those that were `outside` of each part went."""
    numbers = kind(trials, np.arange(len(trials.labels)), seed)
    rows, bias = _regression(numbers.of_trials, trials.labels, kind.ridge)
    weights, usual = numbers.weights(rows)
    return LogOdds(weights=weights, usual=usual, bias=bias, trust=_trust(outside, numbers.known, trials.labels))


def _fitted_own(trials: SetTrials, shared: np.ndarray, seed: int, name: str) -> tuple[float, OwnLogOdds | None]:
    """How far above chance labels of trials left out are told with responses of people's own, and what is to be added
    to the weights of all; None where it is no more than `shared` log-odds (n, P, L) tell, or there are no two people:
    of a single one all is their own.
    """
    outside, every = _outside(OwnResponses, trials, seed, name), np.arange(len(trials.labels))
    above, numbers = _above_chance(outside[:, -1], trials.labels), OwnResponses(trials, every, seed)
    if len(numbers.subjects) < 2 or not _tells_more(outside[:, -1], shared[:, -1], trials.labels):
        return above, None
    for_all, _ = _regression(numbers.shared, trials.labels, numbers.ridge)
    rows, bias = _regression(numbers.of_trials, trials.labels, numbers.ridge)
    weights = numbers.added(rows, for_all)
    return above, OwnLogOdds(
        subjects=numbers.subjects,
        heard=numbers.heard,
        weights=weights,
        usual=np.einsum("ph,sphl->spl", numbers.usual @ numbers.heard.T, weights),
        bias=bias,
        trust=_trust(outside, numbers.known, trials.labels),
    )
