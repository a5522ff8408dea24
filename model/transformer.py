"""The one causal transformer over the whole vocabulary. It sees integers, never a modality's code.

The blocks are x-transformers' `Decoder`; embedding, head and initialisation are ours (`embed.py`, `init.py`), because
`TransformerWrapper` ties, masks and initialises in ways that do not fit mixed-modality training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from x_transformers import Decoder
from x_transformers.attend import Intermediates
from x_transformers.x_transformers import LayerIntermediates

from neuroleon.model.config import ModelConfig
from neuroleon.model.embed import CodebookEmbedding
from neuroleon.model.init import initialise

# B rows, T tokens of this call, P tokens of the cache before it, D model, V vocabulary, H key-value heads, K head width


@dataclass(frozen=True)
class Cache:
    """Keys and values of the tokens seen so far, before rotation, with the ids, positions and documents they had.

    `layers` holds (keys, values) per block, each (B, H, P, K); `ids`, `positions` and `documents` are (B, P).
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    ids: Tensor
    positions: Tensor
    documents: Tensor

    @property
    def length(self) -> int:
        return self.positions.shape[1]

    def select(self, rows: Tensor) -> "Cache":
        """The cache of some rows (indices), in their order; a row may be named more than once."""
        layers = tuple((keys[rows], values[rows]) for keys, values in self.layers)
        return replace(
            self, layers=layers, ids=self.ids[rows], positions=self.positions[rows], documents=self.documents[rows]
        )


def _decoder(config: ModelConfig) -> Decoder:
    decoder = Decoder(
        dim=config.dim,
        depth=config.depth,
        heads=config.heads,
        attn_kv_heads=config.kv_heads,
        attn_dim_head=config.dim_head,
        attn_flash=True,
        attn_qk_rmsnorm=True,  # Chameleon (arXiv 2405.09818, 2.3): mixed modalities diverge without it
        attn_sublayer_dropout=config.dropout,
        rotary_pos_emb=True,
        rotary_emb_dim=config.dim_head,  # the library's default turns only half of each head
        use_rmsnorm=True,
        ff_mult=(config.ff_dim + 0.5) / config.dim,  # the library floors dim * mult
        ff_glu=True,
        ff_swish=True,
        ff_no_bias=True,
        ff_sublayer_dropout=config.dropout,
        verbose=False,
    )
    for module in decoder.modules():
        if isinstance(module, nn.Linear):
            module.register_parameter("bias", None)  # `ff_no_bias` leaves the bias of the gated projection
    rotary = decoder.rotary_pos_emb
    # Constants are not weights: stored in half precision they would turn late positions by the wrong angle.
    rotary.register_buffer("inv_freq", rotary.inv_freq, persistent=False)
    return decoder


class Neuroleon(nn.Module):
    """Decoder-only transformer over interleaved EEG, image and text ids.

    Args:
        config: sizes.
        n_ids: size of the vocabulary.
        codebooks: first shared id of a range -> its (n, d) codebook; these ids are embedded through it.
        slots: first shared id of a range -> number of slots of a step, for codebooks that are split into slots.
    """

    def __init__(
        self,
        config: ModelConfig,
        n_ids: int,
        codebooks: Mapping[int, Tensor],
        slots: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.n_ids = config, n_ids
        self.embed = CodebookEmbedding(n_ids, config.dim, codebooks, slots)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = _decoder(config)
        self.head = nn.Linear(config.dim, n_ids, bias=False)
        initialise(self, config.init_std)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    @property
    def sublayers(self) -> list[nn.Module]:
        """Attention and feed-forward of every block, in their order."""
        return [layer[1] for layer in self.blocks.layers]

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: Cache | None = None,
        return_cache: bool = False,
        where: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Cache]:
        """Logits of the next id.

        Args:
            ids: (B, T) integers.
            positions: (B, T) position of each token inside its document; default: counted on from the cache, or from 0.
            documents: (B, T) integers; a token attends only to earlier tokens of the same document. After a cache, all
                new tokens of a row belong to one document. Default: one document.
            cache: what an earlier call returned; `ids` are then the tokens after it.
            return_cache: also return the cache that includes `ids`.
            where: (B, T) bool; compute logits only there.

        Returns:
            Logits (B, T, V), or (number of true entries of `where`, V); with `return_cache` a pair of logits and cache.
        """
        hidden, after = self._hidden(ids, positions, documents, cache, return_cache)
        logits = self.head(hidden if where is None else hidden[where])
        return logits if after is None else (logits, after)

    def hidden_and_cache(self, ids: Tensor, positions: Tensor, documents: Tensor) -> tuple[Tensor, Cache]:
        """What the head reads of each id (B, T, D), and the cache; arguments as of `forward`."""
        hidden, cache = self._hidden(ids, positions, documents, None, return_cache=True)
        assert cache is not None
        return hidden, cache

    def _hidden(
        self, ids: Tensor, positions: Tensor | None, documents: Tensor | None, cache: Cache | None, return_cache: bool
    ) -> tuple[Tensor, Cache | None]:
        start = 0 if cache is None else cache.length
        if positions is None:
            positions = torch.arange(start, start + ids.shape[1], device=ids.device).expand_as(ids)
        masks: dict[str, Tensor] = {}
        if documents is not None and cache is None:
            # 4-D: the library reads a 3-D mask as one per head. Causality is added by the library.
            masks["attn_mask"] = (documents[:, :, None] == documents[:, None, :])[:, None]
        known = torch.zeros_like(ids) if documents is None else documents
        previous, seen = None, ids
        if cache is not None:
            seen = torch.cat([cache.ids, ids], dim=1)
            known = torch.cat([cache.documents, known], dim=1)
            positions = torch.cat([cache.positions, positions], dim=1)
            masks["self_attn_kv_mask"] = known == known[:, -1:]
            kept = [Intermediates(cached_kv=layer, layer_type="a") for layer in cache.layers]
            previous = LayerIntermediates(attn_intermediates=kept, cache_length=start)
        # The library keeps keys before rotation and turns all of them again, so it wants the positions of the whole
        # row; `cache_age=0` says that `ids` holds only what is new, however many tokens that is.
        in_reach = slice(-(ids.shape[1] + self.embed.reach), None)
        x = self.dropout(self.embed(seen[:, in_reach], known[:, in_reach])[:, -ids.shape[1] :])
        if not return_cache:
            return self.blocks(x, pos=positions, cache=previous, cache_age=0, **masks), None
        hidden, state = self.blocks(x, pos=positions, cache=previous, cache_age=0, return_hiddens=True, **masks)
        layers = tuple(layer.cached_kv for layer in state.attn_intermediates)
        return hidden, Cache(layers, seen, positions, known)
