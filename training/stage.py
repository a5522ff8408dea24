"""What a training stage is: a small object that the one loop (`training/loop.py`) drives.

A stage module holds a frozen keyword-only dataclass of settings and the stage itself, made as `Stage(config, seed)`;
`train.py` names the class in its table and finds the settings by the type hint of `config`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a person looks at while a stage trains.

    Attributes:
        pictures: name -> uint8 (height, width, 3).
        sentences: name -> text.
    """

    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)


class Stage(Protocol):
    """One kind of training run."""

    @property
    def fingerprint(self) -> str:
        """sha256 over the data and tokenizers that the stage reads: a run is not resumed on others."""
        ...

    def build(self) -> nn.Module:
        """The module with fresh weights (or those of an earlier run), drawn from torch's global generator."""
        ...

    def batch(self, index: int) -> dict[str, Tensor]:
        """Training batch number `index` (0, 1, 2 ... without end), on the CPU; a pure function of (seed, index).

        Called in worker processes. Whatever depends on the progress of the run travels in the batch.
        """
        ...

    def contents(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """What a batch holds, for the log of the speed: `tokens`, `windows` or `pictures`, and `flops` where known."""
        ...

    def blocks(self, module: nn.Module) -> list[nn.Module]:
        """The repeated blocks of the module, to be recomputed, compiled or sharded one by one; none in small ones."""
        ...

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars by name, the same names for every batch: "loss" is minimised, the others are only logged.

        A value that a batch does not have (no picture in it) is NaN, and is left out of the logged mean.
        """
        ...

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Numbers on the validation split; the checkpoint with the lowest "score" is the one that is exported.

        The module is in eval mode, without gradients, and random numbers are the same at every call.
        """
        ...

    def examples(self, module: nn.Module) -> Examples:
        """A few outputs for the log, under the same conditions as `validate`."""
        ...

    def export(self, module: nn.Module, folder: Path) -> None:
        """Write the tokenizer or model into the empty `folder`; the caller adds the manifest and renames it.

        `module` has the weights of the best checkpoint (their moving average where that is on).
        """
        ...
