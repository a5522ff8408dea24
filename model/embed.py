"""Embedding of ids: free rows, and codebook ranges whose ids are embedded through their codebook vectors.

With few paired recordings free rows memorise (`docs/architecture.md`): two ids whose codebook vectors are near should
start near, so an id of a codebook range is `projection(table[id])` plus its slot plus a learned part that starts at 0.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuroleon.common.errors import ConfigError


def _standardised(table: Tensor, n_slots: int) -> Tensor:
    """Each slot's rows with mean 0 and variance 1: residual levels of a quantizer shrink, embeddings should not."""
    rows = table.detach().float().reshape(n_slots, -1, table.shape[1])
    rows = rows - rows.mean(dim=1, keepdim=True)
    scale = rows.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return (rows / scale.clamp_min(1e-8)).reshape(table.shape)


class Codebook(nn.Module):
    """Embedding of the ids `start .. start + n - 1` through a fixed table (n, d) of codebook vectors.

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

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors (..., dim) of `ids`; ids outside the range are taken as its nearest id and must be masked after."""
        local = (ids - self.start).clamp(0, len(self.table) - 1)
        slot = local // (len(self.table) // self.n_slots)
        embedding = nn.functional.embedding
        return self.projection(embedding(local, self.table)) + embedding(slot, self.slot) + embedding(local, self.delta)


class CodebookEmbedding(nn.Module):
    """Integers (...,) -> vectors (..., dim); the ids outside every codebook have free rows.

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

    def _books(self) -> list[Codebook]:
        return [book for book in self.codebooks if isinstance(book, Codebook)]

    def forward(self, ids: Tensor) -> Tensor:
        vectors = nn.functional.embedding(self.free_row[ids], self.free)
        for book in self._books():
            inside = (ids >= book.start) & (ids < book.stop)
            vectors = torch.where(inside[..., None], book(ids).to(vectors.dtype), vectors)
        return vectors
