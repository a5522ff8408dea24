"""Documents: what one sample says under one task, as a sequence of ids. THE grammar of the language.

    <eod> <task> instruction <break> <eeg> <scale:k> ids </eeg> <break> <img> ids </img> <eod>

`render` writes a document, `prompt` its first part, `parse` reads one back, and `Grammar` says which ids may come next.
Masking, packing and decoding derive from this module. docs/formats/sequence.md explains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from neuroleon.common.errors import DataError
from neuroleon.tokenizers.grammar import Grammar
from neuroleon.tokenizers.tasks import TASKS, Task
from neuroleon.tokenizers.vocabulary import (
    BREAK,
    EOD,
    FIRST_TASK,
    MARKS,
    MASK_0,
    N_SCALES,
    SCALE_0,
    SPECIAL_IDS,
    Vocabulary,
)

HEAD, INPUT, OUTPUT = 0, 1, 2  # the parts of a document


def _int32(ids: ArrayLike) -> np.ndarray:
    array = np.array(ids, dtype=np.int32).reshape(-1)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Span:
    """Consecutive local ids of one modality; `scale` is the scale id of an EEG span, and None elsewhere."""

    modality: str
    ids_local: np.ndarray
    scale: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids_local", _int32(self.ids_local))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Span):
            return NotImplemented
        same = (self.modality, self.scale) == (other.modality, other.scale)
        return same and np.array_equal(self.ids_local, other.ids_local)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Document:
    """A task's spans in order, inputs first. `instruction` holds local text ids.

    An `instruction` of None makes the unconditional document: `<mask:0>` stands for instruction and inputs, and `spans`
    are the outputs alone.
    """

    task: str
    instruction: np.ndarray | None
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", tuple(self.spans))
        if self.instruction is not None:
            object.__setattr__(self, "instruction", _int32(self.instruction))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented
        if self.instruction is None or other.instruction is None:
            same = self.instruction is other.instruction
        else:
            same = np.array_equal(self.instruction, other.instruction)
        return same and (self.task, self.spans) == (other.task, other.spans)

    __hash__ = None  # type: ignore[assignment]

    def without_condition(self) -> "Document":
        """The unconditional document with the same outputs (guidance of CM3Leon, Yu et al. 2023)."""
        return Document(self.task, None, self.spans[-len(TASKS[self.task].outputs) :])


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendered:
    """A document as ids, with what is known of each token; every array has one entry per token.

    `ids` int32, shared. `segment` int16: which span's body the token belongs to, -1 for all that is none (instruction,
    marks, scale, specials). `part` uint8: HEAD (through the first `<break>`), INPUT (through the first output's opening
    mark) or OUTPUT, so that HEAD and INPUT together are the prompt. `key` names the sample in messages.
    """

    ids: np.ndarray
    segment: np.ndarray
    part: np.ndarray
    key: str = ""

    def __len__(self) -> int:
        return len(self.ids)


def _task(name: str) -> Task:
    if name not in TASKS:
        raise DataError(f"task {name!r}: there is none of that name; choose one of {', '.join(TASKS)}")
    return TASKS[name]


def _body(span: Span, modality: str, vocabulary: Vocabulary) -> np.ndarray:
    """Shared ids of a span, from its scale to its last id, checked against the rules of its modality."""
    if span.modality != modality:
        raise DataError(f"a {span.modality} span stands where the task has {modality}; give the spans in its order")
    ids = vocabulary.to_shared(modality, span.ids_local)
    n, tokens = len(ids), vocabulary.range_of(modality).tokens
    if modality == "image" and n != tokens:
        raise DataError(f"an image span has {n} ids, this vocabulary's pictures have {tokens}; encode it again")
    if n == 0 or n % tokens:
        raise DataError(f"a span of {modality} has {n} ids, expected a positive multiple of {tokens}; encode it again")
    if modality != "eeg":
        if span.scale is not None:
            raise DataError(f"a span of {modality} has scale {span.scale}; only EEG has one")
        return ids
    if span.scale is None or not 0 <= span.scale < N_SCALES:
        raise DataError(f"an EEG span has scale {span.scale}, expected 0 .. {N_SCALES - 1}; encode it again")
    starts = np.array([slot.start for slot in vocabulary.eeg_slots])
    offsets = ids.reshape(-1, tokens) - starts
    if offsets.min() < 0 or offsets.max() >= len(vocabulary.eeg_slots[0]):
        raise DataError("an EEG span has an id in another slot's place; give whole steps, slots in order")
    return np.concatenate([np.array([SCALE_0 + span.scale], np.int32), ids])


def _head(task: Task, instruction: np.ndarray | None, vocabulary: Vocabulary) -> list[np.ndarray]:
    if instruction is None:
        words = np.array([MASK_0], np.int32)
    else:
        words = vocabulary.to_shared("text", instruction)
        if len(words) == 0:
            raise DataError(f"task {task.name}: the instruction is empty; give at least one token")
    start = np.array([EOD, SPECIAL_IDS[f"<task:{task.name}>"]], np.int32)
    return [start, words, np.array([BREAK], np.int32)]


def render(document: Document, vocabulary: Vocabulary, key: str = "") -> Rendered:
    """The document as shared ids.

    Raises:
        DataError: the spans are not those of the task, or break a rule of their modality; begins with `key`.
    """
    try:
        return _render(document, vocabulary, key)
    except DataError as error:
        raise DataError(f"{key}: {error}" if key else str(error)) from None


def _render(document: Document, vocabulary: Vocabulary, key: str) -> Rendered:
    task = _task(document.task)
    modalities = task.modalities if document.instruction is not None else task.outputs
    if len(document.spans) != len(modalities):
        raise DataError(f"task {task.name}: {len(document.spans)} spans, expected {' '.join(modalities)}")
    pieces = _head(task, document.instruction, vocabulary)
    n_head = sum(map(len, pieces))
    segments = [np.full(n_head, -1, np.int16)]
    n_prompt = 0
    for i, (span, modality) in enumerate(zip(document.spans, modalities, strict=True)):
        opening, closing = MARKS[modality]
        if i == len(modalities) - len(task.outputs):
            n_prompt = sum(map(len, pieces)) + 1
        body = _body(span, modality, vocabulary)
        last = i == len(modalities) - 1
        piece = np.concatenate([[opening], body, [closing, EOD if last else BREAK]]).astype(np.int32)
        segment = np.full(len(piece), -1, np.int16)
        segment[len(piece) - 2 - len(span.ids_local) : -2] = i
        pieces.append(piece)
        segments.append(segment)
    ids = np.concatenate(pieces)
    part = np.full(len(ids), OUTPUT, np.uint8)
    part[:n_prompt] = INPUT
    part[:n_head] = HEAD
    return Rendered(ids=ids, segment=np.concatenate(segments), part=part, key=key)


def prompt(task: str, instruction: ArrayLike, inputs: Sequence[Span], vocabulary: Vocabulary) -> np.ndarray:
    """Shared ids (int32) through the opening mark of the first output.

    Raises:
        DataError: as `render`.
    """
    modalities = _task(task).inputs
    if len(inputs) != len(modalities):
        raise DataError(f"task {task}: {len(inputs)} inputs, expected {' '.join(modalities) or 'none'}")
    pieces = _head(_task(task), _int32(instruction), vocabulary)
    for span, modality in zip(inputs, modalities, strict=True):
        opening, closing = MARKS[modality]
        pieces += [np.array([opening]), _body(span, modality, vocabulary), np.array([closing, BREAK])]
    return _int32(np.concatenate([*pieces, [MARKS[_task(task).outputs[0]][0]]]))


def unconditional_prompt(task: str, vocabulary: Vocabulary) -> np.ndarray:
    """`<eod> <task> <mask:0> <break> <opening mark>`: the second stream of guidance."""
    opening, _ = MARKS[_task(task).outputs[0]]
    return _int32(np.concatenate([*_head(_task(task), None, vocabulary), [opening]]))


def task_of(ids: Sequence[int] | np.ndarray, vocabulary: Vocabulary) -> str:
    """Name of the task of a document or prompt, from its second id.

    Raises:
        DataError: there is no task id at that place.
    """
    slot = int(ids[1]) - FIRST_TASK if len(ids) > 1 else -1
    if not 0 <= slot < len(TASKS):
        found = vocabulary.describe(int(ids[1])) if len(ids) > 1 else "the end"
        raise DataError(f"document: token 1 is {found}, expected a task id such as <task:eeg2image>")
    return list(TASKS)[slot]


def parse(ids: Sequence[int] | np.ndarray, vocabulary: Vocabulary) -> Document:
    """Read a whole document back: `parse(render(d).ids) == d`.

    Raises:
        DataError: an id that the grammar does not allow at its place, or an end before the document's.
    """
    ids = np.asarray(ids, dtype=np.int64)
    task = TASKS[task_of(ids, vocabulary)]
    Grammar(vocabulary, task.name).accept(ids)
    breaks = np.flatnonzero(ids == BREAK)
    head = ids[2 : breaks[0]]
    instruction = None if head[0] == MASK_0 else vocabulary.to_local("text", head)
    modalities = task.outputs if instruction is None else task.modalities
    starts, stops = breaks + 1, [*breaks[1:], len(ids) - 1]
    spans = []
    for modality, start, stop in zip(modalities, starts, stops, strict=True):
        body = ids[start + 1 : stop - 1]
        scale = int(body[0]) - SCALE_0 if modality == "eeg" else None
        spans.append(Span(modality, vocabulary.to_local(modality, body[modality == "eeg" :]), scale))
    return Document(task.name, instruction, tuple(spans))
