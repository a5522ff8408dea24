"""Everything of a run that must survive a restart, and how it lies in a checkpoint folder.

`model.safetensors`, `ema.safetensors` (where the average is on), `optimizer.safetensors` and `state.json` (`Progress`):
tensors and JSON, no pickle, whole tensors by name. A checkpoint therefore says nothing of ranks, nor of whether weights
were split over them: any number of them goes on from it. There is no generator state either: the random numbers of a
batch are drawn from the batch's index (`learner.py`).
"""

import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuroleon.common.checkpoint import checkpoints, damage, load_tensors, newest_intact, save_tensors, step_folder
from neuroleon.common.errors import CheckpointError, ConfigError
from neuroleon.common.files import atomic_folder, read_json, sha256_json, write_json
from neuroleon.training.guard import Recent
from neuroleon.training.parallel import place, whole

FORMAT = 3


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
    recent: Recent = field(default_factory=Recent)


class Ema:
    """Moving average of the parameters; buffers (codebooks, which average themselves) are the module's own.

    The decay starts low and rises to `decay`, so that a short run does not average its random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self.decay = module, decay
        self.averages = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(self.averages, self._module.parameters(), strict=True):
            average.lerp_(weight.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averages for its weights inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, weight in zip(self.averages, self._module.parameters(), strict=True):
            kept = weight.detach().clone()
            weight.copy_(average)
            average.copy_(kept)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the averages from the tensors of a checkpoint, by the names of the parameters."""
        for average, (name, weight) in zip(self.averages, self._module.named_parameters(), strict=True):
            average.copy_(place(tensors[name], weight))


def seed_rng(seed: int) -> None:
    """Seed every global generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Copies of whole tensors on the CPU; every rank must call this, and those that do not `keep` them get none."""
    found = {}
    for name, tensor in tensors.items():
        complete = whole(tensor.detach())
        if keep:
            found[name] = complete.to("cpu", copy=True)
    return found


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of each parameter, as `MOMENT.PARAMETER`; settings are not among them, they come with the run."""
    return {
        f"{moment}.{name}": torch.as_tensor(value)
        for name, parameter in module.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def save_checkpoint(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], *, progress: Progress, identity: str
) -> None:
    """Write a checkpoint, a file for each group of whole tensors; it appears complete or not at all."""
    with atomic_folder(folder) as temporary:
        for name, group in tensors.items():
            save_tensors(temporary / f"{name}.safetensors", group)
        state = {"format": FORMAT, "identity": identity, "progress": asdict(progress)}
        write_json(temporary / "state.json", state)


def run_identity(settings: Mapping[str, Any], fingerprint: str, *, has_average: bool) -> str:
    """sha256 over what makes two runs the same one.

    Not how long it runs (`loop`, `schedule`) nor where its data lies: of a path or address its last name counts, and
    the `fingerprint` of the stage is over the content. A checkpoint without an average of the weights cannot give one,
    nor lose one.
    """
    own = {name: _placeless(value) for name, value in settings.items() if name not in ("loop", "schedule")}
    return sha256_json({"settings": own, "average": has_average, "data": fingerprint})


def _placeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _placeless(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_placeless(one) for one in value]
    return value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else value


def _read_progress(folder: Path, identity: str) -> Progress:
    """The counters of a checkpoint of this very run.

    Raises:
        CheckpointError: it was written by another version, or with other settings.
    """
    state = read_json(folder / "state.json")
    if state["format"] != FORMAT:
        raise CheckpointError(
            f"{folder}: format {state['format']}, this version reads {FORMAT}; go on with the version that wrote it, "
            "or start a new run"
        )
    if state["identity"] != identity:
        raise CheckpointError(
            f"{folder}: belongs to settings {state['identity'][:12]}, this run has {identity[:12]}; "
            "use the settings of the run's config.json, or another --out"
        )
    counters = state["progress"]
    return Progress(**{**counters, "recent": Recent(**counters["recent"])})


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


def load_optimizer(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Fill an optimizer's moments from a checkpoint.

    Raises:
        CheckpointError: a moment belongs to no parameter, or has another shape.
    """
    parameters = dict(module.named_parameters())
    for key, value in load_tensors(path).items():
        moment, _, name = key.partition(".")
        if name not in parameters or value.shape not in (parameters[name].shape, torch.Size([])):
            raise CheckpointError(f"{path}: {key} {tuple(value.shape)} fits no parameter of this run; start a new run")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = value if moment == "step" else place(value, parameter)
