"""Which of several answers the EEG speaks for: the model's own likelihood of the EEG, given the answer."""

from collections.abc import Sequence

import numpy as np

from neuroleon.decoding.engine import Engine
from neuroleon.tokenizers.document import OUTPUT, Document, Span, parse, render
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary

BACKWARDS = {"image": "image2eeg", "text": "text2eeg"}  # the task that says which EEG an output calls for


def evidence_of(
    documents: Sequence[np.ndarray], engine: Engine, vocabulary: Vocabulary, text: TextTokenizer
) -> list[float]:
    """Log-probability (nats) of the EEG of each document, given its outputs; several outputs are added up."""
    known: dict[bytes, float] = {}
    return [
        sum(
            _nats(output, eeg, known, engine, vocabulary, text)
            for eeg, *outputs in (parse(ids, vocabulary).spans,)
            for output in outputs
        )
        for ids in documents
    ]


def _nats(
    given: Span, eeg: Span, known: dict[bytes, float], engine: Engine, vocabulary: Vocabulary, text: TextTokenizer
) -> float:
    """Log-probability of an EEG span after one of another modality, looked up where the pair is known."""
    task = BACKWARDS[given.modality]
    instruction = np.array(text.encode([TASKS[task].instructions[0]])[0])
    rendered = render(Document(task, instruction, (given, eeg)), vocabulary)
    is_output = rendered.part == OUTPUT
    pair = rendered.ids.tobytes()
    if pair not in known:
        known[pair] = float(engine.score(rendered.ids[~is_output], [rendered.ids[is_output]])[0])
    return known[pair]
