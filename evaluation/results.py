"""What an evaluation found, as plain data: the measures fill it, the report shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroleon.evaluation.audit import Audit
from neuroleon.evaluation.stats import Comparison, Estimate
from neuroleon.evaluation.tokenizers import Fidelity
from neuroleon.signals.window import Window


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Which answer was given for which: `counts[condition][true][given]`, the last column for no answer of the set."""

    metric: str
    answers: tuple[str, ...]
    counts: dict[str, list[list[int]]]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often an answer of given probability is right (Guo et al. 2017): per condition and bin of the probability of
    the likeliest answer, its mean, the share that is right, and the number of windows; and the expected calibration
    error."""

    metric: str
    bins: dict[str, list[tuple[float, float, int]]]
    error: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One trial to look at: the EEG, what was the target, what came, and what came of a control. Texts or pictures."""

    window: Window
    target: np.ndarray | str
    outputs: dict[str, np.ndarray | str]
    titles: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What answers took: seconds and ids generated, answers scored, on this machine."""

    seconds: float
    n_ids: int
    n_scored: int


@dataclass(frozen=True, kw_only=True)
class WindowValues:
    """What each window's real EEG scored in one metric, by the window's key: with it two reports can be paired."""

    metric: str
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """The numbers of one task on one set, the primary one first, what was left out and why, and remarks on answers."""

    task: str
    comparisons: tuple[Comparison, ...] = ()
    remarks: tuple[str, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    reliability: Reliability | None = None
    shown: Sequence[Shown] = ()
    cost: Cost | None = None
    values: tuple[WindowValues, ...] = ()

    @property
    def primary(self) -> Comparison | None:
        """The number that the summary shows and whose p is corrected (`families.py`); None where there is none."""
        return next(iter(self.comparisons), None)


@dataclass(frozen=True, kw_only=True)
class Against:
    """The model's number `metric` of a task less a method's, paired over the windows of both, with p of no difference
    of this pair alone."""

    task: str
    metric: str
    n_windows: int
    difference: Estimate
    p: float


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """One classical method on the same trials: its accuracy beside its controls, and what it was fitted to.

    `values` is what each window's real EEG scored, by the window's key; `against`, the model less the method.
    """

    method: str
    scheme: str  # the split: `recipe`, or a scheme of cross-validation
    comparison: Comparison
    remarks: tuple[str, ...] = ()
    values: dict[str, float] = field(default_factory=dict)
    against: Against | None = None


@dataclass(frozen=True, kw_only=True)
class Person:
    """The numbers of one person's windows: what is measured -> its unit and mean on the real EEG."""

    subject: str
    n_windows: int
    n_trials: int
    numbers: dict[str, tuple[str, Estimate]]


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Bits of the true answer that go when a part of the EEG is hidden, over trials: what moved the output.

    Attributes:
        task: whose answers.
        channels: electrode -> bits lost without it; `positions` are in the order of the electrodes, (n_chans, 3), in
            head radii (x right, y front, z up).
        times_s: start of each step; `steps` the bits lost without it.
        shuffled_channels, shuffled_steps: the same with the EEG of another trial, which says nothing of this answer.
    """

    task: str
    channels: dict[str, Estimate]
    positions: np.ndarray
    times_s: tuple[float, ...]
    steps: tuple[Estimate, ...]
    shuffled_channels: dict[str, Estimate] = field(default_factory=dict)
    shuffled_steps: tuple[Estimate, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """One set: its audit, its tasks and baselines, its people where these are several, its tokenizers, and the waveform
    pair that is drawn.

    `trials` has the trial of every window that is evaluated, by the window's key.
    """

    recipe: str
    split: str
    n_available: int
    n_windows: int
    n_trials: int
    n_answers: int
    shards: str
    audit: Audit
    tasks: tuple[TaskResult, ...]
    fidelities: tuple[Fidelity, ...]
    waveforms: tuple[Window, Window]
    restored_pictures: Sequence[tuple[list[np.ndarray], list[str]]] = ()
    baselines: tuple[BaselineResult, ...] = ()
    people: tuple[Person, ...] = ()
    attribution: Attribution | None = None
    trials: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one run of evaluate.py found. `facts` say which model, data and settings."""

    facts: dict[str, Any]
    sets: tuple[SetResult, ...] = field(default=())
