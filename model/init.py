"""The law of every weight at the start. Nothing of x-transformers' own defaults is kept."""

import math

from torch import Tensor, nn
from x_transformers.x_transformers import Attention, FeedForward

from neuroleon.model.embed import Codebook, CodebookEmbedding


def _truncated(weight: Tensor, std: float) -> None:
    nn.init.trunc_normal_(weight, std=std, a=-3 * std, b=3 * std)


def initialise(model: nn.Module, std: float) -> None:
    """Set every parameter of a `Neuroleon` before training.

    - matrices inside the blocks: truncated normal of `std`;
    - the output projection of every attention and feed-forward block: 0, so a block starts as the identity;
    - free embedding rows: truncated normal of `std`;
    - codebook projections: truncated normal of `std / sqrt(d)`, which makes rows of `std`;
    - slots and per-id parts of codebooks: 0;
    - gains of the norms: 1 (stored as an offset of 0 from 1);
    - the head: 0, so the first loss is log(vocabulary).
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            _truncated(module.weight, std)
    for module in model.modules():
        if isinstance(module, CodebookEmbedding):
            _truncated(module.free, std)
        elif isinstance(module, Codebook):
            _truncated(module.projection.weight, std / math.sqrt(module.projection.in_features))
            nn.init.zeros_(module.slot)
            nn.init.zeros_(module.delta)
        elif isinstance(module, Attention):
            nn.init.zeros_(module.to_out.weight)
        elif isinstance(module, FeedForward):
            nn.init.zeros_([m for m in module.modules() if isinstance(m, nn.Linear)][-1].weight)
    nn.init.zeros_(model.get_parameter("head.weight"))
