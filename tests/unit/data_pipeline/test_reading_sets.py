"""ZuCo: files as the two versions have them; no sentence in two parts; what was read is the text of a window."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.readers.zuco import part_of
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import ShardReader

h5py = pytest.importorskip("h5py")
# a change of these would move sentences from train to test between two versions of this project
PARTS = {
    "Presents a good case while failing to provide a reason for us to care.": "train",
    "Henry Ford, with his son Edsel, founded the Ford Foundation.": "train",
    "A gorgeous, witty, seductive movie.": "test",
    "It's slow -- very, very slow.": "train",
    "Bush attended the University of Texas.": "validation",
    "Talia Shire was born in Lake Success, New York.": "test",
}


def eeg(n_times: int, seed: int) -> np.ndarray:
    """(105, n_times) in microvolts, the last column all zero; a slow wave of its own in each of the others."""
    rng = np.random.default_rng(seed)
    data = 15 * np.sin(np.arange(n_times) * 2 * np.pi * 9 / 500 + np.arange(105)[:, None])
    data += rng.normal(0, 10, (105, n_times))
    data[104] = 0.0
    return data


def sentences(seed: int = 0) -> list[tuple[str, np.ndarray | float]]:
    """Text and rawData: 4.5 to 5 s each, one without EEG, one with a gap, one empty, one without text."""
    whole = [(text, eeg(2250 + 50 * i, seed + i)) for i, text in enumerate(PARTS)]
    gap = eeg(2000, 99)
    gap[7, 300] = np.nan
    lost = [(next(iter(PARTS)), float("nan")), ("A sentence with a gap.", gap), ("Nothing of it.", np.empty(0))]
    return [*whole, *lost, ("", eeg(2000, 98))]


def write_version_5(path: Path, rows: list[tuple[str, np.ndarray | float]]) -> None:
    words = np.zeros((1, 2), dtype=[("content", object), ("nFixations", object), ("FFD_t1", object)])
    words[0]["content"], words[0]["nFixations"] = ["A", "word"], [1, 2]
    data = np.zeros(
        (1, len(rows)), dtype=[("content", object), ("rawData", object), ("mean_t1", object), ("word", object)]
    )
    for i, (text, raw) in enumerate(rows):
        data[0, i] = (text, raw, np.zeros(105), words)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"sentenceData": data}, do_compression=True)


def write_hdf5(path: Path, rows: list[tuple[str, np.ndarray | float]]) -> None:
    """As MATLAB 7.3 does: a header of 512 bytes, arrays transposed and behind references, text as 16-bit characters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        refs, data = file.create_group("#refs#"), file.create_group("sentenceData")
        fields = {name: data.create_dataset(name, (len(rows), 1), h5py.ref_dtype) for name in ("content", "rawData")}
        for i, (text, raw) in enumerate(rows):
            values = {
                "content": np.array([[ord(c)] for c in text], np.uint16),
                "rawData": np.atleast_2d(np.asarray(raw, float)).T,
            }
            for name, value in values.items():  # of what is empty, MATLAB writes the size
                made = refs.create_dataset(f"{name}{i}", data=value if value.size else np.zeros(2, np.uint64))
                if not value.size:
                    made.attrs["MATLAB_empty"] = np.uint8(1)
                fields[name][i, 0] = made.ref
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\x00\x02IM")


WRITERS = {"zuco1": write_version_5, "zuco2": write_hdf5}


@pytest.mark.parametrize("version", WRITERS)
def test_a_sentence_is_a_trial_in_microvolts_at_the_electrodes_of_the_net(tmp_path: Path, version: str) -> None:
    rows = sentences()
    WRITERS[version](tmp_path / "task1 - NR" / "Matlab files" / "resultsZAB_NR.mat", rows)
    recordings = list(READERS["zuco"].read(tmp_path, {}))
    assert [(r.name, r.subject, r.group) for r in recordings] == [
        (f"ZAB-NR-{part}", "ZAB", part) for part in ("train", "validation", "test")
    ]
    for recording in recordings:
        of_part = [
            (i, text, raw) for i, (text, raw) in enumerate(rows[: len(PARTS)], 1) if part_of(text) == recording.group
        ]
        np.testing.assert_array_equal(
            recording.eeg_uV, np.concatenate([raw for _, _, raw in of_part], axis=1).astype(np.float32)
        )
        assert [(e.code, e.info) for e in recording.events] == [
            ("NR", {"sentence": text, "number": i}) for i, text, _ in of_part
        ]
        ends = np.cumsum([raw.shape[1] for _, _, raw in of_part])
        assert recording.boundaries == tuple(ends[:-1].tolist())
        assert [round((e.onset_s + e.duration_s) * 500) for e in recording.events] == ends.tolist()
    first = recordings[0]
    assert first.sfreq == 500
    assert (len(first.ch_names), first.ch_names[:7]) == (105, ("E2", "E3", "E4", "E5", "E6", "E7", "E9"))
    assert first.ch_names[102:] == ("E123", "E124", "Cz")
    assert np.isfinite(first.positions).all()
    x_of = dict(zip(first.ch_names, first.positions[:, 0], strict=True))
    assert x_of["E33"] < -0.5 < 0.5 < x_of["E122"]  # F7 and F8
    lost = sum((Counter(r.skipped) for r in recordings), Counter())
    assert lost == {"sentences: no EEG": 2, "sentences: EEG that is not finite": 1, "sentences: no text": 1}


def test_both_versions_of_a_file_read_alike(tmp_path: Path) -> None:
    for version, write in WRITERS.items():
        write(tmp_path / version / "resultsYAC_TSR.mat", sentences())
    for old, new in zip(*(READERS["zuco"].read(tmp_path / version, {}) for version in WRITERS), strict=True):
        np.testing.assert_array_equal(old.eeg_uV, new.eeg_uV)
        assert (old.events, old.skipped, old.boundaries) == (new.events, new.skipped, new.boundaries)


def test_the_part_of_a_sentence_stays_what_it_is() -> None:
    assert {text: part_of(text) for text in PARTS} == PARTS
    for other in ("a  GORGEOUS witty seductive movie", "A gorgeous, wi11111tty, seductive movie.1"):
        assert part_of(other) == part_of("A gorgeous, witty, seductive movie.")
    rng = np.random.default_rng(0)
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, 12)) for _ in range(5000)]
    shares = Counter(map(part_of, words))
    assert [round(shares[part] / 5000, 1) for part in ("train", "validation", "test")] == [0.7, 0.1, 0.2]


def test_each_part_is_located_and_read_alone(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "resultsYAC_NR.mat", sentences())
    located = list(READERS["zuco"].locate(tmp_path, {}))
    assert [one.source.recording for one in located] == [f"YAC-NR-{part}" for part in ("train", "validation", "test")]
    for one in located:
        (recording,) = READERS["zuco"].read(tmp_path, dict(one.options))
        assert recording.name == one.source.recording
    with pytest.raises(ConfigError, match="part is 'tset'"):
        list(READERS["zuco"].locate(tmp_path, {"part": "tset"}))
    with pytest.raises(ConfigError, match="unknown options"):
        list(READERS["zuco"].read(tmp_path, {"parts": "test"}))


@pytest.mark.parametrize("version", WRITERS)
def test_what_was_read_is_the_text_and_no_sentence_is_in_two_parts(tmp_path: Path, version: str) -> None:
    for seed, name in enumerate(("resultsZAB_NR.mat", "resultsZDM_NR.mat")):
        WRITERS[version](
            tmp_path / "data" / version / "task" / name, [*sentences(seed), ("Too short for us.", eeg(1500, 5))]
        )
    report = prepare_samples(load_recipe(version), tmp_path / "data", tmp_path / "out")
    assert not report.failures
    assert report.left_out["sentences: no EEG"] == 4
    assert report.left_out["windows: crosses a boundary"] + report.left_out["windows: outside the recording"] == 2
    assert report.notes["channel masked: flat"] == 6  # Cz of every recording
    read = {}
    for split in ("train", "validation", "test"):
        records = list(ShardReader(tmp_path / "out" / version, split))
        read[split] = Counter(record["json"]["texts"][0] for record in records)
        assert all(record["json"]["label"] is None for record in records)
        assert all(record["npy"].shape == (104, 800) for record in records)
        assert {len(record["json"]["texts"]) for record in records} == {1}
    assert {text: split for split, texts in read.items() for text in texts} == PARTS
    assert all(n == 2 for texts in read.values() for n in texts.values())  # one window of 4 s from each person


DAMAGES = {
    "cut": "resultsZAB_NR.mat: ",
    "text": "not a readable .mat",
    "other field": "sentenceData",
    "no content": "no sentenceData with content",
    "64 channels": r"sentence 1: found float64 \(64, 2500\), expected numbers \(105, any\)",
    "nothing read": "no sentence with EEG in the part",
}


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, version: str, damage: str) -> None:
    path = tmp_path / "resultsZAB_NR.mat"
    rows = sentences()[:1]
    if damage == "64 channels":
        rows[0] = (rows[0][0], eeg(2500, 0)[:64])
    if damage == "nothing read":
        rows = [(text, float("nan")) for text, _ in rows]
    WRITERS[version](path, rows)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:60_000])
    elif damage == "text":
        path.write_text("sentenceData\n" * 100)
    elif damage in ("other field", "no content"):
        old, new = {"other field": ("sentenceData", "x"), "no content": ("content", "words")}[damage]
        if version == "zuco2":
            with h5py.File(path, "r+") as file:
                place = file if damage == "other field" else file["sentenceData"]
                place.move(old, new)
        elif damage == "other field":
            savemat(path, {"x": 1})
        else:
            savemat(path, {"sentenceData": {"words": ["a"], "rawData": np.zeros((105, 9))}})
    with pytest.raises(DataError, match=DAMAGES[damage]) as error:
        list(READERS["zuco"].read(tmp_path, {}))
    assert "resultsZAB_NR.mat" in str(error.value)


@pytest.mark.parametrize("trick", ["link", "external"])
def test_a_file_cannot_bring_in_another_file_of_this_disk(tmp_path: Path, trick: str) -> None:
    path, secret = tmp_path / "resultsZAB_NR.mat", tmp_path / "other"
    write_hdf5(secret, sentences())
    write_hdf5(path, sentences())
    with h5py.File(path, "r+") as file:
        if trick == "link":
            del file["sentenceData"]
            file["sentenceData"] = h5py.ExternalLink(str(secret), "sentenceData")
        else:
            raw = file["#refs#"].create_dataset("secret", (2500, 105), "f4", external=str(secret))
            file["sentenceData"]["rawData"][0, 0] = raw.ref
    with pytest.raises(DataError, match=r"resultsZAB_NR\.mat: its samples lie in other files"):
        list(READERS["zuco"].read(tmp_path, {}))


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hdf5(tmp_path / "resultsZAB_NR.mat", sentences()[:1])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"pip install \"neuroleon\[formats\]\""):
        list(READERS["zuco"].read(tmp_path, {}))
