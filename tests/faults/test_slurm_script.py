"""The SLURM script queues a job again that got further, and no other; SLURM's commands are played by small scripts."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "slurm" / "pretrain.sh"


@pytest.mark.parametrize(
    ("does", "code", "said"),
    [
        ("mkdir -p $out/checkpoints/step-000002; exit 1", 0, "requeue 7"),  # told to leave; torchrun calls it a failure
        ("mkdir -p $out/checkpoints/step-000002 $out/final", 0, "done: "),
        ("echo no disk >&2; exit 2", 1, "not queued again"),
    ],
)
def test_a_job_that_got_further_is_queued_again(tmp_path: Path, does: str, code: int, said: str) -> None:
    out = tmp_path / "run"
    (out / "checkpoints" / "step-000001").mkdir(parents=True)
    os.utime(out / "checkpoints" / "step-000001", (1, 1))
    (tmp_path / "srun").write_text(f'#!/bin/sh\necho "$@"\nout={out}\n{does}\n')
    (tmp_path / "scontrol").write_text('#!/bin/sh\n[ "$1" = show ] && echo node1 || echo "$@"\n')
    for name in ("srun", "scontrol"):
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_NODELIST": "node[1-2]"}
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(SCRIPT), str(out), "--config", "my config.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "--nnodes 2 --nproc_per_node 8" in done.stdout
    assert "--rdzv_endpoint node1:29500" in done.stdout
    assert f"train.py pretrain --config my config.yaml --out {out} --resume auto" in done.stdout
