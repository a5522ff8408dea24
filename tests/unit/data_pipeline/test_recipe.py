"""A recipe is checked when it is read: the file and the key are named, and the key that was meant."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import (
    MAX_BYTES,
    LabelSpec,
    StimulusSpec,
    list_recipes,
    load_recipe,
    template_fields,
)

GOOD = {
    "name": "mine",
    "title": "My recordings",
    "licence": "CC0-1.0",
    "citation": "none",
    "source": {"reader": "mne", "options": {"files": "*.edf"}},
    "windows": [{"duration_s": 2.0}],
    "labels": {"map": {"L*": "left", "R*": "right"}, "phrases": {"left": "the left side"}},
    "split": {"by": "subject", "train": ["a"], "test": ["b"]},
    "picture": {"kind": "drawing", "draw": "field", "parameters": {"side": "{label}"}},
    "texts": {"wordings": ["It is {phrase}."], "question": "Left or right?"},
}


def write(tmp_path: Path, changes: dict) -> Path:
    value = {**GOOD, **changes}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: item for key, item in value.items() if item is not None}))
    return path


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        ("alljoined1", "validation_every"),
        ("alljoined_16m", "validation_block"),
        ("alljoined_flat", "trials_per_recording"),
        ("eeg_imagenet", "validation"),
        ("things_eeg1", "validation_block"),
        ("things_eeg2", "validation_every"),
    ],
)
@pytest.mark.parametrize("value", ["19", True, 2.0, -1])
def test_an_option_that_counts_is_a_whole_number(tmp_path: Path, reader: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"reader {reader}: {name} is .*; expected a whole number from \d+"):
        list(READERS[reader].read(tmp_path, {name: value}))


def test_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, {"preprocess": {"high_hz": 40}}))
    assert recipe.windows[0].duration_s == 2.0
    assert recipe.preprocess.high_hz == 40.0
    assert recipe.labels.label("L17") == "left"
    assert recipe.labels.label("X") is None
    assert recipe.labels.phrase("left") == "the left side"
    assert recipe.labels.phrase("right") == "right"
    assert len(recipe.sha256) == 64


@pytest.mark.parametrize("name", list_recipes())
def test_our_recipes_are_good(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.source.reader == "pictures" or recipe.windows
    assert recipe.texts.question or recipe.labels.of == "none"
    assert recipe.labels.of == "none" or 4 <= len(set(recipe.texts.wordings)) <= 6
    assert recipe.decodable == "unknown" or recipe.decodable_note or recipe.known_faults


def test_ours_are_all_here() -> None:
    assert {"cvep20", "ssvep40", "ssvep_exo", "muse_p300", "eegmat", "vep_edf", "flickr8k"} <= set(list_recipes())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wndows": []}, "unknown key wndows; did you mean 'windows'"),
        ({"sha256": "0"}, "unknown key sha256"),
        ({"title": None}, "key title is missing"),
        ({"title": 3}, "title is 3; expected a text"),
        ({"name": "../x"}, "names a folder"),
        ({"unit_unknown": "no"}, "unit_unknown is 'no'; expected true or false"),
        ({"decodable": "maybe"}, "decodable is 'maybe'; expected true or false or one of unknown"),
        ({"windows": [{"duration_s": "2"}]}, r"windows\[0\].duration_s is '2'; expected a number"),
        ({"windows": [{"duration_s": 2.0, "repeats": True}]}, "repeats is True; expected a whole number"),
        ({"windows": [{"duration": 2.0}]}, r"unknown key windows\[0\].duration; did you mean 'duration_s'"),
        ({"windows": [{"duration_s": float("inf")}]}, r"windows\[0\].duration_s is inf; expected a number"),
        ({"windows": [{"duration_s": 0.3}]}, "not a multiple of 0.125"),
        ({"windows": {"duration_s": 2.0}}, "windows is .*; expected a list"),
        ({"labels": {"of": "events"}}, "labels.of is 'events'; expected one of event, recording"),
        ({"labels": {"map": {"1": "left"}, "phrases": {"lft": "x"}}}, "'lft', which is no label; did you mean 'left'"),
        ({"labels": {"map": {"1": "a", "2": "b"}, "phrases": {"a": "b"}}}, "same words"),
        ({"labels": {}}, "labels.map is missing: every event of reader mne would become a label"),
        ({"labels": {"of": "subject"}, "source": {"reader": "npz_trials"}}, "every subject .* can name people"),
        ({"split": {"by": "session", "train": ["*"]}}, "split.by is 'session'"),
        ({"split": "subject"}, "split is 'subject'; expected keys and values"),
        ({"picture": {"kind": "drawing"}}, "picture.draw goes with kind: drawing"),
        ({"texts": {"wordings": ["{0.__class__}"]}}, "no plain name"),
        ({"texts": {"wordings": ["{label"]}}, "write {label} for a field"),
        ({"preprocess": {"low_hz": 90.0}}, "low_hz"),
        ({"stimulus": {"info": "codes"}}, "key stimulus.sfreq is missing"),
        ({"stimulus": {"info": "codes", "sfreq": 0}}, "stimulus.sfreq is 0; expected the track's rate"),
        (
            {"stimulus": {"info": "codes", "sfreq": 60}, "windows": [{"duration_s": 1.0, "tmin_s": -0.5}]},
            "no window may have a tmin_s below 0",
        ),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_recipe(write(tmp_path, changes))
    assert "mine.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: a\nname: b\n", "'name' comes twice"),
        ("name: [", "not valid YAML"),
        ("!!python/object/apply:os.system [touch canary]", "not valid YAML"),
        ("- a\n- b\n", "expected keys and values"),
        ("# " + "x" * MAX_BYTES, "at most 1000000"),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_recipe(path)


def test_a_stimulus_track_starts_at_its_event_and_repeats() -> None:
    spec = StimulusSpec(info="codes", sfreq=60.0)
    track = [0.0, 1.0, 0.25]
    assert spec.at(track, np.arange(6) / 60) == track + track
    assert spec.at(track, np.arange(6) / 120) == [0.0, 0.0, 1.0, 1.0, 0.25, 0.25]
    assert spec.at(track, 1.0 + np.array([0, 1, 2]) / 60) == track  # 20 cycles later
    assert spec.at(track, np.array([1 / 60])) == [1.0]


def test_an_unknown_name_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'cvep20'"):
        load_recipe("cvep2O")
    with pytest.raises(ConfigError, match="no such recipe file"):
        load_recipe(tmp_path / "none.yaml")


def test_without_a_map_the_word_is_the_label() -> None:
    assert LabelSpec().label("13 Hz") == "13 Hz"


def test_templates_allow_plain_fields_only() -> None:
    assert template_fields("{label} at {orientation:g}, {{literal}}") == {"label", "orientation"}
    for hostile in ("{label.__class__}", "{label[0]}", "{label!r}", "{label:999999999}", "{}"):
        with pytest.raises(ConfigError):
            template_fields(hostile)
