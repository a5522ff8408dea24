"""Packing: whole documents side by side in rows of one length, and what each token weighs in the loss.

Attention stays inside a document (`documents`), positions start anew with each, and no document is ever split.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.tokenizers.document import HEAD, OUTPUT, Rendered
from neuroleon.tokenizers.vocabulary import MASK_0, N_MASKS, PAD, Vocabulary


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of a target by what it is.

    `text`, `image` and `eeg` are span bodies; EEG ids are near incompressible and must not drown the rest. `special`
    are marks, scales and borders; `instruction` is all of the head. `only_outputs` gives everything before the outputs
    weight 0 (finetuning); what causal masking moved to the end is an output. A sentinel always has 0: its place is
    random (CM3, section 2.2).
    """

    text: float = 1.0
    image: float = 0.5
    eeg: float = 0.1
    special: float = 1.0
    instruction: float = 0.0
    only_outputs: bool = False

    def __post_init__(self) -> None:
        negative = [name for name in ("text", "image", "eeg", "special", "instruction") if getattr(self, name) < 0]
        if negative:
            raise ConfigError(f"loss weight of {negative[0]} is {getattr(self, negative[0])}; expected 0 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """Rows of documents; every array is (n_rows, length), padded with `<pad>` and zeros.

    `ids` and `targets` int64 (the target of a token is the next id of its document), `weights` float32 of each target,
    `kinds` uint8 modality of each target (0 special, 1 text, 2 image, 3 EEG), `positions` int64 inside the document,
    `documents` int64: number of the document, from 1 in the order given; 0 where there is none.
    """

    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    kinds: np.ndarray
    positions: np.ndarray
    documents: np.ndarray


def token_weights(rendered: Rendered, vocabulary: Vocabulary, weights: LossWeights) -> np.ndarray:
    """float32 (n_tokens,): what it weighs to predict each token of a document."""
    by_kind = np.array([weights.special, weights.text, weights.image, weights.eeg], np.float32)
    result = np.asarray(by_kind[vocabulary.modality_ids(rendered.ids)])
    result[rendered.part == HEAD] = weights.instruction
    if weights.only_outputs:
        result[rendered.part != OUTPUT] = 0
    result[(rendered.ids >= MASK_0) & (rendered.ids < MASK_0 + N_MASKS)] = 0
    return result


def pack(
    documents: Sequence[Rendered], length: int, vocabulary: Vocabulary, weights: LossWeights | None = None
) -> Packed:
    """Put documents into as few rows as first-fit needs, the longest first.

    Raises:
        DataError: a document is longer than a row; its key is named.
    """
    weights = weights or LossWeights()
    places = _places([len(d) for d in documents], length, [d.key for d in documents])
    n_rows = 1 + max((row for row, _ in places), default=-1)
    shape = (n_rows, length)
    packed = Packed(
        ids=np.full(shape, PAD, np.int64),
        targets=np.full(shape, PAD, np.int64),
        weights=np.zeros(shape, np.float32),
        kinds=np.zeros(shape, np.uint8),
        positions=np.zeros(shape, np.int64),
        documents=np.zeros(shape, np.int64),
    )
    for number, (document, (row, start)) in enumerate(zip(documents, places, strict=True), start=1):
        n = len(document)
        here, predicting = (row, slice(start, start + n)), (row, slice(start, start + n - 1))
        packed.ids[here] = document.ids
        packed.positions[here] = np.arange(n)
        packed.documents[here] = number
        packed.targets[predicting] = document.ids[1:]
        packed.weights[predicting] = token_weights(document, vocabulary, weights)[1:]
        packed.kinds[predicting] = vocabulary.modality_ids(document.ids[1:])
    return packed


def _places(lengths: list[int], length: int, keys: list[str]) -> list[tuple[int, int]]:
    """(row, start) of each document."""
    places = [(0, 0)] * len(lengths)
    used: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if lengths[i] > length:
            raise DataError(
                f"document of {keys[i] or 'unnamed sample'}: {lengths[i]} tokens do not fit into a row of {length}; "
                "raise the row length or cut shorter windows"
            )
        row = next((r for r, n in enumerate(used) if n + lengths[i] <= length), len(used))
        if row == len(used):
            used.append(0)
        places[i] = (row, used[row])
        used[row] += lengths[i]
    return places
