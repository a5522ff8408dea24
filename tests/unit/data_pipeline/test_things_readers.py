"""THINGS-EEG1 and THINGS-EEG2 in their forms, on small files of the published schema."""

import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sets import picture, prepare

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers import things_eeg2
from neuroleon.data_pipeline.readers.registry import READERS

OCCIPITAL = ("Pz", "P3", "P7", "O1", "Oz", "O2", "P4", "P8", "P1", "P5", "PO7", "PO3", "POz", "PO4", "PO8", "P6", "P2")
NAMES_63 = (  # noqa: SIM905
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz "
    "C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
).split()
N_CONCEPTS = 22  # so that one of them is for validation


def write_metadata(folder: Path) -> None:
    """The set's list of pictures; training concepts have two pictures here (ten in the set), test concepts one."""
    concepts = [f"{i:05d}_concept_{i}" for i in range(1, N_CONCEPTS + 1) for _ in range(2)]
    files = [f"concept_{i}_0{k}s.jpg" for i in range(1, N_CONCEPTS + 1) for k in (1, 2)]
    content = {
        "train_img_concepts": concepts[::-1],  # condition i is the i-th in sorted order, whatever that of the list
        "train_img_files": files[::-1],
        "test_img_concepts": ["00001_aircraft_carrier", "00002_antelope"],
        "test_img_files": ["aircraft_carrier_06s.jpg", "antelope_01b.jpg"],
    }
    (folder / "image_set").mkdir(parents=True)
    np.save(folder / "image_set" / "image_metadata.npy", content, allow_pickle=True)


def write_preprocessed(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """One subject of the authors' form (`17`) or of NICE's (`63`); condition c of repetition r is noise of its own."""
    names, n_times, sfreq = (OCCIPITAL, 100, 100) if kind == "17" else (tuple(NAMES_63), 250, 250)
    rng = np.random.default_rng(0)
    written = {}
    folder.mkdir(parents=True)
    for what, n_conditions in (("training", 2 * N_CONCEPTS), ("test", 2)):
        data = rng.normal(size=(n_conditions, things_eeg2.REPETITIONS[what], len(names), n_times))
        path = folder / f"preprocessed_eeg_{what}.npy"
        if kind == "17":
            times = np.arange(n_times) / sfreq - 0.2
            np.save(path, {"preprocessed_eeg_data": data, "ch_names": list(names), "times": times}, allow_pickle=True)
        else:
            data, times = data.astype(np.float32), np.arange(300) / sfreq - 0.2
            content = {"preprocessed_eeg_data": data, "ch_names": list(names), "times": times}
            path.write_bytes(pickle.dumps(content, protocol=4))
        written[what] = data
    return written


@pytest.mark.parametrize(("kind", "onset_s", "duration_s"), [("17", 0.2, 0.8), ("63", 0.0, 1.0)])
def test_both_forms_of_things_eeg2_are_read(tmp_path: Path, kind: str, onset_s: float, duration_s: float) -> None:
    write_metadata(tmp_path)
    data = write_preprocessed(tmp_path / "sub-03", kind)
    options = {"trials_per_recording": 100}
    found = {recording.name: recording for recording in READERS["things_eeg2"].read(tmp_path, options)}
    located = [one.source for one in READERS["things_eeg2"].locate(tmp_path, options)]
    assert [(s.recording, s.subject, s.group) for s in located] == [
        (r.name, r.subject, r.group) for r in found.values()
    ]
    assert list(found) == [
        "sub-03-test-00",
        "sub-03-test-01",
        "sub-03-train-00",
        "sub-03-train-01",
        "sub-03-validation-00",
    ]
    train = found["sub-03-train-01"]
    n_times, second = data["training"].shape[3], train.events[1]
    assert train.sfreq == (100.0 if kind == "17" else 250.0)
    assert second.onset_s == pytest.approx(n_times / train.sfreq + onset_s)
    assert second.duration_s == pytest.approx(duration_s)
    # trial 101 of 4 repetitions of 42 pictures is number 17 of the third repetition
    assert second.info == {
        "image": "image_set/training_images/00009_concept_9/concept_9_02s.jpg",
        "condition": 17,
        "repetition": 2,
    }
    assert second.code == "concept 9"
    np.testing.assert_allclose(train.eeg_uV[:, n_times : 2 * n_times], data["training"][17, 2], rtol=1e-6)
    assert {event.info["condition"] for event in found["sub-03-validation-00"].events} == {42, 43}
    shown = Counter(event.code for name in ("sub-03-test-00", "sub-03-test-01") for event in found[name].events)
    assert shown == {"aircraft carrier": 80, "antelope": 80}
    assert train.boundaries == tuple(range(n_times, train.n_times, n_times))


@pytest.mark.parametrize(("name", "kind", "width"), [("things_eeg2", "17", 150), ("things_eeg2_63", "63", 200)])
def test_things_eeg2_becomes_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, width: int
) -> None:
    monkeypatch.setattr(things_eeg2, "REPETITIONS", {"training": 1, "test": 3})  # every piece costs time
    folder = tmp_path / "things_eeg2"
    write_metadata(folder)
    where = "preprocessed_data" if kind == "17" else "Preprocessed_data_250Hz"
    write_preprocessed(folder / where / "sub-01", kind)
    picture(folder / "image_set/test_images/00002_antelope/antelope_01b.jpg", 60)
    report, shards = prepare(name, tmp_path)
    assert report.samples == {"train": 42, "validation": 2, "test": 6}
    assert not report.failures
    assert report.labels["validation"] == {"concept 22": 2}
    assert "concept 22" not in report.labels["train"]
    pictured = [record["json"]["label"] for record in shards["test"] if "png" in record]
    assert pictured == ["antelope"] * 3
    assert shards["test"][0]["npy"].shape == (int(kind), width)


def write_raw(folder: Path, seed: int, codes: list[int]) -> np.ndarray:
    """One file of a session: noise of 10 uV in volts, a picture every 0.2 s from 0.5 s on."""
    folder.mkdir(parents=True, exist_ok=True)
    n_times = 500 + 200 * len(codes) + 1000
    data = np.random.default_rng(seed).normal(scale=1e-5, size=(64, n_times))
    data[63] = 0
    for k, code in enumerate(codes):
        data[63, 500 + 200 * k] = code
    return data


def save_raw(path: Path, data: np.ndarray) -> None:
    content = {
        "raw_eeg_data": data,
        "ch_names": [*NAMES_63, "stim"],
        "ch_types": ["eeg"] * 63 + ["stim"],
        "sfreq": 1000,
        "highpass": 0.01,
        "lowpass": 100,
    }
    np.save(path, content, allow_pickle=True)


def test_raw_things_eeg2_comes_in_microvolts_without_targets(tmp_path: Path) -> None:
    folder = tmp_path / "things_eeg2"
    write_metadata(folder)
    picture(folder / "image_set/training_images/00001_concept_1/concept_1_02s.jpg", 120)
    for session in (1, 4):
        here = folder / "raw_data" / "sub-02" / f"ses-0{session}"
        data = write_raw(here, session, [2, 99999, 44, 1])
        save_raw(here / "raw_eeg_training.npy", data)
        save_raw(here / "raw_eeg_test.npy", write_raw(here, 10, [2, 1]))
    options = {"files": "raw_data/sub-??/ses-04/raw_eeg_training.npy"}
    (train,) = READERS["things_eeg2_raw"].read(folder, options)
    np.testing.assert_allclose(train.eeg_uV, data[:63] * 1e6, rtol=1e-6)
    assert [(event.onset_s, event.code, event.info["condition"]) for event in train.events] == [
        (0.5, "concept 1", 1),
        (0.9, "concept 22", 43),
        (1.1, "concept 1", 0),
    ]
    assert train.left_out == {"stim": "stim, read as events"}
    assert train.skipped == {"pictures: targets of the task": 1}
    report, shards = prepare("things_eeg2_raw", tmp_path)
    assert report.samples == {"train": 3, "validation": 3, "test": 4}
    assert report.left_out == {"pictures: targets of the task": 2}
    assert report.labels["test"] == {"aircraft carrier": 2, "antelope": 2}
    assert [record["json"]["onset_s"] for record in shards["train"] if "png" in record] == [0.5]
    metadata = folder / "image_set" / "image_metadata.npy"
    metadata.rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"gave no sample(.|\n)*image_metadata\.npy"):
        prepare("things_eeg2_raw", tmp_path)
    (tmp_path / "away").rename(metadata)
    data[63, 500] = 45
    save_raw(here / "raw_eeg_training.npy", data)
    with pytest.raises(DataError, match="1 to 45, expected 1 to 44"):
        list(READERS["things_eeg2_raw"].read(folder, options))
    save_raw(here / "raw_eeg_training.npy", data[:60])
    with pytest.raises(DataError, match="with 64 names"):
        list(READERS["things_eeg2_raw"].read(folder, options))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("canary",)


def test_damaged_things_eeg2_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_metadata(tmp_path)
    write_preprocessed(tmp_path / "sub-01", "17")
    path, read = tmp_path / "sub-01" / "preprocessed_eeg_test.npy", READERS["things_eeg2"].read
    good = {
        "preprocessed_eeg_data": np.zeros((2, 80, 17, 100)),
        "ch_names": list(OCCIPITAL),
        "times": np.arange(100) / 100,
    }
    for damaged in (
        {**good, "preprocessed_eeg_data": np.zeros((3, 80, 17, 100))},
        {**good, "times": np.arange(90) / 100},
        {name: good[name] for name in ("times", "ch_names")},
        {**good, "more": _Evil()},
    ):
        path.write_bytes(pickle.dumps(damaged))
        with pytest.raises(DataError, match=r"preprocessed_eeg_test\.npy: "):
            list(read(tmp_path, {}))
    assert not (tmp_path / "canary").exists()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="not a pickle of arrays"):
        list(read(tmp_path, {}))
    path.rename(tmp_path / "preprocessed_eeg_test.npy")  # a file in no subject's folder
    lost = [one for one in READERS["things_eeg2"].locate(tmp_path, {}) if hasattr(one, "message")]
    assert [one.name for one in lost] == ["preprocessed_eeg_test.npy"]
    np.save(tmp_path / "image_set" / "image_metadata.npy", {"train_img_concepts": ["a"]}, allow_pickle=True)
    with pytest.raises(DataError, match="expected the set's"):
        list(READERS["things_eeg2"].locate(tmp_path, {}))
    with pytest.raises(ConfigError, match="validation_every is 0"):
        list(read(tmp_path, {"validation_every": 0}))


HEADER = """Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg
MarkerFile={stem}.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=63
SamplingInterval=1000

[Binary Infos]
BinaryFormat=INT_16

[Channel Infos]
"""
MARKERS = """Brain Vision Data Exchange Marker File, Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg

[Marker Infos]
Mk1=New Segment,,1,1,0,20190808083512000000
Mk2=Stimulus,E  1,500,1,0
"""
COLUMNS = (  # noqa: SIM905
    "onset duration eventnumber blocksequencenumber isteststim object objectnumber presentationnumber sequencenumber "
    "stim stimnumber teststimnumber withinsequencenumber istarget stimname response rt correct time_stimon "
    "time_stimoff stimdur"
).split()


def write_things_eeg1(folder: Path, subject: str, *, has_test: bool = True, onset: str = "{}") -> np.ndarray:
    """12 blocks of two pictures, 10 Hz, from sample 400 on; then, 1 s later, four test pictures."""
    here, stem = folder / subject / "eeg", f"{subject}_task-rsvp_eeg"
    here.mkdir(parents=True)
    counts = np.random.default_rng(int(subject[-2:])).normal(scale=100, size=(63, 6000)).round().astype("<i2")
    (here / f"{stem}.eeg").write_bytes(counts.T.tobytes())
    channels = "".join(f"Ch{i}={name},,0.1,µV\n" for i, name in enumerate(NAMES_63, 1))
    (here / f"{stem}.vhdr").write_text(HEADER.format(stem=stem) + channels)
    (here / f"{stem}.vmrk").write_text(MARKERS.format(stem=stem))
    rows = []
    for i in range(24 + 4 * has_test):
        test = i >= 24
        concept = "panda" if test else ("test_tube", "stove2")[i % 2]
        name = f"{concept}_14s.jpg" if test else f"{concept}_{i // 2 + 1:02d}s.jpg"
        values = dict.fromkeys(COLUMNS, "0") | {
            "onset": onset.format(400 + 100 * i + 1000 * test),
            "duration": "50",
            "eventnumber": str(i),
            "blocksequencenumber": "-1" if test else str(i // 2),
            "isteststim": str(int(test)),
            "object": "-1" if test else concept,
            "sequencenumber": "72" if test else str(i // 4),
            "stim": f"stimuli\\{concept}\\{name}",
            "istarget": str(int(i == 1)),
            "stimname": name,
        }
        rows.append(values)
    columns = [name for name in COLUMNS if has_test or name not in ("isteststim", "teststimnumber")]  # as in sub-01
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    (here / f"{subject}_task-rsvp_events.tsv").write_text("\n".join(lines) + "\n")
    return counts * 0.1


def test_things_eeg1_has_onsets_in_samples_and_paths_of_windows(tmp_path: Path) -> None:
    signal = write_things_eeg1(tmp_path, "sub-02")
    train, validation, test = READERS["things_eeg1"].read(tmp_path, {})
    located = [one.source.recording for one in READERS["things_eeg1"].locate(tmp_path, {})]
    assert located == [train.name, validation.name, test.name] == ["sub-02-train", "sub-02-validation", "sub-02-test"]
    assert [len(recording.events) for recording in (train, validation, test)] == [22, 2, 4]
    first, second = train.events[:2]
    assert (first.onset_s, first.code, first.duration_s) == (0.4, "test tube", 0.05)
    assert first.info["image"] == "stimuli/test_tube/test_tube_01s.jpg"
    assert (second.info["is_target"], first.info["is_target"]) == (True, False)
    assert (validation.events[0].info["block"], validation.events[0].info["trial"]) == (11, 22)
    # the pieces are cut half-way between the last event of one and the first of the next
    np.testing.assert_allclose(np.concatenate([r.eeg_uV for r in (train, validation, test)], axis=1), signal, atol=1e-3)
    assert (train.n_times, validation.n_times) == (2550, 3250 - 2550)
    assert test.events[0].onset_s == pytest.approx((3800 - 3250) / 1000)
    assert {event.code for event in test.events} == {"panda"}


def test_things_eeg1_becomes_shards(tmp_path: Path) -> None:
    folder = tmp_path / "things_eeg1"
    write_things_eeg1(folder, "sub-01", has_test=False)
    write_things_eeg1(folder, "sub-02")
    write_things_eeg1(folder, "sub-03", onset="{}.5")
    picture(folder / "stimuli/panda/panda_14s.jpg", 30)
    report, shards = prepare("things_eeg1", tmp_path)
    assert report.samples == {"train": 34, "validation": 4, "test": 4}
    assert report.labels["train"] == {"test tube": 18, "stove2": 16}
    assert report.left_out == {"windows: outside the recording": 10}  # the last five of each train reach into the next
    assert [failure.name for failure in report.failures] == ["sub-03/eeg/sub-03_task-rsvp_eeg.vhdr"]
    assert "expected samples" in report.failures[0].message
    assert all("png" in record for record in shards["test"])


def test_events_that_do_not_fit_the_recording_are_refused(tmp_path: Path) -> None:
    write_things_eeg1(tmp_path, "sub-02")
    data = tmp_path / "sub-02" / "eeg" / "sub-02_task-rsvp_eeg.eeg"
    whole = data.read_bytes()
    data.unlink()
    data.symlink_to("annex")
    with pytest.raises(DataError, match=r"rsvp_eeg\.eeg: a link to a file that is not here"):
        list(READERS["things_eeg1"].read(tmp_path, {}))
    data.unlink()
    data.write_bytes(whole[: 63 * 2 * 4000])
    with pytest.raises(DataError, match="sample 4100 of 4000"):
        list(READERS["things_eeg1"].read(tmp_path, {}))
    table = tmp_path / "sub-02" / "eeg" / "sub-02_task-rsvp_events.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]) + "\n")
    with pytest.raises(DataError, match="not in order of time"):
        list(READERS["things_eeg1"].read(tmp_path, {}))
    table.unlink()
    (failure,) = READERS["things_eeg1"].locate(tmp_path, {})
    assert "events.tsv: no such file" in failure.message
