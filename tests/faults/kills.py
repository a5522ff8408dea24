"""Kill training runs at random, go on with them, and compare with a run that nobody killed.

    python tests/faults/kills.py --kills 200 --out DIR     prints one line of JSON: what was done, and what went wrong

Each chain is one run of the real stage `pretrain` (dropout, masking, validation, a moving average): it is killed with
SIGKILL, with all of its processes, at a random moment after it has got further by a checkpoint or two, three times or
more, each time going on with other workers and, in elastic chains, on other ranks; then it may end. A fresh process is
forked for each part, so that a start costs milliseconds.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests" / "unit")]

import psutil  # noqa: E402
import torch  # noqa: E402
from tiny_documents import write_documents  # noqa: E402
from tiny_model import write_model  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from neuroleon.common.checkpoint import checkpoints, damage  # noqa: E402
from neuroleon.common.files import read_json  # noqa: E402
from neuroleon.model.config import ModelConfig  # noqa: E402
from neuroleon.training.config import LoopConfig, RunConfig  # noqa: E402
from neuroleon.training.loop import Trainer  # noqa: E402
from neuroleon.training.optim import OptimConfig  # noqa: E402
from neuroleon.training.schedule import ScheduleConfig  # noqa: E402
from neuroleon.training.stages.transformer import DocumentsConfig, PretrainConfig, PretrainStage  # noqa: E402

SIZES = ModelConfig(dim=32, depth=1, heads=2, kv_heads=1, dim_head=16, max_length=256, dropout=0.1)
STEPS, SAVE_EVERY, PER_CHAIN, AT_LEAST = 24, 2, 4, 3


class Stage(PretrainStage):
    """`pretrain`, whose losses name the ids that they are of."""

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        ids = zlib.crc32(batch["ids"].numpy().tobytes()) % 2**24  # exact as a float
        return {**super().loss(module, batch), "ids": torch.tensor(float(ids))}


def train(data: DocumentsConfig, out: Path, workers: int) -> None:
    """Begin the run in `out`, or go on with it."""
    loop = LoopConfig(
        steps=STEPS,
        batches_per_step=4,
        validate_every=10,
        save_every=SAVE_EVERY,
        log_every=1,
        ema_decay=0.9,
        num_workers=workers,
    )
    config = RunConfig(loop=loop, optim=OptimConfig(lr=5e-3), schedule=ScheduleConfig(warmup=5))
    stage = Stage(PretrainConfig(data=data, model=SIZES), seed=0)
    Trainer(stage, config, out, settings={"stage": "pretrain"}, resume="auto").run(out / "final")


def begin(data: DocumentsConfig, out: Path, workers: int = 0, ranks: int = 1) -> int:
    """Fork a process group that trains; its leader's id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        if ranks == 1:
            train(data, out, workers)
        else:
            from accelerate import debug_launcher

            debug_launcher(train, args=(data, out, workers), num_processes=ranks)
        code = 0
    finally:
        os._exit(code)


def ended(child: int) -> bool:
    """Whether a process has ended by itself; it must not have failed."""
    done, status = os.waitpid(child, os.WNOHANG)
    if done and os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"a run failed with code {os.waitstatus_to_exitcode(status)}; see its log")
    return bool(done)


def newest(out: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    found = checkpoints(out / "checkpoints")
    return int(found[0].name.removeprefix("step-")) if found else 0


def kill_after(child: int, out: Path, step: int, seconds: float) -> bool:
    """Kill a process group when its run has saved a step, and a time later; False where it had ended before."""
    until = None
    while until is None or time.monotonic() < until:
        if ended(child):
            return False
        if until is None and newest(out) >= step:
            until = time.monotonic() + seconds
        time.sleep(0.001)
    group = [psutil.Process(child), *psutil.Process(child).children(recursive=True)]
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    psutil.wait_procs(group, timeout=10)  # a rank may outlive the leader by a moment, and still be writing
    return True


def finish(data: DocumentsConfig, out: Path, workers: int = 0, ranks: int = 1) -> float:
    """Let a run come to its end; the seconds that it took."""
    start = time.monotonic()
    child = begin(data, out, workers, ranks)
    while not ended(child):
        time.sleep(0.005)
    return time.monotonic() - start


def last_bits(out: Path) -> dict[str, Any]:
    """What must be equal: every step's ids and losses, and all weights, averages, moments and counters at the end."""
    return {
        "log": (out / "metrics.jsonl").read_text(),
        "checkpoint": read_json(out / "checkpoints" / f"step-{STEPS:06d}" / "manifest.json"),
        "weights": read_json(out / "final" / "manifest.json")["model.safetensors"],
    }


def chain(
    data: DocumentsConfig, out: Path, rng: random.Random, seconds: dict[int, float], elastic: bool
) -> dict[str, int]:
    """Kill one run `PER_CHAIN` times on its way, or until it ends by itself, and let it end; what was counted.

    Args:
        seconds: that a whole run takes, by the number of ranks.
    """
    counts = {"kills": 0, "inside_a_write": 0, "unreadable": 0, "changes_of_ranks": 0}
    ranks = 1
    while counts["kills"] < PER_CHAIN:
        before, ranks = ranks, rng.choice([n for n in seconds if n != ranks]) if elastic else 1
        child = begin(data, out, rng.choice([0, 1, 2]), ranks)
        step = newest(out) + SAVE_EVERY * rng.randint(1, 2)
        if not kill_after(child, out, step, rng.uniform(0, 2 * SAVE_EVERY / STEPS) * seconds[ranks]):
            break
        counts["kills"] += 1
        counts["changes_of_ranks"] += ranks != before
        counts["inside_a_write"] += any((out / "checkpoints").glob(".step-*"))
        counts["unreadable"] += sum(damage(checkpoint) is not None for checkpoint in checkpoints(out / "checkpoints"))
    finish(data, out, rng.choice([0, 2]))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--elastic", type=int, default=5, help="changes of the number of ranks, besides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    write_model(given.out / "model")
    data = write_documents(given.out / "data", given.out / "model")
    finish(data, given.out / "unbroken")
    expected = last_bits(given.out / "unbroken")
    seconds = {ranks: finish(data, given.out / f"on-{ranks}", 0, ranks) for ranks in (1, 2, 4)}
    rng = random.Random(given.seed)
    different = sum(last_bits(given.out / f"on-{ranks}") != expected for ranks in seconds)
    total = {"chains": 0, "different": different, "unreadable": 0}
    for elastic, name, wanted in ((False, "kills", given.kills), (True, "changes_of_ranks", given.elastic)):
        reached = 0
        while reached < wanted:
            out = given.out / f"chain-{total['chains']}"
            counts = chain(data, out, rng, seconds, elastic)
            total["unreadable"] += counts.pop("unreadable")
            if last_bits(out) == expected:
                shutil.rmtree(out)
            else:
                total["different"] += 1
                out.rename(out.with_name(f"different-{total['different']}"))
            if counts["kills"] >= AT_LEAST:  # one that was faster than expected shows less, and is not counted
                reached += counts[name]
                total["chains"] += 1
                for key, value in counts.items():
                    total[key] = total.get(key, 0) + value
            print(f"{total}", file=sys.stderr, flush=True)
    print(json.dumps(total))


if __name__ == "__main__":
    main()
