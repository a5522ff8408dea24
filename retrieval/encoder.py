"""The rows that a span is made of, as vectors: what a memory compares documents by. Nothing here is learned.

They are the latents of an EEG's steps, the code vectors of a picture, and a random vector for each id of a text.
(RA-CM3 takes CLIP's vectors, which know no EEG.)
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from neuroleon.common.seed import generator
from neuroleon.tokenizers.vocabulary import Vocabulary

TEXT_DIM = 256  # of the random vectors of text ids: enough for them to stay apart


class HasCodebook(Protocol):
    """A tokenizer with a code vector (size, d) for each local id."""

    @property
    def codebook(self) -> np.ndarray: ...


class Encoder:
    """Rows of spans; of `eeg` the code vectors of the ids of a step add up."""

    def __init__(self, vocabulary: Vocabulary, eeg: HasCodebook, image: HasCodebook) -> None:
        signs = generator("retrieval", "text").choice([-1.0, 1.0], (vocabulary.text.size, TEXT_DIM))
        self._tables: Mapping[str, np.ndarray] = {"text": signs, "eeg": eeg.codebook, "image": image.codebook}
        self._ids_each = {"text": 1, "image": 1, "eeg": vocabulary.eeg.tokens}

    def rows(self, modality: str, ids: np.ndarray) -> np.ndarray:
        """Local ids of a span -> float64 (n, d)."""
        found = self._tables[modality][ids].astype(np.float64)
        each = self._ids_each[modality]
        summed: np.ndarray = found.reshape(-1, each, found.shape[1]).sum(axis=1)
        return summed
