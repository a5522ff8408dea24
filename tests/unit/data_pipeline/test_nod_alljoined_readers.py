"""NOD-EEG and Alljoined in their three forms, on small files of the published schema; and the tables beside them."""

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal
from made_sets import picture, prepare
from scipy.io import savemat

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.readers.tables import read_table, require_columns

NOD_NAMES = ("Fp1", "Fpz", "Fp2", "AF3", "AF4", "F7", "Cz", "Oz", "HEO", "VEO")  # of 62 EEG and 2 EOG columns
FLEX_NAMES = (  # noqa: SIM905 (the 32 electrodes of the headset; `Afz` as its software writes it)
    "Cz Fz Fp1 F7 F3 FC1 C3 FC5 FT9 T7 CP5 CP1 P3 P7 PO9 O1 Pz Oz O2 PO10 P8 P4 CP2 CP6 T8 FT10 FC6 C4 FC2 F4 F8 Afz"
).split()


def noise(n_chans: int, n_times: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=10, size=(n_chans, n_times))


# tables


def test_a_table_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        for end in (b"\n", b"\r\n"):
            (tmp_path / "a.tsv").write_bytes(mark + b"onset\tstim" + end + b'1\tsay "a,b"' + end)
            assert read_table(tmp_path / "a.tsv") == [{"onset": "1", "stim": 'say "a,b"'}]
            (tmp_path / "a.csv").write_bytes(mark + b"onset,stim" + end + b'1,"a,b"' + end)
            assert read_table(tmp_path / "a.csv") == [{"onset": "1", "stim": "a,b"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a\tb\n1\n", r"line 2 has 1 cells, expected 2"),
        (b"a\tb\n1\t2\t3\n", r"line 2 has 3 cells, expected 2"),
        (b"a\ta\n1\t2\n", "'a' comes twice"),
        (b"a\tb\n\xff\t2\n", "not a table in UTF-8"),
        (b"/annex/objects/MD5E-s1--0.tsv\n", "datalad get"),
        (b"../../.git/annex/objects/XJ/zF/SHA256E-s1--0.tsv/SHA256E-s1--0.tsv", "datalad get"),
    ],
)
def test_a_damaged_table_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_table(tmp_path / "a.tsv")
    assert "a.tsv" in str(error.value)


def test_a_table_that_is_not_here_or_lacks_a_column(tmp_path: Path) -> None:
    (tmp_path / "link.tsv").symlink_to(tmp_path / ".git/annex/objects/x")
    for name, message in (("link.tsv", "datalad get"), ("none.csv", "fetch it"), ("a.txt", "expected a table")):
        with pytest.raises(DataError, match=message):
            read_table(tmp_path / name)
    with pytest.raises(DataError, match="no column onset; found a, b"):
        require_columns(tmp_path / "a.tsv", [{"a": "1", "b": "2"}], {"a", "onset"})
    with pytest.raises(DataError, match="found no row"):
        require_columns(tmp_path / "a.tsv", [], {"a"})


# NOD-EEG


def write_set(path: Path, eeg_uV: np.ndarray) -> None:
    """An EEGLAB file with its signal inside, in microvolts, as EEGLAB has it."""
    locations = np.array([(name,) for name in NOD_NAMES], dtype=[("labels", object)])
    n_chans, n_times = eeg_uV.shape
    fields = {"setname": "", "nbchan": n_chans, "pnts": n_times, "trials": 1, "srate": 500.0, "xmin": 0.0}
    fields |= {"xmax": (n_times - 1) / 500, "data": eeg_uV.astype(np.float32), "chanlocs": locations, "event": []}
    fields |= {"epoch": [], "icawinv": [], "icasphere": [], "icaweights": [], "icaact": [], "ref": "common"}
    savemat(path, {"EEG": fields}, appendmat=False)


def write_nod(folder: Path, n_trials: int = 4) -> dict[int, np.ndarray]:
    """Runs 1, 7 and 8 of a session. In the set a run has 125 trials, and other sessions stand in the same table."""
    here = folder / "sub-01" / "ses-ImageNet02" / "eeg"
    here.mkdir(parents=True)
    details = folder / "derivatives" / "detailed_events" / "sub-01_events.csv"
    details.parent.mkdir(parents=True)
    rows, signals = ["subject,session,run,image_id,class_id,super_class,stim_is_animate,resp_is_right,RT"], {}
    for session, run in (("ImageNet01", 1), ("ImageNet02", 1), ("ImageNet02", 7), ("ImageNet02", 8)):
        for trial in range(n_trials):
            name = f"n0144076{trial % 2}_{100 * run + trial}"
            rows.append(f"01,{session},{run},{name},{trial % 2},fish,{trial % 2 == 0},True,0.6")
        if session == "ImageNet01":
            continue  # not fetched
        stem = here / f"sub-01_ses-ImageNet02_task-ImageNet_run-{run:02d}"
        signals[run] = noise(len(NOD_NAMES), 500 * (2 + 2 * n_trials), run)
        write_set(Path(f"{stem}_eeg.set"), signals[run])
        events = ["onset\tduration\ttrial_type\tvalue\tsample\tStimulusPresentation", "0.0\t0.002\tbegin\t1\t0\tP"]
        for trial in range(n_trials):
            sample = 249 + 1000 * trial
            events += [
                f"{sample / 500}\t0.002\tstim_on\t4\t{sample}\tP",
                f"{sample / 500 + 0.9}\t0.002\tresp\t3\t{sample}\tP",
            ]
        Path(f"{stem}_events.tsv").write_text("\n".join(events) + "\n")
    details.write_bytes(b"\xef\xbb\xbf" + "\n".join(rows).encode() + b"\n")
    return signals


def test_nod_takes_pictures_from_the_detailed_events(tmp_path: Path) -> None:
    signals = write_nod(tmp_path)
    first, *_ = READERS["nod_eeg"].read(tmp_path, {})
    assert (first.name, first.subject, first.group) == ("sub-01_ses-ImageNet02_run-01", "sub-01", "ImageNet02")
    assert first.ch_names == NOD_NAMES[:8]
    np.testing.assert_allclose(first.eeg_uV, signals[1][:8], atol=1e-4)
    assert [(event.onset_s, event.code) for event in first.events] == [
        (0.498, "n01440760"),
        (2.498, "n01440761"),
        (4.498, "n01440760"),
        (6.498, "n01440761"),
    ]
    assert first.events[3].info == {
        "image": "stimuli/ImageNet/n01440761_103.JPEG",
        "trial": 3,
        "class": "n01440761",
        "animacy": "inanimate",
    }
    alive = next(READERS["nod_eeg"].read(tmp_path, {"code": "animacy"}))
    assert [event.code for event in alive.events] == ["animate", "inanimate"] * 2
    with pytest.raises(ConfigError, match="expected class or animacy"):
        next(READERS["nod_eeg"].read(tmp_path, {"code": "name"}))


def test_nod_becomes_shards(tmp_path: Path) -> None:
    folder = tmp_path / "nod_eeg"
    write_nod(folder)
    picture(folder / "stimuli/ImageNet/n01440760_802.JPEG", 150)
    absent = folder / "sub-01/ses-ImageNet02/eeg/sub-01_ses-ImageNet02_task-ImageNet_run-02_eeg.set"
    absent.symlink_to(folder / ".git/annex/objects/x")
    report, shards = prepare("nod_eeg", tmp_path)
    assert report.samples == {"train": 4, "validation": 4, "test": 4}
    assert report.labels["test"] == {"animate": 2, "inanimate": 2}
    assert [failure.message.split(":")[0] for failure in report.failures] == [
        "a link to a file that is not here; fetch it (in a DataLad set"
    ]
    pictured = [record for record in shards["test"] if "png" in record]
    assert [(r["json"]["onset_s"], r["json"]["label_text"]) for r in pictured] == [(4.5, "something animate")]


@pytest.mark.parametrize("shown_again", [0, 1])
def test_pictures_that_are_in_training_too_are_counted(tmp_path: Path, shown_again: int) -> None:
    """By the names in the events: the files need not be here. A second run tells it from what the first one kept."""
    write_nod(tmp_path / "nod_eeg")
    details = tmp_path / "nod_eeg/derivatives/detailed_events/sub-01_events.csv"
    details.write_bytes(details.read_bytes().replace(b"n01440760_802", b"n01440760_102" if shown_again else b"new"))
    for _ in range(2):
        report, _ = prepare("nod_eeg", tmp_path)
        assert report.notes["of 4 pictures of the test split are in training too"] == shown_again
        assert f"{shown_again}  of 4 pictures of the test split are in training too" in str(report)
        assert report.notes["of 4 pictures of the validation split are in training too"] == 0


def test_tables_of_nod_that_disagree_are_refused(tmp_path: Path) -> None:
    write_nod(tmp_path)
    details = tmp_path / "derivatives/detailed_events/sub-01_events.csv"
    whole = details.read_text(encoding="utf-8-sig")
    details.write_text("\n".join(whole.splitlines()[:-1]) + "\n")
    found = READERS["nod_eeg"].read(tmp_path, {"files": "sub-*/ses-*/eeg/*run-08_eeg.set"})
    with pytest.raises(DataError, match=r"4 pictures, but sub-01_events\.csv has 3 trials"):
        list(found)
    details.write_text(whole.replace("False", "maybe"))
    with pytest.raises(DataError, match="stim_is_animate is 'maybe'"):
        list(READERS["nod_eeg"].read(tmp_path, {}))
    events = tmp_path / "sub-01/ses-ImageNet02/eeg/sub-01_ses-ImageNet02_task-ImageNet_run-07_events.tsv"
    events.write_text(events.read_text().replace("\t1249\t", "\t2498\t"))  # as at 1 kHz
    details.write_text(whole)
    with pytest.raises(DataError, match=r"2\.498 s lies at 4\.996 s by its sample and the 500 Hz"):
        list(READERS["nod_eeg"].read(tmp_path, {}))
    details.write_text(whole.replace("image_id", "image"))
    with pytest.raises(DataError, match="no column image_id"):
        list(READERS["nod_eeg"].read(tmp_path, {}))


# Alljoined-1


def write_alljoined1(folder: Path, codes: dict[str, list[int]]) -> np.ndarray:
    """fif files whose Status channel holds the number of the picture at its onset, and NSD's tables beside them."""
    folder.mkdir(exist_ok=True)
    names = ["Fp1", "AF7", "Cz", "Pz", "Oz", "Iz"]
    for file, numbers in codes.items():
        data = np.vstack([noise(6, 512 * (2 + len(numbers)), 5) * 1e-6, np.zeros(512 * (2 + len(numbers)))])
        for k, number in enumerate(numbers):
            data[6, 512 * (k + 1)] = number
        info = mne.create_info([*names, "Status"], 512, ["eeg"] * 6 + ["stim"])
        mne.io.RawArray(data, info, verbose="ERROR").save(folder / file, verbose="ERROR")
    shared, subjects = np.arange(101, 141)[None], np.arange(1, 321).reshape(8, 40)  # NSD ids, from 1
    savemat(folder / "nsd_expdesign.mat", {"sharedix": shared, "subjectim": subjects})
    rows = "".join(f"{nsd},{500 + nsd},train2017\n" for nsd in range(320))
    (folder / "nsd_coco_conversion.csv").write_text(",cocoId,cocoSplit\n" + rows)
    (folder / "test_indices.json").write_text(json.dumps([103, 43]))  # NSD ids, from 0
    return data[:6] * 1e6


def test_alljoined1_finds_the_pictures_by_the_design_of_nsd(tmp_path: Path) -> None:
    signal = write_alljoined1(tmp_path, {"subj02_session1_eeg.fif": [1, 4, 10], "subj02_session2_eeg.fif": [4, 3, 4]})
    found = {recording.name: recording for recording in READERS["alljoined1"].read(tmp_path, {})}
    assert [one.source.recording for one in READERS["alljoined1"].locate(tmp_path, {})] == list(found)
    own = [found[f"subj02-session1-{part}"] for part in ("train", "validation", "test")]
    # an odd session shows the person's own pictures: number 1 of subject 2 is NSD 41, from 0 it is 40, COCO 540
    assert [[(e.onset_s, e.code, e.info["picture"]) for e in r.events] for r in own] == [
        [(1.0, "540", 1)],
        [(3.0, "549", 10)],
        [(2.0, "543", 4)],
    ]
    assert own[0].events[0].info["image"] == "coco/000000000540.jpg"
    shared = found["subj02-session2-test"]
    assert [(event.onset_s, event.info["nsd"]) for event in shared.events] == [(1.0, 103), (3.0, 103)]
    assert (shared.subject, shared.group, shared.sfreq) == ("subj02", "test", 512.0)
    np.testing.assert_allclose(shared.eeg_uV, signal, atol=1e-3)


def test_alljoined1_becomes_shards_of_pictures_without_labels(tmp_path: Path) -> None:
    folder = tmp_path / "alljoined1"
    write_alljoined1(folder, {"subj02_session1_eeg.fif": [1, 4, 10, 1], "subj03_session2_eeg.fif": [4, 3, 20, 41]})
    picture(folder / "coco/000000000540.jpg", 77)
    report, shards = prepare("alljoined1", tmp_path)
    assert report.samples == {"train": 2, "validation": 1, "test": 1}
    assert {failure.name for failure in report.failures} == {
        f"subj03-session2-{p}" for p in ("train", "validation", "test")
    }
    assert "trigger 41 is none of the session's 40 pictures" in report.failures[0].message
    assert [abs(int(record["png"].mean()) - 77) < 4 for record in shards["train"]] == [True, True]
    assert [record["json"]["label"] for record in shards["train"]] == [None, None]


def test_alljoined1_without_its_tables_is_refused(tmp_path: Path) -> None:
    write_alljoined1(tmp_path, {"subj09_session1_eeg.fif": [1]})
    with pytest.raises(DataError, match="subject 9, but the design has 8"):
        list(READERS["alljoined1"].read(tmp_path, {}))
    (tmp_path / "nsd_expdesign.mat").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"nsd_expdesign\.mat: not a readable"):
        list(READERS["alljoined1"].read(tmp_path, {}))
    (tmp_path / "nsd_expdesign.mat").unlink()
    with pytest.raises(DataError, match=r"nsd_expdesign\.mat: no such file"):
        list(READERS["alljoined1"].locate(tmp_path, {}))


# Alljoined-1.6M


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet files need pyarrow")
    from pyarrow.parquet import write_table

    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pyarrow.table(columns), path)


def write_block(folder: Path, where: str, notes: list[str], file: str = "recording.edf") -> np.ndarray:
    path = folder / "raw_eeg" / where / file
    path.parent.mkdir(parents=True, exist_ok=True)
    eeg = noise(32, 256 * (2 + len(notes)), int(where[-2:]))
    signals = [
        EdfSignal(row, 256, label=name, physical_dimension="uV", physical_range=(-80, 80))
        for name, row in zip(FLEX_NAMES, eeg, strict=True)
    ]
    signals.append(EdfSignal(np.arange(len(eeg[0])) % 128, 256, label="Counter", physical_range=(0, 127)))
    Edf(signals, annotations=[EdfAnnotation(k + 1.0, None, note) for k, note in enumerate(notes)]).write(path)
    return eeg


TRAINING = ["stim_train,7,-1,1", "oddball,16741,-1,2", "behav,0,-1,3", "stim_train,8,-1,4"]


def test_raw_alljoined_blocks_are_read_by_their_folders(tmp_path: Path) -> None:
    eeg = write_block(tmp_path, "sub-08/session_02/block_05", TRAINING, "sub-19_block_05.edf")  # as in the set
    write_block(tmp_path, "sub-08/session_02/block_04", ["stim_test,16550,-1,1"])
    write_block(tmp_path, "sub-08/session_02/block_20", TRAINING)
    test, train = READERS["alljoined_16m"].read(tmp_path, {})
    assert [(r.name, r.subject, r.group) for r in (test, train)] == [
        ("sub-08-session_02-block_04", "sub-08", "test"),
        ("sub-08-session_02-block_05", "sub-08", "train"),
    ]
    assert train.ch_names == (*FLEX_NAMES[:-1], "AFz")
    assert "Counter" in train.left_out
    np.testing.assert_allclose(train.eeg_uV, eeg, atol=0.01)
    assert [(e.onset_s, e.code, e.info) for e in train.events] == [
        (1.0, "00007", {"image": "stimuli/images/00007.jpg", "picture": 7}),
        (4.0, "00008", {"image": "stimuli/images/00008.jpg", "picture": 8}),
    ]
    beyond = [one for one in READERS["alljoined_16m"].locate(tmp_path, {}) if hasattr(one, "message")]
    assert [one.name for one in beyond] == ["raw_eeg/sub-08/session_02/block_20/recording.edf"]


def test_pictures_that_were_deleted_are_no_events_and_are_counted(tmp_path: Path) -> None:
    write_block(tmp_path, "sub-08/session_02/block_05", [*TRAINING, "stim_train,12,1,5"])
    (train,) = READERS["alljoined_16m"].read(tmp_path, {})
    assert [event.info["picture"] for event in train.events] == [7, 8]
    assert train.skipped == {"pictures: marked as deleted": 1}


def test_raw_alljoined_becomes_shards(tmp_path: Path) -> None:
    folder = tmp_path / "alljoined_16m"
    categories = {
        "image_path": ["images/00007.jpg", "images/00008.jpg", "images/16550.jpg", "images/16550.jpg"],
        "category_name": ["animal", "tool", "food", "food"],
    }
    write_parquet(folder / "preprocessed_eeg" / "experiment_metadata_categories.parquet", categories)
    write_block(folder, "sub-01/session_01/block_01", ["stim_test,16550,-1,1", "stim_test,16550,-1,2"])
    write_block(folder, "sub-01/session_01/block_05", TRAINING)
    write_block(folder, "sub-01/session_01/block_19", TRAINING)
    write_block(folder, "sub-01/session_02/block_06", ["stim_test,16550,-1,1"])  # not where the design has it
    write_block(folder, "sub-01/session_02/block_07", ["stim_train,9,-1,1"])  # a picture that no table has
    picture(folder / "stimuli/images/16550.jpg", 200)
    table = folder / "preprocessed_eeg" / "experiment_metadata_categories.parquet"
    table.rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"gave no sample(.|\n)*categories\.parquet"):
        prepare("alljoined_16m", tmp_path)
    (tmp_path / "away").rename(table)
    report, shards = prepare("alljoined_16m", tmp_path)
    assert report.samples == {"train": 2, "validation": 2, "test": 2}
    assert report.labels == {
        "train": {"animal": 1, "tool": 1},
        "validation": {"animal": 1, "tool": 1},
        "test": {"food": 2},
    }
    assert {failure.name for failure in report.failures} == {f"sub-01-session_02-block_0{n}" for n in (6, 7)}
    assert report.notes["of 2 pictures of the validation split are in training too"] == 2
    assert report.notes["of 1 pictures of the test split are in training too"] == 0
    assert ["png" in record for record in shards["test"]] == [True, True]


def write_flat(folder: Path, n_train: int = 22) -> tuple[np.ndarray, list[int]]:
    """Of one person: training pictures 0, 1 ..., the design in an order that puts session 2 first, two rows dropped."""
    order = [*range(n_train // 2, n_train), *range(n_train // 2)]  # session 2 has the higher numbers
    sessions = [2 if number >= n_train // 2 else 1 for number in order]
    rows = [("stim_train", s, n, n in (1, n_train - 1)) for s, n in zip(sessions, order, strict=True)]
    rows += [("oddball", 1, 16741, True), ("stim_test", 1, 16600, False), ("stim_test", 2, 16601, False)]
    columns = {
        "partition": [row[0] for row in rows],
        "session": [row[1] for row in rows],
        "image_path": [f"/srv/stimuli/{row[2]:05d}.jpg" for row in rows],
        "dropped": [row[3] for row in rows],
        "category_name": [("animal", "tool")[row[2] % 2] for row in rows],
    }
    here = folder / "preprocessed_eeg" / "sub-06"
    write_parquet(here / "experiment_metadata.parquet", columns)
    kept = [number for number in range(n_train) if number not in (1, n_train - 1)]  # session 1, then 2
    train = np.random.default_rng(0).normal(size=(len(kept), 32, 250))
    for kind, data in (("training", train), ("test", -train[:2])):
        names = [*FLEX_NAMES[:-1], "AFz"]
        content = {"preprocessed_eeg_data": data, "ch_names": names, "times": np.arange(250) / 250}
        content["configs"] = {"baseline": (None, 0), "tmin": -0.2, "tmax": 1.0, "sfreq": 250, "reject": None}
        (here / f"preprocessed_eeg_{kind}_flat.npy").write_bytes(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
    return train, kept


def test_flat_alljoined_trials_follow_the_table_session_by_session(tmp_path: Path) -> None:
    data, kept = write_flat(tmp_path)
    options = {"trials_per_recording": 10}
    found = {recording.name: recording for recording in READERS["alljoined_flat"].read(tmp_path, options)}
    assert [one.source.recording for one in READERS["alljoined_flat"].locate(tmp_path, options)] == list(found)
    names = [f"sub-06-{name}" for name in ("test-00", "validation-00", "train-00", "train-01")]
    assert sorted(found) == sorted(names)
    validation = found["sub-06-validation-00"]  # every 20th picture
    assert [event.info["picture"] for event in validation.events] == [0, 20]
    train = [event for name in names[2:] for event in found[name].events]
    assert [event.info["picture"] for event in train] == [number for number in kept if number % 20]
    np.testing.assert_allclose(validation.eeg_uV[:, 250:], data[kept.index(20)], rtol=1e-6)
    assert validation.events[1].info == {
        "image": "stimuli/images/00020.jpg",
        "picture": 20,
        "trial": kept.index(20),
        "session": 2,
    }
    assert [event.code for event in found["sub-06-test-00"].events] == ["animal", "tool"]
    assert (validation.sfreq, validation.boundaries, validation.ch_names[-1]) == (250.0, (250,), "AFz")


def test_flat_alljoined_becomes_shards(tmp_path: Path) -> None:
    write_flat(tmp_path / "alljoined_16m")
    picture(tmp_path / "alljoined_16m/stimuli/images/16601.jpg", 10)
    report, shards = prepare("alljoined_flat", tmp_path)
    assert report.samples == {"train": 18, "validation": 2, "test": 2}
    assert not report.failures
    assert [("png" in r, r["json"]["label"]) for r in shards["test"]] == [(False, "animal"), (True, "tool")]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flat(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r'pip install "neuroleon\[formats\]"'):
        list(READERS["alljoined_flat"].locate(tmp_path, {}))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("canary",)


def test_damaged_flat_alljoined_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_flat(tmp_path)
    here, reader = tmp_path / "preprocessed_eeg" / "sub-06", READERS["alljoined_flat"]
    (here / "preprocessed_eeg_test_flat.npy").unlink()
    path = here / "preprocessed_eeg_training_flat.npy"
    content = pickle.loads(path.read_bytes())
    for damaged in (
        {**content, "preprocessed_eeg_data": content["preprocessed_eeg_data"][1:]},
        {**content, "x": _Evil()},
    ):
        path.write_bytes(pickle.dumps(damaged))
        with pytest.raises(DataError, match=r"training_flat\.npy: "):
            list(reader.read(tmp_path, {}))
    assert not (tmp_path / "canary").exists()
    with pytest.raises(ConfigError, match="validation_every is 1"):
        list(reader.read(tmp_path, {"validation_every": 1}))
    table = here / "experiment_metadata.parquet"
    write_parquet(table, {"partition": ["stim_train"], "session": [1], "image_path": ["a.jpg"], "dropped": [False]})
    (failure,) = reader.locate(tmp_path, {})
    assert "does not end in five digits" in failure.message
    write_parquet(table, {"partition": ["stim_train"]})
    (failure,) = reader.locate(tmp_path, {})
    assert "no column dropped, image_path, session" in failure.message
    for damage in (b"", table.read_bytes()[:-20]):
        table.write_bytes(damage)
        (failure,) = reader.locate(tmp_path, {})
        assert "not a readable parquet file" in failure.message
