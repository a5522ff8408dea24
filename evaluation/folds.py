"""Models of cross-validation over recordings: each tested on recordings that it never saw, all of them read as one.

A split has few recordings, and trials of one are alike: an interval over trials says nothing of the next recording. Of
folds (`prepare.py samples --fold`) every recording is for test in turn, so that numbers here have intervals over
recordings, which are drawn whole (cluster bootstrap: Davison and Hinkley 1997, section 3.8).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.baselines.run import BEST
from neuroleon.evaluation.numbers import LABEL, Key, Number, ReadReport, read_numbers, require_alike
from neuroleon.evaluation.page import Block, Bullets, Heading, Table, Text
from neuroleon.evaluation.rows import LABEL_BITS
from neuroleon.evaluation.stats import Estimate, bootstrap_ci, bootstrap_share, paired_permutation_p
from neuroleon.evaluation.words import estimate, metric_cell, number


@dataclass(frozen=True, kw_only=True)
class OverFolds:
    """One number over the windows of all folds, with its interval over recordings.

    Attributes:
        is_primary: its p is corrected for all primary numbers of a report.
        folds: the number of each report.
        shuffled: under shuffled EEG, over the windows of all folds; absent where a report lacks this control.
        recordings: SUBJECT/RECORDING -> the number of its windows.
    """

    where: Key
    unit: str
    is_primary: bool
    mean: Estimate
    shuffled: float | None
    folds: tuple[float, ...]
    recordings: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SetOverFolds:
    """One set and split: how many windows each recording has, the numbers of the models, and the accuracy of the
    methods of the field that every fold asked, the best first; `share` is what the models' labels have of the best
    one's accuracy, where there is one, and `p` that of their paired difference, recordings changing sign as wholes."""

    place: Key
    windows: dict[str, int]
    numbers: tuple[OverFolds, ...]
    methods: tuple[OverFolds, ...]
    share: Estimate | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Folds:
    """What reports of folds say together; `remarks` say what was left out and what is not known."""

    reports: tuple[str, ...]
    remarks: tuple[str, ...]
    sets: tuple[SetOverFolds, ...]


def over_folds(folders: Sequence[Path]) -> Folds:
    """Read reports of models, each tested on other recordings of the same sets, as one.

    Raises:
        DataError: fewer than two reports, of one model twice, of other settings, without values of single windows or
            without a set in common of which they test other recordings, or a folder without a readable report.
    """
    if len(folders) < 2:
        raise DataError(f"{', '.join(map(str, folders))}: one report; give the folders of two or more, one for a fold")
    reports = [read_numbers(folder) for folder in folders]
    require_alike(folders, reports)
    if old := [str(folder) for folder, report in zip(folders, reports, strict=True) if not report.pairable]:
        raise DataError(f"{old[0]}: of format 1, without values of single windows; evaluate the model again")
    places = [place for place in reports[0].shards if all(place in report.shards for report in reports)]
    turned = [place for place in places if len({report.shards[place] for report in reports}) > 1]
    if not turned:
        raise DataError(
            f"{', '.join(map(str, folders))}: no set that every report has with other recordings; prepare the samples "
            "of each fold with --fold, and train and evaluate a model of each"
        )
    return Folds(
        reports=tuple(map(str, folders)),
        remarks=tuple(_remarks(folders, reports, places, turned)),
        sets=tuple(_of_set(place, reports) for place in turned),
    )


def _remarks(
    folders: Sequence[Path], reports: Sequence[ReadReport], places: Sequence[Key], turned: Sequence[Key]
) -> Iterator[str]:
    yield "That the models were trained in the same way is for who gives the reports to know: it is not checked."
    for place in dict.fromkeys(place for report in reports for place in report.shards):
        if place not in places:
            yield f"{' '.join(place)}: not in every report, left out."
        elif place not in turned:
            yield f"{' '.join(place)}: the same windows in every report, left out."
    for place in turned:
        name = " ".join(place)
        if unsure := [str(f) for f, report in zip(folders, reports, strict=True) if not report.apart[place]]:
            yield f"{name}: not checked whether the model learned from what it was tested on: {', '.join(unsure)}."
        asked = [{key[2] for key in report.numbers if _is_method(report, key, place)} for report in reports]
        if missing := sorted(set[str]().union(*asked) - set[str].intersection(*asked)):
            yield f"{name}: methods that not every report has, left out: {', '.join(missing)}."
        tested = [_recordings(report, place) for report in reports]
        if again := {one for i, some in enumerate(tested) for other in tested[:i] for one in some & other}:
            yield f"{name}: tested by several folds, whose values of a window are averaged: {', '.join(sorted(again))}."


def _is_method(report: ReadReport, key: Key, place: Key) -> bool:
    """Whether a number is the accuracy of a method of the field on a set; the choice among them is none of them."""
    one = report.numbers[key]
    return one.of == "method" and key[:2] == place and key[3] == "accuracy" and not key[2].startswith(f"{BEST} (")


def _recordings(report: ReadReport, place: Key) -> set[str]:
    return {_recording(trial) for trial in report.trials[place].values()}


def _recording(trial: str) -> str:
    """SUBJECT/RECORDING/NUMBER -> SUBJECT/RECORDING."""
    return trial.rpartition("/")[0]


def _of_set(place: Key, reports: Sequence[ReadReport]) -> SetOverFolds:
    recordings = {window: _recording(trial) for report in reports for window, trial in report.trials[place].items()}
    shared = [key for key in reports[0].numbers if key[:2] == place and all(key in r.numbers for r in reports)]
    found = {key: [report.numbers[key] for report in reports] for key in shared}
    found = {key: folds for key, folds in found.items() if all(one.values for one in folds)}
    numbers = {key: _over_folds(key, folds, recordings) for key, folds in found.items()}
    methods = [one for key, one in numbers.items() if _is_method(reports[0], key, place)]
    methods.sort(key=lambda one: -one.mean.mean)
    label = found.get((*place, *LABEL))
    share, p = _against(label, found[methods[0].where], recordings) if label and methods else (None, None)
    return SetOverFolds(
        place=place,
        windows={name: list(recordings.values()).count(name) for name in sorted(set(recordings.values()))},
        numbers=tuple(one for key, one in numbers.items() if found[key][0].of == "model"),
        methods=tuple(methods),
        share=share,
        p=p,
    )


def _joined(folds: Sequence[Number]) -> dict[str, float]:
    """The value of each window; of one that several folds were tested on, the mean."""
    values: dict[str, list[float]] = defaultdict(list)
    for one in folds:
        for window, value in one.values.items():
            values[window].append(value)
    return {window: float(np.mean(several)) for window, several in values.items()}


def _over_folds(key: Key, folds: Sequence[Number], recordings: dict[str, str]) -> OverFolds:
    joined = _joined(folds)
    values, clusters = np.array(list(joined.values())), np.array([recordings[window] for window in joined])
    under = [one.shuffled.mean for one in folds if one.shuffled is not None]
    return OverFolds(
        where=key,
        unit=folds[0].unit,
        is_primary=folds[0].p_holm is not None,
        mean=bootstrap_ci(values, clusters),
        shuffled=float(np.average(under, weights=[len(one.values) for one in folds]))
        if len(under) == len(folds)
        else None,
        folds=tuple(float(np.mean(list(one.values.values()))) for one in folds),
        recordings={name: float(values[clusters == name].mean()) for name in np.unique(clusters).tolist()},
    )


def _against(
    model: Sequence[Number], method: Sequence[Number], recordings: dict[str, str]
) -> tuple[Estimate | None, float | None]:
    """Of the method's accuracy, what the models' labels have, on the windows that both answered, and p."""
    part, whole = _joined(model), _joined(method)
    both = [window for window in part if window in whole]
    clusters = np.array([recordings[window] for window in both])
    if len(np.unique(clusters)) < 2:
        return None, None
    parts, wholes = np.array([part[w] for w in both]), np.array([whole[w] for w in both])
    return bootstrap_share(parts, wholes, clusters), paired_permutation_p(parts, wholes, clusters)


def page_of(found: Folds) -> list[Block]:
    """The page: of each set how the models do beside the best method, their numbers, and those of each recording."""
    blocks: list[Block] = [
        Heading(1, f"Cross-validation over recordings: {len(found.reports)} reports"),
        Bullets([*(f"report {k}: {report}" for k, report in enumerate(found.reports, start=1)), *found.remarks]),
        Text(
            "Each model was tested on the recordings of its test split. Intervals (95 %) are over recordings, drawn "
            "whole; of few they are too narrow, and the models share most of what they learned from. What was chosen "
            "on the validation split of one fold was chosen on recordings that another tests. Numbers without values "
            "of single windows are left out."
        ),
    ]
    for one in found.sets:
        blocks += _section(one, len(found.reports))
    return blocks


def _section(one: SetOverFolds, n_reports: int) -> Iterator[Block]:
    people = list(dict.fromkeys(name.partition("/")[0] for name in one.windows))
    yield Heading(2, f"{one.place[0]}, split {one.place[1]}")
    n_windows, n = sum(one.windows.values()), len(one.windows)
    yield Text(f"{n_windows} windows of {n} recordings of {len(people)} subject{'s' * (len(people) != 1)}.")
    if one.share is not None:
        best = one.methods[0]
        yield Text(
            f"Best method of the field, chosen on these windows: {best.where[2]}, {estimate(best.mean, best.unit)}. "
            f"Labels of the models have {estimate(one.share, 'share')} of it (paired difference, sign flips of whole "
            f"recordings: p {number(one.p)})."
        )
    head = ("task or method", "number", "mean", "shuffled", *(f"report {k + 1}" for k in range(n_reports)))
    yield Table(head, [_row(row) for row in (*one.numbers, *one.methods)])
    shown = [row for row in one.numbers if row.where[2:] in (LABEL, (LABEL[0], LABEL_BITS))] + list(one.methods[:1])
    rows = []
    for person in people:
        own = [name for name in one.windows if name.partition("/")[0] == person]
        if len(people) > 1:
            rows.append([person, f"all {len(own)}", *_of_recordings(one, own, shown)])
        rows += [[person, name.partition("/")[2], *_of_recordings(one, [name], shown)] for name in own]
    yield Table(("subject", "recording", "windows", *(f"{row.where[2]}: {row.where[3]}" for row in shown)), rows)


def _of_recordings(one: SetOverFolds, names: Sequence[str], shown: Sequence[OverFolds]) -> list[str]:
    """How many windows recordings have, and the mean over them of each number shown."""
    weights = [one.windows[name] for name in names]
    means = [np.average([row.recordings.get(name, np.nan) for name in names], weights=weights) for row in shown]
    return [str(sum(weights)), *(number(float(mean), row.unit) for mean, row in zip(means, shown, strict=True))]


def _row(one: OverFolds) -> list[str]:
    *_, task, metric = one.where
    return [
        task,
        metric_cell(metric, one.unit, is_primary=one.is_primary),
        estimate(one.mean, one.unit),
        number(one.shuffled, one.unit),
        *(number(fold, one.unit) for fold in one.folds),
    ]
