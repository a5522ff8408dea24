"""Found documents before a document, in one sequence: what a retrieval-augmented model reads (CM3leon, section 2.1).

    <eod> FOUND <eod> FOUND <eod> DOCUMENT <eod>

Each is a whole document of the same task, the least alike first; neighbours share one border.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.retrieval.memory import Found
from neuroleon.tokenizers.document import Rendered, render
from neuroleon.tokenizers.tasks import Task
from neuroleon.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How many documents of the memory come before one, and which.

    Attributes:
        documents: at most so many; training draws evenly from 0 to this.
        limit: records whose likeness is above this are left out (RA-CM3: 0.9).
        query_dropout: share of the query that is left out in training (CM3leon: 0.2).
    """

    documents: int = 0
    limit: float = 0.9
    query_dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.documents < 0 or not 0 < self.limit <= 1 or not 0 <= self.query_dropout < 1:
            raise ConfigError(
                f"retrieval: documents is {self.documents}, expected 0 or more; limit {self.limit}, expected above 0 "
                f"and at most 1; query_dropout {self.query_dropout}, expected 0 or more and below 1"
            )


def render_found(
    found: Sequence[Found], task: Task, instruction: np.ndarray, vocabulary: Vocabulary, room: float = inf
) -> list[Rendered]:
    """The documents of what was found, the most alike last; those that `room` tokens do not hold are left out."""
    made: list[Rendered] = []
    for one in found:
        words = one.record.question if task.asks_question else instruction
        rendered = render(one.record.document(task, words), vocabulary, one.record.key)
        if len(rendered) - 1 <= room:
            made.insert(0, rendered)
            room -= len(rendered) - 1
    return made


def before(found: Sequence[Rendered]) -> np.ndarray:
    """Shared ids (int32) that stand before a prompt, which begins with the last one's border."""
    return np.concatenate([np.zeros(0, np.int32), *(rendered.ids[:-1] for rendered in found)])


def augmented(rendered: Rendered, found: Sequence[Rendered]) -> Rendered:
    """The document with those documents before it; what each token is stays as it was, and a border is the end of the
    document before it."""
    pieces = [(one.ids, np.full(len(one), -1, np.int16), one.part) for one in found]
    pieces.append((rendered.ids, rendered.segment, rendered.part))
    begun = [[array[min(i, 1) :] for array in piece] for i, piece in enumerate(pieces)]
    ids, segment, part = (np.concatenate(arrays) for arrays in zip(*begun, strict=True))
    return Rendered(ids=ids, segment=segment, part=part, key=rendered.key)
