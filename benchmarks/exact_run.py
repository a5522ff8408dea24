"""One pretraining run twice: on one rank, unbroken; on two ranks, killed on the way. Are they the same run?

    python benchmarks/exact_run.py --tokens runs/tokens/* --samples runs/samples/* --tokenizers DIR --out DIR

Runs `torchrun train.py pretrain`, kills all of its processes with SIGKILL at random moments, goes on with `--resume
auto` until it is done, and compares losses and gradient norms of every step and the sha256 of the last checkpoint. It
writes `curves.png` with both curves.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil

CONFIG = "configs/pretrain.yaml"


def command(given: argparse.Namespace, out: Path, ranks: int) -> list[str]:
    listed = {name: f"[{','.join(map(str, getattr(given, name)))}]" for name in ("tokens", "samples")}
    settings = {
        "data.tokens": listed["tokens"], "data.samples": listed["samples"], "data.tokenizers": given.tokenizers,
        "data.documents_per_batch": 4, "loop.batches_per_step": 4, "loop.steps": given.steps, "loop.log_every": 1,
        "loop.save_every": 10, "loop.validate_every": given.steps, "data.validation_records": 4,
        "loop.mixed_precision": "no", "loop.max_minutes": "null",
    }  # fmt: skip
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "train.py", "pretrain"]
    return [sys.executable, *torchrun, "--config", CONFIG, *flags, "--out", str(out), "--resume", "auto"]


def run(given: argparse.Namespace, out: Path, ranks: int, kills: int) -> int:
    """Train to the end; how often it was killed."""
    rng, killed = random.Random(given.seed), 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # the same threads in each process: products round alike
    while True:
        process = subprocess.Popen(command(given, out, ranks), env=environment)
        wanted = rng.randint(1, max(1, given.steps // (kills + 1))) if killed < kills else None
        first = n_steps(out)
        while process.poll() is None:
            if wanted is not None and n_steps(out) >= first + wanted:
                # torchrun puts each rank into a session of its own
                for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                    one.kill()
                process.wait()
                killed += 1
                break
            time.sleep(0.05)
        else:
            if process.returncode:
                raise SystemExit(f"{out}: training failed with code {process.returncode}")
            return killed


def n_steps(out: Path) -> int:
    """The last step that the log holds."""
    lines = [line for line in log(out) if line["kind"] == "train"]
    return int(lines[-1]["step"]) if lines else 0


def log(out: Path) -> list[dict[str, float]]:
    path = out / "metrics.jsonl"
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def draw(runs: dict[str, list[dict[str, float]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for (name, lines), style in zip(runs.items(), ({"lw": 4, "alpha": 0.35}, {"lw": 1, "color": "black"}), strict=True):
        axes.plot([line["step"] for line in lines], [line["loss"] for line in lines], label=name, **style)
    axes.set(xlabel="step", ylabel="training loss (nats, weighted)")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, nargs="+", required=True)
    parser.add_argument("--samples", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizers", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    names = {"one": "one rank, unbroken", "two": f"two ranks, killed {given.kills} times"}
    run(given, given.out / "one", 1, 0)
    killed = run(given, given.out / "two", 2, given.kills)
    logs = {name: [line for line in log(given.out / name) if line["kind"] == "train"] for name in names}
    pairs = list(zip(logs["one"], logs["two"], strict=True))
    differ = [a["step"] for a, b in pairs if a != b]
    last = [given.out / name / "checkpoints" / f"step-{given.steps:06d}" / "manifest.json" for name in names]
    same = last[0].read_text() == last[1].read_text()
    print(f"{len(pairs)} steps on {len(given.tokens)} sets, killed {killed} times: {len(differ)} steps differ")
    print(f"weights, average, moments and counters after the last step: {'the same bits' if same else 'DIFFERENT'}")
    draw({names[name]: lines for name, lines in logs.items()}, given.out / "curves.png")
    raise SystemExit(0 if same and not differ else 1)


if __name__ == "__main__":
    main()
