"""CM3's causal masking: spans are cut out, a sentinel marks each place, and they follow at the end of the document.

    <eod> ... a b c d </txt> <eod>   ->   <eod> ... a <mask:0> d </txt> <mask:0> b c <eoss> <eod>

So a causal model also learns to fill in (Aghajanyan et al. 2022, section 2.2). As in CM3Leon, a cut never crosses a
`<break>`: it lies inside the body of one span.
"""

from dataclasses import dataclass, replace

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.tokenizers.document import OUTPUT, Rendered
from neuroleon.tokenizers.vocabulary import EOSS, MASK_0, N_MASKS, Vocabulary

Cut = tuple[int, int]  # start and stop in the ids of the whole document


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How often and how much is cut: `probability` per document, at most `max_spans` cuts."""

    probability: float = 0.5
    max_spans: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"masking.probability is {self.probability}; expected 0 .. 1")
        if not 1 <= self.max_spans <= N_MASKS:
            raise ConfigError(f"masking.max_spans is {self.max_spans}; expected 1 .. {N_MASKS}")


def rotate_spans(
    rendered: Rendered, rng: np.random.Generator, vocabulary: Vocabulary, masking: Masking | None = None
) -> Rendered:
    """Cut spans out of `rendered` and append them before its last `<eod>`; `restore` undoes it.

    With `masking.probability`, clamp(Poisson(1), 1, max_spans) cuts are drawn; one that meets an earlier one, or that
    would leave neither input nor output, is dropped. An unconditional document comes back as it is: its `<mask:0>`
    already has another meaning.
    """
    masking = masking or Masking()
    if rng.random() >= masking.probability or MASK_0 in rendered.ids:
        return rendered
    n_cuts = int(np.clip(rng.poisson(1.0), 1, masking.max_spans))
    cuts: list[Cut] = []
    for _ in range(n_cuts):
        cut = _draw(rendered.segment, rng, rendered.ids, vocabulary)
        if not _meets(cut, cuts) and _leaves_something(rendered, [*cuts, cut]):
            cuts.append(cut)
    return _move(rendered, sorted(cuts))


def _draw(segment: np.ndarray, rng: np.random.Generator, ids: np.ndarray, vocabulary: Vocabulary) -> Cut:
    """A cut in a span chosen evenly, of |U1 - U2| of its length: start rounded down, end rounded, at least one unit.

    The unit is a whole step in EEG, so that what remains and what was cut both keep their slots in order; else an id.
    """
    body = np.flatnonzero(segment == rng.integers(segment.max() + 1))
    start = int(body[0])
    unit = vocabulary.eeg.tokens if ids[start] in vocabulary.eeg.ids else 1
    n_units = len(body) // unit
    low, high = np.sort(rng.random(2)) * n_units
    first = int(low)
    return start + first * unit, start + max(round(high), first + 1) * unit


def _meets(cut: Cut, others: list[Cut]) -> bool:
    return any(cut[0] < stop and start < cut[1] for start, stop in others)


def _leaves_something(rendered: Rendered, cuts: list[Cut]) -> bool:
    """False if a whole input and every output are gone: then nothing in place would tie the two together."""
    left = rendered.segment.copy()
    for start, stop in cuts:
        left[start:stop] = -1
    outputs = np.unique(rendered.segment[(rendered.segment >= 0) & (rendered.part == OUTPUT)])
    gone = set(range(rendered.segment.max() + 1)) - set(left.tolist())
    return not (gone - set(outputs.tolist()) and gone.issuperset(outputs.tolist()))


def _move(rendered: Rendered, cuts: list[Cut]) -> Rendered:
    """The document with each cut replaced by its sentinel and moved to the end; sentinels count in source order."""
    kept, moved, position = [], [], 0
    for k, (start, stop) in enumerate(cuts):
        part = rendered.part[start]
        kept += [_piece(rendered, position, start), _special(MASK_0 + k, part)]
        moved += [_special(MASK_0 + k, part), _piece(rendered, start, stop), _special(EOSS, part)]
        position = stop
    n = len(rendered)
    return _join([*kept, _piece(rendered, position, n - 1), *moved, _piece(rendered, n - 1, n)], rendered.key)


def restore(rendered: Rendered) -> Rendered:
    """The document before `rotate_spans`; one without cuts comes back as it is.

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
        pieces += [_piece(rendered, position, place), _piece(rendered, start + 1, stop)]
        position = place + 1
    n = len(rendered)
    return _join([*pieces, _piece(rendered, position, moved[0]), _piece(rendered, n - 1, n)], rendered.key)


def _piece(rendered: Rendered, start: int, stop: int) -> Rendered:
    where = slice(start, stop)
    return replace(rendered, ids=rendered.ids[where], segment=rendered.segment[where], part=rendered.part[where])


def _special(id_shared: int, part: int) -> Rendered:
    return Rendered(
        ids=np.array([id_shared], np.int32), segment=np.array([-1], np.int16), part=np.array([part], np.uint8)
    )


def _join(pieces: list[Rendered], key: str) -> Rendered:
    arrays = {name: np.concatenate([getattr(p, name) for p in pieces]) for name in ("ids", "segment", "part")}
    return Rendered(**arrays, key=key)
