"""The size of the transformer: one frozen dataclass and its presets, from `nano` (a CPU trains it) to `7b`."""

from dataclasses import dataclass
from typing import Any

from neuroleon.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of the decoder-only transformer.

    `kv_heads` < `heads` is grouped-query attention. `max_length` is the longest row in tokens: rotary positions have no
    table, so it bounds what training and decoding ask for. `init_std` is the standard deviation of the weights at the
    start: 0.02 for small models, 0.006 for large ones as in CM3leon (arXiv 2309.02591, 2.2).

    Raises:
        ConfigError: sizes that do not fit each other.
    """

    dim: int = 192
    depth: int = 5
    heads: int = 6
    kv_heads: int = 2
    dim_head: int = 32
    ff_mult: float = 8 / 3
    dropout: float = 0.0
    max_length: int = 1024
    init_std: float = 0.02

    def __post_init__(self) -> None:
        sizes = (self.dim, self.depth, self.heads, self.kv_heads, self.dim_head, self.max_length)
        if min(sizes) < 1 or self.ff_dim < 1:
            raise ConfigError(f"model: every size must be at least 1, found {self}")
        if self.heads % self.kv_heads:
            raise ConfigError(f"model: heads={self.heads} is no multiple of kv_heads={self.kv_heads}")
        if self.heads == 1 and self.dim_head == self.dim:
            raise ConfigError(
                f"model: one head as wide as the model ({self.dim}) has no output projection in x-transformers; give "
                "more heads, or another dim_head"
            )
        if self.dim_head % 2:
            raise ConfigError(f"model: dim_head={self.dim_head} is odd; rotary positions turn pairs of numbers")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model: dropout={self.dropout} is not in [0, 1)")
        if self.init_std <= 0:
            raise ConfigError(f"model: init_std={self.init_std} must be above 0")

    @property
    def ff_dim(self) -> int:
        """Width inside the feed-forward block, rounded to a multiple of 16: odd widths make slow matrix products."""
        return max(1, round(self.dim * self.ff_mult / 16)) * 16


_LARGE: dict[str, Any] = {"max_length": 4096, "init_std": 0.006}

PRESETS: dict[str, ModelConfig] = {
    "nano": ModelConfig(),
    "7m": ModelConfig(dim=320, depth=6, heads=5, kv_heads=5, dim_head=64, max_length=2048),
    "60m": ModelConfig(dim=768, depth=10, heads=12, kv_heads=4, dim_head=64, max_length=2048),
    "350m": ModelConfig(dim=1024, depth=24, heads=16, kv_heads=8, dim_head=64, ff_mult=2.75, **_LARGE),
    "1b": ModelConfig(dim=2048, depth=20, heads=16, kv_heads=8, dim_head=128, ff_mult=2.75, **_LARGE),
    "7b": ModelConfig(dim=4096, depth=32, heads=32, kv_heads=8, dim_head=128, ff_mult=3.5, **_LARGE),
}


def preset(name: str) -> ModelConfig:
    """The preset called `name`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"model: no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
