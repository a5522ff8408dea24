"""What a tokenizer report holds, before it is written."""

from dataclasses import dataclass, field
from typing import Any

from neuroleon.evaluation.eeg.contest import CodecRow, Curve
from neuroleon.evaluation.eeg.gates import Gate
from neuroleon.evaluation.eeg.novelty import Novelty
from neuroleon.evaluation.eeg.retention import Identity, Retention
from neuroleon.evaluation.eeg.robustness import Robustness, SourceRate
from neuroleon.evaluation.tokenizers import CodeUse, Fidelity
from neuroleon.signals.window import Window


@dataclass(frozen=True, kw_only=True)
class SetFacts:
    """One set of the report. `trained` says whether the tokenizer saw its training split, None where nobody knows;
    `known` says in words whether it learned from recordings of the split."""

    recipe: str
    n_windows: int
    n_available: int
    n_trials: int
    n_recordings: int
    n_subjects: int
    channels: str
    seconds: float
    n_labels: int
    trained: bool | None
    split_by: str
    confounded: str | None
    known: str
    shards: str


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """Everything one run found; a part that was not asked for is empty.

    Attributes:
        facts: which tokenizer and settings.
        full: fidelity at all levels.
        in_use: at the levels that the tokenizer writes unless asked for others; empty where these are all.
        levels: use of the codes of each level, over all sets together.
        entropy_bits: of each set, in bits per second, of all levels.
        waveforms: name of a set, a window of it, and the window restored.
        flat: what the front-end says of a flat recording and of a flat window.
        left_out: what was not measured, and why.
        seconds: that each part took.
        cost: in words, of encoding.
    """

    facts: dict[str, Any]
    sets: tuple[SetFacts, ...]
    bits_per_second: float
    bits_in_use: float
    full: tuple[Fidelity, ...] = ()
    in_use: tuple[Fidelity, ...] = ()
    levels: tuple[CodeUse, ...] = ()
    entropy_bits: dict[str, float] = field(default_factory=dict)
    waveforms: tuple[tuple[str, Window, Window], ...] = ()
    robustness: tuple[Robustness, ...] = ()
    sources: tuple[SourceRate, ...] = ()
    novelty: tuple[Novelty, ...] = ()
    flat: tuple[str, str] | None = None
    retention: tuple[Retention, ...] = ()
    curve: Curve | None = None
    codecs: tuple[CodecRow, ...] = ()
    identity: tuple[Identity, ...] = ()
    gates: tuple[Gate, ...] = ()
    left_out: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    cost: str = ""
