"""Models that were trained in the same way from other seeds: what of a number is theirs, and what the seed's.

An interval over trials says how a number would move with other trials, and nothing of how it would move if the model
were trained again. So each number stands here as the mean over the models, with an interval over trials of that mean,
and with its standard deviation between models; and of each model but the first it is asked whether its number lies
within the first one's interval, as it should if a report is to be made again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.numbers import LABEL, Key, Number, ReadReport, read_numbers, require_alike
from neuroleon.evaluation.page import Block, Bullets, Heading, Table, Text
from neuroleon.evaluation.stats import LEVEL, Estimate, bootstrap_ci, bootstrap_share
from neuroleon.evaluation.words import estimate, metric_cell, number

ABOVE = {"higher": "above shuffled", "lower": "below shuffled"}  # better when it is ...: the verdict that is wanted


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """One number of several models.

    Attributes:
        is_primary: its p is corrected for all primary numbers of a report.
        models: the number of each.
        mean: of the models' means; its interval, over trials, is NaN where they have no values of the same windows.
        spread: standard deviation between models (n - 1).
        shuffled: mean over the models under shuffled EEG; absent where one lacks this control.
        n_above: models whose number is better than under shuffled EEG, p below .05, of a primary number corrected;
            absent where `shuffled` is, and where neither side is better.
        n_within: models but the first whose number is within the interval of the first; absent where there is none.
    """

    where: Key
    unit: str
    is_primary: bool
    models: tuple[Estimate, ...]
    mean: Estimate
    spread: float
    shuffled: float | None
    n_above: int | None
    n_within: int | None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The most accurate method of the field on one set and split, and which share of its accuracy the labels of the
    models' mean and of each model have, with intervals over trials where the windows are those of the method."""

    place: Key
    method: str
    accuracy: float
    shares: tuple[Estimate, ...]


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The numbers that all reports have, how many each set has that some lack (`not_in_all`), and what limits them."""

    reports: tuple[str, ...]
    remarks: tuple[str, ...]
    numbers: tuple[OverSeeds, ...]
    not_in_all: dict[str, int]
    best: tuple[Best, ...]


def over_seeds(folders: Sequence[Path]) -> Seeds:
    """Put reports of models that differ in their seed beside each other.

    Raises:
        DataError: fewer than two reports, of one model twice, of other data, windows or settings, without a number in
            common, or a folder without a readable report.
    """
    if len(folders) < 2:
        raise DataError(f"{', '.join(map(str, folders))}: one report; give the folders of two or more, one for a seed")
    reports = [read_numbers(folder) for folder in folders]
    _check(folders, reports)
    every = {key: None for report in reports for key, found in report.numbers.items() if found.of != "method"}
    shared = [key for key in every if all(key in report.numbers for report in reports)]
    if not shared:
        sets = "; ".join(f"{f} has {', '.join(_sets(report))}" for f, report in zip(folders, reports, strict=True))
        raise DataError(f"no set, split and task in common: {sets}; evaluate the models on the same sets and split")
    missing = [key for key in every if key not in shared]
    return Seeds(
        reports=tuple(map(str, folders)),
        remarks=tuple(_remarks(folders, reports)),
        numbers=tuple(
            _over_models(key, [report.numbers[key] for report in reports], reports[0].trials[key[:2]]) for key in shared
        ),
        not_in_all=dict(Counter(" ".join(key[:2]) for key in missing)),
        best=tuple(_best(reports)),
    )


def _sets(report: ReadReport) -> list[str]:
    return [" ".join(place) for place in report.shards]


def _check(folders: Sequence[Path], reports: Sequence[ReadReport]) -> None:
    require_alike(folders, reports)
    first = reports[0]
    for folder, report in zip(folders, reports, strict=True):
        for place in report.shards.keys() & first.shards.keys():
            if report.shards[place] != first.shards[place]:
                raise DataError(
                    f"{folder}: {' '.join(place)} are the shards {report.shards[place][:12]}, in {folders[0]} they are "
                    f"{first.shards[place][:12]}; evaluate all models on the same sample shards"
                )


def _remarks(folders: Sequence[Path], reports: Sequence[ReadReport]) -> Iterator[str]:
    yield "That the models differ in their seed alone is for who gives the reports to know: it is not checked."
    if old := [str(folder) for folder, report in zip(folders, reports, strict=True) if not report.pairable]:
        yield f"{', '.join(old)}: of format 1, without values of single windows: means have no intervals."


def _best(reports: Sequence[ReadReport]) -> Iterator[Best]:
    found: dict[Key, dict[str, Number]] = {}
    for report in reports:
        for key, one in report.numbers.items():
            if one.of == "method" and key[3] == "accuracy" and np.isfinite(one.real.mean):
                found.setdefault(key[:2], {})[key[2]] = one
    for place, methods in found.items():
        method = max(methods, key=lambda name: methods[name].real.mean)
        key, best = (*place, *LABEL), methods[method]
        models = [report.numbers[key] for report in reports if key in report.numbers]
        shares = _shares(models, best, reports[0].trials[place]) if len(models) == len(reports) else ()
        yield Best(place=place, method=method, accuracy=best.real.mean, shares=tuple(shares))


def _shares(models: Sequence[Number], method: Number, trials: dict[str, str]) -> Iterator[Estimate]:
    """Of the method's accuracy, what the models' mean has, and each of them."""
    together = [models, *([one] for one in models)]
    windows = [window for window in method.values if window in trials]
    clusters = np.array([trials[window] for window in windows])
    if len(np.unique(clusters)) > 1 and all(one.values.keys() == method.values.keys() for one in models):
        whole = np.array([method.values[window] for window in windows])
        for of in together:
            part = np.mean([[one.values[window] for window in windows] for one in of], axis=0)
            yield bootstrap_share(part, whole, clusters)
    else:
        nothing = float("nan")
        for of in together:
            share = np.mean([one.real.mean for one in of]) / method.real.mean if method.real.mean else nothing
            yield Estimate(mean=float(share), low=nothing, high=nothing)


def _over_models(key: Key, found: Sequence[Number], trials: dict[str, str]) -> OverSeeds:
    first, means = found[0], np.array([one.real.mean for one in found])
    mean = Estimate(mean=float(means.mean()), low=float("nan"), high=float("nan"))
    clusters = np.array([trials[window] for window in first.values])
    if all(one.values.keys() == first.values.keys() for one in found) and len(np.unique(clusters)) > 1:
        of_windows = np.mean([[one.values[window] for window in first.values] for one in found], axis=0)
        mean = bootstrap_ci(of_windows, clusters)
    controls = [one.shuffled.mean for one in found if one.shuffled is not None]
    has_control, wanted = len(controls) == len(found), ABOVE.get(first.better)
    has_interval = bool(np.isfinite([first.real.low, first.real.high, *means]).all())
    return OverSeeds(
        where=key,
        unit=first.unit,
        is_primary=first.p_holm is not None,
        models=tuple(one.real for one in found),
        mean=mean,
        spread=float(means.std(ddof=1)),
        shuffled=float(np.mean(controls)) if has_control else None,
        n_above=sum(_is_above(one, wanted) for one in found) if has_control and wanted else None,
        n_within=sum(first.real.low <= its <= first.real.high for its in means[1:]) if has_interval else None,
    )


def _is_above(one: Number, wanted: str) -> bool:
    return one.verdict == wanted and (one.p_holm is None or one.p_holm < LEVEL)


def page_of(found: Seeds) -> list[Block]:
    """The page: how many primary numbers are as in the first report, then every number."""
    n_others = len(found.reports) - 1
    primary = [one for one in found.numbers if one.is_primary and one.n_within is not None]
    as_first = sum(one.n_within == n_others for one in primary)
    blocks: list[Block] = [
        Heading(1, f"{len(found.reports)} models, trained from different seeds"),
        Bullets([*(f"model {k}: {report}" for k, report in enumerate(found.reports, start=1)), *found.remarks]),
        Text(
            f"Of {len(primary)} primary numbers (**bold**), {as_first} lie within the interval of model 1 for every "
            "other model. Intervals of the mean are over trials, and are not there where a number is not a mean over "
            "windows; the spread is the standard deviation between models. *Above shuffled* counts models whose p "
            "against shuffled EEG is below .05: of primary numbers corrected for their report, of all others not."
        ),
    ]
    best = {one.place: one for one in found.best if one.shares and one.accuracy > 0}
    for place in dict.fromkeys(one.where[:2] for one in found.numbers):
        of_place = [one for one in found.numbers if one.where[:2] == place]
        blocks.append(Heading(2, f"{place[0]}, split {place[1]}"))
        if place in best:
            blocks.append(_beside_the_field(best[place]))
        each = tuple(f"model {k + 1}" for k in range(n_others + 1))
        head = ("task", "number", "mean", "spread", *each, "shuffled, mean", "above shuffled", "within 1")
        blocks.append(Table(head, [_row(one, n_others) for one in of_place]))
    if found.not_in_all:
        blocks += [
            Heading(2, "Not in all reports"),
            Bullets([f"{place}: {n} numbers" for place, n in found.not_in_all.items()]),
        ]
    return blocks


def _beside_the_field(best: Best) -> Block:
    """The accuracy of free-running labels as a share of the best classical method's."""
    of_mean, *of_each = (estimate(share, "share") for share in best.shares)
    return Text(
        f"Best method of the field, chosen on these windows: {best.method}, {number(best.accuracy, 'share')}. "
        f"The mean of the models has {of_mean} of it; each, {', '.join(of_each)}. Intervals are over trials, the "
        "method as chosen, and are not there where its windows are not known to be the models'."
    )


def _row(one: OverSeeds, n_others: int) -> list[str]:
    *_, task, metric = one.where
    return [
        task,
        metric_cell(metric, one.unit, is_primary=one.is_primary),
        estimate(one.mean, one.unit),
        number(one.spread, one.unit),
        *(number(model.mean, one.unit) for model in one.models),
        number(one.shuffled, one.unit),
        "-" if one.n_above is None else f"{one.n_above} of {len(one.models)}",
        "-" if one.n_within is None else f"{one.n_within} of {n_others}",
    ]
