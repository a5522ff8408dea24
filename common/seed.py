"""Random generators that are a pure function of a key, so that a result depends on neither order nor batch."""

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _digest(key: tuple[int | str, ...]) -> bytes:
    """sha256 of the key; ("a", "b") and ("ab",), 1 and "1" are different keys."""
    plain = [part if isinstance(part, str) else int(part) for part in key]
    return hashlib.sha256(json.dumps(plain).encode()).digest()


def generator(*key: int | str) -> np.random.Generator:
    """A numpy generator (Philox) keyed by `key`."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(key)[:16], "little")))


def torch_generator(*key: int | str, device: "str | torch.device" = "cpu") -> "torch.Generator":
    """A torch generator seeded by `key`."""
    import torch

    made = torch.Generator(device=device)
    made.manual_seed(int.from_bytes(_digest(key)[:8], "little") >> 1)
    return made
