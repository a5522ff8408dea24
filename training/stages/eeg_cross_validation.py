"""Cross-validation of what tells a set's labels, inside training: which trials are left out together, whether labels
of trials left out are told, and how far what is said of them may be trusted.
# n trials, N steps, P places, L labels of a set
"""

from collections.abc import Callable

import numpy as np
from loguru import logger
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.class_weight import compute_sample_weight

from neuroleon.tokenizers.eeg.evidence import PLACES

FOLDS = 5
STANDARD_ERRORS = 3.0  # above chance in cross-validation, from where on labels count as told
LOG_TRUST = (-5.0, 5.0)  # range of the factor that log-odds may be scaled by

Folds = list[tuple[np.ndarray, np.ndarray]]  # trials to fit, trials to leave out


def make_folds(labels: np.ndarray, subjects: np.ndarray, recordings: np.ndarray) -> Folds:
    """Trials to fit and trials to leave out, at most `FOLDS` times: whole recordings, as it is in new recordings that
    labels must be told, each person's in different folds as far as that goes; of one recording, or where a label is in
    one alone, whole stretches, as trials that follow one another are alike. None where a label has a single trial, or
    there is one label."""
    names, counts = np.unique(labels, return_counts=True)
    folds, n_recordings = min(FOLDS, int(counts.min())), len(np.unique(recordings))
    if len(names) < 2 or folds < 2:
        return []
    if n_recordings > 1:
        n = min(folds, n_recordings)
        for fold in (_dealt(subjects, recordings, n), _balanced(labels, recordings, n)):
            found = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n) if (fold == k).any()]
            if all(len(np.unique(labels[rest])) == len(names) for rest, _ in found):
                return found
        logger.info(f"a label is in too few of {n_recordings} recordings: stretches are left out, not recordings")
    return list(StratifiedKFold(folds).split(labels, labels))


def _dealt(subjects: np.ndarray, recordings: np.ndarray, n: int) -> np.ndarray:
    """Recordings dealt to `n` folds, one person's after another's: the fold of each trial."""
    names, first, which = np.unique(recordings, return_index=True, return_inverse=True)
    fold = np.empty(len(names), np.int64)
    fold[np.lexsort((first, subjects[first]))] = np.arange(len(names)) % n
    return fold[which]


def _balanced(labels: np.ndarray, recordings: np.ndarray, n: int) -> np.ndarray:
    """Recordings in `n` folds that are as alike in labels as they can be: the fold of each trial."""
    fold = np.zeros(len(labels), np.int64)
    for k, (_, left_out) in enumerate(StratifiedGroupKFold(n).split(labels, labels, recordings)):
        fold[left_out] = k
    return fold


def fold_of_trials(folds: Folds) -> np.ndarray:
    """Which fold each trial (n,) is left out in; in every one of them it is in one."""
    of_trials = np.zeros(sum(len(left_out) for _, left_out in folds), np.int64)
    for fold, (_, left_out) in enumerate(folds):
        of_trials[left_out] = fold
    return of_trials


def above_chance(log_odds: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy above chance, a mean over labels; 0 where all log-odds are the same."""
    names = np.unique(labels)
    if not log_odds.any():
        return 0.0
    return float(balanced_accuracy_score(labels, names[log_odds.argmax(axis=1)])) - 1 / len(names)


def is_told(log_odds: np.ndarray, labels: np.ndarray) -> bool:
    """Whether labels are told above chance, by more than so many standard errors."""
    return above_chance(log_odds, labels) > STANDARD_ERRORS * standard_error(labels)


def is_likelier(log_odds: np.ndarray, others: np.ndarray, labels: np.ndarray) -> bool:
    """Whether one makes the true labels of the same trials likelier than another, as they are `trusted`: the mean over
    labels of the paired difference of log-probability, against its standard error where there is none. It sees smaller
    differences than accuracy does."""
    names, true = np.unique(labels, return_inverse=True)
    rows = np.arange(len(labels))
    log_p, others_log_p = (log_softmax(found, axis=1)[rows, true] for found in (log_odds, others))
    gains = [(log_p - others_log_p)[true == k] for k in range(len(names))]
    error = np.sqrt(sum(np.square(gain).sum() / len(gain) ** 2 for gain in gains)) / len(names)
    return bool(np.mean([gain.mean() for gain in gains]) > STANDARD_ERRORS * error)


def standard_error(labels: np.ndarray) -> float:
    """Of the accuracy at chance, a mean over labels, each with its own number of trials."""
    names, counts = np.unique(labels, return_counts=True)
    chance = 1 / len(names)
    return float(np.sqrt((chance * (1 - chance) / counts).sum()) / len(names))


def trusted(log_odds: np.ndarray, labels: np.ndarray, whose: np.ndarray | None = None) -> np.ndarray:
    """Log-odds (n, L) as far as they may be trusted, by one factor, or where it is said `whose` they are, each person's
    own."""
    names = np.unique(labels)
    factor = likeliest_factor(log_odds, labels, names)
    found = factor * log_odds
    for name in [] if whose is None else np.unique(whose):
        rows = whose == name
        found[rows] = likeliest_factor(log_odds[rows], labels[rows], names, factor) * log_odds[rows]
    return found


def trust_in(
    log_odds: np.ndarray, known: np.ndarray, labels: np.ndarray, names: np.ndarray, usual: np.ndarray | None = None
) -> np.ndarray:
    """The factors (P + 1,) that make log-odds of trials left out most likely after each number of steps: a strong ridge
    understates what a whole window knows, and what holds of a window's mean says too much of a step.

    After more steps than half of the trials have, it is that of the step before. Of one person's trials, the `usual`
    factors are those of all people. `names` are those of all labels, of which these trials may lack some.
    """
    trust = np.zeros(PLACES + 1)
    n_known = known.cumsum(axis=1)
    for n_seen in range(1, PLACES + 1):
        last = n_known[:, -1] >= n_seen
        if not len(last) or last.mean() < 0.5:
            trust[n_seen] = trust[n_seen - 1]
            continue
        at = (n_known[last] >= n_seen).argmax(axis=1)
        near = None if usual is None else usual[n_seen]
        trust[n_seen] = likeliest_factor(log_odds[last, at], labels[last], names, near)
    return trust


def likeliest_factor(log_odds: np.ndarray, labels: np.ndarray, names: np.ndarray, near: float | None = None) -> float:
    """The factor of log-odds (n, L) that makes labels likeliest; of few trials not far from `near`, if that is known:
    its logarithm is expected within 1 of that one's (a normal prior), so that ten trials without an error do not make
    the next one's impossible."""
    misfit, middle = _misfit(labels, names), 0.0 if near is None else float(np.log(near).clip(*LOG_TRUST))

    def loss(log_trust: float) -> float:
        prior = 0.0 if near is None else (log_trust - middle) ** 2 / 2
        return len(labels) * misfit(np.exp(log_trust) * log_odds) + prior

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TRUST, method="bounded").x))


def likeliest_share(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """The factor of `second` log-odds (n, L) that makes their sum with the `first` likeliest, trusted as it may be."""
    misfit = _misfit(labels, np.unique(labels))

    def of_sum(logs: np.ndarray) -> float:
        trust, share = np.exp(logs)
        return misfit(trust * (first + share * second))

    return float(np.exp(minimize(of_sum, np.zeros(2), method="Nelder-Mead", bounds=[LOG_TRUST] * 2).x[1]))


def _misfit(labels: np.ndarray, names: np.ndarray) -> Callable[[np.ndarray], float]:
    """Cross-entropy of log-odds (n, L), a mean over labels: they are fitted so that how frequent a label is says
    nothing."""
    rows, true = np.arange(len(labels)), np.searchsorted(names, labels)
    as_much = compute_sample_weight("balanced", labels)
    return lambda log_odds: -float(np.average(log_softmax(log_odds, axis=1)[rows, true], weights=as_much))
