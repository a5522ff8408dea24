"""The grammar of documents as a mask on logits."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constrain(logits: Tensor, allowed: Sequence[Sequence[range]]) -> Tensor:
    """Logits (B, V) with -inf outside the id ranges that the grammar allows in each row."""
    closed = torch.ones_like(logits, dtype=torch.bool)
    for row, ranges in enumerate(allowed):
        for ids in ranges:
            closed[row, ids.start : ids.stop] = False
    return logits.masked_fill(closed, -torch.inf)
