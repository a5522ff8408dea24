"""The numbers of a report, read again from its report.json to be put beside those of others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neuroleon.common.errors import DataError
from neuroleon.evaluation.record import NAME, read_record
from neuroleon.evaluation.stats import Estimate

Key = tuple[str, ...]  # set, split, task, metric
LABEL = ("eeg2label", "accuracy, generated label")
MUST_AGREE = ("taught sets", "split", "limit", "seed", "text sampling", "picture sampling", "network of pictures")


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number of one report, on real EEG and, of tasks and methods, under shuffled EEG, with the verdict on both.

    `of` says whose number it is; `values` are those of each window, where the report has them; `better` is "higher",
    "lower" or "neither"; `p_holm` is the corrected p of a primary number, and absent of any other.
    """

    of: Literal["model", "method", "tokenizer"]
    unit: str
    better: str
    real: Estimate
    values: dict[str, float]
    shuffled: Estimate | None = None
    verdict: str | None = None
    p_holm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """What is compared of one report; `trials` (window -> trial), `shards` and `apart`, whether it was checked that the
    model learned from no recording of the split, are by set and split.

    A report is `pairable` if it has the values of single windows.
    """

    pairable: bool
    facts: dict[str, Any]
    shards: dict[Key, str]
    trials: dict[Key, dict[str, str]]
    apart: dict[Key, bool]
    numbers: dict[Key, Number]


def read_numbers(folder: Path) -> ReadReport:
    """The report in a folder.

    Raises:
        DataError: no report of a model, of a format that is not read, or damaged.
    """
    record = read_record(folder)
    try:
        places = [(result["recipe"], result["split"]) for result in record["sets"]]
        return ReadReport(
            pairable=record["format"] > 1,
            facts={name: value for name, value in record.items() if name not in ("format", "sets")},
            shards={place: result["shards"] for place, result in zip(places, record["sets"], strict=True)},
            trials={place: result.get("trials", {}) for place, result in zip(places, record["sets"], strict=True)},
            apart={
                place: result["audit"].get("apart") is True
                for place, result in zip(places, record["sets"], strict=True)
            },
            numbers=dict(_walk(record)),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{folder / NAME}: a part is missing or not what it should be ({error!r}); evaluate the model again"
        ) from None


def require_alike(folders: Sequence[Path], reports: Sequence[ReadReport]) -> None:
    """Refuse reports that are not of several models, evaluated in the same way.

    Raises:
        DataError: of one model twice, of a model that is not named, or of other settings.
    """
    first, models = reports[0], dict[str, Path]()
    for folder, report in zip(folders, reports, strict=True):
        model = report.facts.get("fingerprint")
        if model is None:
            raise DataError(f"{folder}: does not say of which model it is (fingerprint); evaluate the model again")
        if model in models:
            raise DataError(f"{models[model]} and {folder}: of one and the same model ({model[:12]}), not of two")
        models[model] = folder
        for name in MUST_AGREE:
            if report.facts.get(name) != first.facts.get(name):
                raise DataError(
                    f"{folder}: {name} is {report.facts.get(name)!r}, in {folders[0]} it is {first.facts.get(name)!r}; "
                    "give reports of models that were trained and evaluated in the same way"
                )


def _walk(record: Mapping[str, Any]) -> Iterator[tuple[Key, Number]]:
    """Every number of a report: of tasks, of classical methods, and of tokenizers."""
    for result in record["sets"]:
        place = (result["recipe"], result["split"])
        windows = list(result.get("trials", {}))
        for task in result["tasks"]:
            columns = task.get("values", {})
            for row in task["comparisons"]:
                values = _values(windows, columns.get(row["metric"], []))
                yield (*place, task["task"], row["metric"]), _of_row("model", row, values)
        for one in result.get("baselines", []):
            row = one["comparison"]
            name = (f"{one['method']} ({one['scheme']})", row["metric"])
            yield (*place, *name), _of_row("method", row, _values(windows, one.get("values", [])))
        for tokenizer in result["tokenizers"]:
            for measure, found in tokenizer["measures"].items():
                number = Number(of="tokenizer", unit="", better="neither", real=_estimate(found), values={})
                yield (*place, f"{tokenizer['modality']} tokenizer", measure), number


def _values(windows: Sequence[str], column: Sequence[float | None]) -> dict[str, float]:
    """Window -> value, of those that have one; a report of an older version lacks whole columns."""
    found = zip(windows, column, strict=True) if column else ()
    return {key: float(value) for key, value in found if value is not None}


def _of_row(of: Literal["model", "method"], row: Mapping[str, Any], values: dict[str, float]) -> Number:
    """Of a row of a table; an older report does not say which side is better, and shares and bits are."""
    known = "higher" if row["unit"] in ("share", "bits") else "neither"
    shuffled = row["conditions"].get("shuffled")
    return Number(
        of=of,
        unit=row["unit"],
        better=row.get("better", known),
        real=_estimate(row["conditions"]["real"]),
        values=values,
        shuffled=None if shuffled is None else _estimate(shuffled),
        verdict=row["verdict"],
        p_holm=row.get("p_holm"),
    )


def _estimate(found: Mapping[str, Any]) -> Estimate:
    return Estimate(
        **{name: float("nan") if found[name] is None else float(found[name]) for name in ("mean", "low", "high")}
    )
