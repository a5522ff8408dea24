"""The containers of LaBraM and NeuroLM, written here as their own scripts write them (named in each reader)."""

import pickle
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from containers import NAMES, OURS, Runs, alone, eeg, labels_of, prepare, read

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.registry import READERS


@pytest.mark.parametrize(
    ("library", "reader", "options"),
    [
        ("h5py", "labram_hdf5", {}),
        ("lmdb", "cbramod_lmdb", {"channels": ["Cz"], "unit": "uV", "sfreq": 200, "pattern": "(?P<recording>.)"}),
        ("moabb", "moabb", {"dataset": "BNCI2014_001", "subjects": [1], "download": True}),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, reader: str, options: dict[str, Any]
) -> None:
    (tmp_path / "a.hdf5").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"needs {library}: pip install"):
        read(reader, tmp_path, options)


# --- LaBraM: HDF5 ---


def write_hdf5(path: Path, seed: int = 0, **attributes: Any) -> None:
    with h5py.File(path, "a") as file:
        for subject in (1, 2, 3):
            group = file.create_group(f"{subject}_20131027")
            data = group.create_dataset("eeg", data=eeg(seed + subject, 2000), chunks=(5, 200))
            told = {"lFreq": 0.1, "hFreq": 75.0, "rsFreq": 200, "chOrder": NAMES, **attributes}
            for name, value in told.items():
                data.attrs[name] = value


def test_labram_recordings_come_in_microvolts_under_our_names(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "dataset.hdf5")
    recordings = read("labram_hdf5", tmp_path, {})
    assert [r.name for r in recordings] == ["1_20131027", "2_20131027", "3_20131027"]
    assert (recordings[0].ch_names, recordings[0].sfreq, recordings[0].events) == (OURS, 200.0, ())
    np.testing.assert_allclose(recordings[1].eeg_uV, eeg(2, 2000), rtol=1e-5)
    options = {"pattern": r"dataset/(?P<recording>(?P<subject>\d+)_(?P<group>\d+))", "unit": "mV"}
    for one, whole in zip(alone("labram_hdf5", tmp_path, options), recordings):
        np.testing.assert_allclose(one.eeg_uV, whole.eeg_uV * 1e3, rtol=1e-5)
        assert (one.subject, one.group) == (whole.name[0], "20131027")


def test_trials_of_neurolms_seed_file_become_shards(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "seed-3.hdf5")
    with h5py.File(tmp_path / "seed-3.hdf5", "a") as file:
        for name in file:
            file[name].attrs["trialStart"] = [1, 4, 7]
            file[name].attrs["trialEnd"] = [3, 6, 9]
            file[name].attrs["label"] = ["H", "N", "S"]
    (recording, *_) = read("labram_hdf5", tmp_path, {})
    assert [(e.onset_s, e.code, e.duration_s) for e in recording.events] == [(1, "H", 2), (4, "N", 2), (7, "S", 2)]
    report = prepare(
        tmp_path,
        "labram_hdf5",
        {"pattern": r"/(?P<recording>(?P<subject>\d+)_\d+)"},
        labels={"map": {"H": "positive", "N": "neutral", "S": "negative"}},
        split={"by": "subject", "train": ["1"], "validation": ["2"], "test": ["3"]},
    )
    assert report.samples == {"train": 6, "validation": 6, "test": 6}
    assert labels_of(tmp_path, "test") == ["positive"] * 2 + ["neutral"] * 2 + ["negative"] * 2


def test_labram_files_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.hdf5"
    write_hdf5(path)
    whole = path.read_bytes()
    with h5py.File(path, "a") as file:
        del file["2_20131027"]["eeg"].attrs["chOrder"]
    with pytest.raises(DataError, match=r"dataset\.hdf5, 2_20131027: eeg has no attribute chOrder"):
        read("labram_hdf5", tmp_path, {})
    with h5py.File(path, "a") as file:
        del file["1_20131027"]["eeg"]
    with pytest.raises(DataError, match="no data set eeg"):
        read("labram_hdf5", tmp_path, {})
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable HDF5"):
        read("labram_hdf5", tmp_path, {})
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        read("labram_hdf5", tmp_path, {})
    path.unlink()
    write_hdf5(path, chOrder=NAMES[:4])
    with pytest.raises(DataError, match="5 rows, expected one for each of 4"):
        read("labram_hdf5", tmp_path, {})
    with pytest.raises(ConfigError, match="several groups"):
        read("labram_hdf5", tmp_path, {"pattern": r"/\d_(?P<recording>\d+)"})


@pytest.mark.parametrize("trick", ["external", "virtual", "link"])
def test_a_labram_file_cannot_bring_in_another_file_of_this_disk(tmp_path: Path, trick: str) -> None:
    (tmp_path / "secret").write_bytes(b"\7" * 8000)
    with h5py.File(tmp_path / "dataset.hdf5", "w") as file:
        group = file.create_group("a")
        if trick == "link":
            with h5py.File(tmp_path / "other.h5", "w") as other:
                other["x"] = eeg(0, 400)
            group["eeg"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
        elif trick == "external":
            group.create_dataset("eeg", (5, 400), "f4", external=str(tmp_path / "secret"))
        else:
            layout = h5py.VirtualLayout((5, 400), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (5, 400))
            group.create_virtual_dataset("eeg", layout)
        group["eeg"].attrs["rsFreq"], group["eeg"].attrs["chOrder"] = 200, NAMES
    with pytest.raises(DataError, match="its samples lie in other files"):
        read("labram_hdf5", tmp_path, {})


# --- NeuroLM and LaBraM: pickles ---

NEUROLM = {"pattern": r"(?P<group>train|test)/(?P<recording>(?P<subject>[a-z]+)_s\d+_t\d+)_\d+\.pkl$"}


def write_pickles(root: Path) -> None:
    """As prepare_TUSL.py: y is an array of one float."""
    for i, (folder, subject) in enumerate((("train", "aaaaaa"), ("train", "bbbbbb"), ("test", "cccccc"))):
        (root / folder).mkdir(exist_ok=True)
        for number in range(11):
            value = {"X": eeg(100 * i + number, 400), "ch_names": NAMES, "y": np.array([float(number % 2)])}
            with (root / folder / f"{subject}_s001_t000_{number}.pkl").open("wb") as file:
                pickle.dump(value, file)


def test_segments_of_one_recording_come_together_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_pickles(tmp_path)
    recordings = read("neurolm_pickle", tmp_path, NEUROLM)
    assert [(r.name, r.subject, r.group) for r in recordings] == [
        ("aaaaaa_s001_t000", "aaaaaa", "train"),
        ("bbbbbb_s001_t000", "bbbbbb", "train"),
        ("cccccc_s001_t000", "cccccc", "test"),
    ]
    first = recordings[0]
    expected = np.concatenate([eeg(number, 400) for number in range(11)], axis=1)
    np.testing.assert_allclose(first.eeg_uV, expected, rtol=1e-5)
    assert first.boundaries == tuple(range(400, 4400, 400))
    assert [(e.onset_s, e.code, e.duration_s) for e in first.events[:2]] == [(0.0, "0", 2.0), (2.0, "1", 2.0)]
    assert (first.ch_names, first.sfreq) == (OURS, 200.0)
    for one, whole in zip(alone("neurolm_pickle", tmp_path, NEUROLM), recordings):
        np.testing.assert_array_equal(one.eeg_uV, whole.eeg_uV)


def test_pickles_become_shards_with_the_splits_of_their_folders(tmp_path: Path) -> None:
    write_pickles(tmp_path)
    changes = {
        "labels": {"map": {"0": "rest", "1": "seizure"}},
        "split": {"by": "group", "train": ["train"], "test": ["test"]},
    }
    report = prepare(tmp_path, "neurolm_pickle", NEUROLM, **changes)
    assert report.samples == {"train": 44, "test": 22}
    assert labels_of(tmp_path, "test")[:4] == ["rest", "rest", "seizure", "seizure"]


def test_pickles_without_names_or_labels_and_those_of_tuev(tmp_path: Path) -> None:
    tuev = {"signal": eeg(1, 1000), "offending_channel": np.array([3.0]), "label": np.array([6.0])}
    (tmp_path / "a-0.pkl").write_bytes(pickle.dumps(tuev))
    (tmp_path / "b-0.pkl").write_bytes(pickle.dumps({"X": eeg(2, 800), "ch_names": np.array(NAMES)}))
    options = {"pattern": r"^(?P<recording>\w)-", "channels": NAMES}
    a, b = read("neurolm_pickle", tmp_path, options)
    assert [e.code for e in a.events] == ["6"]
    assert b.events == ()
    np.testing.assert_allclose(a.eeg_uV, eeg(1, 1000), rtol=1e-5)
    (tmp_path / "a-0.pkl").rename(tmp_path / "c-0.pkl")
    own = next(READERS["neurolm_pickle"].read(tmp_path, {"pattern": options["pattern"]}))
    assert (own.name, own.ch_names) == ("b", b.ch_names)  # the names of its own file, an array there
    (tmp_path / "c-0.pkl").rename(tmp_path / "a-0.pkl")
    with pytest.raises(DataError, match=r"a-0\.pkl: no ch_names; name its 5 rows"):
        read("neurolm_pickle", tmp_path, {"pattern": options["pattern"]})
    with pytest.raises(DataError, match="5 rows, expected one for each of 4"):
        read("neurolm_pickle", tmp_path, options | {"channels": NAMES[:4]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"eeg": eeg(0, 9)}, r"found \['eeg'\]; expected X"),
        (eeg(0, 9), "found ndarray; expected X"),
        ({"X": eeg(0, 9)[0], "ch_names": NAMES}, r"an array \(9,\)"),
        ({"X": np.array([["a"] * 9] * 5), "ch_names": NAMES}, "an array"),
        ({"X": eeg(0, 9), "ch_names": NAMES, "y": np.zeros(2)}, "a label of type ndarray"),
        ({"X": eeg(0, 9), "ch_names": NAMES[::-1]}, "other channels than"),
    ],
)
def test_pickles_of_another_form_are_refused_by_name(tmp_path: Path, value: Any, message: str) -> None:
    (tmp_path / "a_0.pkl").write_bytes(pickle.dumps({"X": eeg(0, 9), "ch_names": NAMES}))
    (tmp_path / "a_1.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match=message) as error:
        read("neurolm_pickle", tmp_path, {"pattern": r"(?P<recording>a)_"})
    assert "a_1.pkl" in str(error.value)


def test_a_pickle_that_would_run_does_not_and_fails_alone(tmp_path: Path) -> None:
    write_pickles(tmp_path)
    evil = tmp_path / "train" / "bbbbbb_s001_t000_4.pkl"
    evil.write_bytes(pickle.dumps({"X": eeg(0, 400), "ch_names": NAMES, "y": Runs(tmp_path / "canary")}))
    changes = {"split": {"by": "group", "train": ["train"], "test": ["test"]}}
    report = prepare(tmp_path, "neurolm_pickle", NEUROLM, **changes)
    assert report.samples == {"train": 22, "test": 22}
    assert [failure.name for failure in report.failures] == ["bbbbbb_s001_t000"]
    assert "nothing of it was run" in report.failures[0].message
    assert not (tmp_path / "canary").exists()


def test_a_pattern_must_name_recordings_and_fit_all_names(tmp_path: Path) -> None:
    write_pickles(tmp_path)
    for pattern, message in {"train": "no group", "(": "mend the recipe", "(?P<recording>x)": "does not fit"}.items():
        with pytest.raises(ConfigError, match=message):
            read("neurolm_pickle", tmp_path, {"pattern": pattern})
    with pytest.raises(ConfigError, match="option pattern is missing"):
        read("neurolm_pickle", tmp_path, {})
