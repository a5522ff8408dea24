"""The record of a run: `metrics.jsonl` (the source of truth), `speed.jsonl`, TensorBoard, a progress bar, and
`config.json` and `env.txt`, with which it can be repeated."""

import json
import math
import platform
import sys
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from neuroleon.common.files import write_atomic, write_json
from neuroleon.training.stage import Examples


def environment() -> str:
    """What a person needs to repeat the run: command, machine, and the version of every installed package."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    head = [f"command: {' '.join(sys.argv)}", f"python {platform.python_version()} on {platform.platform()}", device]
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    return "\n".join([*head, *packages]) + "\n"


def add_provenance(folder: Path, settings: dict[str, Any], progress: dict[str, Any], steps: int) -> None:
    """Say in an exported folder how it was made: `training.json`, and a last section of its README."""
    command = " ".join(["python", *sys.argv])
    versions = {name: version(name) for name in ("torch", "numpy", "vector-quantize-pytorch", "x-transformers")}
    progress = {name: value for name, value in progress.items() if name != "recent"}
    record = {"command": command, "settings": settings, "progress": progress, "versions": versions}
    write_json(folder / "training.json", record)
    readme = folder / "README.md"
    before = readme.read_text() if readme.is_file() else f"# Neuroleon: {settings.get('stage', 'a trained stage')}\n"
    section = (
        f"\n## How it was trained\n\n    {command}\n\n"
        f"The best validation was at step {progress['best_step']} of {steps} ({progress['step']} were taken): score "
        f"{progress['best_score']:.5g} (lower is better). `training.json` has every setting.\n"
    )
    write_atomic(readme, before + section)


def _json_line(entry: dict[str, Any]) -> str:
    """One line of strict JSON; what is not finite becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def _drop_after(path: Path, step: int) -> None:
    """Forget what a killed run logged after the checkpoint that is resumed, and the line it was writing."""
    if not path.is_file():
        return
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    write_atomic(path, "".join(line for line in whole if json.loads(line)["step"] <= step))


class RunLog:
    """The log of the main process; on the other ranks (`folder` None) it does nothing."""

    def __init__(self, folder: Path | None, config: dict[str, Any], *, step: int, steps: int) -> None:
        self.folder = folder
        # `disable=None` silences the bar where stderr is no terminal
        self.bar = tqdm(total=steps, initial=step, disable=None if folder else True, dynamic_ncols=True)
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", config)
        write_atomic(folder / "env.txt", environment())
        for name in ("metrics.jsonl", "speed.jsonl"):
            _drop_after(folder / name, step)
        self.lines = (folder / "metrics.jsonl").open("a", buffering=1)
        self.speeds = (folder / "speed.jsonl").open("a", buffering=1)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def say(self, text: str) -> None:
        """Print a line without breaking the progress bar."""
        if self.folder is not None:
            tqdm.write(text, file=sys.stderr)

    def advance(self, loss: float) -> None:
        """Move the progress bar by a step."""
        self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self.bar.update()

    def metrics(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write numbers under a kind: train, validation or skipped."""
        if self.folder is None:
            return
        self.lines.write(_json_line({"kind": kind, "step": step, **values}))
        for name, value in values.items():
            if math.isfinite(value):
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def speed(self, step: int, values: dict[str, float]) -> None:
        """Write how fast the run is; apart from the metrics, which are the same whenever a run is repeated."""
        if self.folder is None:
            return
        self.speeds.write(_json_line({"step": step, **values}))
        for name, value in values.items():
            self.board.add_scalar(f"speed/{name}", value, step)

    def examples(self, step: int, examples: Examples) -> None:
        """Show pictures and sentences in TensorBoard."""
        if self.folder is None:
            return
        for name, picture in examples.pictures.items():
            self.board.add_image(name, picture, step, dataformats="HWC")
        for name, sentence in examples.sentences.items():
            self.board.add_text(name, sentence, step)
        self.board.flush()

    def close(self) -> None:
        """Flush and close; a closed log can be closed again."""
        self.bar.close()
        if self.folder is not None:
            self.lines.close()
            self.speeds.close()
            self.board.close()
