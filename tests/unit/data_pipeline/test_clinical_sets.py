"""The corpora of Temple University Hospital: trees as they come, labels, events, reports, and nothing of a person."""

from datetime import date
from pathlib import Path

import edfio
import numpy as np
import pytest
import yaml

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.readers.tuh import read_events
from neuroleon.data_pipeline.readers.tuh_report import read_section, report_sections
from neuroleon.data_pipeline.recipe import RECIPES, Recipe, load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import ShardReader

TEN_TWENTY = (
    *("FP1", "FP2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
    *("F7", "F8", "T3", "T4", "T5", "T6", "FZ", "CZ", "PZ"),
)
CANARIES = (b"Muster", b"MRN12345", b"Technician", b"2011_02_22", b"1966", b"Example", b"aaaaaaaq", b"00007671")
REPORT = """CLINICAL HISTORY:  Jane Example, born 1966, with r\xe9current spells.
MEDICATIONS: None.

INTRODUCTION:  Digital video EEG is performed.
DESCRIPTION OF THE RECORD:  In wakefulness there is a 10 Hz rhythm:
it is symmetrical.
HR:  72 bpm.
IMPRESSION:  Normal EEG in wakefulness
 and   drowsiness.
CLINICAL CORRELATION:
"""
EVENTS_REC = "13,4.0,5.0,6\n1,10.5,11.5,1\n2,10.5,11.5,1\n3,10.5,11.5,5\n0,0.4,1.4,4\n0,29.0,30.0,2\n4,20,21,3\n"


def write_edf(path: Path, reference: str = "REF", seed: int = 0, seconds: int = 30) -> np.ndarray:
    """A recording at 250 Hz as the hospital's: 19 electrodes, an ear, heart, flashes, with a patient in its header."""
    rng = np.random.default_rng(seed)
    eeg_uV = rng.normal(0, 20, (19, seconds * 250)).round(1)
    columns = [(f"EEG {name}-{reference}", row) for name, row in zip(TEN_TWENTY, eeg_uV, strict=True)]
    columns += [("EEG EKG1-REF", eeg_uV[0]), ("PHOTIC-REF", eeg_uV[1]), ("EEG 26-REF", eeg_uV[2])]
    signals = [
        edfio.EdfSignal(row, 250.0, label=name, physical_dimension="uV", physical_range=(-200, 200))
        for name, row in columns
    ]
    signals.append(edfio.EdfSignal(np.zeros(seconds), 1.0, label="IBI", physical_dimension="", physical_range=(-1, 1)))
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(
        signals,
        patient=edfio.Patient(code="MRN12345", name="Anna_Muster"),
        recording=edfio.Recording(startdate=date(2011, 2, 22), investigator_technician_code="Technician"),
        annotations=[edfio.EdfAnnotation(1.0, None, "Dr Muster in the room")],
    ).write(path)
    return eeg_uV


def nothing_of_a_person(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and ".tasks" not in path.parts:
            content = path.read_bytes().lower()
            assert not [word for word in CANARIES if word.lower() in content], path.name


TUAB_3 = {
    "edf/train/normal/01_tcp_ar/aaaaaaav_s004_t000.edf": ("train", "normal"),
    "edf/train/abnormal/01_tcp_ar/aaaaaaaq_s004_t001.edf": ("train", "abnormal"),
    "edf/train/abnormal/01_tcp_ar/aaaaacdz_s001_t000.edf": ("validation", "abnormal"),
    "edf/eval/normal/01_tcp_ar/aaaaacaz_s003_t000.edf": ("test", "normal"),
}


def test_an_abnormal_corpus_of_version_3(tmp_path: Path) -> None:
    signals = {name: write_edf(tmp_path / "tuab" / name, ["REF", "LE"][i % 2], i) for i, name in enumerate(TUAB_3)}
    options = {"corpus": "tuab"}
    located = {one.files[0].name: one for one in READERS["tuh"].locate(tmp_path / "tuab", options)}
    recordings = {recording.name: recording for recording in READERS["tuh"].read(tmp_path / "tuab", options)}
    assert len(recordings) == 4
    assert {one.source.recording for one in located.values()} == recordings.keys()
    one = recordings["train-aaaaaaaq_s004_t001"]
    assert (one.subject, one.group, one.sfreq) == ("train-aaaaaaaq", "train", 250)
    assert one.ch_names[:3] + one.ch_names[12:16] == ("Fp1", "Fp2", "F3", "T7", "T8", "P7", "P8")
    np.testing.assert_allclose(one.eeg_uV, signals["edf/train/abnormal/01_tcp_ar/aaaaaaaq_s004_t001.edf"], atol=0.01)
    assert one.left_out == {
        "EEG EKG1-REF": "ecg, not EEG",
        "PHOTIC-REF": "misc, not EEG",
        "EEG 26-REF": "no known position",
        "IBI": "sampled at 1 Hz, the EEG at 250 Hz",
    }
    assert [(e.onset_s, e.code, e.duration_s, e.info) for e in one.events] == [(0.0, "abnormal", 30.0, {})]

    report = prepare_samples(load_recipe("tuab"), tmp_path, tmp_path / "out")
    assert not report.failures
    found = {
        (split, record["json"]["label"]): record["npy"].shape
        for split in ("train", "validation", "test")
        for record in ShardReader(tmp_path / "out" / "tuab", split)
    }
    assert found == dict.fromkeys(TUAB_3.values(), (19, 2000))
    assert report.samples == {"train": 6, "validation": 3, "test": 3}
    nothing_of_a_person(tmp_path / "out")


def with_reports(tmp_path: Path, section: str = "IMPRESSION") -> tuple[Recipe, Path]:
    """A tree of version 2 with one report, and the recipe that takes a section of it."""
    session = tmp_path / "tuab" / "edf/train/normal/01_tcp_ar/076/00007671/s001_2011_02_22"
    write_edf(session / "00007671_s001_t000.edf")
    (session / "00007671_s001.txt").write_bytes(REPORT.encode("latin-1"))
    write_edf(tmp_path / "tuab" / "edf/eval/abnormal/01_tcp_ar/001/00000647/s002_2011_02_22/00000647_s002_t000.edf")
    recipe = yaml.safe_load((RECIPES / "tuab.yaml").read_text())
    recipe["source"]["options"]["section"] = section
    recipe["texts"]["wordings"] = ["{sentence}"]
    (tmp_path / "tuab.yaml").write_text(yaml.safe_dump(recipe))
    return load_recipe(tmp_path / "tuab.yaml"), session


def test_a_named_section_of_a_report_becomes_the_sentence_and_nothing_else_does(tmp_path: Path) -> None:
    recipe, _ = with_reports(tmp_path)
    report = prepare_samples(recipe, tmp_path, tmp_path / "out")
    records = list(ShardReader(tmp_path / "out" / "tuab", "train"))
    assert len(records) == 3
    for record in records:
        assert record["json"]["texts"] == ["Normal EEG in wakefulness and drowsiness."]
        assert record["json"]["label"] == "normal"
    assert [failure.name for failure in report.failures] == ["eval-00000647_s002_t000"]
    assert "no report" in report.failures[0].message
    nothing_of_a_person(tmp_path / "out")


def test_a_changed_report_is_prepared_again(tmp_path: Path) -> None:
    recipe, session = with_reports(tmp_path)
    prepare_samples(recipe, tmp_path, tmp_path / "out")
    (session / "00007671_s001.txt").write_text("IMPRESSION: Something else.")
    assert prepare_samples(recipe, tmp_path, tmp_path / "out").skipped_tasks == 1
    assert ShardReader(tmp_path / "out" / "tuab", "train")[0]["json"]["texts"] == ["Something else."]


def test_reports_without_the_section_are_refused_without_their_text(tmp_path: Path) -> None:
    recipe, session = with_reports(tmp_path, "FINDINGS")
    options = {**recipe.source.options, "files": "**/00007671*.edf"}
    with pytest.raises(DataError, match=r"00007671_s001\.txt: no section 'FINDINGS' among its 6") as error:
        list(READERS["tuh"].read(tmp_path / "tuab", options))
    assert not [word for word in ("Example", "wakefulness", "HISTORY") if word in str(error.value)]
    (session / "00007671_s001.txt").write_bytes(REPORT.replace("HR:", "FINDINGS:").encode("utf-8"))
    assert read_section(session / "00007671_s001.txt", "FINDINGS") == "72 bpm."
    for encoding in ("utf-8", "latin-1"):
        (session / "00007671_s001.txt").write_bytes(REPORT.encode(encoding))
        assert "with récurrent spells." in read_section(session / "00007671_s001.txt", "CLINICAL HISTORY")


def test_a_report_is_cut_at_its_headings() -> None:
    sections = report_sections(REPORT)
    assert list(sections) == [
        "CLINICAL HISTORY",
        "MEDICATIONS",
        "INTRODUCTION",
        "DESCRIPTION OF THE RECORD",
        "HR",
        "IMPRESSION",
    ]
    assert sections["DESCRIPTION OF THE RECORD"] == "In wakefulness there is a 10 Hz rhythm: it is symmetrical."
    assert report_sections("no heading\nTime: 10:30\n") == {}
    assert report_sections("IMPRESSION: One.\n HR: 60\nIMPRESSION:\tTwo.") == {"IMPRESSION": "One. Two.", "HR": "60"}


TUEV_2 = {
    "edf/train/aaaaaaar/aaaaaaar_00000001.edf": "train",
    "edf/train/aaaaaamz/aaaaaamz_00000001.edf": "validation",
    "edf/eval/000/bckg_000_a_.edf": "test",
}


def test_an_event_of_several_derivations_is_one_window_around_it(tmp_path: Path) -> None:
    for i, name in enumerate(TUEV_2):
        path = tmp_path / "tuev" / name
        write_edf(path, seed=i)
        path.with_suffix(".rec").write_text(EVENTS_REC)
    recordings = list(READERS["tuh"].read(tmp_path / "tuev", {"corpus": "tuev"}))
    assert [r.name for r in recordings] == ["eval-bckg_000_a_", "train-aaaaaaar_00000001", "train-aaaaaamz_00000001"]
    assert [(e.onset_s, round(e.duration_s, 6), e.code) for e in recordings[0].events] == [
        (0.4, 1.0, "eyem"),
        (4.0, 1.0, "bckg"),
        (10.5, 1.0, "spsw"),
        (10.5, 1.0, "artf"),
        (20.0, 1.0, "pled"),
        (29.0, 1.0, "gped"),
    ]
    report = prepare_samples(load_recipe("tuev"), tmp_path, tmp_path / "out")
    assert not report.failures
    assert report.left_out == {"windows: outside the recording": 6}  # the first and the last event of each
    for split in TUEV_2.values():
        records = list(ShardReader(tmp_path / "out" / "tuev", split))
        assert [(record["json"]["label"], record["json"]["onset_s"]) for record in records] == [
            ("background", 2.0),
            ("spike", 8.5),
            ("artifact", 8.5),
            ("lateralized discharges", 18.0),
        ]
        assert {record["npy"].shape for record in records} == {(19, 1000)}
        assert records[1]["json"]["texts"][0] == "The EEG shows a spike and slow wave."
    nothing_of_a_person(tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no line in it"),
        ("1,2,3\n", "line 1: expected four numbers"),
        ("1,2.0,3.0,6\n1,2.0,x,6\n", "line 2: expected four numbers"),
        ("1,2.0,3.0,7\n", "class 7; expected"),
        ("1,2.0,3.0,1.5\n", "class 1.5; expected"),
        ("1,3.0,3.0,1\n", "line 1: from 3 to 3 s"),
        ("1,2.0,inf,1\n", "line 1"),
        ("1,nan,3,1\n", "line 1"),
        ("\xff\xfe\n", "cannot be read"),
    ],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.rec").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message) as error:
        read_events(tmp_path / "a.rec")
    assert "a.rec" in str(error.value)


def test_a_recording_without_its_labels_or_cut_short_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name in TUEV_2:
        write_edf(tmp_path / "tuev" / name)
        (tmp_path / "tuev" / name).with_suffix(".rec").write_text(EVENTS_REC)
    train, validation, test = (tmp_path / "tuev" / name for name in TUEV_2)
    train.with_suffix(".rec").unlink()
    validation.write_bytes(validation.read_bytes()[:-1000])
    report = prepare_samples(load_recipe("tuev"), tmp_path, tmp_path / "out")
    assert report.samples == {"train": 0, "validation": 0, "test": 4}
    messages = {failure.name: failure.message for failure in report.failures}
    assert "cannot be read" in messages["train-aaaaaaar_00000001"]
    assert "cut short" in messages["train-aaaaaamz_00000001"]
    assert test.is_file()


def test_options_that_are_none_are_refused(tmp_path: Path) -> None:
    write_edf(tmp_path / "edf/train/aaaaaaar/aaaaaaar_00000001.edf", seconds=2)
    for options, message in [
        ({}, "option corpus is missing"),
        ({"corpus": "tueg"}, "expected one of tuab, tuev"),
        ({"corpus": "tuev", "section": "IMPRESSION"}, "has no reports"),
        ({"corpus": "tuab", "sections": "IMPRESSION"}, "unknown options"),
    ]:
        for use in (READERS["tuh"].locate, READERS["tuh"].read):
            with pytest.raises(ConfigError, match=message):
                list(use(tmp_path, options))
    with pytest.raises(DataError, match="no file fits"):
        list(READERS["tuh"].read(tmp_path, {"corpus": "tuab"}))
