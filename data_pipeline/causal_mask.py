"""CM3's causal masking: spans are cut out, a sentinel marks each place, and they follow at the end of the document.

    <eod> ... a b c d </txt> <eod>   ->   <eod> ... a <mask:0> d </txt> <mask:0> b c <eoss> <eod>

So a causal model also learns to fill in (Aghajanyan et al. 2022, section 2.2). As in CM3Leon, a cut never crosses a
`<break>`: it lies inside the body of one span.
"""

from dataclasses import dataclass

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.document import OUTPUT, Rendered
from neuroleon.tokenizers.infill import Cut, cut_out
from neuroleon.tokenizers.vocabulary import MASK_0, N_MASKS, Vocabulary


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
    """Cut spans out of `rendered` and append them before its last `<eod>`; `infill.restore` undoes it.

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
    return cut_out(rendered, sorted(cuts))


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
