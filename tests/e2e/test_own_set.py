"""The commands of README, "Train and evaluate on your own data", as they stand there: from recordings of a set of one's
own to a report that names what was planted in them, and says from what it cannot be told apart."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import edfio
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HEADING = "Train and evaluate on your own data"
SFREQ, DURATION_S, N_TRIALS = 256, 110, 50
LIGHTS = {"fast": 15.0, "slow": 10.0}
RECIPE = {
    "name": "my",
    "title": "Two lights",
    "licence": "CC0-1.0",
    "citation": "none",
    "source": {
        "reader": "mne",
        "folder": "eeg",
        "options": {"files": "*.edf", "pattern": r"(?P<subject>\w+)_(?P<group>\d)"},
    },
    "windows": [{"tmin_s": 0.0, "duration_s": 1.5}],
    "labels": {"map": {"light fast": "fast", "light slow": "slow"}},
    "split": {"by": "group", "train": ["1", "2", "3"], "validation": ["4"], "test": ["5"]},
    "picture": {"kind": "drawing", "draw": "field", "by_label": {"fast": {"side": "left"}, "slow": {"side": "right"}}},
    "texts": {
        "wordings": ["The {label} light is looked at.", "Attention is on the {label} light."],
        "question": "Which light?",
    },
}
# a network and a run as small as what is planted is plain; else the commands take an hour
EEG = "--network.codes 64 --network.levels 5 --network.code_dim 32 --data.batch_s 32 --data.validation_windows 32"
IMAGE = "--network.codebook_size 64 --network.ch 32 --network.patch 8"
MODEL = "--preset null --model.dim 64 --model.depth 2 --model.heads 2 --model.kv_heads 1 --model.dim_head 32"
DOCUMENTS = "--data.length 256 --data.documents_per_batch 8 --schedule.warmup 10 --optim.lr 3e-3"


def _steps(n: int) -> str:
    return f"--loop.steps {n} --loop.validate_every {n} --loop.save_every {n}"


SHORTER = {
    "eeg-tokenizer": f"{EEG} {_steps(10)}",
    "image-tokenizer": f"{IMAGE} {_steps(20)}",
    "pretrain": f"{MODEL} {DOCUMENTS} {_steps(100)}",
    "finetune": f"{DOCUMENTS} {_steps(200)}",
    "--model": "--limit 30",
}
ORDER = ["samples", "eeg-tokenizer", "image-tokenizer", "text-tokenizer", "tokens", "pretrain", "finetune", "--model"]


def write_recording(path: Path, seed: int) -> None:
    """Noise with the spectrum of EEG and, over the occiput, a flicker as long as a light is looked at."""
    rng = np.random.default_rng(seed)
    n = SFREQ * DURATION_S
    spectrum = np.fft.rfft(rng.normal(size=(8, n))) / np.maximum(np.fft.rfftfreq(n, 1 / SFREQ), 1.0)
    eeg_uV = 10 * (noise := np.fft.irfft(spectrum, n)) / noise.std(1, keepdims=True)
    lights = rng.permutation(np.resize(list(LIGHTS), N_TRIALS)).tolist()
    notes = []
    for i, light in enumerate(lights):
        onset_s, at = 2.0 + 2.1 * i, np.arange(round(1.7 * SFREQ)) / SFREQ
        start = round(onset_s * SFREQ)
        wave = np.sin(2 * np.pi * (LIGHTS[light] * at + rng.random()))
        eeg_uV[4:, start : start + at.size] += np.outer([3.0, 3.0, 5.0, 5.0], wave)
        notes.append(edfio.EdfAnnotation(onset_s, None, f"light {light}"))
    signals = [
        edfio.EdfSignal(one, SFREQ, label=f"EEG {name}", physical_dimension="uV")
        for name, one in zip(("Fz", "C3", "C4", "Pz", "P3", "P4", "O1", "O2"), eeg_uV, strict=True)
    ]
    edfio.Edf(signals, annotations=notes).write(path)


def documented(root: Path) -> list[list[str]]:
    """What README says to type, with its data and runs in `root`."""
    (block,) = (part for part in (ROOT / "README.md").read_text().split("\n## ") if part.split("\n")[0] == HEADING)
    places = {"/data": root, "my.yaml": root / "my.yaml"}
    typed = re.sub(r"\bruns/|(?<= )(?:/data|my\.yaml)(?= )", lambda at: str(places.get(at[0], f"{root}/runs/")), block)
    lines = [line.strip() for line in typed.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("python ")]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_was_planted_is_named(tmp_path: Path) -> None:
    """A flicker's power is all there is, and noise of the same spectrum has it too: the report must say so."""
    (tmp_path / "eeg").mkdir()
    for i in range(1, 6):
        write_recording(tmp_path / "eeg" / f"anna_{i}.edf", i)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(RECIPE))
    commands = documented(tmp_path)
    assert [command[1] for command in commands] == ORDER
    for command in commands:
        shorter = SHORTER.get(command[1], "").split()
        done = subprocess.run(
            [sys.executable, *command, *shorter], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs" / "tokenizers" / "eeg" / "cross-fit").is_dir(), "no codes were made for the labels"
    (one,) = json.loads((tmp_path / "runs" / "report" / "report.json").read_text())["sets"]
    said = one["audit"]["sentences"]
    assert "The model learned from 3 recordings of this set, and from none of this split." in said
    primary = {task["task"]: task["comparisons"][0]["conditions"] for task in one["tasks"]}
    for task in ("eeg2label", "eeg2text", "eeg2both"):  # so few steps teach no pictures
        right = {name: found["mean"] for name, found in primary[task].items()}
        assert right["real"] >= 0.9, task
        assert right["shuffled"] <= 0.75, task
        assert right["noise"] >= 0.9, task
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"my {task}: "))
        assert re.search(": above shuffled, not clearly above .*noise", line)
