"""One set of trials as prompts under each condition: what the model answers, and how likely it finds given answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from neuroleon.common.seed import generator
from neuroleon.decoding.engine import Prompt
from neuroleon.decoding.sampling import Sampling
from neuroleon.evaluation.controls import CONDITIONS, derangement, phase_randomised
from neuroleon.evaluation.tokenizers import EEGCodec, ImageCodec
from neuroleon.evaluation.trials import Trial, TrialSet
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import OUTPUT, Document, Span, parse, prompt, render, unconditional_prompt
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary

BATCH = 32


class Scorer(Protocol):
    """What is needed of `decoding.engine.Engine`: whole documents from prompts, and nats of given continuations."""

    def generate(
        self, prompts: Sequence[Prompt], settings: Sampling, keys: Sequence[tuple[int | str, ...]]
    ) -> list[np.ndarray]: ...
    def score(self, prompt_ids: np.ndarray, continuations: Sequence[np.ndarray]) -> np.ndarray: ...


class ModelUnderTest(Protocol):
    """A model with its own tokenizers, so that ids and weights fit: `decoding.pipeline.NeuroleonPipeline`."""

    @property
    def engine(self) -> Scorer: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def text(self) -> TextTokenizer: ...
    @property
    def image(self) -> ImageCodec: ...
    @property
    def eeg(self) -> EEGCodec: ...


class Feed:
    """The trials of one set, tokenized once, as the model's input under the four conditions of `controls`.

    Args:
        bar: is advanced by one per answer and per scored prompt with EEG in it.

    Raises:
        DataError: too few trials to shuffle.
    """

    def __init__(self, model: ModelUnderTest, trials: TrialSet, seed: int, bar: "tqdm[Any]") -> None:
        self.model, self.trials, self.seed, self._bar = model, trials.trials, seed, bar
        partner = derangement(trials.clusters, generator("shuffle", seed, trials.recipe, trials.split))
        self.tokens = self._encode([trial.window for trial in trials.trials])
        noise = self._encode([self._noise(trial) for trial in trials.trials])
        spans = [Span("eeg", tokens.ids, tokens.scale) for tokens in self.tokens]
        self._inputs = {
            "real": spans,
            "shuffled": [spans[i] for i in partner],
            "noise": [Span("eeg", tokens.ids, tokens.scale) for tokens in noise],
        }

    def _encode(self, windows: Sequence[Window]) -> list[Any]:
        starts = range(0, len(windows), BATCH)
        return [tokens for i in starts for tokens in self.model.eeg.encode_windows(list(windows[i : i + BATCH]))]

    def _noise(self, trial: Trial) -> Window:
        rng = generator("noise", self.seed, trial.key)
        return replace(trial.window, eeg_uV=phase_randomised(trial.window.eeg_uV, rng))

    def _prompt(self, task: str, condition: str, i: int) -> np.ndarray:
        if condition == "none":
            return unconditional_prompt(task, self.model.vocabulary)
        words = self.trials[i].meta["question"] if TASKS[task].asks_question else TASKS[task].instructions[0]
        instruction = self.model.text.encode([words])[0]
        return prompt(task, instruction, [self._inputs[condition][i]], self.model.vocabulary)

    def generate(self, task: str, indices: Sequence[int], settings: Sampling) -> dict[str, list[Span]]:
        """The output span of each trial under each condition.

        Every condition of a trial has the same random numbers. Without EEG and randomness all answers are one answer.
        """
        spans = {}
        for condition in CONDITIONS:
            same = condition == "none" and settings.temperature == 0
            wanted = list(indices[:1] if same else indices)
            answers = [
                span for start in range(0, len(wanted), BATCH)
                for span in self._answers(task, condition, wanted[start : start + BATCH], settings)
            ]  # fmt: skip
            spans[condition] = answers * len(indices) if same else answers
        return spans

    def _answers(self, task: str, condition: str, indices: Sequence[int], settings: Sampling) -> list[Span]:
        without = unconditional_prompt(task, self.model.vocabulary)
        prompts = [Prompt(ids=self._prompt(task, condition, i), unconditional=without) for i in indices]
        keys = [(self.seed, task, self.trials[i].key) for i in indices]
        documents = self.model.engine.generate(prompts, settings, keys)
        self._bar.update(len(indices) * (condition != "none"))
        return [parse(ids, self.model.vocabulary).spans[-1] for ids in documents]

    def bits(self, task: str, indices: Sequence[int], answers: Sequence[Sequence[Span]]) -> dict[str, list[np.ndarray]]:
        """log2 p of the answers given for each trial, through the end of the document, under each condition.

        Args:
            answers: for each of `indices` the spans whose probability is asked for.

        Returns:
            condition -> one array per trial, (n answers,).
        """
        found: dict[str, list[np.ndarray]] = {condition: [] for condition in CONDITIONS}
        without: dict[bytes, np.ndarray] = {}  # the prompt without EEG is always the same, and so are most answers
        for i, spans in zip(indices, answers, strict=True):
            ends = [self._end(task, span) for span in spans]
            for condition in CONDITIONS[:-1]:
                found[condition].append(self._log2_p(task, condition, i, ends))
            key = np.concatenate(ends).tobytes()
            if key not in without:
                without[key] = self._log2_p(task, "none", i, ends)
            found["none"].append(without[key])
        return found

    def _log2_p(self, task: str, condition: str, i: int, ends: Sequence[np.ndarray]) -> np.ndarray:
        nats = self.model.engine.score(self._prompt(task, condition, i), ends)
        self._bar.update(condition != "none")
        return np.asarray(nats, dtype=np.float64) / np.log(2)

    def _end(self, task: str, span: Span) -> np.ndarray:
        rendered = render(Document(task, None, (span,)), self.model.vocabulary)
        return rendered.ids[rendered.part == OUTPUT]
