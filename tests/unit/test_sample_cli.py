"""The command line of sample.py: what it writes, what it says, and how it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest
from PIL import Image

from neuroleon.decoding.figures import printable
from neuroleon.sample import main

NAMES = ["EEG Fp1-REF", "Cz", "O1", "Oz", "O2", "ECG"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s at 250 Hz: filtered noise of EEG's size on 5 electrodes, an ECG, events at 1 s (A), 2.5 s (B), 4 s (A)."""
    rng = np.random.default_rng(0)
    pink = np.cumsum(rng.standard_normal((6, 1500)), axis=1)
    pink -= pink.mean(axis=1, keepdims=True)
    signal_V = 20e-6 * (pink / pink.std(axis=1, keepdims=True) + 0.3 * rng.standard_normal((6, 1500)))
    raw = mne.io.RawArray(signal_V, mne.create_info(NAMES, 250, ["eeg"] * 5 + ["ecg"]), verbose="ERROR")
    raw.set_annotations(mne.Annotations([1.0, 2.5, 4.0], [0, 0, 0], ["A", "B", "A"]))
    path = tmp_path_factory.mktemp("recording") / "demo_raw.fif"
    raw.save(path, verbose="ERROR")
    return path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command; it must say one line on stderr and exit with 2. Returns that line."""

    def run(*args: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        assert stop.value.code == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        return line

    return run


def test_eeg2both_writes_everything_and_names_the_truth(
    model_folder: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    beside = tmp_path / "with_answer_raw.fif"
    shutil.copy(recording, beside)
    answer = {"event": "B", "onset_s": 2.5, "label": "square", "text": "a square was shown"}
    (tmp_path / f"{beside.name}.answer.json").write_text(json.dumps({"answers": [answer]}))
    args = ["--task", "eeg2both", "--eeg", str(beside), "--event", "B", "--model", str(model_folder), "--n", "2"]
    main([*args, "--out", str(out)])
    said = capsys.readouterr().out
    assert "EEG Fp1-REF = Fp1" in said
    assert "ECG: " in said
    assert "2.5 s to 3.5 s, event B" in said  # the model was taught windows of 1 s
    assert "really: square (a square was shown)" in said
    assert "of 2 right" in said
    content = json.loads((out / "sample.json").read_text())
    assert len(content["answers"]) == 2
    assert len(content["model_fingerprint"]) == len(content["vocabulary_fingerprint"]) == 64
    assert content["input"]["eeg"]["channels"] == ["Fp1", "Cz", "O1", "Oz", "O2"]
    for entry in content["answers"]:
        assert Image.open(out / entry["picture"]).size == (16, 16)
        assert printable(entry["text"]) in said
    assert Image.open(out / "contact-sheet.png").width > 2 * 16
    assert Image.open(out / "figure.png").width > 1000
    main([*args, "--out", str(out)])  # its own folder is replaced, and the same seed gives the same answers
    assert json.loads((out / "sample.json").read_text()) == content


def test_eeg2label_asks_the_models_question_and_lists_likelihoods(
    model_folder: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ["--task", "eeg2label", "--eeg", recording, "--start", 0.5, "--duration", 0.75, "--model", model_folder]
    main([str(arg) for arg in [*args, "--out", out]])
    content = json.loads((out / "sample.json").read_text())
    assert content["question"] == "Circle or square?"
    assert set(content["likelihoods"]) == {"circle", "square"}
    assert sum(content["likelihoods"].values()) == pytest.approx(1)
    assert "% circle" in capsys.readouterr().out
    assert (content["input"]["eeg"]["start_s"], content["input"]["eeg"]["duration_s"]) == (0.5, 0.75)


def test_whose_eeg_it_is_can_be_told(
    model_folder: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    args = ["--task", "eeg2label", "--eeg", str(recording), "--start", "0.5", "--model", str(model_folder)]
    for told in ([], ["--subject", "ann"]):
        main([*args, *told, "--out", str(tmp_path / "out")])
        content = json.loads((tmp_path / "out" / "sample.json").read_text())
        assert content["input"]["eeg"]["subject"] == (told[1] if told else None)
        assert ("subject     ann, known" in capsys.readouterr().out) == bool(told)
    line = refused(
        "--task", "text2image", "--text", "a", "--subject", "ann", "--model", model_folder, "--out", tmp_path / "no"
    )
    assert "--subject says whose --eeg it is" in line


def test_a_short_recording_is_said_to_tell_rhythms_less_reliably(
    make_model_folder: Callable[..., None], recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = mne.io.read_raw_fif(recording, preload=True, verbose="ERROR")
    raw = mne.concatenate_raws([raw.copy() for _ in range(11)], verbose="ERROR")
    raw.save(tmp_path / "long_raw.fif", verbose="ERROR")
    for background in (False, True):
        make_model_folder(model := tmp_path / f"model-{background}", background=background)
        for path in (recording, tmp_path / "long_raw.fif"):
            args = ["--task", "eeg2label", "--eeg", path, "--start", 0.5, "--model", model, "--out", tmp_path / "out"]
            main([str(arg) for arg in args])
            said = "note        less than 60 s of usable EEG" in capsys.readouterr().out
            assert said == (background and path == recording)


def test_generated_eeg_is_a_recording_that_mne_reads(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ["--task", "text2eeg", "--text", "a circle", "--duration", "0.5", "--channels", "[Cz,Oz]", "--n", "1"]
    main([*args, "--model", str(model_folder), "--out", str(out)])
    entry = json.loads((out / "sample.json").read_text())["answers"][0]
    raw = mne.io.read_raw_fif(out / entry["eeg"], verbose="ERROR")
    assert (raw.ch_names, raw.info["sfreq"], raw.n_times) == (["Cz", "Oz"], 200.0, 100)
    assert 1e-9 < raw.get_data().std() < 1e-2
    assert raw.get_montage().get_positions()["ch_pos"]["Cz"][2] > 0.1


def test_a_picture_goes_in(model_folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    args = ["--task", "image2text", "--image", tmp_path / "red.png", "--model", model_folder, "--out", tmp_path / "out"]
    main([str(arg) for arg in args])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"sample.json", "manifest.json"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--task", "eeg2smell"], "eeg2smell"),
        (["--task", "eeg2image"], "eeg is not given"),
        (["--task", "image", "--text", "a"], "leave text away"),
        (["--task", "image", "--nonsense", "1"], "nonsense"),
        (["--task", "image", "--n", "four"], "four"),
        (["--task", "image", "--n", "0"], "at least 1"),
        (["--task", "image", "--temperature", "-1"], "temperature"),
        (["--task", "image", "--device", "abacus"], "abacus"),
        (["--task", "text2eeg", "--text", "a", "--duration", "0.3"], "whole steps"),
        (["--task", "text2eeg", "--text", "a", "--channels", "[Nowhere]"], "Nowhere"),
        (["--task", "image2text", "--image", "absent.png"], "absent.png"),
        (["--task", "eeg2image", "--eeg", "absent.edf"], "absent.edf"),
        (["--task", "eeg2image", "--eeg", "notes.docx"], "extension"),
    ],
)
def test_bad_requests_are_one_line(
    model_folder: Path, tmp_path: Path, refused: Callable[..., str], args: list[str], message: str
) -> None:
    assert message in refused(*args, "--model", model_folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--start", "5.5"], "outside the recording"),
        (["--start", "-1", "--duration", "1"], "outside the recording"),
        (["--duration", "0.3"], "multiple of 0.125"),
        (["--event", "C"], "it has A, B"),
        (["--event", "A:2"], "comes 2 times"),
        (["--event", "A", "--start", "1"], "give one"),
        (["--unit", "kV"], "kV"),
        (["--subject", "eve"], "subject 'eve': this EEG tokenizer knows"),
    ],
)
def test_bad_stretches_are_one_line(
    model_folder: Path, recording: Path, tmp_path: Path, refused: Callable[..., str], args: list[str], message: str
) -> None:
    wrong = ["--task", "eeg2image", "--eeg", recording, "--model", model_folder, "--out", tmp_path / "out", *args]
    assert message in refused(*wrong, *([] if "--duration" in args or "5.5" not in args else ["--duration", "1"]))
    assert not (tmp_path / "out").exists()


def test_a_missing_model_is_named(refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "absent: no such folder" in refused("--task", "image", "--model", tmp_path / "absent")
    monkeypatch.chdir(tmp_path)
    assert "models/default: no model here" in refused("--task", "image")


def test_a_changed_byte_in_the_model_is_named(model_folder: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(model_folder, changed)
    content = bytearray((changed / "vocabulary.json").read_bytes())
    content[40] ^= 1
    (changed / "vocabulary.json").write_bytes(content)
    assert "vocabulary.json: sha256" in refused("--task", "image", "--model", changed, "--out", tmp_path / "out")


def test_tokenizers_of_another_vocabulary_are_named(
    make_model_folder: Callable[..., None], tmp_path: Path, refused: Callable[..., str]
) -> None:
    make_model_folder(tmp_path / "mixed", other_image_tokenizer=True)
    line = refused("--task", "image", "--model", tmp_path / "mixed", "--out", tmp_path / "out")
    assert "fingerprint" in line
    assert "vocabulary.json was made with" in line


def test_a_folder_of_something_else_is_not_replaced(
    model_folder: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    line = refused("--task", "image", "--model", model_folder, "--out", tmp_path / "thesis")
    assert "holds something else" in line
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "mine"
