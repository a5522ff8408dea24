"""One set of trials as prompts under each condition: what the model answers, and how likely it finds given answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from neuroleon.common.seed import generator
from neuroleon.decoding.engine import Prompt
from neuroleon.decoding.sampling import Sampling
from neuroleon.evaluation.controls import CONDITIONS, derangement, partners_within, phase_randomised
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
    """The trials of one set, tokenized once, as the model's input under the conditions of `controls`.

    A condition is there for the trials asked about where each of them has its input; `remarks` say which has not, and
    why. `known` are the trials of people whom the tokenizer knows, and is told.

    Args:
        bar: is advanced by one per answer and per scored prompt.

    Raises:
        DataError: too few trials to shuffle.
    """

    def __init__(self, model: ModelUnderTest, trials: TrialSet, seed: int, bar: "tqdm[Any]") -> None:
        self.model, self.trials, self.seed, self._bar = model, trials.trials, seed, bar
        everyone, key = range(len(self.trials)), (seed, trials.recipe, trials.split)
        partner = derangement(trials.clusters, generator("shuffle", *key))
        answers = [trial.answer for trial in self.trials]
        within = partners_within(answers, trials.clusters, generator("shuffle within class", *key))
        self._alike = within
        self.known = [i for i in everyone if self.trials[i].window.subject in model.eeg.subjects]
        self.tokens = encoded(self.model.eeg, [trial.window for trial in self.trials])
        real = dict(enumerate(map(span_of, self.tokens)))
        self._inputs: dict[str, dict[int, Span]] = {
            "real": real,
            "shuffled": {i: real[int(partner[i])] for i in everyone},
            "within class": {i: real[other] for i, other in within.items()},
            "before": self._spans({i: t.before for i, t in enumerate(self.trials) if t.before is not None}),
            "noise": self._spans({i: self._noise(trial) for i, trial in enumerate(self.trials)}),
            "untold": self._spans({i: replace(self.trials[i].window, subject=None) for i in self.known}),
        }
        self.remarks = _without_partner([answers[i] for i in everyone if i not in within])

    def _spans(self, windows: dict[int, Window]) -> dict[int, Span]:
        return dict(zip(windows, map(span_of, encoded(self.model.eeg, list(windows.values()))), strict=True))

    def _noise(self, trial: Trial) -> Window:
        rng = generator("noise", self.seed, trial.key)
        return replace(trial.window, eeg_uV=phase_randomised(trial.window.eeg_uV, rng))

    def conditions(self, indices: Sequence[int]) -> list[str]:
        """The conditions under which every one of these trials has an input."""
        return [c for c in CONDITIONS if c == "none" or all(i in self._inputs[c] for i in indices)]

    def _prompt(self, task: str, condition: str, i: int) -> np.ndarray:
        if condition == "none":
            return unconditional_prompt(task, self.model.vocabulary)
        words = self.trials[i].meta["question"] if TASKS[task].asks_question else TASKS[task].instructions[0]
        return self._asked(task, words, self._inputs[condition][i])

    def _asked(self, task: str, words: str, given: Span) -> np.ndarray:
        return prompt(task, self.model.text.encode([words])[0], [given], self.model.vocabulary)

    def generate(self, task: str, indices: Sequence[int], settings: Sampling) -> dict[str, list[Span]]:
        """The output span of each trial under each condition, and of `oracle` and `ceiling` where the task has them.

        Every condition of a trial has the same random numbers. Without EEG and randomness all answers are one answer.
        """
        spans = {}
        for condition in self.conditions(indices):
            same = condition == "none" and settings.temperature == 0
            wanted = list(indices[:1] if same else indices)
            prompts = [self._prompt(task, condition, i) for i in wanted]
            answers = self._answers(task, prompts, wanted, settings)
            spans[condition] = answers * len(indices) if same else answers
        return spans | self._bounds(task, indices, settings)

    def _answers(
        self, task: str, prompts: Sequence[np.ndarray], indices: Sequence[int], settings: Sampling
    ) -> list[Span]:
        without = unconditional_prompt(task, self.model.vocabulary)
        documents: list[np.ndarray] = []
        for start in range(0, len(prompts), BATCH):
            batch = [Prompt(ids=ids, unconditional=without) for ids in prompts[start : start + BATCH]]
            keys = [(self.seed, task, self.trials[i].key) for i in indices[start : start + BATCH]]
            documents += self.model.engine.generate(batch, settings, keys)
            self._bar.update(len(batch))
        return [parse(ids, self.model.vocabulary).spans[-1] for ids in documents]

    def _bounds(self, task: str, indices: Sequence[int], settings: Sampling) -> dict[str, list[Span]]:
        """What `controls` calls oracle and ceiling, for the tasks whose answer is more than a label.

        oracle: of eeg2text, the sentence of another trial of the class; of eeg2image, what the model draws for it.
        ceiling: of eeg2image, the ids of the true picture.
        """
        found: dict[str, list[Span]] = {}
        trials = [self.trials[i] for i in indices]
        alike = [self.trials[self._alike[i]] for i in indices if i in self._alike]
        sentences = [texts[0] for trial in alike if (texts := trial.meta.get("texts"))]
        if len(sentences) == len(trials) and task in ("eeg2text", "eeg2image"):
            told = self._texts(sentences)
            words = TASKS["text2image"].instructions[0]
            found["oracle"] = (
                told
                if task == "eeg2text"
                else self._answers(
                    "text2image", [self._asked("text2image", words, span) for span in told], indices, settings
                )
            )
        pictures = [trial.picture for trial in trials if trial.picture is not None]
        if task == "eeg2image" and len(pictures) == len(trials):
            found["ceiling"] = [Span("image", ids) for ids in self.model.image.encode(np.stack(pictures))]
        return found

    def _texts(self, texts: Sequence[str]) -> list[Span]:
        return [Span("text", np.array(ids)) for ids in self.model.text.encode(texts)]

    def bits(self, task: str, indices: Sequence[int], answers: Sequence[Sequence[Span]]) -> dict[str, list[np.ndarray]]:
        """log2 p of the answers given for each trial, through the end of the document, under each condition.

        Args:
            answers: for each of `indices` the spans whose probability is asked for.

        Returns:
            condition -> one array per trial, (n answers,).
        """
        conditions = self.conditions(indices)
        found: dict[str, list[np.ndarray]] = {condition: [] for condition in conditions}
        without: dict[bytes, np.ndarray] = {}  # the prompt without EEG is always the same, and so are most answers
        for i, spans in zip(indices, answers, strict=True):
            ends = [ids_of_answer(task, span, self.model.vocabulary) for span in spans]
            for condition in (c for c in conditions if c != "none"):
                found[condition].append(self._log2_p(task, condition, i, ends))
            key = np.concatenate(ends).tobytes()
            if key not in without:
                without[key] = self._log2_p(task, "none", i, ends)
            found["none"].append(without[key])
        return found

    def _log2_p(self, task: str, condition: str, i: int, ends: Sequence[np.ndarray]) -> np.ndarray:
        nats = self.model.engine.score(self._prompt(task, condition, i), ends)
        self._bar.update()
        return np.asarray(nats, dtype=np.float64) / np.log(2)


def encoded(tokenizer: EEGCodec, windows: Sequence[Window]) -> list[Any]:
    """The tokens of windows, a batch at a time."""
    starts = range(0, len(windows), BATCH)
    return [tokens for i in starts for tokens in tokenizer.encode_windows(list(windows[i : i + BATCH]))]


def span_of(tokens: Any) -> Span:
    """The tokens of a window as a span."""
    return Span("eeg", tokens.ids, tokens.scale)


def ids_of_answer(task: str, span: Span, vocabulary: Vocabulary) -> np.ndarray:
    """What an answer is after a prompt: the ids of its span through the end of the document."""
    rendered = render(Document(task, None, (span,)), vocabulary)
    return rendered.ids[rendered.part == OUTPUT]


def _without_partner(answers: Sequence[str | None]) -> tuple[str, ...]:
    alone = sorted({answer for answer in answers if answer is not None})
    return (
        (
            f"No shuffle within the class: {len(alone)} answers have one trial only here, or one that has most "
            f"of their windows, {alone[0]} for one.",
        )
        if alone
        else ()
    )
