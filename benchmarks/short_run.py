"""What the scripts beside it share: a training run of the project's own command."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def pretrain(out: Path, steps: int, settings: Mapping[str, object]) -> Path:
    """Run `train.py pretrain` with the laptop's configuration, or go on with a run that stopped; the model's folder.

    Raises:
        CalledProcessError: `train.py` refused, which it does where `out` has a run of other settings.
    """
    loop = {"steps": steps, "validate_every": steps, "save_every": 100, "max_minutes": "null"}
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    flags += [text for name, value in loop.items() for text in (f"--loop.{name}", str(value))]
    command = [sys.executable, "train.py", "pretrain", "--config", "configs/pretrain.yaml", *flags]
    subprocess.run([*command, "--out", str(out), "--resume", "auto"], check=True)
    return out / "final"
