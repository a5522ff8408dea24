"""The command line of eeg.py: its table, its files, and how it refuses."""

from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest
from PIL import Image
from tiny_eeg import CONFIG, EXAMPLES, eegmat, tiny_tokenizer

from neuroleon.eeg import main
from neuroleon.tokenizers.eeg.surprise import Calibration
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, RecordingTokens

Run = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eeg") / "tokenizer"
    tiny_tokenizer().save(folder)
    return folder


@pytest.fixture
def run(model: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command with the tiny tokenizer; returns what it prints, and what of that to stderr."""

    def command(*args: object, code: int = 0) -> tuple[str, str]:
        given = [str(arg) for arg in args]
        given += [] if "--model" in given else ["--model", str(model)]
        if code:
            with pytest.raises(SystemExit) as stop:
                main(given)
            assert stop.value.code == code
        else:
            main(given)
        return capsys.readouterr()

    return command


def cells(table: str, name: str) -> list[str]:
    return next(line for line in table.splitlines() if line.startswith(name)).split()


def test_a_line_for_each_file_and_its_tokens(run: Run, tmp_path: Path) -> None:
    said, _ = run("tokenize", *EXAMPLES, "--out", tmp_path)
    assert said.splitlines()[0].split()[:2] == ["file", "channels"]
    assert cells(said, EXAMPLES[0].name)[1:5] == ["8", "0", "240", "0.17"]
    tokens = RecordingTokens.load(tmp_path / f"{EXAMPLES[0].stem}.npz")
    per_s = 8 * CONFIG.levels
    assert cells(said, EXAMPLES[0].name)[6:9] == [f"{10 * per_s}", f"{per_s:.1f}", f"{5 * per_s}"]
    assert len(tokens) == 10 * per_s
    raw = mne.io.read_raw_edf(EXAMPLES[0], verbose="ERROR")
    np.testing.assert_array_equal(tokens.ids, tiny_tokenizer().encode(raw).ids, "the command and the API differ")
    assert "not calibrated" in said


def test_whose_eeg_it_is_can_be_told(run: Run, tmp_path: Path) -> None:
    run("tokenize", EXAMPLES[0], "--out", tmp_path, "--subject", "bob")
    raw = mne.io.read_raw_edf(EXAMPLES[0], verbose="ERROR")
    expected = tiny_tokenizer().encode(raw, subject="bob")
    assert isinstance(expected, RecordingTokens)
    found = RecordingTokens.load(tmp_path / f"{EXAMPLES[0].stem}.npz").ids
    np.testing.assert_array_equal(found, expected.ids)
    assert not np.array_equal(found, tiny_tokenizer().encode(raw).ids)


def test_fewer_levels_are_a_prefix_of_every_step(run: Run, tmp_path: Path) -> None:
    for levels, folder in ((1, "coarse"), (CONFIG.levels, "whole")):
        run("tokenize", EXAMPLES[1], "--out", tmp_path / folder, "--levels", levels)
    coarse, whole = (RecordingTokens.load(tmp_path / name / f"{EXAMPLES[1].stem}.npz") for name in ("coarse", "whole"))
    np.testing.assert_array_equal(coarse.ids, whole.ids.reshape(-1, CONFIG.levels)[:, 0])
    assert "0 to" not in run("tokenize", EXAMPLES[1], "--levels", 99, code=2)[0]


def test_files_that_fail_are_listed_and_the_others_are_done(run: Run, tmp_path: Path) -> None:
    _, complained = run("tokenize", EXAMPLES[0], "--out", __file__, code=2)
    assert "cannot be written" in complained
    said, complained = run("tokenize", tmp_path / "no.edf", EXAMPLES[0], Path(__file__), code=2)
    assert cells(said, EXAMPLES[0].name)
    lines = complained.splitlines()
    assert [line.split(":")[0] for line in lines] == ["failed", "failed", "error"]
    assert "no.edf: no such file" in lines[0]
    assert "2 of 3 files" in lines[2]


def test_a_real_recording_with_other_columns(run: Run) -> None:
    said, _ = run("tokenize", eegmat())
    assert cells(said, "Subject00_2.edf")[1:4] == ["19", "2", "500"]
    assert "left out, ecg, not EEG: ECG ECG (Subject00_2.edf)" in said


def test_what_is_unlike_eeg_is_flagged(run: Run, tmp_path: Path) -> None:
    tiny = tiny_tokenizer()
    calibration = Calibration(log_nmse=-5.0, per_octave=0.0, spread=0.5, fewest=1, most=64)
    EEGTokenizer(CONFIG, tiny.preprocess, tiny.network, calibration=calibration).save(tmp_path / "strict")
    said, _ = run("tokenize", EXAMPLES[0], "--model", tmp_path / "strict", "--levels", 1)
    assert "unlike EEG (z = " in said.splitlines()[1]
    assert "not calibrated" not in said
    said, _ = run("draw", EXAMPLES[0], "--out", tmp_path / "a.png", "--model", tmp_path / "strict")
    assert "unlike EEG (z = " in said


def test_a_recording_is_restored_at_other_electrodes(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "restored_raw.fif"
    said, _ = run("reconstruct", EXAMPLES[0], "--out", out, "--channels", "[Oz, Fp1, Cz]")
    raw = mne.io.read_raw_fif(out, verbose="ERROR")
    assert (raw.ch_names, raw.info["sfreq"], raw.n_times) == (["Oz", "Fp1", "Cz"], 200.0, 2000)
    assert "recorded    1: Oz" in said
    assert "estimated   2, not recorded: Fp1 Cz" in said
    assert "estimated: Fp1, Cz" in raw.info["description"]
    said, _ = run("reconstruct", EXAMPLES[0], "--out", out, "--to-montage", "standard_1020", "--levels", 1)
    assert len(mne.io.read_raw_fif(out, verbose="ERROR").ch_names) == 90
    assert "recorded    8: " in said
    said, _ = run("reconstruct", EXAMPLES[0], "--out", out)
    assert "estimated   0" in said
    assert {path.name for path in out.parent.iterdir()} == {out.name}


def test_a_stretch_is_drawn(run: Run, tmp_path: Path) -> None:
    said, _ = run("draw", EXAMPLES[0], "--out", tmp_path / "a.png", "--start", 1, "--duration", 2)
    assert Image.open(tmp_path / "a.png").width > 1000
    assert "1 to 3 s" in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["tokenize", EXAMPLES[0], EXAMPLES[0], "--out", "x"], "several files are called"),
        (["tokenize", EXAMPLES[0], "--levels", 99], "99 levels"),
        (["tokenize", EXAMPLES[0], "--model", "/nowhere"], "no such folder"),
        (["tokenize", EXAMPLES[0], "--unit", "T"], "1 of 1 files"),
        (["tokenize", EXAMPLES[0], "--subject", "eve"], "knows ann, bob"),
        (["reconstruct", EXAMPLES[0], "--out", "x.edf"], "ends in .fif"),
        (["reconstruct", EXAMPLES[0], "--out", "x.fif", "--channels", "[elbow]"], "no known position for elbow"),
        (["reconstruct", EXAMPLES[0], "--out", "x.fif", "--channels", "[Oz]", "--to-montage", "mgh60"], "give one"),
        (["reconstruct", EXAMPLES[0], "--out", "x.fif", "--to-montage", "mgh61"], "none of that name"),
        (["reconstruct", EXAMPLES[0], "--out", f"{__file__}/x.fif"], "cannot be written"),
        (["draw", EXAMPLES[0], "--out", f"{__file__}/x.png"], "cannot be written"),
        (["draw", EXAMPLES[0], "--out", "x.gif"], "ends in .png"),
        (["draw", EXAMPLES[0], "--out", "x.png", "--start", 9], "not inside its 10 s"),
        (["draw", EXAMPLES[0], "--out", "x.png", "--start", -1], "not inside"),
        (["draw", EXAMPLES[0], "--out", "x.png", "--duration", 0.1], "0.25 to 16 s"),
    ],
)
def test_a_wrong_command_is_one_clear_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _, complained = run(*args, code=2)
    assert complained.splitlines()[-1].startswith("error: ")
    assert message in complained.splitlines()[-1]
    assert not list(tmp_path.iterdir()), "a refused command wrote something"
