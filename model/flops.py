"""How large a model is and how much arithmetic a token costs."""

from collections.abc import Sequence

from neuroleon.model.config import ModelConfig
from neuroleon.model.transformer import Neuroleon


def block_parameters(config: ModelConfig) -> int:
    """Numbers in the matrices of all blocks: q, k, v, o and the three of the gated feed-forward (norms left out)."""
    attention = 2 * config.dim * config.dim_head * (config.heads + config.kv_heads)
    return config.depth * (attention + 3 * config.dim * config.ff_dim)


def parameter_counts(model: Neuroleon) -> dict[str, int]:
    """Trainable numbers of a model by part: `blocks`, `embedding`, `head`, `total`."""
    count = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in (("blocks", model.blocks), ("embedding", model.embed), ("head", model.head))
    }
    return {**count, "total": sum(count.values())}


def forward_flops_per_token(config: ModelConfig, n_ids: int, length: int) -> float:
    """Floating point operations of one token in a forward pass, the mean over a causal row of `length` tokens.

    2 per number of every matrix (blocks and head), and 2 * 2 * width per token attended to, of which a causal row has
    (length + 1) / 2 on average (PaLM, arXiv 2204.02311, appendix B, halved for causality).
    """
    matrices = block_parameters(config) + config.dim * n_ids
    attended = (length + 1) / 2
    return 2.0 * matrices + 4.0 * config.depth * config.heads * config.dim_head * attended


def train_flops(config: ModelConfig, n_ids: int, lengths: Sequence[int], n_logits: int) -> float:
    """Floating point operations of a training step over whole documents: three times those of the forward pass.

    Args:
        lengths: tokens of each document; attention stays inside of it.
        n_logits: places at which the head is computed.
    """
    blocks = 2.0 * block_parameters(config) * sum(lengths)
    attention = 4.0 * config.depth * config.heads * config.dim_head * sum(n * (n + 1) / 2 for n in lengths)
    return 3 * (blocks + attention + 2.0 * config.dim * n_ids * n_logits)


def train_flops_per_token(config: ModelConfig, n_ids: int, length: int) -> float:
    """Forward and backward pass: three times the forward pass."""
    return 3 * forward_flops_per_token(config, n_ids, length)
