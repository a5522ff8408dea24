"""The numbers of a set, person by person: what is read of one is often not of another, and a mean hides it."""

from collections.abc import Iterator, Mapping

import numpy as np

from neuroleon.evaluation.results import Person, SetResult
from neuroleon.evaluation.rows import LABEL_BITS
from neuroleon.evaluation.stats import Estimate, bootstrap_ci
from neuroleon.evaluation.words import best_baseline


def by_person(result: SetResult, subjects: Mapping[str, str], seed: int) -> tuple[Person, ...]:
    """Of a set with several people who have names, `subjects` by window: the primary numbers of its tasks that are
    means over windows, the bits of labels, and the accuracy of the best classical method, of each."""
    names = sorted(set(subjects.values()) - {""})
    if len(names) < 2:
        return ()
    numbers = dict(_numbers(result))
    return tuple(_person(name, result.trials, subjects, numbers, seed) for name in names)


def _numbers(result: SetResult) -> Iterator[tuple[tuple[str, str], dict[str, float]]]:
    """Name and unit of a number -> its value at each window."""
    for task in result.tasks:
        for row in task.comparisons:
            values = next((of.values for of in task.values if of.metric == row.metric), None)
            if values and (row is task.primary or row.metric == LABEL_BITS):
                yield (f"{task.task}: {row.metric}", row.unit), values
    best = best_baseline(result.baselines)
    if best is not None and best.values:
        yield (f"best method: {best.method}", best.comparison.unit), best.values


def _person(
    name: str,
    trials: Mapping[str, str],
    subjects: Mapping[str, str],
    numbers: Mapping[tuple[str, str], Mapping[str, float]],
    seed: int,
) -> Person:
    windows = [key for key in trials if subjects[key] == name]
    found = {}
    for (what, unit), values in numbers.items():
        of = [key for key in windows if key in values]
        found[what] = unit, _mean(np.array([values[key] for key in of]), np.array([trials[key] for key in of]), seed)
    return Person(subject=name, n_windows=len(windows), n_trials=len({trials[key] for key in windows}), numbers=found)


def _mean(values: np.ndarray, clusters: np.ndarray, seed: int) -> Estimate:
    """With an interval over trials, where there are two."""
    if len(np.unique(clusters)) > 1:
        return bootstrap_ci(values, clusters, seed=seed)
    nothing = float("nan")
    return Estimate(mean=float(values.mean()) if len(values) else nothing, low=nothing, high=nothing)
