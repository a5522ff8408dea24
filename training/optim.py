"""AdamW with its two parameter groups: what decays, and what does not."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from neuroleon.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW; the second beta of .95 forgets a spike in tens of steps (LLaMA, arXiv:2302.13971, section 2.3)."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ConfigError(f"optim.lr is {self.lr}; give a number above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optim.betas is {self.betas}; give two numbers of at least 0 and below 1")


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices decay; biases, norm gains and `nn.Embedding` tables do not.

    Weight decay pulls the rows of rare ids of an embedding to zero between the batches that hold them. The learned
    parts of `model/embed.py` are plain parameters and decay: towards the codebook vectors that they are added to.
    """
    tables = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    trained = [p for p in module.parameters() if p.requires_grad]
    decays = [p for p in trained if p.ndim >= 2 and id(p) not in tables]
    chosen = {id(p) for p in decays}
    rest = [p for p in trained if id(p) not in chosen]
    return [{"params": decays, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def make_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """The optimizer of a module that is already on its device."""
    groups = parameter_groups(module, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)
