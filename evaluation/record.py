"""report.json: every number of a report, written, and read again to be compared."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json
from neuroleon.evaluation.results import Report
from neuroleon.signals.window import Window

FORMAT = 2  # 2: values of every window, confusions, calibration, cost, baselines, attribution
READABLE = (1, FORMAT)
NAME = "report.json"

_NOT_NUMBERS = {"waveforms", "restored_pictures", "shown"}  # are in the figures


def as_record(report: Report) -> dict[str, Any]:
    """The content of report.json; what is not finite is null."""
    sets = [plain(result) for result in report.sets]
    for result in sets:
        result["tokenizers"] = result.pop("fidelities")
        for task in result["tasks"]:
            task["values"] = _columns(task["values"], result["trials"])
        for one in result["baselines"]:
            one["values"] = _column(one["values"], result["trials"])
    return {"format": FORMAT, **plain(report.facts), "sets": sets}


def _columns(values: list[dict[str, Any]], trials: Mapping[str, str]) -> dict[str, list[float | None]]:
    """metric -> its value at each window of `trials`, in that order; null where it has none."""
    return {one["metric"]: _column(one["values"], trials) for one in values}


def _column(values: Mapping[str, float], trials: Mapping[str, str]) -> list[float | None]:
    return [values.get(key) for key in trials]


def plain(value: Any) -> Any:
    """Results as what JSON holds: dataclasses become objects, arrays lists, what is not finite null."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if is_dataclass(value):
        assert not isinstance(value, Window), "EEG is in the figures, not among the numbers"
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name not in _NOT_NUMBERS}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(record: dict[str, Any]) -> str:
    """Indented JSON, a list of numbers in one line."""
    text = json.dumps(record, indent=1, allow_nan=False)
    return re.sub(r"\[\n([^\[\]{}\"]+)\]", lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n"


def read_record(folder: Path) -> dict[str, Any]:
    """The report.json of a report's folder.

    Raises:
        DataError: no report of a model, or of a format that is not read.
    """
    path = folder / NAME
    if not path.is_file():
        raise DataError(f"{folder}: holds no {NAME}; give the folder that evaluate.py wrote (--out)")
    record = read_json(path)
    found = record.get("format") if isinstance(record, dict) else None
    if found not in READABLE:
        raise DataError(
            f"{path}: format is {found!r}, expected {' or '.join(map(str, READABLE))}, that is, the report of a model; "
            "evaluate the model again with this version"
        )
    return record
