"""Which numbers of a report are its claims, and their p corrected for how many these are (Holm 1979).

Most numbers of a task say nearly the same of the same answers (accuracy, bits, ranks), and to correct for all of them
would hide what is there. So each task of each set has one primary number, declared before anything is measured: the
first row of its table, which the summary shows. A reader picks among all rows of the summary, so the primary numbers of
a whole report are one family. Every other p stands alone.

Baselines are a family of their own, one number for each set and scheme: the balanced accuracy of the method that was
chosen on the training side. They ask whether EEG can be read at all, not whether the model reads it, and p of the model
must not depend on whether they were fitted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from neuroleon.evaluation.baselines.run import BALANCED, BEST
from neuroleon.evaluation.results import BaselineResult, SetResult, TaskResult
from neuroleon.evaluation.stats import holm


def corrected(sets: Sequence[SetResult]) -> list[SetResult]:
    """The sets of one report, with the primary p of their tasks and of their baselines corrected, each among these."""
    tasks = iter(holm([task.primary.p for result in sets for task in result.tasks if task.primary]))
    baselines = corrected_baselines([result.baselines for result in sets])
    return [
        replace(result, tasks=tuple(_with_p(task, tasks) for task in result.tasks), baselines=own)
        for result, own in zip(sets, baselines, strict=True)
    ]


def _with_p(task: TaskResult, ps: Iterator[float]) -> TaskResult:
    if task.primary is None:
        return task
    return replace(task, comparisons=(replace(task.primary, p_holm=next(ps)), *task.comparisons[1:]))


def corrected_baselines(sets: Sequence[Sequence[BaselineResult]]) -> list[tuple[BaselineResult, ...]]:
    """The baselines of the sets of one report, with the primary p corrected."""
    ps = iter(holm([one.comparison.p for results in sets for one in results if _is_primary(one)]))
    return [
        tuple(
            replace(one, comparison=replace(one.comparison, p_holm=next(ps))) if _is_primary(one) else one
            for one in results
        )
        for results in sets
    ]


def _is_primary(one: BaselineResult) -> bool:
    return (one.method, one.comparison.metric) == (BEST, BALANCED)
