"""The settings that every training run has: how long, how fast, and what it does on the way."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from neuroleon.common.errors import ConfigError
from neuroleon.training.optim import OptimConfig
from neuroleon.training.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long a run is and what it does on the way.

    Attributes:
        steps: optimizer steps.
        batches_per_step: batches whose gradients make a step, over all ranks together; a multiple of the ranks.
        clip_norm: largest norm of the gradient.
        ema_decay: decay of the moving average of the weights, which is then validated and exported; absent: no average.
        validate_every: steps between validations.
        save_every: steps between checkpoints.
        log_every: steps between lines of the log.
        num_workers: processes that make batches; 0: the training process makes them.
        mixed_precision: `auto` is bf16 where the GPU or CPU computes in it.
        spike_sigmas: a step whose loss or gradient norm is so many standard deviations above the last 128 is skipped;
            absent: none is.
        recompute: compute activations again in the backward pass instead of keeping them (activation checkpointing).
        compile: compile each block with `torch.compile`.
        shard: split weights, gradients and moments over the ranks (FSDP2), for models whose training does not fit one
            device; one device must still hold whole weights, to validate, and a whole gradient.
        max_minutes: end the run (validate, save, export) when this much time has passed; the schedule does not change.
    """

    steps: int = 1000
    batches_per_step: int = 1
    clip_norm: float = 1.0
    ema_decay: float | None = None
    validate_every: int = 200
    save_every: int = 200
    log_every: int = 10
    num_workers: int = 0
    mixed_precision: Literal["auto", "no", "bf16"] = "no"
    spike_sigmas: float | None = 6.0
    recompute: bool = False
    compile: bool = False
    shard: bool = False
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batches_per_step", "validate_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"loop.{name} is {getattr(self, name)}; give 1 or more")
        if self.num_workers < 0:
            raise ConfigError(f"loop.num_workers is {self.num_workers}; give 0 or more")
        if not self.clip_norm > 0:
            raise ConfigError(f"loop.clip_norm is {self.clip_norm}; give a number above 0")
        if self.spike_sigmas is not None and not self.spike_sigmas > 0:
            raise ConfigError(f"loop.spike_sigmas is {self.spike_sigmas}; give a number above 0, or null for no limit")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(f"loop.ema_decay is {self.ema_decay}; give a number between 0 and 1, or leave it out")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings that every stage has."""

    seed: int = 0
    loop: LoopConfig = field(default_factory=LoopConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


def precision(wanted: str) -> str:
    """`auto` as `bf16` where the device has bf16 arithmetic (emulated, it is slower than fp32), else `no`."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    return "bf16" if flags & {"avx512_bf16", "amx_bf16"} else "no"
