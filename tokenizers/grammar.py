"""Which ids may follow in a document: a small automaton whose state is three integers.

Decoding slices the logits to `allowed(state)`; parsing accepts a document with it; so both hold the same rules.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import (
    BREAK,
    EOD,
    MARKS,
    MASK_0,
    N_SCALES,
    SCALE_0,
    SPECIAL_IDS,
    Vocabulary,
)


class Place(IntEnum):
    """Where in a document the next id stands."""

    BEGIN = 0  # <eod>
    TASK = 1
    INSTRUCTION = 2  # text ids, or <mask:0> as its only token
    DROPPED = 3  # after that <mask:0>
    OPEN = 4  # an opening mark
    SCALE = 5
    BODY = 6
    CLOSED = 7  # after a closing mark
    END = 8


class State(NamedTuple):
    """`span` counts the task's modalities (inputs, then outputs), `n_ids` the ids since `place` was entered."""

    place: Place
    span: int
    n_ids: int


def _one(id_shared: int) -> range:
    return range(id_shared, id_shared + 1)


class Grammar:
    """The documents of one task.

    Args:
        eeg_steps: every output EEG span has exactly this many steps of 125 ms; None leaves it free.
        max_text: an output text span has at most this many ids; None leaves it free.

    Raises:
        ConfigError: unknown task, or a limit below 1.
    """

    def __init__(
        self, vocabulary: Vocabulary, task: str, *, eeg_steps: int | None = None, max_text: int | None = None
    ) -> None:
        if task not in TASKS:
            raise ConfigError(f"task {task!r}: there is none of that name; choose one of {', '.join(TASKS)}")
        for name, limit in (("eeg_steps", eeg_steps), ("max_text", max_text)):
            if limit is not None and limit < 1:
                raise ConfigError(f"{name} is {limit}; expected at least 1, or none")
        self.task = TASKS[task]
        self._vocabulary = vocabulary
        self._max_text = max_text
        self._eeg_tokens = None if eeg_steps is None else eeg_steps * vocabulary.eeg.tokens
        self._slots = [[slot] for slot in vocabulary.eeg_slots]
        self._text = [vocabulary.text.ids]
        self._image = [vocabulary.image.ids]

    def start(self, prompt: Iterable[int]) -> State:
        """State after `prompt`, which may be conditional, unconditional, or end inside an output.

        Raises:
            DataError: the prompt is not the beginning of a document of this task.
        """
        state = State(Place.BEGIN, 0, 0)
        for position, id_shared in enumerate(prompt):
            state = self._step(state, int(id_shared), f"token {position}")
        return state

    def accept(self, ids: Iterable[int]) -> None:
        """Check a whole document.

        Raises:
            DataError: it is not one of this task.
        """
        state = self.start(ids)
        if state.place is not Place.END:
            raise DataError(f"document of {self.task.name}: ends too early; expected {self._expected(state)} next")

    def advance(self, state: State, id_shared: int) -> State:
        """State after one more id.

        Raises:
            DataError: the id is not in `allowed(state)`.
        """
        return self._step(state, id_shared, "the next token")

    def done(self, state: State) -> bool:
        """Whether the document is complete, so that nothing may follow."""
        return state.place is Place.END

    def allowed(self, state: State) -> list[range]:
        """Ranges of shared ids that may come next; empty after the end. Do not change the list."""
        place, span, n_ids = state
        if place is Place.BODY:
            return self._allowed_in_body(span, n_ids)
        if place is Place.BEGIN:
            return [_one(EOD)]
        if place is Place.TASK:
            return [_one(SPECIAL_IDS[f"<task:{self.task.name}>"])]
        if place is Place.INSTRUCTION:
            return [*self._text, _one(BREAK if n_ids else MASK_0)]
        if place is Place.DROPPED:
            return [_one(BREAK)]
        if place is Place.OPEN:
            return [_one(MARKS[self.task.modalities[span]][0])]
        if place is Place.SCALE:
            return [range(SCALE_0, SCALE_0 + N_SCALES)]
        if place is Place.CLOSED:
            return [_one(EOD if self._is_last(span) else BREAK)]
        return []

    def _is_last(self, span: int) -> bool:
        return span == len(self.task.modalities) - 1

    def _allowed_in_body(self, span: int, n_ids: int) -> list[range]:
        modality = self.task.modalities[span]
        close = [_one(MARKS[modality][1])]
        is_output = span >= len(self.task.inputs)
        if modality == "image":
            return self._image if n_ids < self._vocabulary.image.tokens else close
        if modality == "text":
            if is_output and n_ids == self._max_text:
                return close
            return self._text + close if n_ids else self._text
        slot = self._slots[n_ids % len(self._slots)]
        exact = self._eeg_tokens if is_output else None
        if exact is not None:
            return slot if n_ids < exact else close
        at_border = n_ids > 0 and n_ids % len(self._slots) == 0
        return slot + close if at_border else slot

    def _step(self, state: State, id_shared: int, where: str) -> State:
        if not any(id_shared in ids for ids in self.allowed(state)):
            found = self._vocabulary.describe(id_shared)
            raise DataError(
                f"document of {self.task.name}: {where} is {found}, expected {self._expected(state)}; "
                "give a sequence of this task, made with this vocabulary"
            )
        place, span, n_ids = state
        if place is Place.INSTRUCTION and id_shared == MASK_0:
            return State(Place.DROPPED, len(self.task.inputs), 0)
        if place is Place.OPEN:
            is_eeg = self.task.modalities[span] == "eeg"
            return State(Place.SCALE if is_eeg else Place.BODY, span, 0)
        if place is Place.BODY and id_shared == MARKS[self.task.modalities[span]][1]:
            return State(Place.CLOSED, span, 0)
        if place is Place.CLOSED:
            return State(Place.END, span, 0) if self._is_last(span) else State(Place.OPEN, span + 1, 0)
        if id_shared == BREAK:
            return State(Place.OPEN, span, 0)
        if place in (Place.INSTRUCTION, Place.BODY):
            return State(place, span, n_ids + 1)
        return State(_NEXT[place], span, 0)

    def _expected(self, state: State) -> str:
        ends = [(self._vocabulary.describe(r[0]), self._vocabulary.describe(r[-1])) for r in self.allowed(state)]
        return " or ".join(a if a == b else f"{a} .. {b}" for a, b in ends) or "nothing more"


_NEXT = {Place.BEGIN: Place.TASK, Place.TASK: Place.INSTRUCTION, Place.SCALE: Place.BODY}
