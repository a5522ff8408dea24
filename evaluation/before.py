"""The EEG just before the event of a trial: from shards of the same recordings whose windows are shifted back.

Prepare them with a copy of the set's recipe, of the same name, into another folder: `tmin_s` of its windows is minus
their duration (or less), without `repeats` and without `stimulus`. What a model says from such a window it cannot have
seen in the answer; where trials follow each other fast it is the response to the one before.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import read_json
from neuroleon.data_pipeline.members import Record
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.windows import WindowSpec

SLACK_S = 0.003  # onsets are whole samples at 200 Hz
_EQUAL = ("name", "preprocess_fingerprint")  # of the manifest


def window_spec(folder: Path) -> WindowSpec | None:
    """How the windows of a folder of sample shards were cut; None where it does not say so, or in several ways.

    Raises:
        DataError: its recipe.json is damaged.
    """
    path = folder / "recipe.json"
    told = read_json(path).get("windows", []) if path.is_file() else []
    if len(told) != 1:
        return None
    events = told[0]["events"]
    return WindowSpec(**told[0] | {"events": None if events is None else tuple(events)})


class Before:
    """Finds the window before the event of a sample of `samples` among those of `baseline`.

    Raises:
        ConfigError: the two were not prepared from the same recordings in the same way, their windows are not cut by
            events with one length, or those of `baseline` do not end before the event.
    """

    def __init__(self, samples: Path, baseline: Path, split: str) -> None:
        evaluated, reader = ShardReader(samples, split), ShardReader(baseline, split)
        for fact in _EQUAL:
            found, expected = reader.manifest.get(fact), evaluated.manifest.get(fact)
            if found != expected:
                raise ConfigError(
                    f"{baseline}: {fact} is {found!r}, {samples} has {expected!r}; prepare both from one recipe"
                )
        spec, shifted = window_spec(samples), window_spec(baseline)
        if spec is None or shifted is None or {spec.by, shifted.by} != {"events"}:
            raise ConfigError(f"{baseline}, {samples}: only windows cut by events in one way have a time before them")
        gap_s = 0.0 - shifted.tmin_s - shifted.duration_s
        if shifted.duration_s != spec.duration_s or shifted.repeats != 1 or gap_s < 0:
            found = f"{shifted.repeats} of {shifted.duration_s:g} s from {shifted.tmin_s:g} s"
            raise ConfigError(
                f"{baseline}: windows after each event: {found}; expected 1 of {spec.duration_s:g} s from "
                f"{-spec.duration_s:g} s or earlier"
            )
        self._gap_s, self._duration_s, self.folder = gap_s, spec.duration_s, baseline
        self._shifts_s = [spec.tmin_s + k * (spec.repeat_every_s or 0) - shifted.tmin_s for k in range(spec.repeats)]
        self._reader = reader
        self._onsets: dict[tuple[str, str], list[tuple[float, int]]] = {}
        for i, record in enumerate(reader):
            meta = record["json"]
            self._onsets.setdefault((meta["subject"], meta["recording"]), []).append((meta["onset_s"], i))

    def __call__(self, meta: dict[str, Any]) -> Record | None:
        """The sample before the event of the sample with this `meta`; None where the recording has none there."""
        onsets = self._onsets.get((meta["subject"], meta["recording"]), [])
        for shift_s in self._shifts_s:
            for onset_s, i in onsets:
                if abs(meta["onset_s"] - shift_s - onset_s) < SLACK_S:
                    return self._reader[i]
        return None

    def known(self, indices: Sequence[int], metas: Sequence[dict[str, Any]]) -> list[int]:
        """Those of `indices` whose sample has a window before its event.

        Raises:
            DataError: none has.
        """
        found = [i for i in indices if self(metas[i])]
        if not found:
            raise DataError(
                f"{self.folder}: no window of it lies before an event of the evaluated split; prepare both with one "
                "--key, and where trials are stored without the time before them leave --before-samples out"
            )
        return found

    def sentence(self, n_left_out: int) -> str:
        """What the windows are, for the report."""
        return (
            f"Pre-stimulus windows: the {self._duration_s:g} s that end {self._gap_s:g} s before the event (trials "
            f"without one are left out, {n_left_out} windows); where trials follow each other fast they hold the "
            "response to the one before."
        )


def of_folders(baselines: tuple[Path, ...], samples: tuple[Path, ...]) -> dict[Path, Path]:
    """Which folder of `baselines` belongs to which of `samples`, by the name of the set.

    Raises:
        ConfigError: one of `baselines` is of no set, or of a set that has another one.
    """
    named = {ShardReader(folder, "test").manifest.get("name"): folder for folder in samples}
    found: dict[Path, Path] = {}
    for baseline in baselines:
        name = ShardReader(baseline, "test").manifest.get("name")
        if name not in named or named[name] in found:
            raise ConfigError(f"--before-samples {baseline}: set {name!r}; give one folder for each set of --samples")
        found[named[name]] = baseline
    return found


def missing(folder: Path) -> str:
    """Why a set that was given no baseline has no window before its events, as a sentence."""
    spec = window_spec(folder)
    if spec is None:
        return "No pre-stimulus window: the set does not say how its windows were cut."
    if spec.by == "sliding":
        return "No pre-stimulus window: windows slide over the recordings, no event begins them."
    return "No pre-stimulus window: no --before-samples was given for this set."
