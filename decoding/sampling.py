"""From logits to one id per row: temperature, top-k, top-p, and one random generator per row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next id is chosen.

    `temperature` 0 takes the most likely id. `top_k` 0 and `top_p` 1 leave all ids in. `guidance` is the scale of
    classifier-free guidance: 1 is none, 0 ignores the condition. `contrast_k` is the K of contrastive decoding CD-K, 0
    is none; ids less likely than `contrast_alpha` of the K-th are out. `max_text` bounds a text span, in ids, and
    `no_repeat` forbids what is written of a span to have the same so many ids in a row twice (0: it may).

    Raises:
        ConfigError: a setting out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance: float = 1.0
    contrast_k: int = 0
    contrast_alpha: float = 0.1
    max_text: int = 128
    no_repeat: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(f"sampling: temperature is {self.temperature}, expected 0 (greedy) or more")
        if self.top_k < 0:
            raise ConfigError(f"sampling: top_k is {self.top_k}, expected 0 (all ids) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"sampling: top_p is {self.top_p}, expected above 0 and at most 1")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ConfigError(f"sampling: guidance is {self.guidance}, expected 0 or more; 1 is none")
        if self.contrast_k < 0 or not 0 < self.contrast_alpha <= 1:
            raise ConfigError(
                f"sampling: contrast_k is {self.contrast_k}, expected 0 (none) or more, and contrast_alpha is "
                f"{self.contrast_alpha}, expected above 0 and at most 1"
            )
        if self.contrast_k and self.guidance != 1:
            raise ConfigError(
                "sampling: guidance and contrast_k are two ways to use the same second stream; choose one"
            )
        if self.no_repeat < 0:
            raise ConfigError(f"sampling: no_repeat is {self.no_repeat}, expected 0 (off) or more")
        if self.max_text < 1:
            raise ConfigError(f"sampling: max_text is {self.max_text}, expected at least 1")

    @property
    def two_streams(self) -> bool:
        """Whether the prompt without its condition is read, too."""
        return self.guidance != 1 or self.contrast_k > 0


PICTURE = Sampling(temperature=0.7, top_p=0.9, guidance=1.5)  # chosen on validation (docs/experiments.md, 2026-11-26)


def probabilities(logits: Tensor, settings: Sampling) -> Tensor:
    """Probabilities (B, V), float64, after temperature, then top-k, then top-p; ids at -inf get 0."""
    probs = torch.softmax(logits.double() / settings.temperature, dim=-1)
    if 0 < settings.top_k < probs.shape[-1]:
        weakest = probs.topk(settings.top_k, dim=-1).values[:, -1:]
        probs = probs.masked_fill(probs < weakest, 0)
        probs = probs / probs.sum(dim=-1, keepdim=True)
    if settings.top_p < 1:
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered  # an id stays when those above it have not reached top_p yet
        dropped = torch.zeros_like(probs, dtype=torch.bool).scatter(-1, order, before >= settings.top_p)
        probs = probs.masked_fill(dropped, 0)
    return probs


def choose(logits: Tensor, settings: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """One id per row, (B,).

    Each row draws one number from its own CPU generator and inverts its cumulative distribution, so that a row's ids
    depend neither on the other rows nor on the device.
    """
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    cumulative = probabilities(logits, settings).cumsum(dim=-1)
    draws = [torch.rand((), generator=generator, dtype=torch.float64) for generator in generators]
    total = cumulative[:, -1]
    # `right=True` finds the first id whose cumulative probability exceeds the draw: one of probability 0 never does.
    points = torch.minimum(torch.stack(draws).to(total.device) * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, points[:, None], right=True)[:, 0]
