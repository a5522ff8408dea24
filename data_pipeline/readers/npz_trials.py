"""Trials in one .npz file: an array (trial, channel, sample) beside labels, subjects and groups."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Recording

_DEFAULTS: dict[str, Any] = {
    "data": "x",
    "scale": "scale_uv",
    "label": "label",
    "subject": "subject",
    "group": "group",
    "sfreq": "fs",
    "channels": "ch",
    "channel_names": None,
    "trial_onset_s": 0.0,
    "index": "y",
    "extra": (),
}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file.

    Raises:
        DataError: absent, damaged, or with Python objects inside.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file ({error}); fetch it again") from None


class _Trials:
    """The arrays of the file, under the names that the options give."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path, self.options, self.arrays = path, options, read_arrays(path)

    def array(self, option: str) -> np.ndarray:
        """The array that an option names; a number stands for itself."""
        name = self.options[option]
        if isinstance(name, int | float):
            return np.asarray(name)
        return self.named(name)

    def named(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise DataError(f"{self.path}: no array {name!r}; found {sorted(self.arrays)}; mend the recipe")
        return self.arrays[name]

    def extra(self, name: str) -> list[Any]:
        """One value per trial; an array of another length has one per class, and `index` names each trial's class."""
        values, n_trials = self.named(name), len(self.array("data"))
        return (values if len(values) == n_trials else values[self.array("index")]).tolist()


def read_npz_trials(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """One recording per (subject, group), its trials one after the other with boundaries between them.

    Options: `file`, then names of arrays: `data`, `scale` (microvolts per unit; or a number), `label`, `subject`,
    `group`, `sfreq` (or a number), `channels`. `channel_names` replaces the file's names. `trial_onset_s` (name or
    number) is the time of a trial's first sample relative to its event, at most 0. `extra` lists arrays for the event's
    info, one value per trial, or one per class with `index` naming the array of class numbers.
    """
    if unknown := options.keys() - _DEFAULTS.keys() - {"file"}:
        raise ConfigError(
            f"reader npz_trials: unknown options {sorted(unknown)}; expected {sorted(_DEFAULTS)} and file"
        )
    if "file" not in options:
        raise ConfigError("reader npz_trials: option file is missing; expected the name of an .npz file")
    trials = _Trials(root / options["file"], _DEFAULTS | options)
    data, labels = trials.array("data"), trials.array("label")
    subjects, groups = trials.array("subject").astype(str), trials.array("group").astype(str)
    names = [str(name) for name in trials.options["channel_names"] or trials.array("channels").tolist()]
    if data.ndim != 3 or len(names) != data.shape[1] or not len(data) == len(labels) == len(subjects) == len(groups):
        raise DataError(
            f"{trials.path}: data {data.shape}, {len(names)} channel names, {len(labels)} labels, "
            f"{len(subjects)} subjects, {len(groups)} groups; expected (trial, channel, sample) and one entry "
            "per channel or trial"
        )
    sfreq, before_s = float(trials.array("sfreq")), -float(trials.array("trial_onset_s"))
    scale_uV = float(trials.array("scale"))
    columns = eeg_columns(names, str(trials.path))
    extra = {name: trials.extra(name) for name in trials.options["extra"]}
    n_times = data.shape[2]
    if not 0 <= before_s < n_times / sfreq:
        raise ConfigError(
            f"{trials.path}: trials of {n_times / sfreq:g} s with trial_onset_s {-before_s:g}; expected 0 or less, and "
            "the event inside its trial"
        )
    for subject, group in dict.fromkeys(zip(subjects.tolist(), groups.tolist(), strict=True)):
        chosen = np.flatnonzero((subjects == subject) & (groups == group))
        chosen_trials = [
            Trial(
                eeg=data[i],
                code=str(labels[i]).strip(),
                info={"trial": i} | {name: values[i] for name, values in extra.items()},
            )
            for i in chosen.tolist()
        ]
        source = Source(recording=f"{subject}-{group}", subject=subject, group=group)
        yield joined(chosen_trials, columns, source, sfreq, before_s=before_s, unit_uV=scale_uV)
