"""The Muse headband recordings of eeg-notebooks: one .npz per task, recordings.csv and events.csv beside it."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.npz_trials import read_arrays
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Event, Recording

SFREQ = 256.0
UV_PER_UNIT = 1 / 2.048  # the headband's 12 bits span 2000 microvolts
CHANNELS = ("TP9", "AF7", "AF8", "TP10")


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected it beside the task's .npz file") from None


def _event(row: dict[str, str]) -> Event:
    info: dict[str, Any] = {"code": int(row["code"])}
    if row["orientation"]:
        info["orientation"] = float(row["orientation"])  # of the grating, degrees
    return Event(int(row["sample"]) / SFREQ, row["label"], info=info)


def read_muse(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """The recordings of one task, such as `{"task": "visual_P300"}`; the code of an event is its label."""
    if options.keys() != {"task"}:
        raise ConfigError(f"reader muse: options {sorted(options)}; expected only task")
    path = root / f"{options['task']}.npz"
    if not path.is_file():
        tasks = sorted(p.stem for p in root.glob("*.npz"))
        raise DataError(f"{path}: no such file; tasks here: {tasks}")
    about = {int(row["rec"]): row for row in _rows(root / "recordings.csv")}
    events: dict[int, list[Event]] = {}
    for row in _rows(root / "events.csv"):
        events.setdefault(int(row["rec"]), []).append(_event(row))
    columns = eeg_columns(CHANNELS, str(path))
    for key, counts in read_arrays(path).items():
        number = int(key.removeprefix("r"))
        if number not in about:
            raise DataError(f"{path}: recording {key} is not in recordings.csv; fetch both files again")
        yield Recording(
            eeg_uV=(counts.T * UV_PER_UNIT).astype(np.float32),
            ch_names=columns.ch_names,
            positions=columns.positions,
            sfreq=SFREQ,
            events=tuple(events.get(number, ())),
            name=key,
            subject=about[number]["subject"],
            group=about[number]["session"],
            name_map=columns.name_map,
        )
