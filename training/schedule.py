"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

import math
from dataclasses import dataclass
from typing import Literal

from neuroleon.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Linear warm-up, then cosine decay, or warm-up, stable, decay (`wsd`: MiniCPM, arXiv:2404.06395, section 4).

    Attributes:
        kind: the shape after the warm-up.
        warmup: steps of linear warm-up.
        final: the last learning rate as a fraction of the highest.
        decay: the fraction of all steps that `wsd` spends decaying at the end.
    """

    kind: Literal["cosine", "wsd"] = "cosine"
    warmup: int = 100
    final: float = 0.1
    decay: float = 0.2

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ConfigError(f"schedule.warmup is {self.warmup}; give a number of steps, 0 or more")
        if not 0 <= self.final <= 1:
            raise ConfigError(f"schedule.final is {self.final}; give a fraction between 0 and 1")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"schedule.decay is {self.decay}; give a fraction above 0, up to 1")


def rate_factor(step: int, steps: int, config: ScheduleConfig) -> float:
    """The factor on the highest learning rate at `step` (0 is the first) of `steps`.

    >>> rate_factor(0, 100, ScheduleConfig(warmup=10)), rate_factor(9, 100, ScheduleConfig(warmup=10))
    (0.1, 1.0)
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    start = config.warmup if config.kind == "cosine" else max(config.warmup, round(steps * (1 - config.decay)))
    done = min(1.0, max(0, step - start) / max(1, steps - 1 - start))
    left = (1 + math.cos(math.pi * done)) / 2 if config.kind == "cosine" else 1 - done
    return config.final + (1 - config.final) * left
