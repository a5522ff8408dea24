"""Fits the semantic numbers of the EEG tokenizer: a logistic regression of each set's labels, taken apart into steps.

Whether a set's labels are told by responses, by rhythms, by both or not at all is found by cross-validation inside
training, which also says how far the regression may be trusted after each number of steps, and whether responses of
each person's own, beside those that all share, tell more in other recordings of the person. Nothing that is made with
the labels of trials that are left out may touch them: what responses are heard by is made anew for every part.
# n trials, N steps, P places, K numbers of a step's field, H numbers heard, F features of power, L labels of a set,
# S semantic numbers of one kind
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
from neuroleon.tokenizers.eeg.evidence import HEARD, PLACES, Evidence, Posterior
from neuroleon.tokenizers.eeg.network import components
from neuroleon.training.stages.eeg_evoked import Labelled, evoked_readout

FOLDS = 5
STANDARD_ERRORS = 3.0  # above chance in cross-validation, from where on labels count as told
LOG_TRUST = (-5.0, 5.0)  # range of the factor that log-odds may be scaled by
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
    ridge: what people have in common goes into the former, for there it costs least."""

    name = "responses of people's own"

    def __init__(self, trials: SetTrials, rows: np.ndarray, seed: int) -> None:
        super().__init__(trials, rows, seed)
        self.subjects = tuple(map(str, np.unique(trials.subjects[rows])))
        self._whose = trials.subjects
        own = [OWN_LOUDNESS * self.of_trials * (trials.subjects == name)[:, None] for name in self.subjects]
        self.of_trials = np.concatenate([self.of_trials, *own], axis=1)

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
            of_own = _outside(OwnResponses, trials, seed, name)
            above[OwnResponses.name] = _above_chance(of_own[:, -1], trials.labels)
            more = _tells_more(of_own[:, -1], outside[Responses.name][:, -1], trials.labels)
            own.append(_fitted_own(trials, seed, of_own) if more else None)
            read += [OwnResponses.name] if more else []
        told = (f"{by:.2f} from {kind}" + ("" if kind in read else " (not read)") for kind, by in above.items())
        logger.info(f"{name}: labels of trials left out are told above chance by {', '.join(told)}")
    _set(evidence.of_responses, evidence.templates, evidence.usual_response, found[Responses.name])
    _set(evidence.of_rhythms, evidence.spectra, evidence.usual_power, found[Rhythms.name])
    _set_own(evidence, found[Responses.name], own)


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
    """Sets what people respond beside what all share; `own` of each set of `shared`, None where it tells nothing."""
    evidence.know([subject for of_set in own if of_set for subject in of_set.subjects])
    if evidence.own is None:
        return
    known, column, row = evidence.own, 0, 0
    known.posterior.load_state_dict(evidence.of_responses.state_dict())
    for of_all, of_set in zip(shared, own, strict=True):
        columns, column = slice(column, column + len(of_all.bias)), column + len(of_all.bias)
        if of_set is None:
            continue
        rows, row = slice(row, row + len(of_set.subjects)), row + len(of_set.subjects)
        known.heard[rows, : len(of_set.heard)] = torch.from_numpy(of_set.heard)
        known.templates[rows, :, : len(of_set.heard), columns] = torch.from_numpy(of_set.weights).float()
        known.usual[rows, :, columns] = torch.from_numpy(of_set.usual).float()
        known.posterior.bias[columns] = torch.from_numpy(of_set.bias).float()
        known.posterior.trust[:, columns] = torch.from_numpy(of_set.trust).float()[:, None]


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
    """Whether one names more labels of the same trials than another, by more than chance makes of it."""
    names = np.unique(labels)
    right, others_right = (names[found.argmax(axis=1)] == labels for found in (log_odds, others))
    gains = [right[labels == name].astype(float) - others_right[labels == name] for name in names]
    error = np.sqrt(sum(gain.var() / len(gain) for gain in gains)) / len(names)
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


def _fitted_own(trials: SetTrials, seed: int, outside: np.ndarray) -> OwnLogOdds:
    """What is to be added, for each person, to the weights that all trials gave `_fitted`."""
    every = np.arange(len(trials.labels))
    alone, numbers = Responses(trials, every, seed), OwnResponses(trials, every, seed)
    for_all, _ = _regression(alone.of_trials, trials.labels, alone.ridge)
    rows, bias = _regression(numbers.of_trials, trials.labels, numbers.ridge)
    weights = numbers.added(rows, for_all)
    return OwnLogOdds(
        subjects=numbers.subjects,
        heard=numbers.heard,
        weights=weights,
        usual=np.einsum("ph,sphl->spl", numbers.usual @ numbers.heard.T, weights),
        bias=bias,
        trust=_trust(outside, numbers.known, trials.labels),
    )


def _mean(numbers: np.ndarray, known: np.ndarray, over: int) -> np.ndarray:
    """Mean over trials (0) or steps (1) of what is known, 0 where nothing is."""
    total = np.where(known[..., None], numbers, 0.0).sum(axis=over)
    return np.asarray(total / known.sum(axis=over).clip(1)[..., None], dtype=np.float32)
