"""Documents with holes: what was cut out follows at the end, each behind the sentinel that stands in its place.

    <eod> ... a <mask:0> d </txt> <mask:0> b c <eoss> <eod>

Causal masking writes them (`data_pipeline/causal_mask.py`), decoding fills them: `Filling` says which ids may come.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.tokenizers.document import OUTPUT, Document, Rendered, render
from neuroleon.tokenizers.vocabulary import EOD, EOSS, MASK_0, N_MASKS, Vocabulary

Cut = tuple[int, int]  # start and stop in the ids of the whole document


def cut_out(rendered: Rendered, cuts: list[Cut]) -> Rendered:
    """The document with each cut replaced by its sentinel and moved to the end; sentinels count in source order.

    What is moved is OUTPUT, whatever it was: filling it in is what such a document asks for. Its sentinel in place
    keeps the part that it had.
    """
    kept, moved, position = [], [], 0
    for k, (start, stop) in enumerate(cuts):
        kept += [_piece(rendered, position, start), _special(MASK_0 + k, rendered.part[start])]
        moved += [_special(MASK_0 + k, OUTPUT), _piece(rendered, start, stop, OUTPUT), _special(EOSS, OUTPUT)]
        position = stop
    n = len(rendered)
    return _join([*kept, _piece(rendered, position, n - 1), *moved, _piece(rendered, n - 1, n)], rendered.key)


def restore(rendered: Rendered) -> Rendered:
    """The document before `cut_out`; one without cuts comes back as it is.

    Raises:
        DataError: the cuts at the end do not fit the sentinels in place.
    """
    sentinels = np.flatnonzero((rendered.ids >= MASK_0) & (rendered.ids < MASK_0 + N_MASKS)).tolist()
    if len(sentinels) < 2:  # none, or the <mask:0> of an unconditional document
        return rendered
    n_cuts = len(sentinels) // 2
    places, moved = sentinels[:n_cuts], sentinels[n_cuts:]
    ends = np.flatnonzero(rendered.ids == EOSS).tolist()
    after = [*moved[1:], len(rendered) - 1]  # what must follow each <eoss>: the next sentinel, at last <eod>
    expected = [MASK_0 + k for k in range(n_cuts)] * 2
    if rendered.ids[sentinels].tolist() != expected or [end + 1 for end in ends] != after:
        raise DataError(f"{rendered.key}: masked spans do not match their sentinels; make the document anew")
    pieces, position = [], 0
    for place, start, stop in zip(places, moved, ends, strict=True):
        pieces += [_piece(rendered, position, place), _piece(rendered, start + 1, stop, rendered.part[place])]
        position = place + 1
    n = len(rendered)
    return _join([*pieces, _piece(rendered, position, moved[0]), _piece(rendered, n - 1, n)], rendered.key)


def filled(ids: np.ndarray) -> np.ndarray:
    """Ids of a whole document whose holes were filled -> the document with everything at its place.

    Raises:
        DataError: as `restore`.
    """
    unknown = np.zeros(len(ids), np.int16)
    return restore(Rendered(ids=ids, segment=unknown, part=unknown.astype(np.uint8))).ids


def _piece(rendered: Rendered, start: int, stop: int, part: int | None = None) -> Rendered:
    """Some of a document, as another `part` of it where one is given."""
    where = slice(start, stop)
    parts = rendered.part[where] if part is None else np.full(stop - start, part, np.uint8)
    return replace(rendered, ids=rendered.ids[where], segment=rendered.segment[where], part=parts)


def _special(id_shared: int, part: int) -> Rendered:
    return Rendered(
        ids=np.array([id_shared], np.int32), segment=np.array([-1], np.int16), part=np.array([part], np.uint8)
    )


def _join(pieces: list[Rendered], key: str) -> Rendered:
    arrays = {name: np.concatenate([getattr(p, name) for p in pieces]) for name in ("ids", "segment", "part")}
    return Rendered(**arrays, key=key)


@dataclass(frozen=True, kw_only=True)
class Hole:
    """Ids `start` to `stop` of a document's span number `span`, which are to be written anew; in EEG, whole steps.

    What a picture or an EEG lacks is as long as what comes there; of a text the model decides how long it is.
    """

    span: int
    start: int
    stop: int


def hollow(document: Document, holes: Sequence[Hole], vocabulary: Vocabulary) -> np.ndarray:
    """The document with holes, shared ids (int32) through the sentinel behind which the first hole's ids follow.

    Raises:
        DataError: no hole or too many, holes that meet, or one that is outside its span or inside a step of EEG.
    """
    rendered = render(document, vocabulary)
    if document.instruction is None or not 1 <= len(holes) <= N_MASKS:
        raise DataError(f"{len(holes)} holes in the document; expected 1 to {N_MASKS} in one that has an instruction")
    cuts = sorted(_cut(rendered, document, hole, vocabulary) for hole in holes)
    if any(before[1] > after[0] for before, after in pairwise(cuts)):
        raise DataError("two holes of the document meet; give one hole for both")
    made = cut_out(rendered, cuts)
    return made.ids[: np.flatnonzero(made.ids == MASK_0)[1] + 1]


def _cut(rendered: Rendered, document: Document, hole: Hole, vocabulary: Vocabulary) -> Cut:
    if not 0 <= hole.span < len(document.spans):
        raise DataError(f"{hole}: the document has spans 0 to {len(document.spans) - 1}")
    span = document.spans[hole.span]
    unit = vocabulary.range_of(span.modality).tokens if span.modality == "eeg" else 1
    if not 0 <= hole.start < hole.stop <= len(span.ids_local) or hole.start % unit or hole.stop % unit:
        raise DataError(
            f"{hole}: the {span.modality} has {len(span.ids_local)} ids; a hole lies inside and begins and ends at a "
            f"multiple of {unit}"
        )
    first = int(np.flatnonzero(rendered.segment == hole.span)[0])
    return first + hole.start, first + hole.stop


class Reached(NamedTuple):
    """`n_ids` ids of hole `hole` are there; -1 before its sentinel."""

    hole: int
    n_ids: int


class Filling:
    """Which ids may follow in a document whose holes are being filled, one after another.

    Args:
        holes: those of `hollow`.
        max_text: a hole in a text has at most this many ids.
    """

    def __init__(self, document: Document, holes: Sequence[Hole], vocabulary: Vocabulary, max_text: int) -> None:
        ordered = sorted(holes, key=lambda hole: (hole.span, hole.start))
        self._modalities = [document.spans[hole.span].modality for hole in ordered]
        self._sizes = [
            max_text if modality == "text" else hole.stop - hole.start
            for modality, hole in zip(self._modalities, ordered, strict=True)
        ]
        self._ranges = {
            "text": [vocabulary.text.ids],
            "image": [vocabulary.image.ids],
            "eeg": list(vocabulary.eeg_slots),
        }

    @property
    def room(self) -> int:
        """The most ids that may follow the first sentinel: bodies, marks of their ends, the other sentinels, <eod>."""
        return sum(self._sizes) + 2 * len(self._sizes)

    def start(self, prompt: Iterable[int]) -> Reached:
        """The state after what `hollow` made."""
        *_, last = prompt
        if last != MASK_0:
            raise DataError(f"the document ends in id {last}, expected <mask:0>: give what `hollow` makes")
        return Reached(0, 0)

    def allowed(self, place: Reached) -> list[range]:
        """Ranges of shared ids that may come next; empty after the end."""
        hole, n_ids = place
        if hole == len(self._sizes):
            return [range(EOD, EOD + 1)] if n_ids < 0 else []
        if n_ids < 0:
            return [range(MASK_0 + hole, MASK_0 + hole + 1)]
        end = [range(EOSS, EOSS + 1)]
        if n_ids == self._sizes[hole]:
            return end
        modality = self._modalities[hole]
        ranges = self._ranges[modality]
        return [ranges[n_ids % len(ranges)], *(end if modality == "text" and n_ids else [])]

    def advance(self, place: Reached, id_shared: int) -> Reached:
        """The state after one more id.

        Raises:
            DataError: the id is not in `allowed(place)`.
        """
        if not any(id_shared in ids for ids in self.allowed(place)):
            raise DataError(f"a hole is filled with id {id_shared}, expected {self.allowed(place)}")
        if id_shared == EOSS:
            return Reached(place.hole + 1, -1)
        return Reached(place.hole, place.n_ids + 1)

    def done(self, place: Reached) -> bool:
        """Whether every hole is filled and the document closed."""
        return place == Reached(len(self._sizes), 0)
