"""Models of cross-validation over recordings: each tested on recordings that it never saw, all of them read as one.

A split has few recordings, and trials of one are alike: an interval over trials says nothing of the next recording. Of
folds (`prepare.py samples --fold`) every recording is for test once, so that numbers here have intervals over
recordings, which are drawn whole (cluster bootstrap: Davison and Hinkley 1997, section 3.8).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.numbers import LABEL, Key, Number, ReadReport, read_numbers, require_alike
from neuroleon.evaluation.page import Block, Bullets, Heading, Table, Text
from neuroleon.evaluation.rows import LABEL_BITS
from neuroleon.evaluation.stats import Estimate, bootstrap_ci, bootstrap_share
from neuroleon.evaluation.words import estimate, number


@dataclass(frozen=True, kw_only=True)
class OverFolds:
    """One number over the windows of all folds, with its interval over recordings.

    Attributes:
        is_primary: its p is corrected for all primary numbers of a report.
        folds: the number of each fold.
        shuffled: under shuffled EEG, over the windows of all folds; absent where a fold lacks this control.
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
    """One set and split: how many windows each recording has, the numbers of the model, and the accuracy of the methods
    of the field that every fold asked; `share` is what the model's labels have of the best one's accuracy, where
    there is one."""

    place: Key
    windows: dict[str, int]
    numbers: tuple[OverFolds, ...]
    methods: tuple[OverFolds, ...]
    share: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Folds:
    """What reports of folds say together; `remarks` say what was left out."""

    reports: tuple[str, ...]
    remarks: tuple[str, ...]
    sets: tuple[SetOverFolds, ...]


def over_folds(folders: Sequence[Path]) -> Folds:
    """Read reports of models, each tested on other recordings of the same sets, as one.

    Raises:
        DataError: fewer than two reports, of one model twice, of other settings, without values of single windows, a
            recording that two folds test, fewer than two recordings of a set, or a folder without a readable report.
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
    every = {place: None for report in reports for place in report.shards}
    remarks = [f"{' '.join(p)}: not in every report, left out." for p in every if p not in places]
    remarks += [f"{' '.join(p)}: the same windows in every report, left out." for p in places if p not in turned]
    return Folds(
        reports=tuple(map(str, folders)),
        remarks=tuple(remarks),
        sets=tuple(_of_set(place, folders, reports) for place in turned),
    )


def _of_set(place: Key, folders: Sequence[Path], reports: Sequence[ReadReport]) -> SetOverFolds:
    recordings: dict[str, str] = {}  # of each window
    tested: dict[str, Path] = {}
    for folder, report in zip(folders, reports, strict=True):
        here = {window: trial.rpartition("/")[0] for window, trial in report.trials[place].items()}
        for recording in set(here.values()):
            if recording in tested:
                raise DataError(
                    f"{tested[recording]} and {folder}: both test recording {recording} of {place[0]}; of folds each "
                    "recording is tested once"
                )
            tested[recording] = folder
        recordings |= here
    if len(tested) < 2:
        raise DataError(f"{folders[0]}: {place[0]} has one recording over all folds; an interval needs two or more")
    shared = [key for key in reports[0].numbers if key[:2] == place and all(key in r.numbers for r in reports)]
    found = {key: [report.numbers[key] for report in reports] for key in shared}
    numbers = {key: _over_folds(key, of, recordings) for key, of in found.items() if all(one.values for one in of)}
    methods = [one for key, one in numbers.items() if found[key][0].of == "method" and key[3] == "accuracy"]
    methods.sort(key=lambda one: -one.mean.mean)
    of_model = [one for key, one in numbers.items() if found[key][0].of == "model"]
    return SetOverFolds(
        place=place,
        windows={one: list(recordings.values()).count(one) for one in sorted(tested)},
        numbers=tuple(of_model),
        methods=tuple(methods),
        share=_share(found.get((*place, *LABEL)), found[methods[0].where], recordings) if methods else None,
    )


def _joined(folds: Sequence[Number]) -> dict[str, float]:
    return {window: value for one in folds for window, value in one.values.items()}


def _over_folds(key: Key, folds: Sequence[Number], recordings: dict[str, str]) -> OverFolds:
    values = _joined(folds)
    clusters = np.array([recordings[window] for window in values])
    numbers = np.array(list(values.values()))
    under = [one.shuffled.mean for one in folds if one.shuffled is not None]
    n_windows = [len(one.values) for one in folds]
    return OverFolds(
        where=key,
        unit=folds[0].unit,
        is_primary=folds[0].p_holm is not None,
        mean=bootstrap_ci(numbers, clusters),
        shuffled=float(np.average(under, weights=n_windows)) if len(under) == len(folds) else None,
        folds=tuple(float(np.mean(list(one.values.values()))) for one in folds),
        recordings={name: float(numbers[clusters == name].mean()) for name in np.unique(clusters).tolist()},
    )


def _share(model: Sequence[Number] | None, method: Sequence[Number], recordings: dict[str, str]) -> Estimate | None:
    """Of the method's accuracy, what the model's labels have, on the windows that both answered."""
    if model is None:
        return None
    part, whole = _joined(model), _joined(method)
    both = [window for window in part if window in whole]
    clusters = np.array([recordings[window] for window in both])
    if len(np.unique(clusters)) < 2:
        return None
    return bootstrap_share(np.array([part[w] for w in both]), np.array([whole[w] for w in both]), clusters)


def page_of(found: Folds) -> list[Block]:
    """The page: of each set how the model does beside the best method, its numbers, and those of each recording."""
    blocks: list[Block] = [
        Heading(1, f"Cross-validation over recordings: {len(found.reports)} folds"),
        Bullets([*(f"fold {k}: {report}" for k, report in enumerate(found.reports, start=1)), *found.remarks]),
        Text(
            "Every recording was tested by a model that learned from others. Intervals (95 %) are over recordings, "
            "which are drawn whole; of few they are too narrow. Numbers without values of single windows are left out."
        ),
    ]
    for one in found.sets:
        blocks += _section(one, len(found.reports))
    return blocks


def _section(one: SetOverFolds, n_folds: int) -> Iterator[Block]:
    people = len({name.partition("/")[0] for name in one.windows})
    yield Heading(2, f"{one.place[0]}, split {one.place[1]}")
    n_windows, n = sum(one.windows.values()), len(one.windows)
    yield Text(f"{n_windows} windows of {n} recordings of {people} subject{'s' * (people != 1)}.")
    if one.share is not None:
        best = one.methods[0]
        yield Text(
            f"Best method of the field, chosen on these windows: {best.where[2]}, {estimate(best.mean, best.unit)}. "
            f"Labels of the models have {estimate(one.share, 'share')} of it."
        )
    head = ("task or method", "number", "mean", "shuffled", *(f"fold {k + 1}" for k in range(n_folds)))
    yield Table(head, [_row(row) for row in (*one.numbers, *one.methods)])
    shown = [row for row in one.numbers if row.where[2:] in (LABEL, (LABEL[0], LABEL_BITS))]
    shown += one.methods[:1]
    columns = [f"{row.where[2]}: {row.where[3]}" for row in shown]
    rows = [
        [*name.split("/"), str(n), *(number(row.recordings.get(name), row.unit) for row in shown)]
        for name, n in one.windows.items()
    ]
    yield Table(("subject", "recording", "windows", *columns), rows)


def _row(one: OverFolds) -> list[str]:
    *_, task, metric = one.where
    name = f"{metric} ({one.unit})" if one.unit else metric
    return [
        task,
        f"**{name}**" if one.is_primary else name,
        estimate(one.mean, one.unit),
        number(one.shuffled, one.unit),
        *(number(fold, one.unit) for fold in one.folds),
    ]
