"""A run that was interrupted in any way ends with the very bits of a run that was not."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from letters_stage import LettersConfig, train

from neuroleon.common.checkpoint import checkpoints
from neuroleon.common.errors import CheckpointError, ConfigError
from neuroleon.common.files import read_json

pytestmark = pytest.mark.faults

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    train(out)
    return out


def assert_same_run(out: Path, unbroken: Path) -> None:
    """Same weights, average, moments and counters at the end, and the same log to the last digit."""
    last = "checkpoints/step-000008"
    assert read_json(out / last / "manifest.json") == read_json(unbroken / last / "manifest.json")
    assert (out / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()
    assert read_json(out / "final" / "manifest.json") == read_json(unbroken / "final" / "manifest.json")


def cut(source: Path, out: Path, step: int) -> Path:
    """The run folder as a killed process leaves it after `step`: no later checkpoint, but later lines in the log."""
    shutil.copytree(source, out)
    shutil.rmtree(out / "final")
    for checkpoint in checkpoints(out / "checkpoints"):
        if int(checkpoint.name.removeprefix("step-")) > step:
            shutil.rmtree(checkpoint)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 9, "lo')
    return out


def test_three_resumes_after_sigterm_equal_no_interruption(tmp_path: Path, unbroken: Path) -> None:
    """Also with another number of workers each time: a batch depends on its index only."""
    stage = LettersConfig(sigterm_batches=(4, 9, 13))  # steps 3, 5 and 7; each saves and leaves
    assert train(tmp_path, stage=stage, save_every=100) is None
    assert next(p.name for p in checkpoints(tmp_path / "checkpoints")) == "step-000003"
    assert not (tmp_path / "final").exists()
    assert train(tmp_path, stage=stage, save_every=100, resume="auto") is None
    assert train(tmp_path, stage=stage, save_every=100, resume="auto") is None
    assert train(tmp_path, resume="auto", num_workers=2) is not None
    assert_same_run(tmp_path, unbroken)


def test_kill_9_costs_at_most_the_steps_since_the_last_checkpoint(tmp_path: Path, unbroken: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom pathlib import Path\nimport time, letters_stage as d\n"
        "batch = d.LettersStage.batch\n"
        "d.LettersStage.batch = lambda self, i: (time.sleep(0.05), batch(self, i))[1]\n"  # to be met halfway
        f"d.train(Path({str(tmp_path)!r}), num_workers=1)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path / "checkpoints") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was to be killed before its end"
    assert not (tmp_path / "final").exists()
    train(tmp_path, resume="auto")
    assert_same_run(tmp_path, unbroken)


def test_a_damaged_newest_checkpoint_is_passed_over(
    tmp_path: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = cut(unbroken, tmp_path / "run", 8)
    weights = out / "checkpoints" / "step-000008" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    train(out, resume="auto")
    assert "passed over a damaged checkpoint" in (printed := capsys.readouterr().err)
    assert str(weights) in printed
    assert_same_run(out, unbroken)


def test_auto_starts_anew_where_there_is_nothing(tmp_path: Path, unbroken: Path) -> None:
    train(tmp_path, resume="auto")
    assert_same_run(tmp_path, unbroken)


def test_a_finished_run_only_exports_again(tmp_path: Path, unbroken: Path) -> None:
    out = cut(unbroken, tmp_path / "run", 8)
    train(out, resume="auto")
    assert_same_run(out, unbroken)


def test_a_run_can_be_made_longer_and_its_folder_is_not_overwritten(tmp_path: Path, unbroken: Path) -> None:
    out = cut(unbroken, tmp_path / "run", 8)
    with pytest.raises(ConfigError, match="--resume auto"):
        train(out)
    train(out, resume="auto", steps=10)
    assert checkpoints(out / "checkpoints")[0].name == "step-000010"


def test_a_named_checkpoint_starts_another_folder_but_not_one_with_newer_steps(tmp_path: Path, unbroken: Path) -> None:
    older = unbroken / "checkpoints" / "step-000007"
    with pytest.raises(ConfigError, match="newer checkpoint"):
        train(unbroken, resume=str(older))
    train(tmp_path, resume=str(older))
    last = "checkpoints/step-000008/model.safetensors"
    assert (tmp_path / last).read_bytes() == (unbroken / last).read_bytes()
    train(tmp_path / "finished", resume=str(unbroken / "checkpoints" / "step-000008"))
    assert (tmp_path / "finished" / last).read_bytes() == (unbroken / last).read_bytes()
    with pytest.raises(CheckpointError, match="no such folder"):
        train(tmp_path / "other", resume=str(unbroken / "step-000077"))


def test_data_may_move_but_not_become_others(tmp_path: Path, unbroken: Path) -> None:
    last = "checkpoints/step-000008/model.safetensors"
    out = cut(unbroken, tmp_path / "run", 7)
    with pytest.raises(CheckpointError, match=r"belongs to settings"):
        train(out, resume="auto", data="/disk/numbers")
    train(out, resume="auto", data="s3://bucket/letters/")
    assert (out / last).read_bytes() == (unbroken / last).read_bytes()


def test_a_run_of_other_settings_is_refused_with_both_hashes(tmp_path: Path, unbroken: Path) -> None:
    out = cut(unbroken, tmp_path / "run", 8)
    path = out / "checkpoints" / "step-000008" / "state.json"
    identity = read_json(path)["identity"]
    from letters_stage import LettersStage

    fingerprint = LettersStage.fingerprint
    try:
        LettersStage.fingerprint = property(lambda self: "other data")
        with pytest.raises(CheckpointError, match=identity[:12]):
            train(out, resume="auto")
    finally:
        LettersStage.fingerprint = fingerprint
