"""A memory of documents, and those that lie nearest to what a prompt holds (RA-CM3, arXiv 2211.12561, section 3.2).

THE guard against leaks is here: what comes out is never of a recording or a picture that must not enter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.retrieval.encoder import Encoder
from neuroleon.tokenizers.document import Document
from neuroleon.tokenizers.tasks import TASKS, Task

GRID = 4000  # vectors are whole multiples of 1 / GRID: sums of their products are exact in float32, in any order
TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How many documents of a memory come before one, and which.

    Attributes:
        documents: at most so many; training draws evenly from 0 to this.
        limit: records that are more alike than this are left out: the query itself, or a copy of it (RA-CM3: 0.9). 1
            leaves none out.
        query_dropout: share of the query that training leaves out, so that it meets other neighbours (CM3leon: 0.2).
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


class Remembered(Protocol):
    """One record of a memory: `data_pipeline.loader.TokenRecord`."""

    key: str
    info: Mapping[str, Any]

    @property
    def question(self) -> np.ndarray: ...
    def supports(self, task: Task) -> bool: ...
    def contents(self) -> dict[str, list[np.ndarray]]: ...
    def document(self, task: Task, instruction: np.ndarray) -> Document: ...


class Store(Protocol):
    """Records that are read when they are asked for: `data_pipeline.loader.TokenFolder`."""

    name: str

    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> Remembered: ...


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What must not come out of a memory: everything of these recordings, and everything with one of these pictures.

    A recording is known inside its set, by its pseudonym: two sets that are made of the same files must not be in one
    memory. A picture is known in any set, by its ids.
    """

    recordings: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()


def guard_of(record: Remembered, store: str) -> Guard:
    """That nothing of a record's own recording and picture comes out beside it."""
    return Guard(recordings=frozenset({_recording(record, store)}), pictures=_pictures(record, store))


def name_of(ids: np.ndarray) -> str:
    """The name of a picture, or a question, by its local ids."""
    return blake2b(np.ascontiguousarray(ids, dtype=np.int32).tobytes(), digest_size=16).hexdigest()


def _recording(record: Remembered, store: str) -> str:
    return f"{store}/{record.info['recording']}"


def _pictures(record: Remembered, store: str) -> frozenset[str]:
    """The names of a record's picture: its key in its set, and its ids; empty without one."""
    pictures = record.contents().get("image", [])
    keys = {f"{store}/{record.info['image_key']}"} if pictures and record.info.get("image_key") else set()
    return frozenset(keys | {name_of(ids) for ids in pictures})


@dataclass(frozen=True, kw_only=True)
class Found:
    """A record that was found, and its likeness: the mean cosine over the modalities asked with."""

    record: Remembered
    likeness: float


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the search needs to know of a record without reading it again."""

    store: int
    number: int
    recording: str
    pictures: frozenset[str]
    tasks: frozenset[str]
    question: str | None


class Memory:
    """Every record of some stores, findable by its EEG, its picture and its sentences.

    A span is the mean of its rows (`Encoder`), each number less its mean and over its spread in the memory, at length
    1; of several sentences, their mean. Search is exact, likenesses are to 1e-3.

    Args:
        stores: where the records are; of what is trained on, only: the splits that are tested must stay out.

    Raises:
        DataError: no records.
    """

    def __init__(self, stores: Sequence[Store], encoder: Encoder) -> None:
        self._stores, self._encoder = stores, encoder
        self._known: list[_Known] = []
        self._scales: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._vectors: dict[str, np.ndarray] = {}
        if not any(len(store) for store in stores):
            raise DataError(
                f"memory of {', '.join(store.name for store in stores) or 'nothing'}: no records; give token folders "
                "that have a training split"
            )
        self._read()

    def __len__(self) -> int:
        return len(self._known)

    def nearest(
        self,
        query: Mapping[str, np.ndarray],
        task: Task,
        retrieval: Retrieval,
        guard: Guard,
        *,
        question: np.ndarray | None = None,
        rng: np.random.Generator | None = None,
    ) -> list[Found]:
        """Up to `retrieval.documents` records that serve `task`, the nearest first, of different pictures.

        Args:
            query: local ids of each modality to compare by; one that no record has is not compared.
            guard: what must not come out.
            question: local ids of the question, where the task asks one: only records with the same come out.
            rng: of training; rows of the query are left out by it when records are ranked, not for the limit.
        """
        rows = {m: self._encoder.rows(m, ids) for m, ids in sorted(query.items()) if m in self._vectors}
        if not rows or not retrieval.documents:
            return []
        likeness = self._likeness(rows)
        ranked = likeness
        if rng is not None and retrieval.query_dropout:
            ranked = self._likeness({m: _thinned(x, retrieval.query_dropout, rng) for m, x in rows.items()})
        asked = None if question is None else name_of(question)
        seen, found = set(guard.pictures), list[Found]()
        for place in np.argsort(-ranked, kind="stable"):
            known = self._known[place]
            left_out = known.recording in guard.recordings or known.pictures & seen
            other = task.name not in known.tasks or (asked is not None and asked != known.question)
            if left_out or other or (likeness[place] > retrieval.limit and retrieval.limit < 1):
                continue
            record = self._stores[known.store][known.number]
            found.append(Found(record=record, likeness=float(likeness[place])))
            seen |= known.pictures
            if len(found) == retrieval.documents:
                break
        return found

    def _likeness(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Cosine of each record (n,), the mean over modalities; the same to the bit however it is computed."""
        cosines = [self._vectors[m] @ self._on_grid(m, x.mean(axis=0)) / GRID**2 for m, x in rows.items()]
        return np.asarray(np.mean(cosines, axis=0, dtype=np.float64))

    def _on_grid(self, modality: str, mean: np.ndarray) -> np.ndarray:
        """Means of rows (..., d) -> whole numbers in float32, of length GRID."""
        middle, spread = self._scales[modality]
        vector = (mean - middle) / spread
        length = np.linalg.norm(vector, axis=-1, keepdims=True)
        return np.rint(GRID * vector / np.maximum(length, TINY)).astype(np.float32)

    def _read(self) -> None:
        """Read every record once."""
        means: dict[str, list[tuple[int, np.ndarray]]] = {}
        sums: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}
        places = [(s, i) for s, store in enumerate(self._stores) for i in range(len(store))]
        for s, i in tqdm(places, desc="memory", unit="record", disable=None, leave=False):
            record = self._stores[s][i]
            for modality, spans in record.contents().items():
                each = [self._encoder.rows(modality, ids) for ids in spans]
                means.setdefault(modality, []).append(
                    (len(self._known), np.mean([x.mean(axis=0) for x in each], axis=0))
                )
                together = np.concatenate(each)
                n, total, squares = sums.get(modality, (0, np.zeros(1), np.zeros(1)))
                sums[modality] = (
                    n + len(together), total + together.sum(axis=0), squares + np.square(together).sum(axis=0)
                )  # fmt: skip
            self._known.append(self._note(record, s, i))
        for modality, (n, total, squares) in sums.items():
            variance = squares / n - np.square(total / n)
            self._scales[modality] = (total / n, np.sqrt(np.maximum(variance, TINY**2)))
            self._vectors[modality] = np.zeros((len(self._known), len(total)), np.float32)
            for place, mean in means.pop(modality):
                self._vectors[modality][place] = self._on_grid(modality, mean)

    def _note(self, record: Remembered, store: int, number: int) -> _Known:
        name = self._stores[store].name
        return _Known(
            store=store,
            number=number,
            recording=_recording(record, name),
            pictures=_pictures(record, name),
            tasks=frozenset(task.name for task in TASKS.values() if record.supports(task)),
            question=name_of(record.question) if record.info["question"] else None,
        )


def _thinned(rows: np.ndarray, dropout: float, rng: np.random.Generator) -> np.ndarray:
    """Rows without so many of them, at random; one stays."""
    kept = rng.random(len(rows)) >= dropout
    kept[rng.integers(len(rows))] = True
    return np.asarray(rows[kept])
