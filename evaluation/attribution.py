"""What moved the output: bits of the true answer that go when a part of the EEG is hidden (occlusion).

An electrode is hidden by leaving it out: the tokenizer reads any montage, and what is missing is not there. What its
neighbours also carry is then not lost, so this is what the electrode alone tells.

A step of time cannot be left out. It holds the EEG of the same step of a few other trials, so that it looks like EEG of
the set and knows nothing of the answer, and the probability is averaged over these (prediction difference, Robnik-
Sikonja and Kononenko 2008; Zintgraf et al. 2017, eq. 2):

    bits lost = log2 p(answer | EEG) - log2 mean_k p(answer | EEG with the step of trial k)

Both are hidden before tokenizing. Ids of a step may know of all EEG before it (the semantic levels do): exchanging ids
alone blamed the last steps of `cvep20`, wherever in the window the answer came from.

The losses of parts do not add up to what the whole EEG tells: what two parts both carry is lost with neither. The
control is the same with the EEG of another trial: it says nothing of the answer, so hiding a part loses nothing. Where
the model is sure of a wrong answer it even gains: the numbers of the control may lie below 0, not above it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.controls import derangement
from neuroleon.evaluation.feed import ModelUnderTest, encoded, ids_of_answer, span_of
from neuroleon.evaluation.results import Attribution
from neuroleon.evaluation.stats import Estimate, bootstrap_ci
from neuroleon.evaluation.trials import Trial, TrialSet
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import Span, prompt
from neuroleon.tokenizers.tasks import TASKS

DRAWS = 3  # other trials that lend a step
ANSWERS = ("eeg2label", "eeg2text", "eeg2image")


def attribution(
    model: ModelUnderTest, trials: TrialSet, task: str, indices: Sequence[int], seed: int, bar: "tqdm[Any]"
) -> Attribution:
    """Bits of the true answer of the trials `indices` lost without each electrode and without each step, over trials.

    Args:
        task: eeg2label (the text of the true label), eeg2text (the first sentence of the trial) or eeg2image.
        bar: is lengthened by what is to be scored, 1 + 3 n_steps + n_chans prompts twice per trial, and advanced.

    Raises:
        ConfigError: another task.
        DataError: a trial without a label or without what the task answers with; or too few trials for an interval.
    """
    if task not in ANSWERS:
        raise ConfigError(f"attribution: no answer of task {task!r} is known; expected one of {', '.join(ANSWERS)}")
    asker = _Asker(model, trials, task, indices)
    partner = derangement(trials.clusters, generator("shuffle", seed, trials.recipe, trials.split))  # as in `feed`
    lost = {"real": _Lost(), "shuffled": _Lost()}
    pairs = [(i, int(source)) for i in indices for source in (i, partner[i])]
    bar.total = (bar.total or 0) + sum(asker.work(source) for _, source in pairs)
    for i, source in pairs:
        into = lost["real" if source == i else "shuffled"]
        donors = asker.donors(source, {trials.clusters[i], trials.clusters[partner[i]]}, seed)
        whole = asker.bits(i, asker.spans[source])
        for step, prompts in enumerate(asker.without_steps(source, donors)):
            found = [asker.bits(i, one) for one in prompts]
            into.steps[step].append((whole - _log2_mean(found), trials.clusters[i]))
        for name, one in asker.without_channels(source):
            into.channels[name].append((whole - asker.bits(i, one), trials.clusters[i]))
        bar.update(asker.work(source))
    return _result(task, trials, indices, lost, asker.step_s(indices[0]), seed)


class _Lost:
    """(bits lost, trial) of every window, for each electrode and for each step."""

    def __init__(self) -> None:
        self.channels: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self.steps: dict[int, list[tuple[float, str]]] = defaultdict(list)


class _Asker:
    """Bits of each trial's true answer after any EEG; the EEG of every trial, whole or with a part hidden."""

    def __init__(self, model: ModelUnderTest, trials: TrialSet, task: str, indices: Sequence[int]) -> None:
        self._model, self._trials, self._task = model, trials, task
        self.spans = self._encoded([trial.window for trial in trials.trials])
        self._ends = {i: _end(model, trials.trials[i], task) for i in indices}

    def n_steps(self, i: int) -> int:
        return len(self.spans[i].ids_local) // self._model.eeg.tokens_per_step

    def step_s(self, i: int) -> float:
        window = self._trials.trials[i].window
        return window.eeg_uV.shape[1] / window.sfreq / self.n_steps(i)

    def work(self, i: int) -> int:
        """Prompts that are scored for one window."""
        return 1 + DRAWS * self.n_steps(i) + _n_left_out(self._trials.trials[i].window)

    def bits(self, i: int, eeg: Span) -> float:
        """log2 p of the true answer of trial `i` after some EEG."""
        words = self._trials.trials[i].meta["question"] if TASKS[self._task].asks_question else None
        instruction = self._model.text.encode([words or TASKS[self._task].instructions[0]])[0]
        ids = prompt(self._task, instruction, [eeg], self._model.vocabulary)
        return float(self._model.engine.score(ids, [self._ends[i]])[0] / np.log(2))

    def donors(self, i: int, not_of: set[str], seed: int) -> list[int]:
        """A few windows with the electrodes and the length of window `i`, of none of the trials `not_of`, if any."""
        clusters, kind = self._trials.clusters, self._kind(i)
        able = [k for k in range(len(clusters)) if clusters[k] not in not_of and self._kind(k) == kind]
        rng = generator("attribution", seed, self._trials.trials[i].key)
        return [able[k] for k in rng.permutation(len(able))[:DRAWS]]

    def _kind(self, i: int) -> tuple[Any, ...]:
        window = self._trials.trials[i].window
        return window.ch_names, window.eeg_uV.shape

    def without_steps(self, i: int, donors: Sequence[int]) -> Iterator[list[Span]]:
        """For each step, the EEG of window `i` with that of each donor in this step, on the scale of window `i`."""
        window, *others = (self._trials.trials[k].window for k in (i, *donors))
        length = window.eeg_uV.shape[1] // self.n_steps(i)
        for start in range(0, length * self.n_steps(i) if donors else 0, length):
            yield self._encoded([_with_step_of(window, other, slice(start, start + length)) for other in others])

    def without_channels(self, i: int) -> Iterator[tuple[str, Span]]:
        """For each electrode, its name and the EEG of window `i` that was recorded without it."""
        window = self._trials.trials[i].window
        left_out = [_without(window, k) for k in range(_n_left_out(window))]
        yield from zip(window.ch_names[: len(left_out)], self._encoded(left_out), strict=True)

    def _encoded(self, windows: Sequence[Window]) -> list[Span]:
        return list(map(span_of, encoded(self._model.eeg, windows)))


def _end(model: ModelUnderTest, trial: Trial, task: str) -> np.ndarray:
    """The ids of a trial's true answer, through the end of the document."""
    if trial.meta.get("label") is None:
        raise DataError(f"{trial.key}: has no label; attribution is for sets with labels, leave --attribution away")
    if task == "eeg2image":
        if trial.picture is None:
            raise DataError(f"{trial.key}: has no picture, which {task} answers with; attribute another task")
        span = Span("image", model.image.encode(trial.picture[None])[0])
    else:
        text = trial.meta["label_text"] if task == "eeg2label" else next(iter(trial.meta["texts"]), None)
        if text is None:
            raise DataError(f"{trial.key}: has no sentence, which {task} answers with; attribute another task")
        span = Span("text", np.array(model.text.encode([text])[0]))
    return ids_of_answer(task, span, model.vocabulary)


def _n_left_out(window: Window) -> int:
    """Electrodes that can be left out: all, unless there is only one."""
    n_chans = len(window.ch_names)
    return n_chans if n_chans > 1 else 0


def _without(window: Window, channel: int) -> Window:
    kept = np.arange(len(window.ch_names)) != channel
    names = tuple(name for k, name in enumerate(window.ch_names) if k != channel)
    return replace(window, eeg_uV=window.eeg_uV[kept], ch_names=names, positions=window.positions[kept])


def _with_step_of(window: Window, other: Window, step: slice) -> Window:
    eeg_uV = window.eeg_uV.copy()
    eeg_uV[:, step] = other.eeg_uV[:, step] * np.float32(window.scale_uV / other.scale_uV)
    return replace(window, eeg_uV=eeg_uV)


def _log2_mean(bits: Sequence[float]) -> float:
    """log2 of the mean of probabilities that are given as bits."""
    return float(np.logaddexp2.reduce(bits) - np.log2(len(bits)))


def _middle(place: np.ndarray) -> np.ndarray:
    """Where a channel is drawn: its electrode; a bipolar derivation between its two, if both are known."""
    return place[:3] if len(place) == 3 or np.isnan(place[3:]).any() else (place[:3] + place[3:]) / 2


def _estimates(found: dict[Any, list[tuple[float, str]]], seed: int) -> dict[Any, Estimate]:
    """The mean over windows with its interval over trials, of what two trials have at least."""
    columns = {
        name: (np.array([v for v, _ in pairs]), np.array([t for _, t in pairs])) for name, pairs in found.items()
    }
    return {name: bootstrap_ci(v, t, seed=seed) for name, (v, t) in columns.items() if len(np.unique(t)) > 1}


def _result(
    task: str, trials: TrialSet, indices: Sequence[int], lost: dict[str, _Lost], step_s: float, seed: int
) -> Attribution:
    windows = [trials.trials[i].window for i in indices]
    places = {n: _middle(p) for w in windows for n, p in zip(w.ch_names, w.positions, strict=True)}
    channels, controls = (_estimates(lost[c].channels, seed) for c in ("real", "shuffled"))
    steps, step_controls = (_estimates(lost[c].steps, seed) for c in ("real", "shuffled"))
    both = sorted(steps.keys() & step_controls.keys())
    if not both:
        raise DataError(
            f"{trials.recipe}: no step of EEG can be taken from a third trial with the same electrodes and length; "
            "evaluate more trials (--limit, --attribution-trials)"
        )
    return Attribution(
        task=task,
        channels=channels,
        positions=np.array([places[name] for name in channels]).reshape(-1, 3),
        times_s=tuple(step * step_s for step in both),
        steps=tuple(steps[step] for step in both),
        shuffled_channels=controls,
        shuffled_steps=tuple(step_controls[step] for step in both),
        remarks=(
            f"{len(indices)} windows of {len(np.unique(trials.clusters[list(indices)]))} trials. An interval is of one "
            "electrode or step, not corrected for their number.",
            "An electrode is left out before tokenizing: what its neighbours carry too is not lost. A step holds the "
            f"EEG of {DRAWS} other trials in turn, and the probabilities are averaged.",
            "Losses do not add up: what two parts both carry is lost with neither. Below 0, hiding helped: with "
            "shuffled EEG, where the model is sure of a wrong answer.",
        ),
    )
