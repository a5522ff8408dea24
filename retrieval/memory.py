"""A memory of documents, and those that lie nearest to what a prompt holds (RA-CM3, arXiv 2211.12561, section 3.2).

THE guard against leaks is here: what comes out is never of a recording or a picture that must not enter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import DataError
from neuroleon.retrieval.encoder import Encoder
from neuroleon.tokenizers.document import Document
from neuroleon.tokenizers.tasks import Task
from neuroleon.tokenizers.vocabulary import Vocabulary

ROUNDING = 1e-5  # of a cosine in float32


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

    A picture is known by its `picture_names`, whatever set it comes with.
    """

    recordings: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()


def guard_of(record: Remembered, store: str) -> Guard:
    """That nothing of a record's own recording and picture comes out beside it."""
    return Guard(recordings=frozenset({_recording(record, store)}), pictures=picture_names(record, store))


def picture_names(record: Remembered, store: str) -> frozenset[str]:
    """The names of a record's picture: its key in its set, and its ids, which are alike in any set; empty without."""
    pictures = record.contents().get("image", [])
    keys = {f"{store}/{record.info['image_key']}"} if pictures and record.info.get("image_key") else set()
    return frozenset(keys | {ids_name(ids) for ids in pictures})


def ids_name(ids: np.ndarray) -> str:
    """The name of a picture by its local ids."""
    return blake2b(np.ascontiguousarray(ids, dtype=np.int32).tobytes(), digest_size=16).hexdigest()


def _recording(record: Remembered, store: str) -> str:
    return f"{store}/{record.info['recording']}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A record that was found, the store it is in, and its likeness: mean cosine over the modalities asked with."""

    record: Remembered
    store: str
    likeness: float


@dataclass(eq=False)
class Memory:
    """Every record of some stores, findable by its EEG, its picture and its sentences.

    Args:
        stores: where the records are; of what is trained on, only: the splits that are tested must stay out.
        tables: as of `Encoder`.

    Raises:
        DataError: no records.
    """

    stores: Sequence[Store]
    vocabulary: Vocabulary
    tables: Mapping[str, np.ndarray]
    _vectors: dict[str, np.ndarray] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._places = [(s, i) for s, store in enumerate(self.stores) for i in range(len(store))]
        if not self._places:
            raise DataError("the memory holds no records; give token shards with a training split")
        self._encoder = Encoder(self.vocabulary, self.tables)
        self._recordings: list[str] = []
        self._pictures: list[frozenset[str]] = []
        self._encoder.fit(self._spans())
        self._vectors = {name: self._matrix(name) for name in self._encoder.modalities}

    def __len__(self) -> int:
        return len(self._places)

    def nearest(
        self,
        query: Mapping[str, np.ndarray],
        task: Task,
        n: int,
        *,
        guard: Guard,
        limit: float,
        dropout: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> list[Found]:
        """Up to `n` records that serve `task`, the nearest first, of different pictures.

        Args:
            query: local ids of each modality to compare by; one that no record has is not compared.
            guard: what must not come out.
            limit: records more alike than this are left out: they are the query, or a copy of it. 1 leaves none out.
            dropout: share of the query's rows to leave out at random, so that training meets other neighbours.
        """
        vectors = {
            m: self._encoder.encode(m, ids, dropout, rng) for m, ids in sorted(query.items()) if m in self._vectors
        }
        if not vectors or n < 1:
            return []
        likeness = np.mean([self._vectors[m] @ vector for m, vector in vectors.items()], axis=0)
        seen, found = set(guard.pictures), list[Found]()
        for place in np.argsort(-likeness, kind="stable"):
            if (
                likeness[place] > limit + ROUNDING
                or self._recordings[place] in guard.recordings
                or self._pictures[place] & seen
            ):
                continue
            store, i = self._places[place]
            record = self.stores[store][i]
            if record.supports(task):
                found.append(Found(record=record, store=self.stores[store].name, likeness=float(likeness[place])))
                seen |= self._pictures[place]
            if len(found) == n:
                break
        return found

    def _spans(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every span of every record; notes on the way what the guard asks for."""
        for s, i in tqdm(self._places, desc="memory", unit="record", disable=None, leave=False):
            record, store = self.stores[s][i], self.stores[s].name
            self._recordings.append(_recording(record, store))
            self._pictures.append(picture_names(record, store))
            for modality, spans in record.contents().items():
                yield from ((modality, ids) for ids in spans)

    def _matrix(self, modality: str) -> np.ndarray:
        """float32 (n, d): the mean over a record's spans of a modality, zeros where it has none."""
        rows = []
        for s, i in self._places:
            spans = self.stores[s][i].contents().get(modality, [])
            rows.append(np.mean([self._encoder.encode(modality, ids) for ids in spans], axis=0) if spans else None)
        width = next(len(row) for row in rows if row is not None)
        return np.stack([np.zeros(width, np.float32) if row is None else row for row in rows])
