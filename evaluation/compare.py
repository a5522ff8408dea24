"""Two reports side by side: which numbers of the second differ from the first beyond their intervals.

Where both reports have the values of the same windows, the difference is paired: its interval and p are over the trials
that both share. Else only the two intervals are compared: numbers whose intervals do not overlap differ; of those that
overlap, nothing is said.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.numbers import Key, Number, ReadReport, read_numbers
from neuroleon.evaluation.page import Block, Bullets, Heading, Table, Text
from neuroleon.evaluation.stats import Estimate, bootstrap_ci, paired_permutation_p
from neuroleon.evaluation.words import estimate

Verdict = Literal["better", "worse", "higher", "lower", "no difference shown"]
WORDS: dict[str, tuple[Verdict, Verdict]] = {  # better when it is ...: what a rise is, and a fall
    "higher": ("better", "worse"),
    "lower": ("worse", "better"),
    "neither": ("higher", "lower"),
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number in two reports; `second_minus_first` with its p where the windows could be paired."""

    where: Key
    unit: str
    first: Estimate
    second: Estimate
    overlap: bool
    n_paired: int
    second_minus_first: Estimate | None
    p: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What two reports have in common, what differs, and what only one of them has."""

    first: str
    second: str
    remarks: tuple[str, ...]
    facts: dict[str, tuple[Any, Any]]
    differences: tuple[Difference, ...]
    only_first: tuple[Key, ...]
    only_second: tuple[Key, ...]


def compare_folders(first: Path, second: Path, seed: int = 0) -> Compared:
    """Compare the reports in two folders.

    Raises:
        DataError: one is no report of a readable format, is damaged, or they have no number in common.
    """
    one, two = read_numbers(first), read_numbers(second)
    shared = [key for key in one.numbers if key in two.numbers]
    if not shared:
        raise DataError(
            f"{first} and {second}: no set, split and task in common; compare reports of the same sets and split"
        )
    trials = {place: trials for place, trials in one.trials.items() if one.shards[place] == two.shards.get(place)}
    return Compared(
        first=str(first),
        second=str(second),
        remarks=tuple(_remarks(one, two, shared)),
        facts={
            name: (one.facts.get(name), two.facts.get(name))
            for name in dict.fromkeys([*one.facts, *two.facts])
            if one.facts.get(name) != two.facts.get(name)
        },
        differences=tuple(
            _difference(key, one.numbers[key], two.numbers[key], trials.get(key[:2], {}), seed) for key in shared
        ),
        only_first=tuple(key for key in one.numbers if key not in two.numbers),
        only_second=tuple(key for key in two.numbers if key not in one.numbers),
    )


def _difference(key: Key, one: Number, two: Number, trials: Mapping[str, str], seed: int) -> Difference:
    overlap = not (one.real.high < two.real.low or two.real.high < one.real.low)
    windows = [window for window in one.values if window in two.values and window in trials]
    clusters = np.array([trials[window] for window in windows])
    paired, p = None, None
    if len(np.unique(clusters)) > 1:
        first, second = (np.array([number.values[window] for window in windows]) for number in (one, two))
        paired = bootstrap_ci(second - first, clusters, seed=seed)
        p = paired_permutation_p(second, first, clusters, seed=seed)
        sure = p < 0.05 and not paired.low <= 0 <= paired.high
        rises = paired.mean > 0
    else:
        sure, rises = not overlap, two.real.mean > one.real.mean
    words = WORDS[two.better]
    return Difference(
        where=key,
        unit=one.unit,
        first=one.real,
        second=two.real,
        overlap=overlap,
        n_paired=len(windows) if paired else 0,
        second_minus_first=paired,
        p=p,
        verdict=(words[0] if rises else words[1]) if sure else "no difference shown",
    )


def _remarks(one: ReadReport, two: ReadReport, shared: Sequence[Key]) -> Iterator[str]:
    for place in dict.fromkeys(key[:2] for key in shared):
        if one.shards[place] != two.shards[place]:
            yield (
                f"**{' '.join(place)}: the shards differ, so the numbers are of different data**; nothing is paired, "
                "and a difference may be one of the data."
            )
    if not (one.pairable and two.pairable):
        yield "A report of format 1 has no values of single windows: only intervals are compared."


def page_of(found: Compared) -> list[Block]:
    """The page: what is different about the reports, then every number."""
    counts = {word: sum(d.verdict == word for d in found.differences) for word in ("better", "worse")}
    blocks: list[Block] = [
        Heading(1, "Comparison of two reports"),
        Bullets([f"A: {found.first}", f"B: {found.second}", *found.remarks]),
        Text(
            f"Of {len(found.differences)} numbers that both have, B is better in {counts['better']} and worse in "
            f"{counts['worse']}. A difference counts where the interval of B - A over the trials of both excludes 0 "
            "and the permutation p is below .05; where trials cannot be paired, where the intervals of A and B do not "
            "overlap. p is of one number, not corrected for the number of rows."
        ),
    ]
    if found.facts:
        rows = [[name, _short(a), _short(b)] for name, (a, b) in found.facts.items()]
        blocks += [Heading(2, "What is set differently"), Table(("setting", "A", "B"), rows)]
    for place in dict.fromkeys(d.where[:2] for d in found.differences):
        blocks.append(Heading(2, f"{place[0]}, split {place[1]}"))
        head = ("task", "number", "A", "B", "B - A, paired", "p", "intervals", "B is")
        blocks.append(Table(head, [_row(d) for d in found.differences if d.where[:2] == place]))
    for name, keys in (("A", found.only_first), ("B", found.only_second)):
        if keys:
            blocks += [Heading(2, f"Only in {name}"), Bullets(_alone(keys, {d.where[:2] for d in found.differences}))]
    return blocks


def _alone(keys: Sequence[Key], shared: set[Key]) -> list[str]:
    """Numbers of one report only; of a set that the other has not, just how many."""
    sets = Counter(key[:2] for key in keys if key[:2] not in shared)
    found = [f"{recipe}, split {split}: all {n} numbers" for (recipe, split), n in sets.items()]
    return found + [", ".join(key) for key in keys if key[:2] in shared]


def _row(d: Difference) -> list[str]:
    *_, task, metric = d.where
    return [
        task,
        f"{metric} ({d.unit})" if d.unit else metric,
        estimate(d.first, d.unit),
        estimate(d.second, d.unit),
        estimate(d.second_minus_first, d.unit, sign=True),
        "-" if d.p is None else f"{d.p:.4f}",
        "overlap" if d.overlap else "apart",
        d.verdict if d.verdict == "no difference shown" else f"**{d.verdict}**",
    ]


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
