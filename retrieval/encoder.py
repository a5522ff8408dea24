"""Where a span lies: one vector of its ids, so that what is like it can be found. Nothing here is learned.

The rows of a span are the latents of an EEG's steps, the code vectors of a picture, and a random vector for each id of
a text; a span is their mean, each number on the scale of its spread over the rows of the memory. (RA-CM3 takes CLIP's
vectors, which know no EEG.)
"""

from collections.abc import Iterable, Mapping

import numpy as np

from neuroleon.common.seed import generator
from neuroleon.tokenizers.vocabulary import Vocabulary

TEXT_DIM = 256  # of the random vectors of text ids: enough for them to stay apart
TINY = 1e-6


class Encoder:
    """Vectors of spans; `fit` before `encode`.

    Args:
        tables: code vectors (n, d) by local id of `eeg`, where the ids of a step add up, and of `image`.
    """

    def __init__(self, vocabulary: Vocabulary, tables: Mapping[str, np.ndarray]) -> None:
        signs = generator("retrieval", "text").choice([-1.0, 1.0], (vocabulary.text.size, TEXT_DIM))
        self._tables = {"text": signs, **tables}
        self._ids_each = {"text": 1, "image": 1, "eeg": vocabulary.eeg.tokens}
        self._middle: dict[str, np.ndarray] = {}
        self._spread: dict[str, np.ndarray] = {}

    @property
    def modalities(self) -> list[str]:
        """Those that `fit` has seen."""
        return list(self._middle)

    def fit(self, spans: Iterable[tuple[str, np.ndarray]]) -> None:
        """Take mean and spread of the rows of each modality from (modality, local ids) of all spans of a memory."""
        sums: dict[str, tuple[float, np.ndarray, np.ndarray]] = {}
        for modality, ids in spans:
            rows = self._rows(modality, ids)
            n, total, squares = sums.get(modality, (0.0, np.zeros(1), np.zeros(1)))
            sums[modality] = n + len(rows), total + rows.sum(axis=0), squares + np.square(rows).sum(axis=0)
        for modality, (n, total, squares) in sums.items():
            self._middle[modality] = total / n
            variance = squares / n - np.square(total / n)
            self._spread[modality] = np.sqrt(np.maximum(variance, TINY**2))

    def encode(
        self, modality: str, ids: np.ndarray, dropout: float = 0.0, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """A vector of length 1 (d,), float32; with `dropout` of the span without so many of its rows, at random."""
        rows = self._rows(modality, ids)
        if dropout and rng is not None:
            kept = rng.random(len(rows)) >= dropout
            kept[rng.integers(len(rows))] = True
            rows = rows[kept]
        vector = (rows.mean(axis=0) - self._middle[modality]) / self._spread[modality]
        return (vector / max(float(np.linalg.norm(vector)), TINY)).astype(np.float32)

    def _rows(self, modality: str, ids: np.ndarray) -> np.ndarray:
        """float64 (n, d)."""
        found = self._tables[modality][ids].astype(np.float64)
        each = self._ids_each[modality]
        return np.asarray(found.reshape(-1, each, found.shape[1]).sum(axis=1))
