"""The transformer one id at a time: what `Neuroleon.forward` says of the last id, at the speed of the memory.

x-transformers joins its cache anew at every step and turns all of its keys again, so a step costs more the longer the
row. Here keys are kept as they are turned and written in place, products that read one input are one product, and the
head is asked for the ids in question only. The weights are laid out in the order that a step reads them.
# B rows, P places of the cache, D model, V vocabulary, L blocks, H key-value heads, G query heads of each, K head width
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional
from x_transformers.x_transformers import Attention, FeedForward, RMSNorm

from neuroleon.common.errors import ConfigError
from neuroleon.model.embed import Codebook
from neuroleon.model.products import Precision, Product, product
from neuroleon.model.transformer import Cache, Neuroleon

INT8_WIDTH = 64  # of which the inputs of an 8-bit product must be a multiple
TINY = 1e-12  # length below which a vector is nothing; in training it is about 1


@dataclass
class Context:
    """What a batch has read: `keys` (turned) and `values` (L, B, H, P, K), of which `length` places are filled.

    `hidden` (B, P) bool marks places that are padding of their row, None where no row has any. `position` (B,) is that
    of the next id. `last` (B,) is the last id, `step` (B, D) the sum of what its step's ids add to each other.
    """

    keys: Tensor
    values: Tensor
    length: int
    hidden: Tensor | None
    position: Tensor
    last: Tensor
    step: Tensor

    def select(self, rows: Tensor) -> "Context":
        """The context of some rows (indices), in their order; a row may be named more than once."""
        return Context(
            keys=self.keys[:, rows],
            values=self.values[:, rows],
            length=self.length,
            hidden=None if self.hidden is None else self.hidden[rows],
            position=self.position[rows],
            last=self.last[rows],
            step=self.step[rows],
        )


def check_precision(precision: str, model: Neuroleon) -> None:
    """Whether a model's weights can be read in a precision.

    Raises:
        ConfigError: no such precision, or sizes or a device that 8-bit products do not take.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision is {precision!r}; expected {', '.join(get_args(Precision))}")
    config = model.config
    sizes = (config.dim, config.ff_dim, config.heads * config.dim_head)
    if precision == "int8" and any(size % INT8_WIDTH for size in sizes):
        raise ConfigError(f"precision int8 needs widths that are multiples of {INT8_WIDTH}, the model has {sizes}")
    if precision == "int8" and model.device.type != "cpu":
        raise ConfigError(f"precision int8 is for a CPU, the model is on {model.device}; choose bfloat16")


@dataclass(frozen=True)
class _Block:
    """Weights of one block; the scales of norms are in the products that follow them."""

    qkv: Product  # D -> (H * G + 2 * H) * K
    scale: Tensor  # (H * G + H, K), of queries and keys
    out: Product  # H * G * K -> D
    up: Product  # D -> 2 * F
    down: Product  # F -> D


class Stepper:
    """Reads one id of each row after another; the model's weights must not change from then on.

    Args:
        precision: of the weights. `int8` are 8 bits with a scale for each output, on a CPU: a quarter of the memory to
            read, for logits that are a little off.

    Raises:
        ConfigError: as `check_precision`.
    """

    def __init__(self, model: Neuroleon, precision: Precision = "float32") -> None:
        self._model, config = model, model.config
        check_precision(precision, model)
        self._precision = precision
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._heads, self._groups, self._width = config.kv_heads, config.heads // config.kv_heads, config.dim_head
        # pairs that are turned together: the library's are neighbours, ours are halves, which are read in one piece
        self._halves = torch.arange(self._width, device=model.device).reshape(-1, 2).T.flatten()
        layers = model.blocks.layers
        self._blocks = [self._block(*layers[i : i + 2]) for i in range(0, len(layers), 2)]
        self._norm = _scale(model.blocks.final_norm).to(self._dtype)
        self._head, self._heads_of = model.head.weight.detach(), dict[range, Product]()
        self._frequencies = model.blocks.rotary_pos_emb.inv_freq
        self._embed(model)

    @torch.inference_mode()
    def read(self, ids: Tensor, positions: Tensor, documents: Tensor, room: int) -> tuple[Tensor, Context]:
        """Read prompts (B, T) that all end in the last column; places of document -1 before them are padding.

        Returns:
            What the model makes of the last ids (B, D), for `logits`, and the context, with room for so many more ids.
        """
        hidden, cache = self._model.hidden_and_cache(ids, positions, documents)
        return hidden[:, -1].to(self._dtype), self._context(cache, room)

    @torch.inference_mode()
    def step(self, ids: Tensor, context: Context) -> Tensor:
        """Read one more id (B,) of each row into the context; what the model makes of it (B, D), for `logits`."""
        place, context.length = context.length, context.length + 1
        x = self._embedded(ids, context)
        cos, sin = self._turn(context.position)
        seen = None if context.hidden is None else ~context.hidden[:, None, None, : context.length]
        for block, keys, values in zip(self._blocks, context.keys, context.values, strict=True):
            x = x + self._attention(block, x, keys, values, place, cos, sin, seen)
            up, gate = block.up(_unit(x)).chunk(2, dim=-1)
            x = x + block.down(up * functional.silu(gate))
        context.position = context.position + 1
        return _unit(x) * self._norm

    @torch.inference_mode()
    def logits(self, hidden: Tensor, ranges: Sequence[range]) -> Tensor:
        """hidden (B, D) -> logits of the ids in these ranges, one range's after another's."""
        for ids in ranges:
            if ids not in self._heads_of:
                self._heads_of[ids] = product(self._head[ids.start : ids.stop], self._precision)
        return torch.cat([self._heads_of[ids](hidden) for ids in ranges], dim=-1)

    def _attention(
        self,
        block: _Block,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        place: int,
        cos: Tensor,
        sin: Tensor,
        seen: Tensor | None,
    ) -> Tensor:
        h, g, k = self._heads, self._groups, self._width
        qkv = block.qkv(_unit(x)).view(len(x), h * g + 2 * h, k)
        turned = _unit(qkv[:, :-h]) * block.scale
        turned = turned * cos + torch.cat(turned.chunk(2, dim=-1)[::-1], dim=-1) * sin
        keys[:, :, place], values[:, :, place] = turned[:, -h:], qkv[:, -h:]
        heard = functional.scaled_dot_product_attention(
            turned[:, :-h].view(len(x), h, g, k), keys[:, :, : place + 1], values[:, :, : place + 1], attn_mask=seen
        )
        return block.out(heard.reshape(len(x), -1))

    def _turn(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (B, 1, K) of the angles at positions (B,)."""
        angle = position[:, None, None] * self._frequencies
        cos, sin = angle.cos().to(self._dtype), angle.sin().to(self._dtype)
        return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)

    def _context(self, cache: Cache, room: int) -> Context:
        """The library's cache with its keys turned to where they stand, and room behind."""
        n_rows, length = cache.positions.shape
        shape = (len(self._blocks), n_rows, self._heads, length + room, self._width)
        keys, values = (torch.empty(shape, dtype=self._dtype, device=cache.ids.device) for _ in range(2))
        cos, sin = self._turn(cache.positions.flatten())
        cos, sin = (x.view(n_rows, 1, length, self._width) for x in (cos, sin))
        for i, (of_keys, of_values) in enumerate(cache.layers):
            plain = of_keys[..., self._halves]
            keys[i, :, :, :length] = plain * cos + torch.cat(plain.chunk(2, dim=-1)[::-1], dim=-1) * sin
            values[i, :, :, :length] = of_values
        padding = torch.zeros(n_rows, length + room, dtype=torch.bool, device=keys.device)
        padding[:, :length] = cache.documents != cache.documents[:, -1:]
        context = Context(
            keys=keys,
            values=values,
            length=length,
            hidden=padding if bool(padding.any()) else None,
            position=cache.positions[:, -1] + 1,
            last=torch.full_like(cache.ids[:, 0], -1),
            step=keys.new_zeros(n_rows, len(self._norm)),
        )
        reach = min(self._model.embed.reach + 1, length)
        for column in range(length - reach, length):  # a prompt may end within a step
            self._embedded(cache.ids[:, column], context)
        return context

    def _embed(self, model: Neuroleon) -> None:
        """What each id adds to its step (V, D), what it has beside (V, D), and the number of its slot (V,)."""
        embed = model.embed
        self._own = functional.embedding(embed.free_row, embed.free).detach().to(self._dtype)
        self._beside = torch.zeros_like(self._own)
        self._slot = torch.full((model.n_ids,), -1, device=model.device)
        for book in embed.codebooks:
            assert isinstance(book, Codebook)
            ids = slice(book.start, book.stop)
            slots = torch.arange(len(book.table), device=model.device) // (len(book.table) // book.n_slots)
            self._own[ids] = book.projection(book.table).detach()
            self._beside[ids] = (book.slot[slots] + book.delta).detach()
            # unlike in any other book, and one more than the slot before it
            self._slot[ids] = slots + 2 * book.start

    def _embedded(self, ids: Tensor, context: Context) -> Tensor:
        """Vectors (B, D) of the next ids (B,), as `CodebookEmbedding` has them."""
        slot = self._slot[ids]
        before = torch.where(context.last < 0, -1, self._slot[context.last.clamp_min(0)])
        goes_on = (slot == before + 1) & (before >= 0)
        context.step = self._own[ids] + context.step * goes_on[:, None]
        context.last = ids
        return context.step + self._beside[ids]

    def _block(self, attending: Any, feeding: Any) -> _Block:
        (norm, _, _), attention, _ = attending
        (norm_ff, _, _), feed, _ = feeding
        assert isinstance(attention, Attention)
        assert isinstance(feed, FeedForward)
        h, g, k = self._heads, self._groups, self._width
        # the library's query head i reads key head i % H; ours stand together
        order = torch.arange(h * g, device=self._halves.device).view(g, h).T.flatten()
        queries = attention.to_q.weight.view(h * g, k, -1)[order][:, self._halves]
        keys = attention.to_k.weight.view(h, k, -1)[:, self._halves]
        gains = torch.cat([attention.q_rmsnorm.gamma[order], attention.k_rmsnorm.gamma])[:, 0] + 1
        qkv = torch.cat([queries.flatten(0, 1), keys.flatten(0, 1), attention.to_v.weight])
        gated, down = feed.ff[0], feed.ff[2]
        return _Block(
            qkv=product(qkv * _scale(norm), self._precision),
            scale=(gains * math.sqrt(k))[:, self._halves].detach().to(self._dtype),
            out=product(attention.to_out.weight.view(-1, h * g, k)[:, order].flatten(1), self._precision),
            up=product(gated.proj.weight * _scale(norm_ff), self._precision),
            down=product(down.weight, self._precision),
        )


def _scale(norm: RMSNorm) -> Tensor:
    """What the library's norm multiplies a vector of length 1 by (D,)."""
    return (norm.g.detach() + float(norm.unit_offset)) * math.sqrt(len(norm.g))


def _unit(x: Tensor) -> Tensor:
    """x over its length: a third of the time that the library's norm takes, whose factor is in the weights here."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(TINY)
