"""The whole path as a user walks it: raw files to a report, and the bundled model on the bundled recordings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MODEL = ROOT / "models" / "default"
RECORDINGS = sorted((ROOT / "examples" / "recordings").glob("*.edf"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not on this machine")
def test_from_raw_files_to_a_report(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "PATH": os.environ["PATH"]}
    script = ["bash", "examples/from_raw_to_report.sh", "--short", "--seed", "3", "--fold", "1"]
    script += [str(DATA), str(tmp_path / "run")]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert {one["recipe"] for one in report["sets"]} == {"cvep20", "muse_flicker"}
    for one in report["sets"]:
        assert {task["task"] for task in one["tasks"]} == {"eeg2label", "eeg2text", "eeg2image", "eeg2both"}
        assert all(task["comparisons"] for task in one["tasks"])
    text = (tmp_path / "run" / "report" / "report.md").read_text()
    for word in ("cvep20", "muse_flicker", "shuffled", "noise", "constant"):
        assert word in text
    model = tmp_path / "run" / "model" / "final"
    assert (model / "manifest.json").is_file()
    assert json.loads((model / "training.json").read_text())["settings"]["seed"] == 3
    # the recordings that this fold learned from are for test in the recipe's own split: no number of them is given
    for_all = ("--data", str(DATA), "--out", str(tmp_path / "unfolded"))
    assert run("prepare.py", "samples", "--recipe", "muse_flicker", *for_all).returncode == 0
    score = ("--samples", str(tmp_path / "unfolded" / "muse_flicker"), "--out", str(tmp_path / "leak"))
    leak = run("evaluate.py", "--model", str(model), *score, "--tasks", "eeg2label", "--limit", "6")
    assert leak.returncode != 0
    assert "the model learned from 2 of the 2 recordings of split 'test'" in leak.stderr
    assert not (tmp_path / "leak").exists()


@pytest.mark.parametrize(
    "wrong", [["--seed", "three"], ["--seed"], ["--fold", "-1"], ["--fold", "1", "--restricted"], ["--sed", "3"]]
)
def test_the_script_refuses_what_it_does_not_know(wrong: list[str]) -> None:
    script = ["bash", "examples/from_raw_to_report.sh", *wrong]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert wrong[0] in done.stderr


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_the_bundled_model_writes_a_picture_and_a_sentence(recording: Path, tmp_path: Path) -> None:
    done = run("sample.py", "--task", "eeg2both", "--eeg", str(recording), "--n", "1", "--duration", "2",
               "--out", str(tmp_path / "out"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "really:" in done.stdout
    said = json.loads((tmp_path / "out" / "sample.json").read_text())["answers"][0]
    assert len(said["text"].split()) >= 3
    picture = np.asarray(Image.open(tmp_path / "out" / said["picture"]))
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 5, "the picture is empty"
    assert (tmp_path / "out" / "figure.png").is_file()


@pytest.mark.parametrize("task", ["text2image", "image2text", "text2eeg", "image2eeg"])
def test_the_bundled_model_goes_the_other_ways(task: str, tmp_path: Path) -> None:
    inputs = {
        "text": ["--text", "The person looks at the letter K."],
        "image": ["--image", str(next((MODEL / "labels" / "cvep20").glob("*.png")))],
    }[task.split("2")[0]]
    limits = ["--duration", "1"] if task.endswith("eeg") else []
    done = run("sample.py", "--task", task, *inputs, *limits, "--n", "1", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "sample.json").is_file()


def test_the_bundled_model_is_small_and_whole() -> None:
    sizes = [path.stat().st_size for path in MODEL.rglob("*") if path.is_file()]
    assert sum(sizes) < 35e6
    assert not [p for p in MODEL.rglob("*") if p.suffix in {".pkl", ".pt", ".pth", ".bin"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "eeg2smell", "--eeg", str(RECORDINGS[0])], "eeg2smell"),
        (["--task", "eeg2text", "--eeg", "nowhere.edf"], "nowhere.edf"),
        (["--task", "eeg2text", "--eeg", "README.md"], "README.md"),
        (["--task", "eeg2text"], "--eeg"),
        (["--task", "eeg2text", "--eeg", str(RECORDINGS[0]), "--start", "500"], "500"),
        (["--task", "eeg2text", "--eeg", str(RECORDINGS[0]), "--duration", "0.3"], "0.3"),
        (["--task", "eeg2text", "--eeg", str(RECORDINGS[0]), "--model", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run("sample.py", *arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
