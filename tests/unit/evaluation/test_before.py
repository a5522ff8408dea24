"""The EEG before the event is found by recording and time, and a folder that does not fit is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import write_json
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.evaluation.baselines import run
from neuroleon.evaluation.before import of_folders
from neuroleon.evaluation.trials import load_trials

EVENTS_S = {"r1": (0.4, 5.0, 10.0), "r2": (5.0, 12.0)}  # before the first one there is no second of EEG


def write_windows(folder: Path, *, name: str = "toy", **spec: Any) -> Path:
    """One window of 1 s for each event and repeat; its samples are its recording's number plus its onset."""
    told = {"by": "events", "duration_s": 1.0, "tmin_s": 0.0, "repeat_every_s": None, "repeats": 1, "step_s": None}
    told |= {"events": None} | spec
    records = []
    for recording, times_s in EVENTS_S.items():
        for event_s in times_s:
            for k in range(told["repeats"]):
                onset_s = event_s + told["tmin_s"] + k * (told["repeat_every_s"] or 0)
                if onset_s < 0:
                    continue
                meta = {
                    "recipe": name, "subject": "s1", "recording": recording, "group": "", "split": "test",
                    "ch_names": ["Oz"], "positions": [[0.0, -1.0, 0.0]], "sfreq": 200.0, "scale_uV": 1.0,
                    "label": "xy"[int(event_s) % 2], "label_text": "xy"[int(event_s) % 2], "texts": [],
                    "question": "?", "image_key": None, "onset_s": round(onset_s, 6),
                }  # fmt: skip
                eeg = np.full((1, 200), int(recording[1]) * 100 + onset_s, np.float16)
                records.append({"__key__": f"{recording}-{len(records)}", "npy": eeg, "json": meta})
    write_shard(shard_path(folder, "test", 0), records, required=("json", "npy"))
    write_manifest(folder, name=name)
    write_json(folder / "recipe.json", {"windows": [told]})
    return folder


def test_each_trial_has_the_second_before_its_own_event(tmp_path: Path) -> None:
    samples = write_windows(tmp_path / "samples", tmin_s=0.25, repeats=2, repeat_every_s=0.5)
    baseline = write_windows(tmp_path / "baseline", tmin_s=-1.0)
    trials = load_trials(samples, "test", None, 0, baseline)
    assert len(trials.trials) == trials.n_available == 8  # of 10: the first event has nothing before it
    for trial in trials.trials:
        assert trial.before is not None
        event_s = trial.before.eeg_uV[0, 0] - int(trial.meta["recording"][1]) * 100 + 1.0
        assert round(trial.meta["onset_s"] - event_s, 2) in (0.25, 0.75)
    assert any("the 1 s that end 0 s before the event (trials without one are left out, 2" in s
               for s in trials.audit.sentences)  # fmt: skip


def test_classical_methods_are_asked_about_the_same_trials(tmp_path: Path) -> None:
    samples, baseline = write_windows(tmp_path / "samples"), write_windows(tmp_path / "baseline", tmin_s=-1.0)
    asked = run._windows(samples, "recipe", "test", None, 0, None, baseline)
    assert sorted(asked.key) == sorted(t.key for t in load_trials(samples, "test", None, 0, baseline).trials)
    assert len(asked) == 4 and len(run._windows(samples, "recipe", "test", None, 0, None)) == 5


def test_a_set_without_says_why(tmp_path: Path) -> None:
    said = load_trials(write_windows(tmp_path / "events"), "test", None, 0).audit.sentences
    assert said[-1] == "No pre-stimulus window: no --before-samples was given for this set."
    said = load_trials(write_windows(tmp_path / "sliding", by="sliding"), "test", None, 0).audit.sentences
    assert "windows slide over the recordings" in said[-1]
    (tmp_path / "events" / "recipe.json").unlink()
    assert "does not say how" in load_trials(tmp_path / "events", "test", None, 0).audit.sentences[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tmin_s": -0.5}, "or earlier"),
        ({"tmin_s": -1.0, "repeats": 2, "repeat_every_s": 0.5}, "windows after each event: 2"),
        ({"by": "sliding"}, "only windows cut by events"),
        ({"name": "other", "tmin_s": -1.0}, "name is 'other'"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    samples, baseline = write_windows(tmp_path / "samples"), write_windows(tmp_path / "baseline", **change)
    with pytest.raises(ConfigError, match=message):
        load_trials(samples, "test", None, 0, baseline)


def test_windows_of_other_recordings_are_not_taken(tmp_path: Path) -> None:
    samples, baseline = write_windows(tmp_path / "samples"), write_windows(tmp_path / "baseline", tmin_s=-20.0)
    with pytest.raises(DataError, match="no window of it lies before"):
        load_trials(samples, "test", None, 0, baseline)


def test_folders_are_matched_by_the_name_of_their_set(tmp_path: Path) -> None:
    a, b = (write_windows(tmp_path / f"samples-{name}", name=name) for name in "ab")
    earlier = write_windows(tmp_path / "baseline", name="b", tmin_s=-1.0)
    assert of_folders((earlier,), (a, b)) == {b: earlier}
    with pytest.raises(ConfigError, match="set 'b'; give one folder"):
        of_folders((earlier,), (a,))
    with pytest.raises(ConfigError, match="give one folder"):
        of_folders((earlier, earlier), (a, b))
