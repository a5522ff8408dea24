"""Readers, on small files made here and on the real ones where they are beside the checkout."""

from collections import Counter
from pathlib import Path

import mne
import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal, Patient

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.plausibility import check_recording

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside the checkout")
RATE = 128


def sine(hz: float, seconds: int = 10, amplitude: float = 50.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(seconds * RATE) / RATE)


def write_edf(path: Path, names: list[str] | None = None, unit: str = "uV", **kwargs: object) -> Path:
    signals = [
        EdfSignal(sine(5 + i), RATE, label=name, physical_dimension=unit, physical_range=(-100, 100))
        for i, name in enumerate(names or ["Fp1", "Cz", "Oz"])
    ]
    Edf(signals, **kwargs).write(path)
    return path


def test_an_edf_file_comes_in_microvolts_with_our_names(tmp_path: Path) -> None:
    names = ["EEG FP1-REF", "Cz..", "EEG T3-LE", "ECG ECG", "XYZ", "EEG A1-A2"]
    recording = read_recording(write_edf(tmp_path / "night 1.edf", names))
    assert recording.name == "night 1"
    assert recording.ch_names == ("Fp1", "Cz", "T7")
    assert recording.name_map == {"EEG FP1-REF": "Fp1", "Cz..": "Cz", "EEG T3-LE": "T7"}
    assert recording.left_out == {
        "ECG ECG": "ecg, not EEG",
        "XYZ": "no known position",
        "EEG A1-A2": "one ear against the other, no electrode on the scalp",
    }
    assert recording.eeg_uV.dtype == np.float32
    np.testing.assert_allclose(recording.eeg_uV, [sine(5), sine(6), sine(7)], atol=0.01)
    assert np.isfinite(recording.positions).all()


def test_annotations_become_events(tmp_path: Path) -> None:
    notes = [EdfAnnotation(2.5, 1.0, "left"), EdfAnnotation(1.25, None, "right")]
    recording = read_recording(write_edf(tmp_path / "a.edf", annotations=notes))
    assert [(e.onset_s, e.code, e.duration_s) for e in recording.events] == [(1.25, "right", 0.0), (2.5, "left", 1.0)]


def test_no_header_text_of_the_patient_comes_along(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", patient=Patient(name="Jane_Doe", code="MRN4711"))
    assert "Doe" not in repr(read_recording(path))
    damaged = path.read_bytes().replace(b"0       MRN4711", b"MRN4711 MRN4711", 1)
    path.write_bytes(damaged)
    with pytest.raises(DataError) as error:
        read_recording(path)
    assert "MRN" not in str(error.value)


@pytest.mark.parametrize("unit", ["", "nV", "bad"])
def test_an_edf_unit_that_mne_takes_for_volts_is_refused(tmp_path: Path, unit: str) -> None:
    path = write_edf(tmp_path / "a.edf", unit=unit)
    with pytest.raises(DataError, match=r"--unit uV"):
        read_recording(path)
    np.testing.assert_allclose(read_recording(path, unit="uV").eeg_uV[0], sine(5), atol=0.01)


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1), ("mV", 1e3), ("V", 1e6), ("nV", 1e-3)])
@pytest.mark.parametrize("written", ["uV", "mV", "V"])
def test_unit_replaces_that_of_the_file(tmp_path: Path, unit: str, factor: float, written: str) -> None:
    """The column that is left out first must not shift the units of the others."""
    path = write_edf(tmp_path / "a.edf", ["ECG", "Cz", "Oz"], unit=written)
    np.testing.assert_allclose(read_recording(path, unit=unit).eeg_uV[0], sine(6) * factor, atol=0.01 * factor)


def test_an_unknown_unit_is_a_setting_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="uV"):
        read_recording(write_edf(tmp_path / "a.edf"), unit="microvolt")


def test_columns_at_another_rate_do_not_resample_the_eeg(tmp_path: Path) -> None:
    fast = EdfSignal(np.zeros(10 * 512), 512, label="Sound", physical_dimension="uV", physical_range=(-1, 1))
    slow = EdfSignal(np.zeros(10), 1, label="SpO2", physical_dimension="%", physical_range=(0, 100))
    eeg = [EdfSignal(sine(5), RATE, label=n, physical_dimension="mV", physical_range=(-100, 100)) for n in ("Cz", "Oz")]
    Edf([fast, *eeg, slow]).write(tmp_path / "a.edf")
    recording = read_recording(tmp_path / "a.edf")
    assert recording.sfreq == RATE
    assert recording.left_out == {n: f"sampled at {r} Hz, the EEG at 128 Hz" for n, r in (("Sound", 512), ("SpO2", 1))}
    np.testing.assert_allclose(read_recording(tmp_path / "a.edf", unit="uV").eeg_uV[0], sine(5), atol=0.01)


def damage(path: Path, edit: str) -> None:
    content = path.read_bytes()
    records = content[236:244]
    path.write_bytes(
        {
            "empty": b"",
            "half": content[: len(content) // 2],
            "one byte short": content[:-1],
            "longer": content + bytes(100),
            "header only": content[:256],
            "text": b"time,Fp1,Cz\n" * 100,
            "never closed": content.replace(records, b"-1      ", 1),
            "too many records": content.replace(records, b"999     ", 1),
            "discontinuous": content[:192] + b"EDF+D" + content[197:],
            "flat range": content.replace(b"100     ", b"-100    "),
            "no number": content.replace(records, b"many    ", 1),
            "9999 signals": content[:252] + b"9999" + content[256:],
            "not a number": content.replace(records, b"nan     ", 1),
            "copied as text": content.replace(b"\n", b"\r\n"),
        }[edit]
    )


DAMAGES = {
    "empty": "empty",
    "half": "cut short",
    "one byte short": "cut short",
    "longer": "longer than that",
    "header only": "not whole",
    "text": "no EDF or BDF header",
    "never closed": "did not close",
    "too many records": "cut short",
    "discontinuous": "discontinuous",
    "flat range": "minimum and maximum",
    "no number": "is not a number",
    "9999 signals": "not whole",
    "not a number": "is not a number",
    "copied as text": "binary mode",
}


@pytest.mark.parametrize("edit", DAMAGES)
def test_a_damaged_edf_file_is_refused_by_name(tmp_path: Path, edit: str) -> None:
    rng = np.random.default_rng(0)
    noise = [EdfSignal(rng.normal(0, 20, 200 * RATE), RATE, label=n, physical_range=(-100, 100)) for n in ("Cz", "Oz")]
    path = tmp_path / "a.edf"
    Edf(noise).write(path)
    damage(path, edit)
    with pytest.raises(DataError, match=DAMAGES[edit]) as error:
        read_recording(path)
    assert "a.edf" in str(error.value)


def test_what_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 2 3")
    (tmp_path / "link.edf").symlink_to(tmp_path / ".git/annex/objects/x")
    (tmp_path / "a.fif").write_bytes(b"not a fif file" * 100)
    for name, message in {
        "a.txt": "extension",
        "link.edf": "datalad get",
        "none.edf": "no such",
        "a.fif": "mne",
    }.items():
        with pytest.raises(DataError, match=message):
            read_recording(tmp_path / name)


def test_a_file_without_eeg_is_refused_with_the_names_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ECG, Sensor 1"):
        read_recording(write_edf(tmp_path / "a.edf", ["ECG", "Sensor 1"]))


@pytest.mark.parametrize("names", [["Cz", "Cz"], ["T3", "T7"], ["EEG Fp1-REF", "FP1"]])
def test_an_electrode_that_is_there_twice_is_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match="all mean"):
        read_recording(write_edf(tmp_path / "a.edf", names))


def make_raw(names: list[str], types: list[str], data: np.ndarray) -> mne.io.RawArray:
    return mne.io.RawArray(data, mne.create_info(names, RATE, types), verbose="ERROR")


def test_stim_columns_annotations_and_boundaries_of_a_cropped_fif(tmp_path: Path) -> None:
    codes = np.zeros(10 * RATE)
    codes[640:650], codes[700] = 7, 3
    raw = make_raw(["Cz", "STI 014", "EOG 1", "Oz"], ["eeg", "stim", "eog", "eeg"], np.array([sine(5) * 1e-6] * 4))
    raw._data[1] = codes
    raw.info["bads"] = ["Oz"]
    raw.set_annotations(mne.Annotations([4, 6, 6], [0.5, 0, 0], ["word", "BAD boundary", "EDGE boundary"]))
    raw.crop(2, 9).save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "a_raw.fif")
    assert [(e.onset_s, e.code, e.duration_s) for e in recording.events] == [
        (2.0, "word", 0.5),
        (3.0, "7", 0.0),
        (700 / RATE - 2, "3", 0.0),
    ]
    assert recording.boundaries == (4 * RATE,)
    assert recording.ch_names == ("Cz",)
    assert recording.left_out == {
        "STI 014": "stim, read as events",
        "EOG 1": "eog, not EEG",
        "Oz": "marked bad in the file",
    }
    np.testing.assert_allclose(recording.eeg_uV[0], sine(5)[2 * RATE : 9 * RATE + 1], atol=0.01)


def test_positions_come_from_the_file_where_it_has_them(tmp_path: Path) -> None:
    montage = mne.channels.make_standard_montage("biosemi64")
    odd = {f"site {i}": name for i, name in enumerate(montage.ch_names)}
    raw = make_raw(montage.ch_names, ["eeg"] * 64, np.zeros((64, RATE)))
    raw.set_montage(montage).rename_channels({name: ours for ours, name in odd.items()})
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "a_raw.fif")
    assert len(recording.ch_names) == 64
    np.testing.assert_allclose(np.linalg.norm(recording.positions, axis=1), 1, atol=1e-3)
    vertex = recording.positions[montage.ch_names.index("Cz")]
    np.testing.assert_allclose(vertex, [0, 0, 1], atol=1e-3)


def test_electrodes_without_a_position_in_the_file_go_by_their_names(tmp_path: Path) -> None:
    montage = mne.channels.make_standard_montage("biosemi64")
    raw = make_raw([*montage.ch_names, "nd", "site 7"], ["eeg"] * 66, np.zeros((66, RATE)))
    given = montage.get_positions()["ch_pos"]
    some = {name: given[name] * 1.03 for i, name in enumerate(montage.ch_names) if i % 2} | {"site 7": given["PO3"]}
    landmarks = {
        name: getattr(montage, name, None) or montage.get_positions()[name] for name in ("nasion", "lpa", "rpa")
    }
    raw.set_montage(mne.channels.make_dig_montage(some, coord_frame="unknown", **landmarks), on_missing="ignore")
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "a_raw.fif")
    assert recording.ch_names == (*montage.ch_names, "site 7")
    assert recording.left_out == {"nd": "no known position"}
    by_name = electrode_positions(recording.ch_names)[:64]
    np.testing.assert_array_equal(recording.positions[:64:2], by_name[::2])
    off = np.linalg.norm(recording.positions[1:64:2] - by_name[1::2], axis=1)
    assert 0.01 < off.min()
    assert off.max() < 0.35  # BioSemi's head and that of the 10-05 template are not the same


def test_a_files_turned_positions_are_not_used(tmp_path: Path) -> None:
    names = ["Fp1", "Fp2", "Cz", "Pz", "T7", "T8", "Oz"]
    raw = make_raw(names, ["eeg"] * 7, np.zeros((7, RATE)))
    metres = electrode_positions(names)[:, [1, 0, 2]].astype(float) * 0.095 + [0, 0, 0.04]
    turned = mne.channels.make_dig_montage(dict(zip(names, metres, strict=True)), coord_frame="head")
    raw.set_montage(turned).save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "a_raw.fif")
    np.testing.assert_array_equal(recording.positions, electrode_positions(names))


def test_derivations_that_mne_made_are_placed_by_both_names_or_left_out(tmp_path: Path) -> None:
    montage = mne.channels.make_standard_montage("biosemi64")
    raw = make_raw(montage.ch_names, ["eeg"] * 64, np.random.default_rng(0).normal(size=(64, RATE)))
    raw.set_montage(montage)
    made = mne.set_bipolar_reference(raw, ["F3", "P3"], ["C3", "O1"], ["F3-C3", "back left"], verbose="ERROR")
    made.save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "a_raw.fif")
    row = recording.ch_names.index("F3-C3")
    np.testing.assert_array_equal(recording.positions[row], electrode_positions(["F3-C3"])[0])
    assert recording.left_out == {"back left": "a derivation whose name does not tell its electrodes"}
    assert np.isnan(recording.positions[recording.ch_names.index("Cz"), 3:]).all()


@pytest.mark.parametrize(
    ("cap", "n"), [("biosemi256", 256), ("GSN-HydroCel-257", 257), ("brainproducts-RNP-BA-128", 130)]
)
def test_caps_of_up_to_257_electrodes_are_read_by_name(tmp_path: Path, cap: str, n: int) -> None:
    names = mne.channels.make_standard_montage(cap).ch_names
    raw = make_raw(names, ["eeg"] * len(names), np.zeros((len(names), RATE)))
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "a_raw.fif")
    assert recording.positions.shape == (n, 3)
    assert np.isfinite(recording.positions).all()


def test_one_channel_is_enough(tmp_path: Path) -> None:
    recording = read_recording(write_edf(tmp_path / "a.edf", ["EEG Fpz-Cz"]))
    assert recording.ch_names == ("Fpz-Cz",)
    assert recording.positions.shape == (1, 6)


def test_a_brainvision_file_comes_in_microvolts_with_its_markers(tmp_path: Path) -> None:
    (tmp_path / "a.eeg").write_bytes((np.array([sine(5), sine(6)]).T * 10).astype("<i2").tobytes())
    (tmp_path / "a.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\nDataFile=a.eeg\n"
        "MarkerFile=a.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=2\n"
        "SamplingInterval=7812.5\n[Binary Infos]\nBinaryFormat=INT_16\n"
        "[Channel Infos]\nCh1=Cz,,0.1,µV\nCh2=Oz,,0.1,µV\n"
    )
    (tmp_path / "a.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n"
        "[Marker Infos]\nMk1=Stimulus,S  3,129,1,0\n"
    )
    recording = read_recording(tmp_path / "a.vhdr")
    np.testing.assert_allclose(recording.eeg_uV, [sine(5), sine(6)], atol=0.1)
    assert [(e.onset_s, e.code) for e in recording.events] == [(1.0, "Stimulus/S  3")]
    np.testing.assert_allclose(read_recording(tmp_path / "a.vhdr", unit="mV").eeg_uV[0], sine(5) * 1e3, atol=100)
    (tmp_path / "a.eeg").write_text("/annex/objects/MD5E-s4096--0123456789abcdef0123456789abcdef.eeg\n")
    with pytest.raises(DataError, match=r"a\.eeg: a git-annex pointer, not the file itself"):
        read_recording(tmp_path / "a.vhdr")


def test_the_pattern_of_a_recipe_names_subject_group_and_label(tmp_path: Path) -> None:
    for name in ("car/sub2_1.edf", "car/sub10_2.edf", "notes/x.edf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_edf(tmp_path / name)
    options = {"files": "*/*.edf", "pattern": r"(?P<label>car)/(?P<subject>sub\d+)_(?P<group>\d)"}
    found = list(READERS["mne"].read(tmp_path, options))
    assert [(r.name, r.subject, r.group) for r in found] == [("sub10_2", "sub10", "2"), ("sub2_1", "sub2", "1")]
    label = found[0].events[0]
    assert (label.code, label.onset_s, label.duration_s, label.info) == ("car", 0.0, 10.0, {"label": "car"})
    with pytest.raises(DataError, match="no file fits"):
        list(READERS["mne"].read(tmp_path, options | {"pattern": "flower"}))
    with pytest.raises(ConfigError, match="glob"):
        list(READERS["mne"].read(tmp_path, {"files": "*", "glob": "*"}))


@needs_data
def test_real_headset_file_keeps_14_of_60_columns() -> None:
    recording = read_recording(DATA / "vep_edf/car/sub2_C1.edf")
    assert " ".join(recording.ch_names) == "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4"
    assert len(recording.left_out) == 46
    check_recording(recording, "sub2_C1")


@needs_data
def test_real_clinical_names_of_eegmat() -> None:
    recording = read_recording(DATA / "eegmat/Subject00_2.edf")
    assert len(recording.ch_names) == 19
    assert {"T7", "P8", "Fp1"} <= set(recording.ch_names)
    assert set(recording.left_out) == {"EEG A2-A1", "ECG ECG"}
    check_recording(recording, "Subject00_2")


@needs_data
def test_real_copies_that_were_damaged_as_text_are_refused_and_whole_ones_read(tmp_path: Path) -> None:
    """The stored eegmmidb files have 0D before each 0A; one of them was cut to its right length afterwards."""
    for name in ("S001R01.edf", "S001R04.edf"):
        with pytest.raises(DataError, match="binary mode"):
            read_recording(DATA / "eegmmidb" / name)
    whole = tmp_path / "S001R04.edf"
    whole.write_bytes((DATA / "eegmmidb/S001R04.edf").read_bytes().replace(b"\r\n", b"\n"))
    recording = read_recording(whole)
    assert recording.eeg_uV.shape == (64, 20_000)
    assert Counter(e.code for e in recording.events) == {"T0": 15, "T1": 8, "T2": 7}
    assert recording.ch_names[:4] == ("FC5", "FC3", "FC1", "FCz")
    check_recording(recording, "S001R04")


@needs_data
def test_real_gdf_has_its_codes_and_a_unit_that_the_gate_refuses() -> None:
    path = DATA / "ssvep_exo/gdf/subject03_2012.07.11-15.25.23.gdf"
    recording = read_recording(path)
    codes = Counter(e.code for e in recording.events)
    assert {code: codes[code] for code in ("33024", "33025", "33026", "33027")} == dict.fromkeys(
        ("33024", "33025", "33026", "33027"), 8
    )
    assert recording.name == "subject03_2012.07.11-15.25.23"
    with pytest.raises(DataError, match="--unit"):
        check_recording(recording, path)
    check_recording(read_recording(path, unit="mV"), path)


@needs_data
@pytest.mark.parametrize("missing", [10, 3000, 1_000_000])
def test_a_real_gdf_that_was_cut_short_is_refused(tmp_path: Path, missing: int) -> None:
    content = (DATA / "ssvep_exo/gdf/subject03_2012.07.11-15.25.23.gdf").read_bytes()
    (tmp_path / "a.gdf").write_bytes(content[:-missing])
    with pytest.raises(DataError, match="mne cannot read it"):
        read_recording(tmp_path / "a.gdf")
