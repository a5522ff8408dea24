"""A model whose truth is known (it reads a phase, as well as it is told to) and a set for it, to test the runner by."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.evaluation.results import Report, SetResult
from neuroleon.evaluation.runner import Evaluation, evaluate
from neuroleon.evaluation.stats import Comparison
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import OUTPUT, Document, Span, parse, render, task_of
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import MASK_0, Vocabulary

LABELS = ("north", "east", "south", "west")
SENTENCES = [f"The person looks to the {label}." for label in LABELS]
PHASES = np.arange(4) * np.pi / 2
CHANNELS = ("O1", "O2")


class StepMeans:
    """An EEG tokenizer: one id per 25 samples, the mean in 16 levels between -2 and 2 scales. Label = phase of 1 Hz."""

    size, tokens_per_step, fingerprint, subjects = 16, 1, "step means", ()

    def encode_windows(self, batch: list[Window]) -> list[Any]:
        means = [w.eeg_uV.mean(axis=0).reshape(-1, 25).mean(axis=1) / w.scale_uV for w in batch]
        return [SimpleNamespace(ids=np.clip((m + 2) * 4, 0, 15).astype(int), scale=3) for m in means]

    def decode_windows(self, batch: list[Any], positions: np.ndarray, ch_names: tuple[str, ...]) -> list[Window]:
        signals = [np.tile(np.repeat(self.levels(t.ids), 25) * 10, (len(ch_names), 1)) for t in batch]
        return [Window(s.astype(np.float32), ch_names, positions, 10.0) for s in signals]

    @staticmethod
    def levels(ids: np.ndarray) -> np.ndarray:
        return (np.asarray(ids) + 0.5) / 4 - 2


class Greys:
    """An image tokenizer: 4 ids of 4 greys for a picture of 8 x 8, without loss on pictures of such blocks."""

    size, tokens, fingerprint = 4, 4, "greys"

    def encode(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, 2::4, 2::4, 0].reshape(len(batch), 4).astype(int) // 85

    def decode(self, ids: np.ndarray) -> np.ndarray:
        blocks = (np.asarray(ids) * 85).astype(np.uint8).reshape(-1, 2, 2, 1)
        return blocks.repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)


PICTURES = Greys().decode(np.array([[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 0, 3]]))
TEXT = TextTokenizer.train([*SENTENCES, *LABELS], 300)
VOCABULARY = Vocabulary.of(text=TEXT, image=Greys(), eeg=StepMeans())


@cache
def ends(task: str) -> list[np.ndarray]:
    """What follows the prompt for each label."""
    images = [Span("image", ids) for ids in Greys().encode(PICTURES)]
    texts = [Span("text", np.array(i)) for i in TEXT.encode(LABELS if task == "eeg2label" else SENTENCES)]
    spans = list(zip(*({"text": texts, "image": images}[modality] for modality in TASKS[task].outputs), strict=True))
    rendered = [render(Document(task, None, outputs), VOCABULARY) for outputs in spans]
    return [r.ids[r.part == OUTPUT] for r in rendered]


class Oracle:
    """Reads the phase from the EEG ids of a prompt, and gives its label the probability `q`, the others the rest."""

    def __init__(self, q: float) -> None:
        self.q = q

    def label(self, prompt: np.ndarray) -> int | None:
        if MASK_0 in prompt:
            return None
        if task_of(prompt, VOCABULARY) == "text2image":
            told = parse(np.concatenate([prompt, ends("text2image")[0]]), VOCABULARY).spans[0]
            return SENTENCES.index(TEXT.decode([told.ids_local.tolist()])[0])
        ids = VOCABULARY.to_local("eeg", prompt[VOCABULARY.modality_ids(prompt) == 3])
        seconds = np.arange(len(ids)) / 8 + 1 / 16
        waves = np.sin(2 * np.pi * seconds + PHASES[:, None])
        return int(np.argmax(waves @ StepMeans.levels(ids)))

    def generate(self, prompts: Any, settings: Any, keys: Any) -> list[np.ndarray]:
        task = task_of(prompts[0].ids, VOCABULARY)
        return [np.concatenate([p.ids, ends(task)[self.label(p.ids) or 0]]) for p in prompts]

    def score(self, prompt: np.ndarray, continuations: Any) -> np.ndarray:
        label = self.label(prompt)
        known = [end.tobytes() for end in ends(task_of(prompt, VOCABULARY))]
        places = [known.index(c.tobytes()) for c in continuations]
        return np.log([0.25 if label is None else self.q if k == label else (1 - self.q) / 3 for k in places])


class Guesser(Oracle):
    """Answers by a hash of the prompt: sure of itself, and without any knowledge."""

    def label(self, prompt: np.ndarray) -> int | None:
        return hashlib.sha256(prompt.tobytes()).digest()[0] % 4


def toy_set(folder: Path, label_of: Callable[[int, int], int], n_recordings: int = 6, trials: int = 8) -> Path:
    """`trials` trials of two adjoining windows in each recording; a third of the recordings belongs to each split."""
    rng = np.random.default_rng(0)
    for s, split in enumerate(("train", "validation", "test")):
        records = []
        for recording in range(s, n_recordings, 3):
            for i in range(2 * trials):
                label = label_of(recording, i // 2)
                wave = np.sin(2 * np.pi * np.arange(200) / 200 + PHASES[label]) + rng.normal(0, 0.2, (2, 200))
                meta = {
                    "recipe": "toy", "subject": "s1", "recording": f"r{recording}", "group": "", "split": split,
                    "ch_names": CHANNELS, "positions": [[0.0, -1.0, 0.1], [0.1, -1.0, 0.1]], "sfreq": 200.0,
                    "scale_uV": 10.0, "label": LABELS[label], "texts": [SENTENCES[label]], "label_text": LABELS[label],
                    "question": "Where does the person look?", "image_key": LABELS[label],
                    "onset_s": float(i // 2 * 5 + i % 2),
                }  # fmt: skip
                key = f"r{recording}-{i}"
                records.append({"__key__": key, "npy": wave.astype(np.float16), "json": meta, "png": PICTURES[label]})
        write_shard(shard_path(folder, split, 0), records, required=("json", "npy"))
    write_manifest(folder)
    return folder


def model_of(engine: Any) -> Any:
    return SimpleNamespace(engine=engine, vocabulary=VOCABULARY, text=TEXT, image=Greys(), eeg=StepMeans())


def report_of(folder: Path, engine: Any, **settings: Any) -> Report:
    return evaluate(model_of(engine), Evaluation(samples=(folder,), **settings), {"model": "toy"})


def run(folder: Path, engine: Any, **settings: Any) -> SetResult:
    return report_of(folder, engine, **settings).sets[0]


def rows(result: SetResult) -> dict[str, Comparison]:
    return {c.metric: c for task in result.tasks for c in task.comparisons}
