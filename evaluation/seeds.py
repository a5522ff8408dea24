"""Models that were trained in the same way from other seeds: what of a number is theirs, and what the seed's.

An interval over trials says how a number would move with other trials, and nothing of how it would move if the model
were trained again. So each number stands here as the mean over the models, with an interval over trials of that mean,
and with its standard deviation between models; and of each model but the first it is asked whether its number lies
within the first one's interval, as it should if a report is to be made again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.numbers import Key, Number, ReadReport, read_numbers
from neuroleon.evaluation.page import Block, Bullets, Heading, Table, Text
from neuroleon.evaluation.stats import Estimate, bootstrap_ci
from neuroleon.evaluation.words import estimate, number

MUST_AGREE = ("split", "limit", "seed", "text sampling", "picture sampling", "network of pictures")


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """One number of several models.

    Attributes:
        models: the number of each.
        mean: of the models' means, with its interval over the trials, where windows have values; else NaN about it.
        spread: standard deviation between models (n - 1).
        shuffled: mean over the models under shuffled EEG; absent where there is no such control.
        n_above: models whose number is told from shuffled EEG, on the better side; absent likewise.
        n_within: models but the first whose number is within the interval of the first.
    """

    where: Key
    unit: str
    models: tuple[Estimate, ...]
    mean: Estimate
    spread: float
    shuffled: float | None
    n_above: int | None
    n_within: int


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The numbers that all reports have; `best` is the most accurate method of the field, by set and split."""

    reports: tuple[str, ...]
    numbers: tuple[OverSeeds, ...]
    best: dict[str, tuple[str, float]]


def over_seeds(folders: Sequence[Path], seed: int = 0) -> Seeds:
    """Put reports of models that differ in their seed beside each other.

    Raises:
        DataError: fewer than two reports, of one model twice, of other data, windows or settings, without a number in
            common, or a folder without a readable report.
    """
    if len(folders) < 2:
        raise DataError(f"{len(folders)} report(s) given; how far models lie apart is told by two or more")
    reports = [read_numbers(folder) for folder in folders]
    _check(folders, reports)
    first, *others = reports
    shared = [key for key in first.numbers if all(key in other.numbers for other in others)]
    if not shared:
        raise DataError(f"{', '.join(map(str, folders))}: no set, split and task in common")
    methods = [(key, found) for key, found in first.numbers.items() if found.of == "method" and key[-1] == "accuracy"]
    best: dict[str, tuple[str, float]] = {}
    for (*place, method, _), found in methods:
        name = " ".join(place)
        if name not in best or found.real.mean > best[name][1]:
            best[name] = (method, found.real.mean)
    return Seeds(
        reports=tuple(map(str, folders)),
        numbers=tuple(
            _number(key, [report.numbers[key] for report in reports], first.trials[key[:2]], seed)
            for key in shared
            if first.numbers[key].of != "method"
        ),
        best=best,
    )


def _check(folders: Sequence[Path], reports: Sequence[ReadReport]) -> None:
    first = reports[0]
    models: dict[str, Path] = {}
    for folder, report in zip(folders, reports, strict=True):
        model = str(report.facts.get("fingerprint"))
        if model in models:
            raise DataError(f"{models[model]} and {folder}: of one and the same model ({model[:12]}), not of two seeds")
        models[model] = folder
        for name in MUST_AGREE:
            if report.facts.get(name) != first.facts.get(name):
                raise DataError(
                    f"{folder}: {name} is {report.facts.get(name)!r}, in {folders[0]} it is {first.facts.get(name)!r}; "
                    "evaluate the models in the same way"
                )
        for place in report.shards.keys() & first.shards.keys():
            if report.shards[place] != first.shards[place]:
                raise DataError(f"{folder}: {' '.join(place)} are other shards than in {folders[0]}; use the same")


def _number(key: Key, found: Sequence[Number], trials: dict[str, str], seed: int) -> OverSeeds:
    means = np.array([one.real.mean for one in found])
    windows = [window for window in found[0].values if all(window in one.values for one in found)]
    clusters = np.array([trials[window] for window in windows])
    mean = Estimate(mean=float(means.mean()), low=float("nan"), high=float("nan"))
    if len(np.unique(clusters)) > 1:
        of_windows = np.mean([[one.values[window] for window in windows] for one in found], axis=0)
        mean = bootstrap_ci(of_windows, clusters, seed=seed)
    controls = [one.shuffled.mean for one in found if one.shuffled is not None]
    wanted = {"higher": "above shuffled", "lower": "below shuffled"}.get(found[0].better)
    first = found[0].real
    return OverSeeds(
        where=key,
        unit=found[0].unit,
        models=tuple(one.real for one in found),
        mean=mean,
        spread=float(means.std(ddof=1)),
        shuffled=float(np.mean(controls)) if len(controls) == len(found) else None,
        n_above=sum(one.verdict == wanted for one in found) if controls and wanted else None,
        n_within=sum(first.low <= one.real.mean <= first.high for one in found[1:]),
    )


def page_of(found: Seeds) -> list[Block]:
    """The page: how many numbers are as in the first report, then every number."""
    n_others = len(found.reports) - 1
    outside = [one for one in found.numbers if one.n_within < n_others]
    blocks: list[Block] = [
        Heading(1, f"{len(found.reports)} models trained from other seeds"),
        Bullets([f"model {k}: {report}" for k, report in enumerate(found.reports, start=1)]),
        Text(
            f"Of {len(found.numbers)} numbers, {len(found.numbers) - len(outside)} lie within the interval of model 1 "
            "for every other model. Intervals of the mean are over trials; the spread is the standard deviation "
            "between models."
        ),
    ]
    for place in dict.fromkeys(one.where[:2] for one in found.numbers):
        of_place = [one for one in found.numbers if one.where[:2] == place]
        blocks += [
            Heading(2, f"{place[0]}, split {place[1]}"),
            *_beside_the_field(of_place, found.best.get(" ".join(place))),
        ]
        each = tuple(f"model {k + 1}" for k in range(n_others + 1))
        head = ("task", "number", "mean", "spread", *each, "shuffled, mean", "told from shuffled", "within 1")
        blocks.append(Table(head, [_row(one, n_others) for one in of_place]))
    return blocks


def _beside_the_field(numbers: Sequence[OverSeeds], best: tuple[str, float] | None) -> Iterator[Block]:
    """The accuracy of free-running labels as a share of the best classical method's."""
    told = next((one for one in numbers if one.where[2:] == ("eeg2label", "accuracy, generated label")), None)
    if told is not None and best is not None and best[1] > 0:
        method, accuracy = best
        shares = ", ".join(number(one.mean / accuracy, "share") for one in told.models)
        yield Text(f"Best method of the field: {method}, {number(accuracy, 'share')}. Models have {shares} of it.")


def _row(one: OverSeeds, n_others: int) -> list[str]:
    *_, task, metric = one.where
    return [
        task,
        f"{metric} ({one.unit})" if one.unit else metric,
        estimate(one.mean, one.unit) if np.isfinite(one.mean.low) else number(one.mean.mean, one.unit),
        number(one.spread, one.unit),
        *(number(model.mean, one.unit) for model in one.models),
        number(one.shuffled, one.unit),
        "-" if one.n_above is None else f"{one.n_above} of {len(one.models)}",
        f"{one.n_within} of {n_others}",
    ]
