"""SEED, DEAP and FACED: files as they are published, the labels of their trials, and people kept apart."""

import pickle
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers import faced
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import Report, prepare_samples
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.sources import survey
from neuroleon.data_pipeline.splits import assign
from neuroleon.signals.montage import electrode_positions


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, shape)


def labels(out: Path, name: str, split: str) -> Counter[str]:
    return Counter(record["json"]["label"] for record in ShardReader(out / name, split))


def prepare(tmp_path: Path, name: str) -> Report:
    report = prepare_samples(load_recipe(name), tmp_path, tmp_path / "out")
    assert not report.failures
    return report


# --- SEED

SEED_LABELS = [1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1]


def write_seed(folder: Path, names: tuple[str, ...]) -> dict[str, list[np.ndarray]]:
    """Sessions of 15 clips of 4.5 to 5.9 s (the real ones last four minutes), under the initials of a person."""
    folder.mkdir(parents=True)
    savemat(folder / "label.mat", {"label": np.array([SEED_LABELS], np.int16)})
    sessions = {}
    for seed, name in enumerate(names):
        clips = [noise(62, 900 + 20 * k, seed=100 * seed + k) for k in range(15)]
        savemat(folder / name, {f"djc_eeg{k}": clip for k, clip in reversed(list(enumerate(clips, 1)))})
        sessions[name] = clips
    return sessions


def test_seed_sessions_are_numbered_and_their_days_and_initials_forgotten(tmp_path: Path) -> None:
    names = ("1_20131107.mat", "1_20131027.mat", "11_20140618.mat", "1_20131030.mat")
    sessions = write_seed(tmp_path / "s", names)
    located = list(READERS["seed"].locate(tmp_path / "s", {}))
    recordings = [next(READERS["seed"].read(tmp_path / "s", dict(one.options))) for one in located]
    assert [(r.name, r.subject, r.group) for r in recordings] == [
        ("11-1", "11", "1"),
        ("1-1", "1", "1"),
        ("1-2", "1", "2"),
        ("1-3", "1", "3"),
    ]
    assert {one.files[1].name for one in located} == {"label.mat"}
    second = recordings[2]  # of the thirtieth of October
    clips = sessions["1_20131030.mat"]
    np.testing.assert_array_equal(second.eeg_uV, np.concatenate(clips, axis=1).astype(np.float32))
    assert second.boundaries == tuple(np.cumsum([clip.shape[1] for clip in clips])[:-1].tolist())
    words = {1: "positive", 0: "neutral", -1: "negative"}
    assert [(e.code, e.info["clip"]) for e in second.events] == [(words[v], k) for k, v in enumerate(SEED_LABELS, 1)]
    assert (second.events[1].onset_s, second.events[1].duration_s) == (900 / 200, 920 / 200)
    assert (len(second.ch_names), second.sfreq) == (62, 200)
    assert second.ch_names[:5] + second.ch_names[57:] == (
        *("Fp1", "Fpz", "Fp2", "AF3", "AF4"),
        *("CB1", "O1", "Oz", "O2", "CB2"),
    )
    for row in ("F7 F8", "FT7 FT8", "T7 T8", "TP7 TP8", "P7 P8", "PO7 PO8"):  # each from left to right
        left, right = map(second.ch_names.index, row.split())
        assert (np.diff(second.positions[left : right + 1, 0]) > 0).all()
    assert "djc" not in repr(recordings)
    assert "2013" not in repr(recordings)


def test_seed_goes_into_shards(tmp_path: Path) -> None:
    write_seed(tmp_path / "seed" / "Preprocessed_EEG", ("15_20131016.mat",))
    report = prepare(tmp_path, "seed")
    of_each = {"positive": 5, "neutral": 5, "negative": 5}  # one window of 4 s from each clip
    assert labels(tmp_path / "out", "seed", "test") == of_each
    assert not report.left_out
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and ".tasks" not in path.parts:
            assert not [word for word in (b"20131016", b"djc") if word in path.read_bytes()], path.name


def test_seed_without_its_labels_says_so_and_goes_on_when_they_come(tmp_path: Path) -> None:
    folder = tmp_path / "seed" / "Preprocessed_EEG"
    write_seed(folder, ("15_20131016.mat",))
    labels_file = folder / "label.mat"
    labels_file.rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"label\.mat: no such file"):
        prepare(tmp_path, "seed")
    (tmp_path / "away").rename(labels_file)
    assert prepare(tmp_path, "seed").samples == {"test": 15}


@pytest.mark.parametrize("damage", ["no label.mat", "label 2", "a clip less", "61 columns", "cut", "complex"])
def test_a_damaged_seed_file_is_refused(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "s"
    write_seed(folder, ("1_20131027.mat",))
    path = folder / "1_20131027.mat"
    if damage == "no label.mat":
        (folder / "label.mat").unlink()
    elif damage == "label 2":
        savemat(folder / "label.mat", {"label": [[2, 0, 1]]})
    elif damage == "a clip less":
        savemat(path, {f"djc_eeg{k}": noise(62, 9) for k in range(1, 15)})
    elif damage == "61 columns":
        savemat(path, {f"djc_eeg{k}": noise(61, 9) for k in range(1, 16)})
    elif damage == "complex":
        savemat(path, {f"djc_eeg{k}": noise(62, 9) * 1j for k in range(1, 16)})
    else:
        path.write_bytes(path.read_bytes()[:100_000])
    message = {
        "no label.mat": r"label\.mat: no such file",
        "label 2": "label 2; expected 1, 0 or -1",
        "a clip less": r"clips \[.*\], expected 1 to 15",
        "61 columns": r"clip 1: found float64 \(61, 9\), expected numbers \(62, any\)",
        "cut": r"1_20131027\.mat: not a readable",
        "complex": "found complex128",
    }[damage]
    with pytest.raises(DataError, match=message) as error:
        list(READERS["seed"].read(folder, {}))
    assert "djc" not in str(error.value)


# --- DEAP


def python_2(array: np.ndarray) -> bytes:
    """An array as Python 2 pickled it: its numbers in a byte string, numpy's core by its old name."""
    shape = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in array.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = array.astype("<f8").tobytes()
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01"
    return start + shape + dtype + b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"


RATINGS = np.array([[7.71, 7.60, 6.90, 7.83], [5.0, 5.01, 1.0, 9.0]])


def write_deap(path: Path, data: np.ndarray) -> np.ndarray:
    """A file of two videos; the real ones have 40."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x80\x02}(U\x06labels" + python_2(RATINGS) + b"U\x04data" + python_2(data) + b"u.")
    return data


def test_deap_trials_have_the_electrodes_and_the_ratings(tmp_path: Path) -> None:
    data = write_deap(tmp_path / "s01.dat", noise(2, 40, 8064))
    (recording,) = READERS["deap"].read(tmp_path, {})
    assert (recording.name, recording.subject, recording.sfreq) == ("s01", "s01", 128)
    np.testing.assert_array_equal(recording.eeg_uV, np.concatenate(data[:, :32], axis=1).astype(np.float32))
    assert recording.boundaries == (8064,)
    assert recording.ch_names[:4] + recording.ch_names[15:18] == ("Fp1", "AF3", "F3", "F7", "Pz", "Fp2", "AF4")
    assert recording.ch_names[29:] == ("P8", "PO4", "O2")
    assert set(recording.left_out) == {"hEOG", "vEOG", "zEMG", "tEMG", "GSR", "Resp", "Plet", "Temp"}
    assert [(e.onset_s, e.duration_s, e.code) for e in recording.events] == [
        (3.0, 60.0, "valence-high arousal-high"),
        (66.0, 60.0, "valence-low arousal-high"),
    ]
    assert recording.events[1].info == {"video": 2, "valence": 5.0, "arousal": 5.01, "dominance": 1.0, "liking": 9.0}


def test_deap_goes_into_shards_without_its_baseline(tmp_path: Path) -> None:
    for seed, name in enumerate(("s24", "s25", "s32")):
        write_deap(tmp_path / "deap" / "data_preprocessed_python" / f"{name}.dat", noise(2, 40, 8064, seed=seed))
    prepare(tmp_path, "deap")
    of_each = {"pleasant and exciting": 15, "unpleasant and exciting": 15}  # 15 windows of 4 s from each minute
    for split in ("train", "validation", "test"):
        assert labels(tmp_path / "out", "deap", split) == of_each
    records = list(ShardReader(tmp_path / "out" / "deap", "test"))
    assert [record["json"]["onset_s"] for record in records[:2]] == [3.0, 7.0]
    assert records[15]["json"]["onset_s"] == 66.0
    assert {record["npy"].shape for record in records} == {(32, 800)}


class _Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("name", ["deap", "faced"])
def test_a_pickle_that_is_a_program_does_not_run(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / {"deap": "s01.dat", "faced": "sub000.pkl"}[name]
    path.write_bytes(pickle.dumps({"data": _Evil(canary), "labels": np.zeros(4)}))
    with pytest.raises(DataError, match=f"{path.name}: not a pickle of arrays"):
        list(READERS[name].read(tmp_path, {}))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "expected a dictionary with data and labels"),
        ({"data": np.zeros((2, 40, 8064))}, "expected a dictionary with data and labels"),
        ({"data": np.zeros((2, 32, 8064)), "labels": RATINGS}, r"data: found float64 \(2, 32, 8064\)"),
        ({"data": np.zeros((1, 40, 8064)), "labels": RATINGS}, r"labels: found float64 \(2, 4\), expected .*\(1, 4\)"),
        ({"data": "x", "labels": RATINGS}, "data: found str"),
    ],
)
def test_a_deap_file_of_another_shape_is_refused(tmp_path: Path, value: object, message: str) -> None:
    (tmp_path / "s01.dat").write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match=message) as error:
        list(READERS["deap"].read(tmp_path, {}))
    assert "s01.dat" in str(error.value)


# --- FACED


def write_faced(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.tile(noise(28, 32, 500, seed=seed), (1, 1, 15))
    path.write_bytes(pickle.dumps(data))
    return data


def test_faced_clips_have_their_emotions(tmp_path: Path) -> None:
    data = write_faced(tmp_path / "sub007.pkl")
    (recording,) = READERS["faced"].read(tmp_path, {})
    np.testing.assert_array_equal(recording.eeg_uV, np.concatenate(data, axis=1).astype(np.float32))
    assert recording.boundaries == tuple(range(7500, 28 * 7500, 7500))
    assert recording.ch_names[:3] + recording.ch_names[27:] == ("Fp1", "Fp2", "Fz", "Oz", "O1", "O2", "A2", "A1")
    np.testing.assert_array_equal(recording.positions, electrode_positions(recording.ch_names))
    numbers = [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 4 + [5] * 3 + [6] * 3 + [7] * 3 + [8] * 3
    assert [list(faced.EMOTIONS).index(e.code) for e in recording.events] == numbers
    assert [e.info["clip"] for e in recording.events] == list(range(1, 29))
    assert {(e.duration_s, e.onset_s % 30) for e in recording.events} == {(30.0, 0.0)}


def test_faced_goes_into_shards(tmp_path: Path) -> None:
    write_faced(tmp_path / "faced" / "Processed_data" / "sub080.pkl")
    report = prepare(tmp_path, "faced")
    of_each = {emotion: 3 * n for emotion, n in faced.EMOTIONS.items()}  # three windows of 10 s from each clip
    assert labels(tmp_path / "out", "faced", "validation") == of_each
    assert not report.left_out


def test_a_faced_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub000.pkl").write_bytes(pickle.dumps(np.zeros((28, 32, 750))))
    with pytest.raises(
        DataError, match=r"sub000\.pkl: found float64 \(28, 32, 750\), expected numbers \(28, 32, 7500\)"
    ):
        list(READERS["faced"].read(tmp_path, {}))


# --- all of them


@pytest.mark.parametrize(
    ("name", "files", "people"),
    [
        ("seed", [f"{k}_2013{month}27.mat" for k in range(1, 16) for month in ("10", "11", "12")], (10, 2, 3)),
        ("deap", [f"s{k:02d}.dat" for k in range(1, 33)], (24, 4, 4)),
        ("faced", [f"sub{k:03d}.pkl" for k in range(123)], (80, 20, 23)),
    ],
)
def test_people_are_dealt_out_and_each_is_in_one_part(
    tmp_path: Path, name: str, files: list[str], people: tuple[int, ...]
) -> None:
    for file in files:
        (tmp_path / file).touch()
    located, failures = survey(load_recipe(name), tmp_path)
    assert (len(located), failures) == (len(files), [])
    splits = assign([one.source for one in located], load_recipe(name).split)
    dealt = {(one.source.subject, splits[one.source.recording]) for one in located}
    assert tuple(Counter(split for _, split in dealt)[s] for s in ("train", "validation", "test")) == people


@pytest.mark.parametrize(("name", "file"), [("seed", "1_20131027.mat"), ("deap", "s01.dat"), ("faced", "sub000.pkl")])
def test_what_cannot_be_opened_is_said_before_anything_is_read(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(DataError, match="no file fits"):
        list(READERS[name].locate(tmp_path, {}))
    with pytest.raises(DataError, match="no file fits"):
        list(READERS[name].read(tmp_path, {}))
    with pytest.raises(ConfigError, match=f"reader {name}: unknown options"):
        list(READERS[name].read(tmp_path, {"file": "x"}))
    (tmp_path / file).symlink_to(tmp_path / "annex")
    (failure,) = READERS[name].locate(tmp_path, {})
    assert "datalad get" in failure.message
