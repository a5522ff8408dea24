"""Cuts the example recordings of `examples/recordings/` out of the test splits of open data sets.

    python examples/cut_recordings.py ../shared/data

Each file is one trial, as EDF in microvolts, beside `FILE.answer.json`, which says what was shown. Training never saw
these trials: their blocks and sessions are in the `test` split of the recipes. Licences: `cvep20` BSD-3-Clause
(Thielen et al. 2021, PyPI package pyntbci), `ssvep_exo` CC0 (Kalunga et al. 2016), `muse_visual` BSD-3-Clause.
"""

import json
import sys
from pathlib import Path

import mne
import numpy as np

from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import Recipe, load_recipe
from neuroleon.signals.plausibility import normalise_unknown_unit
from neuroleon.signals.recording import Event, Recording

OUT = Path(__file__).parent / "recordings"
# name of the file: (recipe, subject, group, trial or event within it, seconds before and after the event)
CUTS: dict[str, tuple[str, str, str, int, float, float]] = {
    "cvep-letter": ("cvep20", "1", "3", 0, 0.0, 10.0),
    "ssvep-light": ("ssvep_exo", "subject03", "[2012.07.11-15.33.0", 1, 1.0, 6.0),
}


def recordings(recipe: Recipe, data: Path) -> dict[tuple[str, str], Recording]:
    """The recordings of a recipe by (subject, group)."""
    read = READERS[recipe.source.reader].read(data / recipe.source.folder, dict(recipe.source.options))
    return {(recording.subject, recording.group): recording for recording in read}


def onsets(recipe: Recipe, event: Event, start_s: float) -> list[float]:
    """When the cycles of a trial begin, in seconds of the cut file."""
    spec = recipe.windows[0]
    return [round(event.onset_s - start_s + k * (spec.repeat_every_s or 0.0), 4) for k in range(spec.repeats)]


def cut(name: str, data: Path) -> None:
    recipe_name, subject, group, number, before_s, after_s = CUTS[name]
    recipe = load_recipe(recipe_name)
    recording = recordings(recipe, data)[subject, group]
    if recipe.unit_unknown:
        recording = normalise_unknown_unit(recording)
    event = recording.events[number]
    first = round((event.onset_s - before_s) * recording.sfreq)
    eeg_uV = recording.eeg_uV[:, first : first + round((before_s + after_s) * recording.sfreq)]
    info = mne.create_info(list(recording.ch_names), recording.sfreq, "eeg")
    raw = mne.io.RawArray(np.asarray(eeg_uV, float) * 1e-6, info, verbose="ERROR")
    spec = recipe.windows[0]
    times = [
        t for t in onsets(recipe, event, first / recording.sfreq) if t + spec.tmin_s + spec.duration_s <= raw.times[-1]
    ]
    raw.set_annotations(mne.Annotations(times, [0.0] * len(times), ["stimulus"] * len(times)))
    path = OUT / f"{name}.edf"
    raw.export(path, overwrite=True, verbose="ERROR")
    label = recipe.labels.label(event.code)
    text = recipe.texts.wordings[0].format(label=label, phrase=recipe.labels.phrase(label or ""))
    answer = {"event": "stimulus", "label": label, "text": text, "recipe": recipe.name}
    answers = [{"onset_s": time, **answer} for time in times]
    path.with_name(f"{path.name}.answer.json").write_text(json.dumps({"answers": answers}, indent=1) + "\n")
    print(f"{path}: {eeg_uV.shape[0]} channels, {raw.times[-1]:.1f} s, {len(times)} windows, the answer is {label}")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for cut_name in CUTS:
        cut(cut_name, Path(sys.argv[1]))
