"""One document as it grows: where its grammar stands, and which ids it may have next."""

from collections.abc import Sequence

import numpy as np
import torch

from neuroleon.tokenizers.grammar import Grammar, State


class Row:
    """The ids of a document from its prompt on.

    Args:
        prompt: shared ids that a document of `grammar` begins with.
        room: the most ids that may follow.
        generator: the row's own random numbers.
        text: ids of text, of which no span has the same `no_repeat` in a row twice (0: it may).
    """

    def __init__(
        self,
        prompt: np.ndarray,
        grammar: Grammar,
        room: int,
        generator: torch.Generator,
        text: range,
        no_repeat: int,
    ) -> None:
        self.ids: list[int] = prompt.tolist()
        self.room, self.generator = room, generator
        self._grammar, self._text, self._no_repeat = grammar, text, no_repeat
        self._state: State = grammar.start(self.ids)

    @property
    def allowed(self) -> list[range]:
        """Disjoint ranges of the ids that the grammar lets come next."""
        return self._grammar.allowed(self._state)

    @property
    def repeating(self) -> set[int]:
        """Those of them that may not come, because they would repeat a run of the text."""
        if not self._no_repeat or self._text not in self.allowed:
            return set()
        return _would_repeat(self.ids, self._text, self._no_repeat)

    @property
    def done(self) -> bool:
        return self._grammar.done(self._state)

    def append(self, id_shared: int) -> None:
        self._state = self._grammar.advance(self._state, id_shared)
        self.ids.append(id_shared)


def _would_repeat(ids: Sequence[int], text: range, n: int) -> set[int]:
    """The ids that would give the text at the end of `ids` the same n ids in a row twice."""
    start = len(ids)
    while start and ids[start - 1] in text:
        start -= 1
    span = list(ids[start:])
    last = span[len(span) - n + 1 :]
    return {span[i + n - 1] for i in range(len(span) - n + 1) if span[i : i + n - 1] == last}
