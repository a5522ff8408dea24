"""The containers of CBraMod, REVE and BrainOmni, made here as their own scripts write them (named in each reader)."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import lmdb
import mne
import numpy as np
import pytest
import torch
from containers import NAMES, Runs, alone, eeg, labels_of, prepare, read

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.signals.montage import electrode_positions

# --- CBraMod and REVE: LMDB ---

CBRAMOD = {"channels": NAMES, "unit": "uV", "sfreq": 200, "pattern": r"^(?P<recording>(?P<subject>\w+?)R\d+)-"}


def write_lmdb(path: Path, values: dict[str, Any], keys: Any) -> None:
    """As preprocessing_*.py: one transaction per entry, `__keys__` last."""
    db = lmdb.open(str(path), map_size=1 << 24)
    for key, value in {**values, "__keys__": keys}.items():
        if value is not None:
            txn = db.begin(write=True)
            txn.put(key=key.encode(), value=pickle.dumps(value))
            txn.commit()
    db.close()


def cbramod_values() -> dict[str, Any]:
    """PhysioNet's keys; patches (channels, 2, 200), the label a numpy integer."""
    return {
        f"S00{subject}R04-{i}": {
            "sample": eeg(100 * subject + i, 400).reshape(5, 2, 200),
            "label": np.int64(i % 2),
        }
        for subject in (1, 2, 3)
        for i in range(11)
    }


def by_split(values: dict[str, Any]) -> dict[str, list[str]]:
    splits = {"1": "train", "2": "val", "3": "test"}
    return {split: [key for key in values if key[3] == number] for number, split in splits.items()}


def test_patches_of_an_lmdb_come_together_as_time_goes(tmp_path: Path) -> None:
    write_lmdb(tmp_path, cbramod_values(), by_split(cbramod_values()))
    recordings = read("cbramod_lmdb", tmp_path, CBRAMOD)
    assert [(r.name, r.subject, r.group) for r in recordings] == [
        ("S001R04", "S001", "train"),
        ("S002R04", "S002", "val"),
        ("S003R04", "S003", "test"),
    ]
    expected = np.concatenate([eeg(200 + i, 400) for i in range(11)], axis=1)
    np.testing.assert_allclose(recordings[1].eeg_uV, expected, rtol=1e-5)
    assert [(e.onset_s, e.code) for e in recordings[1].events[:3]] == [(0.0, "0"), (2.0, "1"), (4.0, "0")]
    assert recordings[1].boundaries == tuple(range(400, 4400, 400))
    for one, whole in zip(alone("cbramod_lmdb", tmp_path, CBRAMOD), recordings):
        np.testing.assert_array_equal(one.eeg_uV, whole.eeg_uV)


def test_pretraining_arrays_reves_layout_and_a_file_of_its_own(tmp_path: Path) -> None:
    values = {"a_s001_t000_2": eeg(2, 600).reshape(5, 3, 200), "a_s001_t000_10": eeg(10, 600)}
    db = lmdb.open(str(tmp_path / "set.lmdb"), subdir=False, map_size=1 << 20)
    with db.begin(write=True) as txn:
        for key, value in {**values, "__keys__": ["a_s001_t000_10", "a_s001_t000_2"]}.items():
            txn.put(key.encode(), pickle.dumps(value))
    db.close()
    options = CBRAMOD | {"file": "set.lmdb", "pattern": r"^(?P<recording>.+)_\d+$", "unit": "mV", "sfreq": 250}
    (recording,) = read("cbramod_lmdb", tmp_path, options)
    np.testing.assert_allclose(recording.eeg_uV, np.concatenate([eeg(2, 600), eeg(10, 600)], 1) * 1e3, rtol=1e-5)
    assert (recording.events, recording.sfreq, recording.boundaries) == ((), 250.0, (600,))


def test_an_lmdb_becomes_shards_with_its_own_splits(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    values = cbramod_values()
    write_lmdb(tmp_path / "set", values, by_split(values))
    mode = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    changes = {
        "labels": {"map": {"0": "left fist", "1": "right fist"}},
        "split": {"by": "group", "train": ["train"], "validation": ["val"], "test": ["test"]},
        "windows": [{"by": "events", "duration_s": 2.0}],
    }
    report = prepare(tmp_path, "cbramod_lmdb", CBRAMOD | {"file": "set"}, **changes)
    assert report.samples == {"train": 11, "validation": 11, "test": 11}
    assert labels_of(tmp_path, "validation")[:3] == ["left fist", "right fist", "left fist"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()} == mode  # no lock, nothing written


def test_what_an_lmdb_does_not_say_must_be_said(tmp_path: Path) -> None:
    write_lmdb(tmp_path, cbramod_values(), by_split(cbramod_values()))
    for option in ("channels", "unit", "sfreq", "pattern"):
        with pytest.raises(ConfigError, match=f"option {option} is missing"):
            read("cbramod_lmdb", tmp_path, {name: value for name, value in CBRAMOD.items() if name != option})
    for option, value in {"channels": "Fz", "unit": "V/100", "sfreq": 0}.items():
        with pytest.raises(ConfigError, match=f"{option}"):
            read("cbramod_lmdb", tmp_path, CBRAMOD | {option: value})
    with pytest.raises(DataError, match="5 rows, expected one for each of 4"):
        read("cbramod_lmdb", tmp_path, CBRAMOD | {"channels": NAMES[:4]})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (None, "no entry '__keys__'; name the keys with the option only"),
        (["S001R04-77"], "no entry 'S001R04-77'"),
        ("S001R04-0", "no list of texts"),
        ([3], "no list of texts"),
        ({"train": ["S001R04-0"], "test": ["S001R04-0"]}, "a key twice"),
    ],
)
def test_an_lmdb_with_a_wrong_list_of_keys_is_refused(tmp_path: Path, keys: Any, message: str) -> None:
    write_lmdb(tmp_path, cbramod_values(), keys)
    with pytest.raises(DataError, match=message):
        read("cbramod_lmdb", tmp_path, CBRAMOD)


@pytest.mark.parametrize("where", ["value", "keys"])
def test_a_pickle_inside_an_lmdb_that_would_run_does_not(tmp_path: Path, where: str) -> None:
    values = cbramod_values()
    keys: Any = list(values)
    if where == "value":
        values["S002R04-3"] = {"sample": Runs(tmp_path / "canary"), "label": 0}
    else:
        keys = Runs(tmp_path / "canary")
    write_lmdb(tmp_path, values, keys)
    with pytest.raises(DataError, match="nothing of it was run"):
        read("cbramod_lmdb", tmp_path, CBRAMOD)
    assert not (tmp_path / "canary").exists()
    values["S002R04-3"] = {"eeg": eeg(0, 9)}
    write_lmdb(tmp_path, values, list(values))
    with pytest.raises(DataError, match=r"S002R04-3: found \['eeg'\]"):
        read("cbramod_lmdb", tmp_path, CBRAMOD)


@pytest.mark.parametrize("size", [0, 100, 20_000, 200_000])
def test_an_lmdb_that_was_cut_short_is_refused_and_does_not_end_the_process(tmp_path: Path, size: int) -> None:
    write_lmdb(tmp_path, cbramod_values(), by_split(cbramod_values()))
    os.truncate(tmp_path / "data.mdb", size)
    with pytest.raises(DataError, match=r"data\.mdb"):
        read("cbramod_lmdb", tmp_path, CBRAMOD)
    (tmp_path / "data.mdb").unlink()
    with pytest.raises(DataError, match="no such file"):
        read("cbramod_lmdb", tmp_path, CBRAMOD)


# --- BrainOmni: .pt beside JSON ---

BRAINOMNI = {"metadata": "share/metadata/info.json", "sfreq": 256}


def write_brainomni(root: Path, n_eeg: int = 32, change: dict[str, Any] | None = None) -> list[str]:
    """As make_TUAB.py, with three magnetometers behind the electrodes; returns the names of the electrodes."""
    renamed = "colin27_1020" in mne.channels.get_builtin_montages()  # by mne 1.13
    montage = mne.channels.make_standard_montage("colin27_1020" if renamed else "standard_1020")
    names = [name for name in montage.ch_names if name not in {"T3", "T4", "T5", "T6", "M1", "M2", "A1", "A2"}][:n_eeg]
    info = mne.create_info(names, 256, "eeg").set_montage(montage)
    pos = np.stack([np.hstack([channel["loc"][:3], np.zeros(3)]) for channel in info["chs"]])
    pos[:, :3] -= pos[:, :3].mean(axis=0, keepdims=True)
    pos[:, :3] /= np.sqrt(3 * np.mean(np.sum(pos[:, :3] ** 2, axis=1)))
    pos = np.concatenate([pos, np.ones((3, 6))]).astype(np.float32)
    sensor_type = np.array([0] * n_eeg + [1] * 3, np.int32)
    entries = []
    for i, (split, subject) in enumerate((("train", "aaaaaa"), ("train", "bbbbbb"), ("eval", "cccccc"))):
        folder = f"./data/processed_evaluate/TUAB/BrainOmni/{subject}_s001_t000"
        (root / folder).mkdir(parents=True)
        for number in range(11):
            x = eeg(100 * i + number, 512, n_eeg + 3)
            x = ((x - x.mean(axis=0)) / (x.std() + 1e-5)).astype(np.float32)
            content = {"x": x, "pos": pos, "sensor_type": sensor_type}
            tensors = {name: torch.from_numpy(value) for name, value in content.items()}
            torch.save({**tensors, **(change or {})}, root / folder / f"{number}.pt")
            path = f"{folder}/{number}.pt"
            entries.append({"path": path, "subject": subject, "split": split, "label": number % 2, "channels": n_eeg})
    (root / "share" / "metadata").mkdir(parents=True)
    (root / BRAINOMNI["metadata"]).write_text(json.dumps(sorted(entries, key=lambda one: one["path"])))
    return names


def test_brainomnis_segments_come_with_the_places_of_their_electrodes(tmp_path: Path) -> None:
    names = write_brainomni(tmp_path, n_eeg=60)
    recordings = read("brainomni_pt", tmp_path, BRAINOMNI)
    assert [(r.name, r.subject, r.group) for r in recordings] == [
        ("aaaaaa_s001_t000", "aaaaaa", "train"),
        ("bbbbbb_s001_t000", "bbbbbb", "train"),
        ("cccccc_s001_t000", "cccccc", "eval"),
    ]
    first = recordings[0]
    assert (first.sfreq, first.boundaries) == (256.0, tuple(range(512, 11 * 512, 512)))
    assert first.ch_names[:2] == ("sensor 1", "sensor 2")
    assert first.left_out == {f"sensor {i}": "magnetometer, not EEG" for i in (61, 62, 63)}
    off = np.linalg.norm(first.positions - electrode_positions(names), axis=1)
    assert off.max() < 0.12, "the sphere of a part of the cap is nearly that of the whole"
    x = eeg(10, 512, 63)
    expected = ((x - x.mean(axis=0)) / x.std())[:60]
    np.testing.assert_allclose(first.eeg_uV[:, -512:], expected, atol=1e-4)  # 10 comes after 9, not after 1
    assert [(e.onset_s, e.code, e.duration_s) for e in first.events[:2]] == [(0.0, "0", 2.0), (2.0, "1", 2.0)]
    for one, whole in zip(alone("brainomni_pt", tmp_path, BRAINOMNI), recordings):
        np.testing.assert_array_equal(one.eeg_uV, whole.eeg_uV)
    path = tmp_path / "data/processed_evaluate/TUAB/BrainOmni/aaaaaa_s001_t000/10.pt"
    half = torch.load(path, weights_only=True)
    torch.save({**half, "x": half["x"].bfloat16()}, path)
    np.testing.assert_allclose(read("brainomni_pt", tmp_path, BRAINOMNI)[0].eeg_uV, first.eeg_uV, rtol=0.01)


def test_two_folders_of_one_name_are_no_recording_until_the_pattern_tells_them_apart(tmp_path: Path) -> None:
    write_brainomni(tmp_path)
    path = tmp_path / BRAINOMNI["metadata"]
    base = tmp_path / "data/processed_evaluate/TUAB/BrainOmni"
    for old, new in (("aaaaaa_s001_t000", "A/rec1"), ("bbbbbb_s001_t000", "B/rec1")):
        (base / new).parent.mkdir()
        (base / old).rename(base / new)
        path.write_text(path.read_text().replace(f"/{old}/", f"/{new}/"))
    with pytest.raises(ConfigError, match=r"A/rec1 and .*B/rec1 would both be the recording 'rec1'"):
        read("brainomni_pt", tmp_path, BRAINOMNI)
    pattern = r"(?P<recording>[^/]+/[^/]+)/[^/]+$"
    names = [recording.name for recording in read("brainomni_pt", tmp_path, BRAINOMNI | {"pattern": pattern})]
    assert names == ["A/rec1", "B/rec1", "BrainOmni/cccccc_s001_t000"]


def test_brainomnis_segments_become_shards(tmp_path: Path) -> None:
    write_brainomni(tmp_path)
    changes = {
        "unit_unknown": True,
        "labels": {"map": {"0": "normal", "1": "abnormal"}},
        "split": {"by": "group", "train": ["train"], "test": ["eval"]},
    }
    (tmp_path / "data").rename(tmp_path / "another_disk")
    (tmp_path / "data").symlink_to("another_disk")
    report = prepare(tmp_path, "brainomni_pt", BRAINOMNI, **changes)
    assert report.samples == {"train": 44, "test": 22}
    assert labels_of(tmp_path, "test")[:4] == ["normal", "normal", "abnormal", "abnormal"]


def test_too_few_electrodes_need_names(tmp_path: Path) -> None:
    names = write_brainomni(tmp_path, n_eeg=8)
    with pytest.raises(DataError, match=r"0\.pt: 8 electrodes are too few"):
        read("brainomni_pt", tmp_path, BRAINOMNI)
    options = BRAINOMNI | {"channels": [*names, "MEG 1", "MEG 2", "MEG 3"]}
    recording = read("brainomni_pt", tmp_path, options)[0]
    assert recording.ch_names == tuple(names)
    np.testing.assert_array_equal(recording.positions, electrode_positions(names))
    with pytest.raises(DataError, match="11 sensors, 8 names"):
        read("brainomni_pt", tmp_path, BRAINOMNI | {"channels": names})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": torch.zeros(35, 3)}, r"shapes .*expected \(sensors, samples\)"),
        ({"x": torch.zeros(35)}, "an array"),
        ({"x": [1.0]}, "expected tensors x, pos and sensor_type"),
        ({"sensor_type": torch.full((35,), 2)}, "none of its 35 columns is EEG"),
    ],
)
def test_segments_of_another_form_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_brainomni(tmp_path, change=change)
    with pytest.raises(DataError, match=message) as error:
        read("brainomni_pt", tmp_path, BRAINOMNI)
    assert ".pt" in str(error.value)


def test_a_segment_that_would_run_does_not_and_one_elsewhere_is_not_opened(tmp_path: Path) -> None:
    write_brainomni(tmp_path)
    evil = tmp_path / "data/processed_evaluate/TUAB/BrainOmni/bbbbbb_s001_t000/4.pt"
    torch.save({"x": Runs(tmp_path / "canary")}, evil)
    report = prepare(
        tmp_path,
        "brainomni_pt",
        BRAINOMNI,
        unit_unknown=True,
        labels={"of": "none"},
        split={"by": "group", "train": ["train"], "test": ["eval"]},
    )
    assert report.samples == {"train": 22, "test": 22}
    assert "nothing of it was run" in report.failures[0].message
    assert not (tmp_path / "canary").exists()
    for entries in ([{"path": "../secret.pt"}], [{"path": "/etc/secret.pt"}]):
        (tmp_path / BRAINOMNI["metadata"]).write_text(json.dumps(entries))
        with pytest.raises(DataError, match=r"secret\.pt is not below"):
            read("brainomni_pt", tmp_path, BRAINOMNI)
    (tmp_path / BRAINOMNI["metadata"]).write_text('{"path": "a.pt"}')
    with pytest.raises(DataError, match="no list of objects with a path"):
        read("brainomni_pt", tmp_path, BRAINOMNI)
