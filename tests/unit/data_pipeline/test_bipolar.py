"""A clinical file of bipolar derivations on its whole way: reader, preprocessing, shard, trial, tokens."""

from pathlib import Path

import edfio
import numpy as np
import pytest
import yaml

from neuroleon.data_pipeline.augment import augment
from neuroleon.data_pipeline.pretokenize import variants_of
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.evaluation.trials import load_trials
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.preprocess import Preprocess

CHAIN = ["EEG FP1-F7", "EEG F7-T3", "EEG T3-T5", "EEG T5-O1", "EEG FP1-F3", "EEG F3-C3", "EEG C3-P3", "EEG P3-O1"]
OURS = ["Fp1-F7", "F7-T7", "T7-P7", "P7-O1", "Fp1-F3", "F3-C3", "C3-P3", "P3-O1"]
RATE = 256
RECIPE = {
    "name": "banana",
    "title": "Bipolar chains",
    "licence": "CC0-1.0",
    "citation": "none",
    "source": {"reader": "mne", "folder": "eeg", "options": {"files": "*.edf", "pattern": r"(?P<subject>\w+)_\d"}},
    "windows": [{"duration_s": 1.0}],
    "labels": {"map": {"left": "left", "right": "right"}},
    "split": {"by": "subject", "train": ["a"], "validation": ["b"], "test": ["c"]},
    "picture": {"kind": "drawing", "draw": "field", "parameters": {"side": "{label}"}},
    "texts": {"wordings": ["On the {label}."], "question": "Left or right?"},
}


def signals(n: int, seed: int = 0, seconds: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, (n, seconds * RATE))


def write_edf(path: Path, names: list[str], eeg_uV: np.ndarray) -> Path:
    sides = [edfio.EdfAnnotation(1.0 + 2 * i, None, ("left", "right")[i % 2]) for i in range(4)]
    columns = [
        edfio.EdfSignal(row, RATE, label=name, physical_dimension="uV", physical_range=(-500, 500))
        for name, row in zip(names, eeg_uV, strict=True)
    ]
    edfio.Edf(columns, annotations=sides).write(path)
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three recordings, eight derivations and Cz against the reference, and their shards."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "eeg").mkdir()
    for seed, subject in enumerate("abc"):
        write_edf(folder / "eeg" / f"{subject}_1.edf", [*CHAIN, "EEG CZ-REF"], signals(9, seed))
    (folder / "banana.yaml").write_text(yaml.safe_dump(RECIPE))
    report = prepare_samples(load_recipe(folder / "banana.yaml"), folder, folder / "out")
    assert report.notes["bipolar derivations stay as they are, without the average reference"] == 3
    return folder


def test_derivations_are_channels_with_two_electrodes(tmp_path: Path) -> None:
    eeg_uV = signals(8)
    recording = read_recording(write_edf(tmp_path / "a.edf", CHAIN, eeg_uV))
    assert list(recording.ch_names) == OURS
    assert recording.name_map == dict(zip(CHAIN, OURS, strict=True))
    anodes, cathodes = ([name.split("-")[i] for name in OURS] for i in (0, 1))
    both = np.hstack([electrode_positions(anodes), electrode_positions(cathodes)])
    np.testing.assert_array_equal(recording.positions, both)
    np.testing.assert_allclose(recording.eeg_uV, eeg_uV, atol=0.01)


def test_chb_mit_holds_one_derivation_twice_and_its_copy_is_left_out(tmp_path: Path) -> None:
    names = ["FP2-F8", "F8-T8", "T8-P8", "P8-O2", "FZ-CZ", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8", "-"]
    eeg_uV = signals(len(names))
    eeg_uV[9] = eeg_uV[2]
    recording = read_recording(write_edf(tmp_path / "chb01.edf", names, eeg_uV))
    assert recording.ch_names == (
        *("Fp2-F8", "F8-T8", "T8-P8", "P8-O2", "Fz-Cz", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8"),
    )
    assert recording.left_out == {"T8-P8-1": "a copy of T8-P8-0", "-": "no known position"}


def test_derivations_are_not_referenced_again_and_the_shard_keeps_both_electrodes(mixed: Path) -> None:
    made = Preprocess().apply(read_recording(mixed / "eeg" / "a_1.edf"))
    assert made.reference == "none"
    record = ShardReader(mixed / "out" / "banana", "train")[0]
    info = record["json"]
    assert info["ch_names"] == [*OURS, "Cz"]
    assert info["positions"][8][3:] == [None, None, None]
    expected = made.recording.positions
    trial = load_trials(mixed / "out" / "banana", "train", None, 0).trials[0].window
    clean, *varied = variants_of(record, 3, seed=0)
    for window in (trial, clean):
        assert window.positions.dtype == np.float32
        np.testing.assert_allclose(window.positions, expected, atol=1e-4)  # NaN where NaN
    assert {window.positions.shape[1] for window in varied} == {6}
    assert {window.subject for window in (trial, clean, *varied)} == {info["subject"]}


def test_augmentation_keeps_each_derivation_with_its_electrodes(mixed: Path) -> None:
    record = ShardReader(mixed / "out" / "banana", "train")[0]
    clean = variants_of(record, 1, seed=0)[0]
    dropped = 0
    for seed in range(20):
        made = augment(clean, np.random.default_rng(seed))
        rows = [clean.ch_names.index(name) for name in made.ch_names]
        np.testing.assert_array_equal(made.positions, clean.positions[rows])
        dropped += len(clean.ch_names) - len(rows)
    assert dropped > 0
