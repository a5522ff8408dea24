"""Everything of a run that must survive a restart, and how it lies in a checkpoint folder.

`model.safetensors`, `ema.safetensors` (where the average is on), `optimizer.pt` (tensors and numbers only, read with
`weights_only=True`), `rng.safetensors` (the generators of every rank) and `state.json` (`Progress`).
"""

import copy
import pickle
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neuroleon.common.checkpoint import (
    checkpoints,
    damage,
    load_tensors,
    load_weights,
    newest_intact,
    save_tensors,
    step_folder,
)
from neuroleon.common.errors import CheckpointError, ConfigError
from neuroleon.common.files import atomic_folder, read_json, write_json

FORMAT = 1


@dataclass(kw_only=True)
class Progress:
    """The counters of a run; `batches` is its position in the data: how many batches all ranks together have used."""

    step: int = 0
    batches: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best_score: float | None = None
    best_step: int | None = None
    validated_step: int | None = None


class Ema:
    """Moving average of the weights; buffers (codebooks, which average themselves) are copied as they are.

    The decay starts low and rises to `decay`, so that a short run does not average its random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(weight.detach(), 1 - decay)
        for kept, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(buffer)


def capture_rng(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators: Python's, numpy's, torch's, and the device's."""
    _, words, gauss = random.getstate()
    own = np.random.get_state(legacy=False)  # noqa: NPY002
    assert isinstance(own, dict), f"numpy gave its state as {type(own).__name__}"
    state = {
        "python": torch.tensor(words),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*own["state"]["key"].tolist(), own["state"]["pos"], own["has_gauss"]]),
        "numpy_gauss": torch.tensor([own["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def restore_rng(state: dict[str, Tensor], device: torch.device) -> None:
    """Set the global generators to a captured state. Do it last: making a loader or a module draws numbers."""
    gauss = state["python_gauss"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), gauss[0] if gauss else None))
    *keys, position, has_gauss = state["numpy"].tolist()
    cached = state["numpy_gauss"].item()
    np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])


def seed_rng(seed: int) -> None:
    """Seed every global generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


@contextmanager
def rng_aside(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block under its own seed and leave the generators as they were: looking must not change the training."""
    state = capture_rng(device)
    seed_rng(seed)
    try:
        yield
    finally:
        restore_rng(state, device)


def save_checkpoint(
    folder: Path,
    *,
    module: nn.Module,
    ema: Ema | None,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    rng: list[dict[str, Tensor]],
    identity: str,
) -> None:
    """Write a checkpoint that appears whole or not at all; `rng` has one entry per rank."""
    with atomic_folder(folder) as temporary:
        save_tensors(temporary / "model.safetensors", module.state_dict())
        if ema is not None:
            save_tensors(temporary / "ema.safetensors", ema.module.state_dict())
        torch.save(optimizer.state_dict(), temporary / "optimizer.pt")
        states = {f"{rank}.{name}": value for rank, state in enumerate(rng) for name, value in state.items()}
        save_tensors(temporary / "rng.safetensors", states)
        state = {"format": FORMAT, "identity": identity, "ranks": len(rng), "progress": asdict(progress)}
        write_json(temporary / "state.json", state)


def _read_progress(folder: Path, identity: str) -> Progress:
    """The counters of a checkpoint of this very run.

    Raises:
        CheckpointError: it was written by another version, or with other settings.
    """
    state = read_json(folder / "state.json")
    if state["format"] != FORMAT:
        raise CheckpointError(f"{folder}: format {state['format']}, this version reads {FORMAT}; start a new run")
    if state["identity"] != identity:
        raise CheckpointError(
            f"{folder}: belongs to settings {state['identity'][:12]}, this run has {identity[:12]}; "
            "use the settings of the run's config.json, or another --out"
        )
    return Progress(**state["progress"])


def choose_checkpoint(out: Path, resume: str, identity: str) -> tuple[Path | None, Progress]:
    """The checkpoint that a run folder goes on from (None: from the start), and its counters.

    With `auto`, damaged newer checkpoints are renamed, so that no later step takes them for good ones.

    Raises:
        ConfigError: the folder holds a run that `resume` does not continue.
        CheckpointError: the named checkpoint is damaged, or belongs to other settings or data.
    """
    folder = out / "checkpoints"
    if resume == "none":
        if checkpoints(folder):
            raise ConfigError(f"{out}: holds a run; continue it with --resume auto, or give another --out")
        return None, Progress()
    if resume == "auto":
        chosen, passed_over = newest_intact(folder)
        for bad, reason in passed_over:
            print(f"passed over a damaged checkpoint: {reason}", file=sys.stderr)
            bad.rename(bad.with_name(f"damaged-{bad.name}-{time.time_ns()}"))
        if chosen is None:
            return None, Progress()
    else:
        chosen = Path(resume)
        if (fault := damage(chosen)) is not None:
            raise CheckpointError(fault)
        if any(found.resolve() != chosen.resolve() for found in checkpoints(folder)[:1]):
            raise ConfigError(f"{out}: has a newer checkpoint than {chosen}; give another --out")
    progress = _read_progress(chosen, identity)
    if progress.best_step is not None and (fault := damage(step_folder(folder, progress.best_step))) is not None:
        print(f"the best checkpoint is not usable, the next validation chooses anew: {fault}", file=sys.stderr)
        progress.best_step = progress.best_score = progress.validated_step = None
    return chosen, progress


def load_checkpoint(folder: Path, *, module: nn.Module, ema: Ema | None, optimizer: torch.optim.Optimizer) -> None:
    """Fill weights, average and optimizer from a verified checkpoint.

    Raises:
        CheckpointError: a file is missing or does not fit.
    """
    load_weights(module, folder / "model.safetensors")
    if ema is not None:
        load_weights(ema.module, folder / "ema.safetensors")
    path = folder / "optimizer.pt"
    try:
        optimizer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: does not fit this run ({error}); start a new run") from None


def load_rng(folder: Path, rank: int) -> dict[str, Tensor] | None:
    """The generators of one rank, or None where the run had fewer ranks."""
    prefix = f"{rank}."
    states = load_tensors(folder / "rng.safetensors").items()
    return {name.removeprefix(prefix): value for name, value in states if name.startswith(prefix)} or None
