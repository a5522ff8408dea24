"""The model beside each classical method, window by window: by how much it differs, and whether that could be chance.

Two accuracies of the same windows rise and fall together, so their intervals overlap long before the difference is
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from neuroleon.evaluation.baselines.run import ACCURACY, BITS
from neuroleon.evaluation.results import Against, BaselineResult, SetResult, TaskResult
from neuroleon.evaluation.rows import LABEL_BITS, PICTURE_BITS
from neuroleon.evaluation.stats import bootstrap_ci, paired_permutation_p, same_question


def with_differences(result: SetResult, seed: int) -> SetResult:
    """The set, whose methods say by how much the model differs from them where both answered the same question: chose
    among as many answers, and gave one on the same windows."""
    found = [_with_difference(one, result.tasks, result.trials, seed) for one in result.baselines]
    return replace(result, baselines=tuple(found))


def _with_difference(
    one: BaselineResult, tasks: Sequence[TaskResult], trials: Mapping[str, str], seed: int
) -> BaselineResult:
    for task in tasks:
        primary = task.primary
        if primary is None or not same_question(primary, one.comparison):
            continue
        names = {ACCURACY: (primary.metric,), BITS: (LABEL_BITS, PICTURE_BITS)}.get(one.comparison.metric, ())
        for of in task.values:
            windows = [key for key in trials if key in of.values and key in one.values]
            clusters = np.array([trials[key] for key in windows])
            if of.metric not in names or len(np.unique(clusters)) < 2:
                continue
            model, method = (np.array([values[key] for key in windows]) for values in (of.values, one.values))
            return replace(
                one,
                against=Against(
                    task=task.task,
                    metric=of.metric,
                    n_windows=len(windows),
                    difference=bootstrap_ci(model - method, clusters, seed=seed),
                    p=paired_permutation_p(model, method, clusters, seed=seed),
                ),
            )
    return one
