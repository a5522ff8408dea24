"""Runs of training that are killed, stopped, starved of disk: nothing is lost, and what goes on is the same run.

Short here; the long form is `make faults` (200 kills, 50 changes of ranks).
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import yaml
from tiny_documents import write_documents
from tiny_model import write_model

from neuroleon.common.checkpoint import checkpoints, damage
from neuroleon.common.files import read_json

pytestmark = pytest.mark.faults
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
KILLS, CHANGES = int(os.environ.get("NEUROLEON_KILLS", "8")), int(os.environ.get("NEUROLEON_RANK_CHANGES", "2"))


@pytest.mark.timeout(300 + 30 * KILLS)
def test_kill_9_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """Ids and losses of every step and the final weights equal an unbroken run, with any workers and ranks."""
    script = [sys.executable, str(HERE / "kills.py"), "--kills", str(KILLS), "--elastic", str(CHANGES)]
    done = subprocess.run([*script, "--out", str(tmp_path)], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert KILLS < 100 or found["inside_a_write"] > 0, "no kill met a checkpoint that was being written"
    assert found["unreadable"] == 0
    assert found["different"] == 0


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`train.py pretrain` of a tiny model, without `--out`."""
    root = tmp_path_factory.mktemp("documents")
    write_model(root / "model")
    data = {name: value for name, value in asdict(write_documents(root, root / "model")).items()}
    settings = {
        "data": {name: data[name] for name in ("tokens", "samples", "tokenizers", "length", "documents_per_batch")},
        "model": {"dim": 32, "depth": 1, "heads": 2, "kv_heads": 1, "dim_head": 16, "max_length": 256, "dropout": 0.1},
        "loop": {"steps": 100_000, "batches_per_step": 2, "validate_every": 50, "save_every": 50, "log_every": 1},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(settings, default=str))))
    return [str(ROOT / "train.py"), "pretrain", "--config", str(root / "config.yaml")]


def begin(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start Python with these arguments in a session of its own."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *arguments], env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True, cwd=ROOT
        )


def wait_for_steps(out: Path, n: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while not (out / "metrics.jsonl").is_file() or len((out / "metrics.jsonl").read_bytes().splitlines()) < n:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.02)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("launcher", ["python", "torchrun"])
def test_sigterm_saves_and_leaves_in_time(tmp_path: Path, command: list[str], launcher: str) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    start = [*(torchrun if launcher == "torchrun" else []), *command]
    out, log = tmp_path / "run", tmp_path / "log"
    process = begin([*start, "--out", str(out)], log)
    wait_for_steps(out, 3, process, log)
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    code = process.wait(timeout=60)
    assert time.monotonic() - told < 30
    assert "SIGTERM: saved after" in log.read_text()
    newest = checkpoints(out / "checkpoints")[0]
    assert damage(newest) is None
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == read_json(newest / "state.json")["progress"]["step"], "no step after the signal was lost"
    assert code == 0 or launcher == "torchrun", "torchrun calls a run that it stopped a failure"
    steps = str(last["step"] + 2)
    again = subprocess.run(
        [sys.executable, *command, "--out", str(out), "--resume", "auto", "--loop.steps", steps],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"after {last['step']} steps" in again.stderr


@pytest.mark.timeout(300)
def test_ranks_whose_torchrun_was_killed_save_and_leave(tmp_path: Path, command: list[str]) -> None:
    """Each rank is in a session of its own: nobody else would tell them, and the next run could not begin."""
    out, log = tmp_path / "run", tmp_path / "log"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    process = begin([*torchrun, *command, "--out", str(out)], log)
    wait_for_steps(out, 3, process, log)
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive
    assert "SIGTERM: saved after" in log.read_text()
    assert damage(checkpoints(out / "checkpoints")[0]) is None


@pytest.mark.timeout(300)
def test_sigterm_told_twice_saves_all_the_same(tmp_path: Path, command: list[str]) -> None:
    """Supervisors tell every process, and torchrun tells its ranks once more."""
    out, log = tmp_path / "run", tmp_path / "log"
    process = begin([*command, "--out", str(out), "--loop.save_every", "2"], log)
    wait_for_steps(out, 5, process, log)
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert process.wait(timeout=60) == 0
    assert "SIGTERM: saved after" in log.read_text()
    assert damage(checkpoints(out / "checkpoints")[0]) is None


@pytest.mark.timeout(300)
def test_a_disk_that_fills_keeps_the_checkpoints_that_are_there(tmp_path: Path, command: list[str]) -> None:
    """A limit on the size of files fails a write in its middle, as a full disk does."""
    out = tmp_path / "run"
    short = [sys.executable, *command, "--out", str(out), "--loop.save_every", "2", "--loop.validate_every", "2"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # less than the weights

    first = subprocess.run([*short, "--loop.steps", "4"], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert first.returncode == 0, first.stderr[-3000:]
    before = [path.name for path in checkpoints(out / "checkpoints")]
    full = subprocess.run(
        [*short, "--loop.steps", "8", "--resume", "auto"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120, preexec_fn=limited,
    )  # fmt: skip
    assert full.returncode == 2, full.stderr[-3000:]
    assert "make room and go on with --resume auto" in full.stderr
    assert "Traceback" not in full.stderr
    assert [path.name for path in checkpoints(out / "checkpoints")] == before
    assert all(damage(checkpoint) is None for checkpoint in checkpoints(out / "checkpoints"))
    assert not [path for path in (out / "checkpoints").iterdir() if path.name.startswith(".")], (
        "half a checkpoint is left"
    )
    after = subprocess.run(
        [*short, "--loop.steps", "8", "--resume", "auto"], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert after.returncode == 0, after.stderr[-3000:]
