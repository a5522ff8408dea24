"""The one id space of the language: 256 special ids, then the text, image and EEG ids, each a contiguous range.

A tokenizer speaks in local ids (0 .. size-1 of its own range), the transformer in shared ids. `vocabulary.json` states
the layout, and its fingerprint goes with every shard and checkpoint. docs/formats/sequence.md explains it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.files import read_json, sha256_json, write_json
from neuroleon.tokenizers.tasks import MAX_TASKS, TASKS

FORMAT = 1
MODALITIES = ("text", "image", "eeg")  # the code of a modality is its place here + 1; 0 is special
N_SPECIAL = 256
N_MASKS = 32
N_SCALES = 32
SIZE_MULTIPLE = 128  # matrix shapes that accelerators like

_MARKS = {"text": ("<txt>", "</txt>"), "image": ("<img>", "</img>"), "eeg": ("<eeg>", "</eeg>")}
_NAMES = (
    *("<pad>", "<eod>", "<break>", "<eoss>", *(mark for modality in MODALITIES for mark in _MARKS[modality])),
    *(f"<mask:{k}>" for k in range(N_MASKS)),
    *(f"<scale:{k}>" for k in range(N_SCALES)),
    *(f"<task:{name}>" for name in TASKS),
)
SPECIAL_IDS: dict[str, int] = {name: i for i, name in enumerate(_NAMES)}

PAD, EOD, BREAK, EOSS = (SPECIAL_IDS[name] for name in ("<pad>", "<eod>", "<break>", "<eoss>"))
MASK_0, SCALE_0 = SPECIAL_IDS["<mask:0>"], SPECIAL_IDS["<scale:0>"]
FIRST_TASK = SCALE_0 + N_SCALES
MARKS: dict[str, tuple[int, int]] = {m: (SPECIAL_IDS[a], SPECIAL_IDS[b]) for m, (a, b) in _MARKS.items()}

assert len(TASKS) <= MAX_TASKS, "the task ids are full"
assert FIRST_TASK + MAX_TASKS <= N_SPECIAL, "the special ids are full"


@dataclass(frozen=True)
class Range:
    """The shared ids of one modality, `start` .. `start + size - 1`.

    `tokens` is the number of ids of one picture (image), of one 125 ms step (EEG), or 1 (text). `fingerprint` is the
    tokenizer's.
    """

    modality: str
    start: int
    size: int
    tokens: int
    fingerprint: str

    @property
    def stop(self) -> int:
        return self.start + self.size

    @property
    def ids(self) -> range:
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Vocabulary:
    """Maps the local ids of three tokenizers into one id space and back.

    >>> from types import SimpleNamespace as Tok
    >>> vocabulary = Vocabulary.of(
    ...     text=Tok(size=300, fingerprint="t"),
    ...     image=Tok(size=64, fingerprint="i", tokens=16),
    ...     eeg=Tok(size=48, fingerprint="e", tokens_per_step=4),
    ... )
    >>> vocabulary.to_shared("image", [0, 63]).tolist(), vocabulary.size
    ([556, 619], 768)
    """

    text: Range
    image: Range
    eeg: Range

    @classmethod
    def of(cls, *, text: Any, image: Any, eeg: Any) -> "Vocabulary":
        """From three tokenizers; reads `size` and `fingerprint` of each, `image.tokens` and `eeg.tokens_per_step`."""
        ranges, start = {}, N_SPECIAL
        tokens = {"text": 1, "image": image.tokens, "eeg": eeg.tokens_per_step}
        for modality, tokenizer in zip(MODALITIES, (text, image, eeg), strict=True):
            ranges[modality] = Range(modality, start, tokenizer.size, tokens[modality], tokenizer.fingerprint)
            start += tokenizer.size
        return cls(**ranges)

    def __post_init__(self) -> None:
        start = N_SPECIAL
        for modality, r in zip(MODALITIES, self.ranges, strict=True):
            if (r.modality, r.start) != (modality, start) or r.size < 1 or r.tokens < 1:
                raise CheckpointError(f"vocabulary: the {modality} range is {r}, expected to start at {start}")
            start = r.stop
        if self.eeg.size % self.eeg.tokens:
            raise CheckpointError(
                f"vocabulary: {self.eeg.size} EEG ids do not divide into {self.eeg.tokens} slots of a step; "
                "give every slot of the EEG tokenizer the same number of codes"
            )

    @property
    def ranges(self) -> tuple[Range, Range, Range]:
        return (self.text, self.image, self.eeg)

    @property
    def size(self) -> int:
        """Number of ids the transformer must know, padded to a multiple of 128."""
        return -(-self.eeg.stop // SIZE_MULTIPLE) * SIZE_MULTIPLE

    @cached_property
    def eeg_slots(self) -> tuple[range, ...]:
        """Shared ids of each slot of an EEG step."""
        width = self.eeg.size // self.eeg.tokens
        return tuple(range(s, s + width) for s in range(self.eeg.start, self.eeg.stop, width))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the layout and the three tokenizers.

        Names of special ids are not in it, so that a new task does not part a model from its data; `load` checks them.
        """
        return sha256_json({"format": FORMAT, "n_special": N_SPECIAL, "ranges": [asdict(r) for r in self.ranges]})

    @cached_property
    def _modality_of(self) -> np.ndarray:
        table = np.zeros(self.size, np.uint8)
        for code, r in enumerate(self.ranges, start=1):
            table[r.start : r.stop] = code
        return table

    def range_of(self, modality: str) -> Range:
        """The range of "text", "image" or "eeg"."""
        return self.ranges[MODALITIES.index(modality)]

    def special(self, name: str) -> int:
        """Id of a special token, such as "<eod>" or "<task:eeg2image>".

        Raises:
            DataError: there is none of that name.
        """
        if name not in SPECIAL_IDS:
            raise DataError(f"{name}: no such special token; the vocabulary has {', '.join(_NAMES)}")
        return SPECIAL_IDS[name]

    def to_shared(self, modality: str, ids_local: ArrayLike) -> np.ndarray:
        """Shared ids (int32, same shape) of local ids.

        Raises:
            DataError: an id is outside the tokenizer's range (a masked position of a quantizer is -1).
        """
        return self._shift(modality, ids_local, low=0, by=self.range_of(modality).start, kind="local")

    def to_local(self, modality: str, ids_shared: ArrayLike) -> np.ndarray:
        """Local ids (int32, same shape) of shared ids that all belong to `modality`.

        Raises:
            DataError: an id belongs to something else.
        """
        start = self.range_of(modality).start
        return self._shift(modality, ids_shared, low=start, by=-start, kind="shared")

    def _shift(self, modality: str, ids: ArrayLike, *, low: int, by: int, kind: str) -> np.ndarray:
        array = np.asarray(ids, dtype=np.int64)
        high = low + self.range_of(modality).size
        if array.size and (array.min() < low or array.max() >= high):
            worst = int(array[(array < low) | (array >= high)].flat[0])
            raise DataError(f"{kind} {modality} id {worst} is outside {low} .. {high - 1}; was another tokenizer used?")
        return (array + by).astype(np.int32)

    def modality_ids(self, ids_shared: ArrayLike) -> np.ndarray:
        """Kind of each id, uint8, same shape: 0 special, 1 text, 2 image, 3 EEG."""
        return np.asarray(self._modality_of[np.asarray(ids_shared)])

    def describe(self, id_shared: int) -> str:
        """A name for people: "<eod>", "image 17", "reserved 200"."""
        if 0 <= id_shared < len(_NAMES):
            return _NAMES[id_shared]
        for r in self.ranges:
            if id_shared in r.ids:
                return f"{r.modality} {id_shared - r.start}"
        return f"reserved {id_shared}"

    def require(self, fingerprint: str, what: str) -> None:
        """Refuse `what` unless it was made with this vocabulary.

        Raises:
            CheckpointError: the fingerprints differ; both are named.
        """
        if fingerprint != self.fingerprint:
            raise CheckpointError(
                f"{what}: made with vocabulary {fingerprint[:12]}, this one is {self.fingerprint[:12]}; "
                "tokenize the data again with the same three tokenizers, or use the matching model"
            )

    def save(self, path: Path) -> None:
        """Write `vocabulary.json`."""
        ranges = [asdict(r) for r in self.ranges]
        write_json(path, {"format": FORMAT, "fingerprint": self.fingerprint, "specials": SPECIAL_IDS, "ranges": ranges})

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read `vocabulary.json`.

        Raises:
            DataError: no such file, or no JSON.
            CheckpointError: a field is missing, unknown or wrong; the file was edited; a special id moved.
        """
        return cls.of_json(read_json(path), str(path))

    @classmethod
    def of_json(cls, content: Any, where: str) -> "Vocabulary":
        """From the value of `vocabulary.json`; `where` names it.

        Raises:
            CheckpointError: as `load`.
        """
        _require_keys(where, content, ("format", "fingerprint", "specials", "ranges"))
        if content["format"] != FORMAT:
            raise CheckpointError(f"{where}: format {content['format']}, this program reads {FORMAT}; make it anew")
        moved = {n: i for n, i in content["specials"].items() if SPECIAL_IDS.get(n) != i}
        if moved:
            raise CheckpointError(
                f"{where}: special ids {moved} are not this program's; use the version that made them"
            )
        vocabulary = cls(*(_read_range(where, r) for r in _three(where, content["ranges"])))
        vocabulary.require(content["fingerprint"], where)
        return vocabulary


def _three(where: str, ranges: Any) -> Sequence[Any]:
    if not isinstance(ranges, list) or len(ranges) != len(MODALITIES):
        raise CheckpointError(f"{where}: expected the ranges {', '.join(MODALITIES)}, found {ranges}; copy it again")
    return ranges


def _read_range(where: str, content: Any) -> Range:
    _require_keys(where, content, ("modality", "start", "size", "tokens", "fingerprint"))
    kinds = {"modality": str, "start": int, "size": int, "tokens": int, "fingerprint": str}
    wrong = {k: v for k, v in content.items() if type(v) is not kinds[k]}
    if wrong:
        raise CheckpointError(f"{where}: {wrong} in a range; expected {kinds}; copy the file again")
    return Range(**content)


def _require_keys(where: str, content: Any, keys: tuple[str, ...]) -> None:
    found = sorted(content) if isinstance(content, dict) else type(content).__name__
    if found != sorted(keys):
        raise CheckpointError(f"{where}: has {found}, expected exactly {sorted(keys)}; copy the file again")
