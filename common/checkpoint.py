"""Weights on disk: safetensors that load strictly, and a folder of numbered checkpoints that proves what it holds.

No pickles: weights are safetensors, and what else a run must keep is tensors and JSON (`training/state.py`).
"""

import re
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neuroleon.common.errors import CheckpointError, NeuroleonError
from neuroleon.common.files import verify_folder

STEP_FOLDER = re.compile(r"step-(\d+)")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> None:
    """Write tensors as safetensors, from any device; `dtype` converts the floating ones.

    Of two names of one memory (tied weights) the second is copied, because safetensors refuses them.
    """
    seen: set[int] = set()

    def stored(tensor: Tensor) -> Tensor:
        wanted = dtype if tensor.is_floating_point() else None
        tensor = tensor.detach().to("cpu", wanted).contiguous()
        if (memory := tensor.untyped_storage().data_ptr()) in seen:
            tensor = tensor.clone()
        seen.add(memory)
        return tensor

    save_file({name: stored(tensor) for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU.

    Raises:
        CheckpointError: the file is absent or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; the folder is incomplete, copy it again") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); copy it again") from None


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill `module` from a safetensors file, in the module's own precision; every name and shape must match.

    Raises:
        CheckpointError: a weight is missing, left over, or of another shape.
    """
    found, wanted = load_tensors(path), module.state_dict()
    missing, left_over = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    reshaped = [name for name in wanted.keys() & found.keys() if wanted[name].shape != found[name].shape]
    if missing or left_over or reshaped:
        first = ", ".join(sorted([*missing, *left_over, *reshaped])[:3])
        raise CheckpointError(
            f"{path}: does not fit the model: {len(missing)} weights missing, {len(left_over)} unknown, "
            f"{len(reshaped)} of another shape ({first} ...); use the settings that the file was trained with"
        )
    module.load_state_dict(found)


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` steps lies."""
    return folder / f"step-{step:06d}"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints under `folder`, newest first; temporary folders of killed writers are not among them."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and STEP_FOLDER.fullmatch(p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")), reverse=True)


def damage(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used, or None when every byte is as it was written."""
    try:
        verify_folder(checkpoint)
    except NeuroleonError as error:
        return str(error)
    return None


def newest_intact(folder: Path) -> tuple[Path | None, list[tuple[Path, str]]]:
    """The newest undamaged checkpoint (None where there is none), and the newer ones with what is wrong with them."""
    passed_over: list[tuple[Path, str]] = []
    for checkpoint in checkpoints(folder):
        reason = damage(checkpoint)
        if reason is None:
            return checkpoint, passed_over
        passed_over.append((checkpoint, reason))
    return None, passed_over


def prune(folder: Path, keep: int, also: Collection[int]) -> None:
    """Delete all but the newest `keep` checkpoints and those of the steps in `also`, and what killed writers left.

    A checkpoint loses its name first: one that is half deleted when the process is killed is no checkpoint any more.
    """
    kept = {step_folder(folder, step) for step in also}
    for old in checkpoints(folder)[keep:]:
        if old not in kept:
            old.rename(old.with_name(f".{old.name}.old-{time.time_ns()}"))
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def require_space(folder: Path, n_bytes: int) -> None:
    """Refuse to start writing what the disk cannot hold: torch reports a full disk as "unexpected pos".

    Raises:
        CheckpointError: fewer than `n_bytes` are free where `folder` lies.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise CheckpointError(
            f"{folder}: {free / 1e6:.0f} MB free, a checkpoint needs {n_bytes / 1e6:.0f} MB; make room and go on "
            "with --resume auto, the checkpoints before this one are whole"
        )
