"""Found documents before a document, in one sequence: what a retrieval-augmented model reads (CM3leon, section 2.1).

    <eod> FOUND <eod> FOUND <eod> DOCUMENT <eod>

Each is a whole document of the same task, the least alike first; neighbours share one border.
"""

from collections.abc import Sequence
from math import inf

import numpy as np

from neuroleon.retrieval.memory import Found, Guard, Memory, Retrieval
from neuroleon.tokenizers.document import Document, Rendered, render
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import Vocabulary


def find(
    memory: Memory, document: Document, retrieval: Retrieval, guard: Guard, rng: np.random.Generator | None = None
) -> list[Found]:
    """What the memory has that is near to the inputs of a document, whose outputs are not looked at; of a document that
    has no condition or no input, nothing.

    Args:
        document: with its instruction and inputs; outputs may be left out.
        rng: of training (`Memory.nearest`).
    """
    task = TASKS[document.task]
    if document.instruction is None or not task.inputs:
        return []
    query = {span.modality: span.ids_local for span in document.spans[: len(task.inputs)]}
    question = document.instruction if task.asks_question else None
    return memory.nearest(query, task, retrieval, guard, question=question, rng=rng)


def render_found(
    found: Sequence[Found], document: Document, vocabulary: Vocabulary, room: float = inf
) -> list[Rendered]:
    """What was found as documents of the same task and wording, the most alike last; those that `room` tokens do not
    hold are left out."""
    made: list[Rendered] = []
    for one in found:
        assert document.instruction is not None, "nothing is found for a document without a condition"
        task = TASKS[document.task]
        rendered = render(one.record.document(task, document.instruction), vocabulary, one.record.key)
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
