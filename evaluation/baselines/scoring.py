"""One method on one fold: fitted, calibrated by cross-validation of the training side, and asked under each control."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.baselines.methods import Method
from neuroleon.evaluation.baselines.schemes import Fold, inner_folds
from neuroleon.evaluation.baselines.windows import Windows
from neuroleon.evaluation.controls import derangement, phase_randomised

INNER_FOLDS = 3
FEWEST_WINDOWS = 10  # of each label, for a subject to be told from the subject's own training windows alone
FEW = 0.1  # of the training windows
FLATTEST, SHARPEST = np.log(1e-3), np.log(1e3)  # of a calibration, in standard deviations of the scores


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one method says on one fold.

    Attributes:
        logprobs: condition -> natural logarithms (n, n_names) of calibrated probabilities, answers as frequent as in
            training; "constant" is these frequencies alone.
        scores: condition -> (n, n_names) of the method, how frequent answers are left aside.
        truth: (n,) index of the true answer.
        heldout_bits: log2 p of the true answer in the cross-validation of the training side, a mean: what the best
            method is chosen by.
        unit: what that cross-validation held out.
    """

    logprobs: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    truth: np.ndarray
    heldout_bits: float
    unit: str


class BySubject:
    """A method fitted to each subject of `own` alone, and to all training windows for the other subjects of `asked`.

    Each is fitted on the channels that all windows have that it is asked about and learns from. Training windows that
    lack one of the former are not learned from, as long as they are few (`FEW`); else that channel is left out.
    """

    def __init__(self, make: Callable[[], Method], seen: Windows, asked: Windows, own: Sequence[str]) -> None:
        answers = set(seen.answers)
        alone = [subject for subject in own if set(seen.answers[seen.subjects == subject]) == answers]
        parts = [(seen.subjects == subject, asked.subjects == subject) for subject in alone]
        parts.append((np.ones(len(seen), bool), ~np.isin(asked.subjects, alone)))
        self._parts = []
        for learned, rows in parts:
            if rows.any():
                windows, channels = _of_one_montage(seen.at(learned), asked.has[rows].all(axis=0))
                self._parts.append((rows, channels, make().fit(windows.on(channels))))

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        """(n, len(names)) of the windows that were announced; each is read by the method of its subject, also where it
        is fed the EEG of another."""
        found = np.empty((len(asked), len(names)))
        for rows, channels, method in self._parts:
            found[rows] = method.scores(asked.at(rows).on(channels), names)
        return found


def _of_one_montage(seen: Windows, channels: np.ndarray) -> tuple[Windows, np.ndarray]:
    """Training windows and a mask of the channels (n_chans,) that they all have, out of those that are asked about."""
    whole = np.all(seen.has[:, channels], axis=1)
    if whole.mean() >= 1 - FEW and set(seen.answers[whole]) == set(seen.answers):
        seen = seen.at(whole)
    else:
        channels = channels & seen.has.all(axis=0)
    if not channels.any():
        raise DataError(f"of {len(seen.ch_names)} channels none is in all recordings; baselines need one montage")
    return seen, channels


def owners(train: Windows, test: Windows) -> list[str]:
    """The tested subjects with ten training windows or more of every answer."""
    n_answers, found = len(np.unique(train.answers)), []
    for subject in np.unique(test.subjects):
        _, counts = np.unique(train.answers[train.subjects == subject], return_counts=True)
        if len(counts) == n_answers and counts.min() >= FEWEST_WINDOWS:
            found.append(str(subject))
    return found


def fed_controls(windows: Windows, fold: Fold, seed: int) -> dict[str, Windows]:
    """The tested windows of a fold with their own EEG, with that of another trial of the same channels, and with noise.

    The other trial is held out as well, be it asked about or not: EEG that was learned from would bring its answer.
    Where a montage has too few trials to shuffle among, all windows are asked about on the channels that all have.

    Raises:
        DataError: one trial has more than half of the windows that are held out, so nothing can be shuffled.
    """
    held_out = windows.at(fold.held_out)
    try:
        other = _shuffled(held_out, seed)
    except DataError:
        eeg_uV = held_out.eeg_uV.copy()
        eeg_uV[:, ~np.all(held_out.has, axis=0)] = np.nan
        held_out = held_out.fed(eeg_uV, held_out.scale_uV)
        other = _shuffled(held_out, seed)
    rows = np.searchsorted(fold.held_out, fold.test)
    asked, lent = held_out.at(rows), held_out.at(other[rows])
    rngs = (generator("noise", seed, key) for key in asked.key.tolist())  # as in `feed`
    noise = np.stack([phase_randomised(eeg, rng) for eeg, rng in zip(asked.eeg_uV, rngs, strict=True)])
    return {
        "real": asked,
        "shuffled": asked.fed(lent.eeg_uV, lent.scale_uV),
        "noise": asked.fed(noise, asked.scale_uV),
    }


def _shuffled(windows: Windows, seed: int) -> np.ndarray:
    """Whose EEG each window gets: (n,), another trial's of the same montage."""
    other = np.arange(len(windows))
    for number, has in enumerate(np.unique(windows.has, axis=0)):
        rows = np.flatnonzero((windows.has == has).all(axis=1))
        other[rows] = rows[derangement(windows.trials[rows], generator("baselines", "shuffled", seed, number))]
    return other


def answered(
    make: Callable[[], Method], windows: Windows, fold: Fold, fed: Mapping[str, Windows], seed: int
) -> Answered:
    """Fit a method to the training side of a fold, calibrate it there, and ask it about `fed`, condition -> windows.

    Raises:
        DataError: the training side cannot be cross-validated.
    """
    train, test = windows.at(fold.train), fed["real"]
    names, own = fold.choices, owners(train, test) if make().of_subject else []
    unit, heldout = _held_out(make, windows, fold, own, seed)
    calibration = Calibration.fit(heldout)
    prior = log_frequencies(train, names)
    fitted = BySubject(make, train, test, own)
    scores = {condition: fitted.scores(x, names) for condition, x in fed.items()}
    logprobs = {condition: calibration.apply(found, prior) for condition, found in scores.items()}
    constant = np.tile(prior, (len(test), 1))
    return Answered(
        logprobs=logprobs | {"constant": constant},
        scores=scores | {"constant": constant},
        truth=np.searchsorted(names, test.answers),
        heldout_bits=-calibration.loss / np.log(2),
        unit=unit,
    )


def log_frequencies(train: Windows, names: np.ndarray) -> np.ndarray:
    """Logarithms of how frequent answers are in training; equal where these are pictures that training may lack."""
    if not train.has_labels:
        return np.full(len(names), -np.log(len(names)))
    return np.log([np.mean(train.answers == name) for name in names])


Heldout = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # scores (n, k), true places (n,), log frequencies (k,)


def _held_out(
    make: Callable[[], Method], windows: Windows, fold: Fold, own: Sequence[str], seed: int
) -> tuple[str, Heldout]:
    """The unit held out, and per inner fold the scores of training windows by a method that was not fitted to them."""
    unit, folds = inner_folds(windows, fold, INNER_FOLDS, seed)
    found = []
    for inner in folds:
        train, test = windows.at(inner.train), windows.at(inner.test)
        names = inner.choices
        scores = BySubject(make, train, test, own).scores(test, names)
        found.append((scores, np.searchsorted(names, test.answers), log_frequencies(train, names)))
    if all(len(prior) < 2 for _, _, prior in found):
        raise DataError("no cross-validation on the training side: each fold of it holds a single picture")
    return unit, found


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Scores to probabilities by one temperature (Guo et al. 2017, section 4.2), around how frequent answers are.

    Scores that say nothing become these frequencies. They also get a share of `doubt`, one over one more than the
    held-out windows: that none of n was wrong does not make an error impossible (Laplace's rule of succession).

    Attributes:
        sharpness: times a score is nats.
        loss: nats of the true answer of a held-out window, a mean.
    """

    sharpness: float
    doubt: float
    loss: float

    @classmethod
    def fit(cls, heldout: Heldout) -> "Calibration":
        """The sharpness under which held-out windows are likeliest."""
        from scipy.optimize import minimize_scalar

        spread = float(np.sqrt(np.mean([np.var(scores) for scores, _, _ in heldout]))) or 1.0
        doubt = 1 / (1 + sum(len(truth) for _, truth, _ in heldout))

        def loss(log_sharpness: float) -> float:
            tried = cls(sharpness=float(np.exp(log_sharpness)) / spread, doubt=doubt, loss=np.nan)
            nats = [-tried.apply(scores, prior)[np.arange(len(truth)), truth] for scores, truth, prior in heldout]
            return float(np.concatenate(nats).mean())

        found = minimize_scalar(loss, bounds=(FLATTEST, SHARPEST), method="bounded")
        return cls(sharpness=float(np.exp(found.x)) / spread, doubt=doubt, loss=float(found.fun))

    def apply(self, scores: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Log-probabilities (n, k) of scores (n, k) and log-frequencies (k,)."""
        logits = self.sharpness * scores + prior
        sure = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return np.logaddexp(np.log1p(-self.doubt) + sure, np.log(self.doubt) + prior)
