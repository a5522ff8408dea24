"""One document as it grows: where its grammar stands, and which ids it may have next."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch


class Rules(Protocol):
    """Which ids may follow: `tokenizers.grammar.Grammar` of a task, `tokenizers.infill.Filling` of holes."""

    def start(self, prompt: Iterable[int]) -> Any: ...

    def allowed(self, state: Any) -> list[range]: ...

    def advance(self, state: Any, id_shared: int) -> Any: ...

    def done(self, state: Any) -> bool: ...


class Row:
    """The ids of a document from its prompt on.

    Args:
        prompt: shared ids that `rules` begin with.
        room: the most ids that may follow.
        generator: the row's own random numbers.
        text: ids of text, of which no span has the same `no_repeat` in a row twice (0: it may).
    """

    def __init__(
        self,
        prompt: np.ndarray,
        rules: Rules,
        room: int,
        generator: torch.Generator,
        text: range,
        no_repeat: int,
    ) -> None:
        self.ids: list[int] = prompt.tolist()
        self.room, self.generator = room, generator
        self._rules, self._text, self._no_repeat = rules, text, no_repeat
        self._state = rules.start(self.ids)

    @property
    def allowed(self) -> list[range]:
        """Disjoint ranges of the ids that the rules let come next."""
        return self._rules.allowed(self._state)

    @property
    def repeating(self) -> set[int]:
        """Those of them that may not come, because they would repeat a run of the text."""
        if not self._no_repeat or self._text not in self.allowed:
            return set()
        return _would_repeat(self.ids, self._text, self._no_repeat)

    @property
    def done(self) -> bool:
        return self._rules.done(self._state)

    def append(self, id_shared: int) -> None:
        self._state = self._rules.advance(self._state, id_shared)
        self.ids.append(id_shared)


def _would_repeat(ids: Sequence[int], text: range, n: int) -> set[int]:
    """The ids that would give the text at the end of `ids` the same n ids in a row twice."""
    start = len(ids)
    while start and ids[start - 1] in text:
        start -= 1
    span = list(ids[start:])
    last = span[len(span) - n + 1 :]
    return {span[i + n - 1] for i in range(len(span) - n + 1) if span[i : i + n - 1] == last}
