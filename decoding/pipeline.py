"""From a model folder to answers: windows, pictures and sentences in; pictures, sentences and windows out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import read_json, sha256_file, verify_folder
from neuroleon.common.hub import local_folder
from neuroleon.decoding.engine import Engine, Prompt
from neuroleon.decoding.labels import LabelSet, load_labels
from neuroleon.decoding.rerank import evidence_of
from neuroleon.decoding.sampling import Sampling
from neuroleon.model.products import Precision
from neuroleon.model.weights import load_model
from neuroleon.retrieval.augment import before, find, render_found
from neuroleon.retrieval.encoder import Encoder
from neuroleon.retrieval.memory import Found, Guard, Memory, Retrieval, name_of
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import OUTPUT, Document, Span, parse, prompt, render, unconditional_prompt
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, EEGTokens
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.infill import Filling, Hole, filled, hollow
from neuroleon.tokenizers.tasks import TASKS, Task
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary

TEN_TWENTY = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8"),
    *("P7", "P3", "Pz", "P4", "P8", "O1", "O2"),
)
ANSWERS = 64  # that are made side by side: bounds the memory of a request for many


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One answer: what the task's outputs hold, and the whole document as shared ids.

    `evidence` is what it was chosen by where it is the best of several: nats of the EEG given this answer. `found` are
    the documents of the memory that stood before the prompt.
    """

    ids: np.ndarray
    evidence: float | None = None
    text: str | None = None
    picture: np.ndarray | None = None  # uint8 (H, W, 3)
    eeg: Window | None = None
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuroleonPipeline:
    """A trained model with its tokenizers; `preprocess` is the content of `preprocess.json`.

    `fingerprint` is the sha256 of the folder's manifest, that is, of every file in it. `retrieval` is how
    documents of a memory stood before others in training.
    """

    engine: Engine
    vocabulary: Vocabulary
    text: TextTokenizer
    image: ImageTokenizer
    eeg: EEGTokenizer
    preprocess: dict[str, Any]
    labels: Mapping[str, LabelSet]
    fingerprint: str
    retrieval: Retrieval

    @classmethod
    def load(
        cls, folder: str | Path, device: str | torch.device = "cpu", precision: Precision = "float32"
    ) -> "NeuroleonPipeline":
        """From a model folder, or a hub id such as `organisation/name` where no such folder exists; answers are made
        in `precision`.

        Raises:
            CheckpointError: absent, damaged, or its parts do not belong together.
            ConfigError: no such device, or a precision that the model cannot be read in.
        """
        _check_device(device)
        folder = local_folder(str(folder))
        verify_folder(folder)
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        text = TextTokenizer.load(folder / "tokenizers" / "text")
        image = ImageTokenizer.load(folder / "tokenizers" / "image")
        eeg = EEGTokenizer.load(folder / "tokenizers" / "eeg")
        for modality, tokenizer in (("text", text), ("image", image), ("eeg", eeg)):
            wanted = vocabulary.range_of(modality).fingerprint
            if tokenizer.fingerprint != wanted:
                raise CheckpointError(
                    f"{folder / 'tokenizers' / modality}: fingerprint {tokenizer.fingerprint[:12]}, "
                    f"vocabulary.json was made with {wanted[:12]}; put the matching tokenizer back"
                )
        model = load_model(folder, device)
        if model.n_ids != vocabulary.size:
            raise CheckpointError(
                f"{folder}: config.json has {model.n_ids} ids, vocabulary.json {vocabulary.size}; "
                "both must come from one training run"
            )
        return cls(
            engine=Engine(model, vocabulary, precision),
            vocabulary=vocabulary,
            text=text,
            image=image,
            eeg=eeg,
            preprocess=read_json(folder / "preprocess.json"),
            labels=load_labels(folder),
            fingerprint=sha256_file(folder / "manifest.json"),
            retrieval=_retrieval(folder / "training.json"),
        )

    @property
    def encoder(self) -> Encoder:
        """Of what a memory looks for."""
        return Encoder(self.vocabulary, self.eeg, self.image)

    def run(
        self,
        task: str,
        *,
        eeg: Window | None = None,
        image: np.ndarray | None = None,
        text: str | None = None,
        question: str | None = None,
        n: int = 1,
        settings: Sampling | None = None,
        seed: int = 0,
        duration_s: float | None = None,
        montage: Sequence[str] = TEN_TWENTY,
        best_of: int = 1,
        memory: Memory | None = None,
        retrieval: Retrieval | None = None,
    ) -> list[Result]:
        """`n` answers to one prompt; answer i is the same for every `n` above i.

        Args:
            task: a name of `tokenizers.tasks.TASKS`.
            eeg: microvolts at the tokenizer's rate, whole steps of 125 ms. This and the next two: those the task takes.
            image: uint8 (H, W, 3) of the tokenizer's size.
            text: a sentence.
            question: what eeg2label asks.
            settings: how ids are chosen; default `Sampling()`.
            seed: of the random numbers.
            duration_s: length of an EEG output, whole steps of 125 ms.
            montage: electrode names of an EEG output.
            best_of: each answer is, of so many, the one from which the model itself would rather expect the EEG
                (image2eeg, text2eeg): the noisy channel turned round.
            memory: documents that may be put before the prompt, those nearest to what is given; a picture that is
                given does not come back. For models whose training had `data.retrieval`.
            retrieval: how many of them, and which; default as in training.

        Raises:
            ConfigError: unknown task, an input missing or too many, a duration that is no whole number of steps, or
                the best asked for where there is no EEG to choose by.
            DataError: an input that its tokenizer refuses, or that is too long for the model.
        """
        given = {"eeg": eeg, "image": image, "text": text}
        asks = task_for(task, given)
        if asks.asks_question != bool(question):
            wants = "a question, which is not given" if asks.asks_question else "no question; leave it away"
            raise ConfigError(f"task {task} takes {wants}")
        if n < 1 or best_of < 1:
            raise ConfigError(f"n is {n}, best_of {best_of}; ask for at least 1 answer, the best of 1 or more")
        if best_of > 1 and ("eeg" not in asks.inputs or asks.asks_question):
            raise ConfigError(
                f"task {task}: the EEG chooses the best of {best_of} among pictures and sentences, as eeg2image, "
                "eeg2text and eeg2both make them; leave best_of away"
            )
        settings = settings or Sampling()
        if best_of > 1 and settings.temperature == 0:
            raise ConfigError(
                f"best_of is {best_of}, but at temperature 0 all answers are the same; give a temperature"
            )
        if memory is not None and not (asks.inputs and (retrieval or self.retrieval).documents):
            raise ConfigError(
                f"task {task} has {' and '.join(asks.inputs) or 'no input'} for documents to be like, and "
                f"{(retrieval or self.retrieval).documents} are asked for; give retrieval with 1 or more, or no memory"
            )
        begun = self._begun(asks, given, question)
        found = self._found(begun, memory, retrieval)
        asked = Prompt(
            ids=self._prompt(begun),
            unconditional=unconditional_prompt(task, self.vocabulary),
            eeg_steps=self._steps(asks, duration_s),
            before=before(render_found(found, begun, self.vocabulary)),
        )
        positions = electrode_positions(montage)
        unknown = [name for name, position in zip(montage, positions, strict=True) if np.isnan(position[:3]).any()]
        if unknown or not len(montage):
            raise DataError(f"montage: no known position for {', '.join(unknown) or 'no electrode'}; use 10-05 names")
        keys = [(seed, i) for i in range(n * best_of)]
        documents = [
            ids
            for first in range(0, len(keys), ANSWERS)
            for part in [keys[first : first + ANSWERS]]
            for ids in self.engine.generate([asked] * len(part), settings, part)
        ]
        answer = partial(self._result, positions=positions, montage=tuple(montage), found=tuple(found))
        if best_of == 1:
            return [answer(ids) for ids in documents]
        evidence = evidence_of(documents, self.engine, self.vocabulary, self.text)
        best = [max(range(i, i + best_of), key=lambda k: evidence[k]) for i in range(0, len(keys), best_of)]
        return [replace(answer(documents[k]), evidence=evidence[k]) for k in best]

    def infill(
        self, document: Document, holes: Sequence[Hole], *, n: int = 1, settings: Sampling | None = None, seed: int = 0
    ) -> list[Document]:
        """The document with other ids in its holes, `n` times: for models whose training masked spans (CM3).

        `configs/finetune.yaml` masks nothing, so the default model has hardly learned to.

        Args:
            document: all of it; what stands in the holes is not looked at.
            settings: as of `run`; `max_text` bounds each hole in a text. There is no guidance here.

        Raises:
            ConfigError: no answer asked for.
            DataError: as `infill.hollow`, or a document that is too long for the model.
        """
        if n < 1:
            raise ConfigError(f"n is {n}; ask for at least 1 answer")
        settings = settings or Sampling()
        ids = hollow(document, holes, self.vocabulary)
        asked = Prompt(ids=ids, filling=Filling(document, holes, self.vocabulary, settings.max_text))
        made = self.engine.generate([asked] * n, settings, [(seed, i) for i in range(n)])
        return [parse(filled(whole), self.vocabulary) for whole in made]

    def label_likelihoods(
        self, eeg: Window, recipe: str, memory: Memory | None = None, retrieval: Retrieval | None = None
    ) -> dict[str, float]:
        """Probability of each label of a recipe as the answer to its question, among these labels; they sum to 1.

        `memory` and `retrieval` are those of `run`.

        Raises:
            ConfigError: the model was not taught labels of that recipe.
        """
        known = self.labels.get(recipe)
        if known is None or known.question is None or not known.labels:
            raise ConfigError(f"recipe {recipe!r}: labels.json of the model has no labels and question of it")
        begun = self._begun(TASKS["eeg2label"], {"eeg": eeg}, known.question)
        found = render_found(self._found(begun, memory, retrieval), begun, self.vocabulary)
        ids = self._prompt(begun)
        answers = self.text.encode([label.text for label in known.labels.values()])
        rendered = [
            render(Document("eeg2label", None, (Span("text", np.array(answer)),)), self.vocabulary)
            for answer in answers
        ]
        nats = self.engine.score(
            np.concatenate([before(found), ids]), [answer.ids[answer.part == OUTPUT] for answer in rendered]
        )
        probs = np.exp(nats - nats.max())
        return dict(zip(known.labels, (probs / probs.sum()).tolist(), strict=True))

    def recipe_of(self, question: str) -> str | None:
        """The recipe that asks `question`, or None."""
        return next((recipe for recipe, labels in self.labels.items() if labels.question == question), None)

    def _begun(self, task: Task, given: Mapping[str, Any], question: str | None) -> Document:
        """A document whose outputs are still to come."""
        words = question if task.asks_question else task.instructions[0]
        spans = [self._span(modality, given[modality]) for modality in task.inputs]
        return Document(task.name, np.array(self.text.encode([str(words)])[0]), tuple(spans))

    def _prompt(self, begun: Document) -> np.ndarray:
        assert begun.instruction is not None, "a prompt has a condition"
        return prompt(begun.task, begun.instruction, begun.spans, self.vocabulary)

    def _found(self, begun: Document, memory: Memory | None, retrieval: Retrieval | None) -> list[Found]:
        """What the memory has that is near to the inputs of a document."""
        if memory is None:
            return []
        given = frozenset(name_of(span.ids_local) for span in begun.spans if span.modality == "image")
        return find(memory, begun, retrieval or self.retrieval, Guard(pictures=given))

    def _span(self, modality: str, value: Any) -> Span:
        if modality == "eeg":
            tokens = self.eeg.encode_windows([value])[0]
            return Span("eeg", tokens.ids, tokens.scale)
        if modality == "image":
            return Span("image", self.image.encode(value[None])[0])
        return Span("text", np.array(self.text.encode([value])[0]))

    def _steps(self, task: Task, duration_s: float | None) -> int | None:
        if "eeg" not in task.outputs:
            if duration_s is not None:
                raise ConfigError(f"task {task.name} makes no EEG; leave its duration away")
            return None
        if duration_s is None:
            raise ConfigError(f"task {task.name} makes EEG; give its duration in seconds")
        steps = round(duration_s / self.eeg.step_s)
        if steps < 1 or abs(steps * self.eeg.step_s - duration_s) > 1e-6:
            raise ConfigError(f"duration is {duration_s} s; EEG comes in whole steps of {self.eeg.step_s} s")
        return steps

    def _result(
        self, ids: np.ndarray, positions: np.ndarray, montage: tuple[str, ...], found: tuple[Found, ...]
    ) -> Result:
        document = parse(ids, self.vocabulary)
        outputs: dict[str, Any] = {}
        for span in document.spans[-len(TASKS[document.task].outputs) :]:
            if span.modality == "text":
                outputs["text"] = self.text.decode([span.ids_local.tolist()])[0]
            elif span.modality == "image":
                outputs["picture"] = self.image.decode(span.ids_local[None])[0]
            else:
                tokens = EEGTokens(span.ids_local, span.scale or 0)
                outputs["eeg"] = self.eeg.decode_windows([tokens], positions, montage)[0]
        return Result(ids=ids, found=found, **outputs)


def _retrieval(path: Path) -> Retrieval:
    """`data.retrieval` of a model's training; none where it is not told."""
    settings = read_json(path).get("settings", {}) if path.is_file() else {}
    return Retrieval(**settings.get("data", {}).get("retrieval", {}))


def task_for(name: str, given: Mapping[str, object]) -> Task:
    """The task called `name`, when exactly its inputs are given (are not None, by modality).

    Raises:
        ConfigError: no such task, an input missing, or one too many.
    """
    if name not in TASKS:
        raise ConfigError(f"task {name!r}: there is none of that name; choose one of {', '.join(TASKS)}")
    task = TASKS[name]
    present = {modality for modality, value in given.items() if value is not None}
    if missing := [modality for modality in task.inputs if modality not in present]:
        raise ConfigError(f"task {name} needs {' and '.join(task.inputs)}; {missing[0]} is not given (--{missing[0]})")
    if extra := sorted(present - set(task.inputs)):
        raise ConfigError(f"task {name} takes {' and '.join(task.inputs) or 'no input'}; leave {extra[0]} away")
    if given.get("text") == "":
        raise ConfigError(f"task {name}: the text is empty; give at least one word")
    return task


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), "not usable")
        raise ConfigError(f"device {str(device)!r}: {reason}; use cpu") from None
