"""The rows of a task's table: measures of the same trials under every condition, beside what a constant scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroleon.evaluation.corpus import Statistic, compare_corpus, median, ratio
from neuroleon.evaluation.identification import (
    NWAY,
    TOP,
    chance_identified,
    chance_median_rank,
    expected_rank,
    identified,
    rank_chances,
    top1_chance,
)
from neuroleon.evaluation.results import TaskResult, WindowValues
from neuroleon.evaluation.stats import Better, Comparison, compare
from neuroleon.evaluation.trials import TrialSet

LABEL_BITS, PICTURE_BITS = (f"log2 p of the true {what} among the set's" for what in ("label", "picture"))

Given = dict[str, list[str | None]]  # per condition and trial, the answer that was given
Values = dict[str, np.ndarray]  # per condition, one number (or row of numbers) per trial


class Rows:
    """Collects comparisons over the trials `indices` of one set."""

    def __init__(self, trials: TrialSet, indices: Sequence[int], seed: int) -> None:
        of = list(indices)
        self._clusters, self._subjects, self._seed = trials.clusters[of], trials.subjects[of], seed
        self._answers = np.array([trials.trials[i].answer for i in of], dtype=object)
        self._majority = trials.majority
        self._keys = [trials.trials[i].key for i in of]
        self.found: list[Comparison] = []
        self.values: list[WindowValues] = []

    def take(self, others: "Rows") -> None:
        """Rows of other trials behind these."""
        self.found += others.found
        self.values += others.values

    def result(self, task: str, **more: Any) -> TaskResult:
        """The rows as the numbers of a task."""
        return TaskResult(task=task, comparisons=tuple(self.found), values=tuple(self.values), **more)

    @property
    def n_trials(self) -> int:
        """Independent trials, of which an interval needs two."""
        return len(np.unique(self._clusters))

    def right(self, metric: str, given: Given, candidates: Sequence[str]) -> None:
        """Share of trials whose given answer is the true one, beside the constant answer.

        `candidates` are the answers of what was chosen among: an answer of several pictures is there several times.
        """
        chance = top1_chance(candidates, self._answers.tolist())
        self.each(metric, "share", self._right(given), chance, n_answers=len(set(candidates)))

    def balanced(self, metric: str, given: Given, n_answers: int) -> None:
        """The mean over true answers of the share that is right, so that a frequent answer counts no more."""
        _, codes, counts = np.unique(self._answers.astype(str), return_inverse=True, return_counts=True)
        weight = 1 / counts[codes]
        values = {c: np.stack([right * weight, weight], axis=1) for c, right in self._right(given).items()}
        self.corpus(metric, "share", values, ratio, chance=1 / n_answers)

    def _right(self, given: Given) -> Values:
        values = {c: (np.array(g, dtype=object) == self._answers).astype(float) for c, g in given.items()}
        if self._majority is not None:
            values["constant"] = (self._answers == self._majority).astype(float)
        return values

    def bits_among(self, metric: str, bits: Values, places: np.ndarray) -> None:
        """log2 p of the true answer among a closed set of answers, bits (n_trials, n_answers); `places` says which.

        Chance is what the best constant distribution scores: minus the entropy of the true answers. What is above it is
        information that the EEG surely carries (a lower bound of the mutual information, Barber and Agakov 2003).
        """
        trial = np.arange(len(places))
        values = {c: rows[trial, places] - np.logaddexp2.reduce(rows, axis=1) for c, rows in bits.items()}
        share = np.bincount(places) / len(places)
        self.each(metric, "bits", values, float(np.sum(share[share > 0] * np.log2(share[share > 0]))))

    def identification(self, what: str, scores: Values, places: np.ndarray, sizes: np.ndarray | None = None) -> None:
        """n-way top-k and the median rank of the true candidate, scores (n_trials, n_candidates); see `identification`.

        n is 2, 10, 50 and 200, where there are as many candidates. Where these are the best of several each, `sizes`
        (n_candidates,) says of how many: chance is exact for them.
        """
        n_candidates = next(iter(scores.values())).shape[1]
        chances = rank_chances(np.ones(n_candidates, dtype=int) if sizes is None else sizes, places)
        for n, k in [(n, k) for n in NWAY if n <= n_candidates for k in TOP if k < n]:
            shares = {c: identified(s, places, n, k) for c, s in scores.items()}
            self.each(f"{n}-way top-{k}, {what}", "share", shares, chance_identified(chances, n, k))
        ranks = {c: expected_rank(s, places) for c, s in scores.items()}
        metric = f"median rank among {n_candidates}, {what} (lower is better)"
        self.corpus(metric, "rank", ranks, median, chance=chance_median_rank(chances), better="lower")

    def each(
        self,
        metric: str,
        unit: str,
        values: Values,
        chance: float | None,
        *,
        better: Better = "higher",
        n_answers: int | None = None,
    ) -> None:
        """A measure that is a mean over trials."""
        row = compare(
            metric,
            unit,
            values,
            self._clusters,
            subjects=self._subjects,
            chance=chance,
            seed=self._seed,
            better=better,
            n_answers=n_answers,
        )
        self.found.append(row)
        real = dict(zip(self._keys, map(float, values["real"]), strict=True))
        self.values.append(WindowValues(metric=metric, values=real))

    def corpus(
        self,
        metric: str,
        unit: str,
        values: Values,
        statistic: Statistic,
        *,
        chance: float | None = None,
        n_draws: int = 5000,
        biased: bool = False,
        better: Better = "higher",
    ) -> None:
        """A measure of all trials together; see `compare_corpus`."""
        row = compare_corpus(
            metric,
            unit,
            values,
            self._clusters,
            statistic,
            chance=chance,
            seed=self._seed,
            n_draws=n_draws,
            biased=biased,
            better=better,
        )
        self.found.append(row)


def unnamed(what: str, given: Given) -> str:
    """A remark: how many answers name nothing, and so are wrong."""
    parts = [f"{c} {np.mean([g is None for g in answers]):.1%}" for c, answers in given.items()]
    return f"{what} (counted as wrong): {', '.join(parts)}."


def likeliest(scores: Mapping[str, np.ndarray], answers: Sequence[str]) -> Given:
    """Per condition and trial the answer of the highest score."""
    return {c: [answers[k] for k in rows.argmax(axis=1)] for c, rows in scores.items()}


def different(what: str, answers: dict[str, list[str]]) -> str:
    """A remark: how many answers are different. No row: what one answer counts depends on all others, so trials cannot
    be exchanged one by one, and no p would mean anything."""
    return f"{what}: {', '.join(f'{c} {len(set(given))} of {len(given)}' for c, given in answers.items())}."
