"""Which windows a method is fitted to, and which it is asked: the recipe's split, and schemes that leave units out.

Nothing of a unit that is left out is learned from, and windows of one trial are never on both sides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.evaluation.baselines.windows import Windows

FOLDS = 5  # at most, where units are many; subjects are left out one by one

UNITS: dict[str, Callable[[Windows], np.ndarray]] = {  # from the widest to the narrowest
    "subject": lambda windows: windows.subjects,
    "session": lambda windows: windows.sessions,
    "recording": lambda windows: windows.recordings,
    "trial": lambda windows: windows.trials,
    "picture": lambda windows: windows.pictures,
}


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One way to part the windows of a set, as indices in ascending order.

    Attributes:
        train: what is learned from.
        held_out: the other side, nothing of which is learned from.
        test: those of `held_out` that are asked about.
        choices: the answers to choose from, in order: labels, which training knows; in a set without labels the
            pictures of the held-out side, asked about or not, which may all be new.
    """

    train: np.ndarray
    held_out: np.ndarray
    test: np.ndarray
    choices: np.ndarray

    @classmethod
    def of(
        cls, windows: Windows, train: np.ndarray, held_out: np.ndarray, pictures: frozenset[str] = frozenset()
    ) -> "Fold":
        """Asked about all that is held out; `pictures` are held out too, though none of `windows` shows them."""
        answers = windows.answers if windows.has_labels else [*windows.answers[held_out], *pictures]
        return cls(train=train, held_out=held_out, test=held_out, choices=np.unique(answers))

    def within(self, whole: np.ndarray) -> "Fold":
        """The fold of windows that are themselves at the indices `whole`."""
        return replace(self, train=whole[self.train], held_out=whole[self.held_out], test=whole[self.test])


def _recipe(windows: Windows, split: str, seed: int) -> list[Fold]:
    """The recipe's own: fitted to `train`, asked about `split`."""
    train, held_out = (np.flatnonzero(windows.split == side) for side in ("train", split))
    return usable(windows, [Fold.of(windows, train, held_out, windows.shown[split])])


def _in_subject(windows: Windows, split: str, seed: int) -> list[Fold]:
    """Each subject alone, with sessions left out, or recordings where a subject has one session."""
    folds, reasons = [], []
    for subject in np.unique(windows.subjects):
        own = np.flatnonzero(windows.subjects == subject)
        sessions = windows.sessions[own]
        unit = "session" if len(np.unique(sessions)) > 1 and (sessions != "").all() else "recording"
        try:
            found = leave_out(windows.at(own), unit, FOLDS, seed)
        except DataError as error:
            reasons.append(str(error))
        else:
            folds += [fold.within(own) for fold in found]
    if not folds:
        raise DataError(f"no subject can be tested alone: {reasons[0]}")
    return folds


def _leaving(unit: str, most: int | None = FOLDS) -> Callable[[Windows, str, int], list[Fold]]:
    return lambda windows, split, seed: leave_out(windows, unit, most, seed)


SCHEMES: dict[str, Callable[[Windows, str, int], list[Fold]]] = {
    "recipe": _recipe,
    "in-subject": _in_subject,
    "leave-one-subject-out": _leaving("subject", most=None),
    "session-out": _leaving("session"),
    "recording-out": _leaving("recording"),
    "picture-out": _leaving("picture"),
}


def require_scheme(scheme: str) -> None:
    """Raise ConfigError unless there is such a scheme."""
    if scheme not in SCHEMES:
        raise ConfigError(f"scheme {scheme!r} is not known; expected some of {', '.join(SCHEMES)}")


def parts_of(scheme: str, split: str) -> tuple[str, ...]:
    """The splits whose windows a scheme may see; the test split only where it is asked for by name."""
    if scheme == "recipe":
        return tuple(dict.fromkeys(("train", split)))
    return ("train", "validation", "test") if split == "test" else ("train", "validation")


def folds_of(scheme: str, windows: Windows, split: str, seed: int) -> list[Fold]:
    """The folds of a scheme over `windows`, which hold its parts (`parts_of`).

    Raises:
        ConfigError: no such scheme.
        DataError: the set cannot have it; the message says why.
    """
    require_scheme(scheme)
    if scheme == "recipe" and split == "train":
        raise DataError("methods are fitted to the train split; choose validation or test to be asked")
    return SCHEMES[scheme](windows, split, seed)


def leave_out(windows: Windows, unit: str, most: int | None, seed: int) -> list[Fold]:
    """Parts windows by a unit of `UNITS`: each is left out once, at most `most` folds, labels spread over them.

    Raises:
        DataError: fewer than two of the unit, or a label in one of them only.
    """
    from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedGroupKFold

    names = UNITS[unit](windows)
    if (names == "").any():
        raise DataError(f"there are windows without a {unit}")
    n = len(np.unique(names))
    if n < 2:
        raise DataError(f"there is one {unit} only, and leaving it out leaves nothing to learn from")
    counts = {answer: len(np.unique(names[windows.answers == answer])) for answer in np.unique(windows.answers)}
    fewest = min(counts, key=lambda answer: counts[answer])
    if windows.has_labels and counts[fewest] < 2:
        raise DataError(f"label {str(fewest)!r} is in one {unit} only, so it cannot be learned without it")
    if most is None or n <= most:
        parts = LeaveOneGroupOut().split(names, groups=names)
    elif windows.has_labels:
        folds = StratifiedGroupKFold(min(most, counts[fewest]), shuffle=True, random_state=seed)
        parts = folds.split(names, windows.answers, names)
    else:
        parts = GroupKFold(most, shuffle=True, random_state=seed).split(names, groups=names)
    return usable(windows, [Fold.of(windows, train, held_out) for train, held_out in parts])


def usable(windows: Windows, folds: list[Fold]) -> list[Fold]:
    """The folds without training windows of a tested trial, and without those that could not learn every label.

    Raises:
        DataError: none is left.
    """
    kept, reason = [], ""
    for fold in folds:
        train = fold.train[~np.isin(windows.trials[fold.train], windows.trials[fold.held_out])]
        missing = set(windows.answers) - set(windows.answers[train])
        if not len(train) or not len(fold.test):
            reason = f"{len(train)} windows to learn from and {len(fold.test)} to ask about; both sides need some"
        elif windows.has_labels and missing:
            reason = f"the training side does not hold label {str(min(missing))!r}"
        elif len(np.unique(windows.answers)) < 2:
            reason = "there is a single answer, and nothing to tell apart"
        else:
            kept.append(replace(fold, train=train))
    if not kept:
        raise DataError(reason)
    return kept


def inner_folds(windows: Windows, fold: Fold, most: int, seed: int) -> tuple[str, list[Fold]]:
    """Cross-validation of the training side: the unit that is held out, and folds of indices into `windows`.

    What is new on the tested side is held out on the training side as well, as wide as the training side allows:
    subjects, else sessions, recordings, trials; or pictures, where those are new.

    Raises:
        DataError: the training side cannot be parted at all.
    """
    train, reason = windows.at(fold.train), ""
    asked = windows.at(fold.held_out)
    for unit in ("picture", "subject", "session", "recording", "trial"):
        here, there = UNITS[unit](train), UNITS[unit](asked)
        if np.isin(there, here).any() or (here == "").any():
            continue
        try:
            found = leave_out(train, unit, most, seed)
        except DataError as error:
            reason = str(error)
        else:
            return unit, [inner.within(fold.train) for inner in found]
    raise DataError(f"no cross-validation on the training side: {reason}")
