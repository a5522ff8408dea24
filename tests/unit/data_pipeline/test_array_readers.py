"""Readers of trials and headband recordings that lie in arrays, on small files made here and on the real ones."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.signals.plausibility import check_recording

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside the checkout")


def write_trials(path: Path, **changes: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "x": rng.integers(-200, 200, (6, 3, 32)).astype(np.int16),
        "scale_uv": np.float32(0.5),
        "y": np.array([0, 1, 0, 1, 0, 1]),
        "label": np.array(["a ", "b", "a", "b", "a", "b"]),
        "subject": np.array([1, 1, 2, 1, 2, 2]),
        "group": np.array(["s"] * 6),
        "fs": np.int64(128),
        "ch": np.array(["occ0", "occ1", "X"]),
        "hz": np.array([8.0, 9.0]),
    }
    np.savez(path, **(arrays | changes))


def test_trials_become_one_recording_per_subject_and_group(tmp_path: Path) -> None:
    write_trials(tmp_path / "t.npz")
    options = {"file": "t.npz", "channel_names": ["O1", "O2", "X"], "trial_onset_s": -0.125, "extra": ["hz"]}
    first, second = READERS["npz_trials"].read(tmp_path, options)
    data = np.load(tmp_path / "t.npz")["x"]
    np.testing.assert_allclose(first.eeg_uV, np.concatenate([data[0], data[1], data[3]], axis=1)[:2] * 0.5)
    assert (first.subject, first.group, first.boundaries, first.ch_names) == ("1", "s", (32, 64), ("O1", "O2"))
    assert first.left_out == {"X": "no known position"}
    assert [(e.onset_s, e.code, e.duration_s) for e in first.events] == [
        (0.125, "a", 0.125),
        (0.375, "b", 0.125),
        (0.625, "b", 0.125),
    ]
    assert [e.info for e in second.events] == [
        {"trial": 2, "hz": 8.0},
        {"trial": 4, "hz": 8.0},
        {"trial": 5, "hz": 9.0},
    ]


def test_trials_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    options = {"file": "t.npz", "channel_names": ["O1", "O2", "Oz"]}
    write_trials(tmp_path / "t.npz", label=np.array(["a"]))
    with pytest.raises(DataError, match="1 labels"):
        list(READERS["npz_trials"].read(tmp_path, options))
    with pytest.raises(DataError, match="no array 'zz'"):
        list(READERS["npz_trials"].read(tmp_path, options | {"label": "zz"}))
    with pytest.raises(ConfigError, match="labels"):
        list(READERS["npz_trials"].read(tmp_path, options | {"labels": "zz"}))
    with pytest.raises(ConfigError, match="option file is missing"):
        list(READERS["npz_trials"].read(tmp_path, {}))
    write_trials(tmp_path / "t.npz")
    for onset_s in (0.125, -0.25):  # a trial lasts 0.25 s
        with pytest.raises(ConfigError, match="the event inside its trial"):
            list(READERS["npz_trials"].read(tmp_path, options | {"trial_onset_s": onset_s}))
    np.savez(tmp_path / "t.npz", x=np.array([{}], dtype=object))  # a pickle inside
    with pytest.raises(DataError, match="not a readable"):
        list(READERS["npz_trials"].read(tmp_path, options))


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_damaged_arrays_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros(1000))
    whole = (tmp_path / "t.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[4000] ^= 1
    damaged = {"empty": b"", "text": b"hello", "cut": whole[:4000], "flipped": bytes(flipped)}[damage]
    (tmp_path / "t.npz").write_bytes(damaged)
    with pytest.raises(DataError, match=r"t\.npz: not a readable"):
        list(READERS["npz_trials"].read(tmp_path, {"file": "t.npz"}))
    for table, columns in (("recordings", "rec,subject,session"), ("events", "rec,sample,code,label,orientation")):
        (tmp_path / f"{table}.csv").write_text(columns + "\n")
    with pytest.raises(DataError, match=r"t\.npz: not a readable"):
        list(READERS["muse"].read(tmp_path, {"task": "t"}))


def test_a_link_that_leads_nowhere_is_listed_as_a_failure_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "AAS010R01.mat").symlink_to("annex")
    (tmp_path / "AAS010R02.mat").touch()
    one, two = READERS["bci2_p300"].locate(tmp_path, {})
    assert (one.name, two.source.recording) == ("AAS010R01.mat", "AAS010R02")
    with pytest.raises(DataError, match=r"AAS010R01\.mat: a link to a file that is not here"):
        list(READERS["bci2_p300"].read(tmp_path, {}))


@pytest.mark.parametrize("size", [0, 50, 200])
def test_a_cut_mat_file_is_refused_by_name(tmp_path: Path, size: int) -> None:
    savemat(tmp_path / "a.mat", {"signal": np.zeros((100, 64))}, do_compression=True)
    (tmp_path / "a.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:size])
    with pytest.raises(DataError, match=r"a\.mat: (not a readable|the file is empty)"):
        list(READERS["bci2_p300"].read(tmp_path, {}))


@needs_data
def test_real_trial_sets() -> None:
    cvep = next(READERS["npz_trials"].read(DATA / "cvep20", {"file": "cvep20.npz"}))
    assert (cvep.eeg_uV.shape, len(cvep.boundaries), cvep.sfreq) == ((8, 50_400), 19, 240.0)
    names = ["Pz", "PO5", "PO3", "POz", "PO4", "PO6", "O1", "Oz", "O2"]
    keys = {"file": "ssvep40.npz", "channel_names": names, "extra": ["freq_hz"]}
    ssvep = next(READERS["npz_trials"].read(DATA / "ssvep40", keys))
    assert [(e.code, e.info["freq_hz"]) for e in ssvep.events[:2]] == [("A", 8.0), ("B", 9.0)]
    exo = {"file": "ssvep_exo.npz", "trial_onset_s": "t0_s"}
    assert next(READERS["npz_trials"].read(DATA / "ssvep_exo", exo)).events[0].onset_s == 1.0
    smni = next(READERS["npz_trials"].read(DATA / "uci_smni", {"file": "uci_smni.npz"}))
    assert (len(smni.ch_names), set(smni.left_out)) == (61, {"X", "Y", "nd"})
    for recording in (cvep, ssvep, smni):
        check_recording(recording, recording.name)


@needs_data
def test_real_muse_recordings_have_their_events() -> None:
    recording = next(READERS["muse"].read(DATA / "muse_visual", {"task": "visual_P300"}))
    assert (recording.name, recording.subject, recording.group) == ("r0030", "subject1", "session1")
    assert Counter(e.code for e in recording.events) == {"dog": 165, "cat": 32}
    assert max(e.onset_s for e in recording.events) < recording.duration_s
    check_recording(recording, recording.name)
    gratings = next(READERS["muse"].read(DATA / "muse_visual", {"task": "visual_spatial_freq"}))
    assert {e.info["orientation"] for e in gratings.events} == {0.0, 45.0, 90.0, 135.0}
    with pytest.raises(DataError, match="visual_P300"):
        next(READERS["muse"].read(DATA / "muse_visual", {"task": "visual_p3"}))


@needs_data
def test_real_speller_words_flash_twelve_times_fifteen_times_per_letter() -> None:
    first, _, third = islice(READERS["bci2_p300"].read(DATA / "p300_speller", {}), 3)
    assert (first.name, first.group, third.group) == ("AAS010R01", "AAS010", "AAS011")
    assert Counter(e.code for e in first.events) == {"non-target": 450, "target": 90}
    flashes = Counter((e.info["letter"], e.info["row_or_column"], e.code) for e in first.events)
    assert flashes == {
        (letter, line, code): 15 if code == "target" else 75
        for letter in range(3)
        for line in ("row", "column")
        for code in ("target", "non-target")
    }
