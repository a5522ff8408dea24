"""Embedding of ids: free rows, and codebook ranges whose ids are embedded through their codebook vectors.

With few paired recordings free rows memorise (`docs/architecture.md`): two ids whose codebook vectors are near should
start near, so an id of a codebook range is `projection(vector)` plus its slot plus a learned part that starts at 0.
Where several ids describe one step, coarse to fine, the vector is the sum up to this id: what is known of the step so
far. The last id of a step then holds the whole latent, which no attention has to put together.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuroleon.common.errors import ConfigError


def _standardised(table: Tensor, n_slots: int) -> Tensor:
    """Rows with mean 0 in each slot. Columns that the same slots describe are scaled together, so that the sum over the
    slots has variance 1 in each such part of a step: what few columns of small numbers say is heard too."""
    rows = table.detach().float().reshape(n_slots, -1, table.shape[1])
    described = rows.any(dim=1)
    rows = rows - rows.mean(dim=1, keepdim=True)
    _, part = described.unique(dim=1, return_inverse=True)
    for k in range(int(part.max()) + 1):
        inside = part == k
        scale = rows[..., inside].square().mean(dim=(1, 2)).sum().sqrt()
        rows[..., inside] /= scale.clamp_min(1e-8)
    return rows.reshape(table.shape)


def _before(x: Tensor, n: int) -> Tensor:
    """What stands `n` places earlier in the row (..., T, d), zeros where nothing does."""
    return torch.cat([torch.zeros_like(x[..., :n, :]), x[..., : x.shape[-2] - n, :]], dim=-2)


class Codebook(nn.Module):
    """Embedding of the ids `start .. start + n - 1` through a fixed table (n, d): what each adds to its step's latent.

    `n_slots` equal parts of the range belong to the slots of one step (coarse to fine levels of an EEG step).
    """

    table: Tensor

    def __init__(self, start: int, table: Tensor, n_slots: int, dim: int) -> None:
        super().__init__()
        n, width = table.shape
        if n_slots < 1 or n % n_slots:
            raise ConfigError(f"codebook at id {start}: {n} rows are no multiple of {n_slots} slots")
        self.start, self.n_slots = start, n_slots
        self.register_buffer("table", _standardised(table, n_slots))
        self.projection = nn.Linear(width, dim, bias=False)
        self.slot = nn.Parameter(torch.zeros(n_slots, dim))
        self.delta = nn.Parameter(torch.zeros(n, dim))

    @property
    def stop(self) -> int:
        return self.start + len(self.table)

    def forward(self, ids: Tensor, documents: Tensor) -> Tensor:
        """Vectors (..., T, dim) of `ids` (..., T) in order; those of ids outside the range must be masked after."""
        inside = (ids >= self.start) & (ids < self.stop)
        local = (ids - self.start).clamp(0, len(self.table) - 1)
        slot = local // (len(self.table) // self.n_slots)
        embedding = nn.functional.embedding
        own = embedding(local, self.table)
        # `n` places earlier in the same document stands the same step's id `n` slots before
        step = torch.stack([inside, slot, documents], dim=-1)
        vectors, joined = own, inside[..., None]
        for n in range(1, min(self.n_slots, ids.shape[-1])):
            earlier = torch.stack([inside, slot - n, documents], dim=-1)
            joined = joined & (_before(step, n) == earlier).all(dim=-1, keepdim=True)
            vectors = vectors + _before(own, n) * joined
        return self.projection(vectors) + embedding(slot, self.slot) + embedding(local, self.delta)


class CodebookEmbedding(nn.Module):
    """Integers (..., T) in their order -> vectors (..., T, dim); the ids outside every codebook have free rows.

    Args:
        n_ids: size of the vocabulary.
        dim: width of the transformer.
        codebooks: first shared id of a range -> its (n, d) table.
        slots: first shared id of a range -> its number of slots (1 where absent).

    Raises:
        ConfigError: ranges that overlap, leave the vocabulary, or do not divide into their slots.
    """

    free_row: Tensor

    def __init__(
        self, n_ids: int, dim: int, codebooks: Mapping[int, Tensor], slots: Mapping[int, int] | None = None
    ) -> None:
        super().__init__()
        slots = slots or {}
        self.codebooks = nn.ModuleList(
            Codebook(start, table, slots.get(start, 1), dim) for start, table in sorted(codebooks.items())
        )
        is_free = torch.ones(n_ids, dtype=torch.bool)
        for book in self._books():
            if book.start < 0 or book.stop > n_ids or not is_free[book.start : book.stop].all():
                raise ConfigError(
                    f"codebook {book.start}..{book.stop - 1} overlaps another or leaves the vocabulary of {n_ids} ids"
                )
            is_free[book.start : book.stop] = False
        # The row of each id among the free rows; ids of codebooks point at row 0 and are masked out.
        self.register_buffer("free_row", (is_free.cumsum(0) - 1) * is_free, persistent=False)
        self.free = nn.Parameter(torch.empty(int(is_free.sum()), dim))

    @property
    def reach(self) -> int:
        """How many ids before an id its vector may depend on."""
        return max((book.n_slots - 1 for book in self._books()), default=0)

    def _books(self) -> list[Codebook]:
        return [book for book in self.codebooks if isinstance(book, Codebook)]

    def forward(self, ids: Tensor, documents: Tensor | None = None) -> Tensor:
        """`documents` (..., T): steps do not reach from one into the next; default: one document."""
        documents = torch.zeros_like(ids) if documents is None else documents
        vectors = nn.functional.embedding(self.free_row[ids], self.free)
        for book in self._books():
            inside = (ids >= book.start) & (ids < book.stop)
            vectors = torch.where(inside[..., None], book(ids, documents).to(vectors.dtype), vectors)
        return vectors
