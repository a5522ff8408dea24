"""The tasks that are evaluated: each from a model's answers and likelihoods to numbers under every condition."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter

from neuroleon.decoding.sampling import Sampling
from neuroleon.evaluation.asked import Asked
from neuroleon.evaluation.both_task import eeg2both
from neuroleon.evaluation.feed import Feed
from neuroleon.evaluation.image_task import eeg2image
from neuroleon.evaluation.label_task import GREEDY, eeg2label
from neuroleon.evaluation.networks import Network
from neuroleon.evaluation.results import Cost, TaskResult
from neuroleon.evaluation.text_task import eeg2text
from neuroleon.evaluation.trials import TrialSet

__all__ = ["GREEDY", "TASKS"]


def _evaluate(
    measure: Callable[[Asked], TaskResult],
    feed: Feed,
    trials: TrialSet,
    seed: int,
    drawing: Sampling,
    network: Network | None,
) -> TaskResult:
    """The numbers of one task, and what they cost."""
    asked = Asked.of(feed, trials, seed, drawing, network)
    start = perf_counter()
    result = measure(asked)
    cost = Cost(seconds=perf_counter() - start, n_ids=asked.meter.n_ids, n_scored=asked.meter.n_scored)
    return replace(result, cost=cost)


TASKS: dict[str, Callable[..., TaskResult]] = {
    measure.__name__: partial(_evaluate, measure) for measure in (eeg2label, eeg2text, eeg2image, eeg2both)
}
