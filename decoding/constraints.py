"""The grammar of documents as the columns of the head that are worth computing."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Candidates:
    """The ids that any row of a batch may have next.

    `ranges` are disjoint and in order; `ids` (n,) are their ids one after another. `closed` (B, n) marks those that a
    row's own grammar forbids, None where all rows may have the same.
    """

    ranges: tuple[range, ...]
    ids: Tensor
    closed: Tensor | None

    def constrain(self, logits: Tensor) -> Tensor:
        """Logits (B, n) with -inf where a row may not go."""
        return logits if self.closed is None else logits.masked_fill(self.closed, -torch.inf)


def candidates(
    allowed: Sequence[Sequence[range]], but: Sequence[Set[int]] = (), device: torch.device | str = "cpu"
) -> Candidates:
    """What the grammar allows in each row, but for some ids of each -> the candidates of the batch."""
    ranges = _merged([ids for of_row in allowed for ids in of_row])
    ids = torch.cat([torch.arange(r.start, r.stop) for r in ranges])
    closed = None
    if any(list(of_row) != list(allowed[0]) for of_row in allowed):
        opened = [[(ids >= r.start) & (ids < r.stop) for r in of_row] for of_row in allowed]
        closed = ~torch.stack([torch.stack(of_row).any(dim=0) for of_row in opened])
    if any(but):
        left_out = torch.stack([torch.isin(ids, torch.tensor(sorted(of_row), dtype=ids.dtype)) for of_row in but])
        closed = left_out if closed is None else closed | left_out
    return Candidates(ranges, ids.to(device), None if closed is None else closed.to(device))


def _merged(ranges: list[range]) -> tuple[range, ...]:
    """The same ids in as few ranges as hold them, in order."""
    found: list[range] = []
    for ids in sorted(ranges, key=lambda ids: ids.start):
        if found and ids.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, ids.stop))
        else:
            found.append(ids)
    return tuple(found)
