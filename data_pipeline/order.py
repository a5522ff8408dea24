"""The order of records as a pure function of (key, position), in memory that does not grow with the set.

Every epoch the shards come in a new order, and the records of every `window` shards that follow one another in it are
mixed. So a process reads from few shards at a time, and any position is found without the ones before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.common.seed import generator

WINDOW = 32  # shards
_EPOCHS, _WINDOWS = 2, 4  # that an order remembers


@dataclass(frozen=True, eq=False)
class ShardOrder:
    """Where each position of an endless reading of some shards lies; every epoch holds each record once.

    Attributes:
        sizes: records of each shard.
        key: of the randomness, such as (seed, name).
        window: shards whose records are mixed; a set of fewer is mixed as a whole.
    """

    sizes: tuple[int, ...]
    key: tuple[int | str, ...]
    window: int = WINDOW
    n_records: int = field(init=False, repr=False)
    _starts: np.ndarray = field(init=False)
    _shards: Callable[[int], tuple[np.ndarray, np.ndarray]] = field(init=False, repr=False)
    _records: Callable[[int, int], np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"a window of {self.window} shards; expected at least 1")
        object.__setattr__(self, "n_records", sum(self.sizes))
        object.__setattr__(self, "_starts", np.cumsum((0, *self.sizes), dtype=np.int64))
        # each order remembers its own: one memory for all would thrash where a mixture has many sets
        object.__setattr__(self, "_shards", lru_cache(_EPOCHS)(self._draw_shards))
        object.__setattr__(self, "_records", lru_cache(_WINDOWS)(self._draw_records))

    def number(self, position: int) -> int:
        """The record at a position, counted over all shards."""
        shard, record = self.place(position)
        return int(self._starts[shard]) + record

    def place(self, position: int) -> tuple[int, int]:
        """(shard, record inside of it) at a position."""
        epoch, offset = divmod(position, self.n_records)
        shards, ends = self._shards(epoch)
        window = int(np.searchsorted(ends[self.window - 1 :: self.window], offset, side="right"))
        first = window * self.window
        start = int(ends[first - 1]) if first else 0
        record = start + int(self._records(epoch, window)[offset - start])
        at = int(np.searchsorted(ends, record, side="right"))
        return int(shards[at]), record - (int(ends[at - 1]) if at else 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardOrder, (self.sizes, self.key, self.window)  # what it remembers does not pickle

    def _draw_shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The shards in the order of an epoch, and how many records there are to the end of each."""
        shards = generator("shards", *self.key, epoch).permutation(len(self.sizes))
        return shards, np.cumsum(np.array(self.sizes, np.int64)[shards])

    def _draw_records(self, epoch: int, window: int) -> np.ndarray:
        """The records of a window, counted from its first, in the order of the epoch."""
        _, ends = self._shards(epoch)
        first, last = window * self.window, min((window + 1) * self.window, len(ends)) - 1
        n_records = int(ends[last]) - (int(ends[first - 1]) if first else 0)
        return generator("window", *self.key, epoch, window).permutation(np.arange(n_records, dtype=np.int32))
