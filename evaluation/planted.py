"""A set whose answer is known: a response planted in real EEG, so that the label's information has an exact value, and
the observer that reads all of it. What the suite finds for this observer must be what was planted.

In the spatially whitened background each of M labels has a pulse of unit norm at a time of its own, all along one
spatial direction. The background's M coordinates along these pulses are replaced by independent Gaussian noise of the
variance that they had, and the label's own is raised by `snr` standard deviations; all other directions stay as they
were recorded. Labels are drawn without looking at the background, so these coordinates hold all there is to know, and
the information is that of M orthogonal signals in Gaussian noise, whatever law the EEG has:

    I = log2 M - E log2 sum_j exp(snr (z_j - z_k)),  z_j ~ N(snr [j = k], 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.evaluation.stats import Estimate
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import OUTPUT, Document, Span, render
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import MASK_0, Vocabulary

NAMES = ("north", "east", "south", "west")
N_DRAWS = 1_000_000
N_LEVELS, LARGEST = 4096, 16.0  # coordinates as ids: steps of 0.008 standard deviations, whose loss is below 1e-4 bits
PER_RECORDING = 25  # windows


def information(n_labels: int, snr: float) -> tuple[Estimate, float]:
    """Bits that a label and its EEG share, with the error of the sampling, and the accuracy of the best observer."""
    z = generator("information", n_labels).normal(size=(N_DRAWS, n_labels))
    z[:, 0] += snr
    losses = np.logaddexp.reduce(snr * (z - z[:, :1]), axis=1) / np.log(2)
    bits, error = np.log2(n_labels) - losses.mean(), 1.96 * losses.std() / np.sqrt(N_DRAWS)
    return Estimate(mean=bits, low=bits - error, high=bits + error), float(np.mean(z.argmax(axis=1) == 0))


class Plant:
    """The responses of `n_labels` labels, made for a background.

    Raises:
        DataError: windows of different shapes, or as many labels as NAMES has not.
    """

    def __init__(self, background: Sequence[Window], n_labels: int) -> None:
        shapes = {window.eeg_uV.shape for window in background}
        if len(shapes) != 1 or not 2 <= n_labels <= len(NAMES):
            raise DataError(f"planted set: {n_labels} labels, windows of {sorted(shapes)}; give 2 to 4, and one shape")
        eeg_uV = np.stack([window.eeg_uV for window in background]).astype(np.float64)
        covariance = np.einsum("nct,ndt->cd", eeg_uV, eeg_uV) / (len(eeg_uV) * eeg_uV.shape[2])
        variances, vectors = np.linalg.eigh(covariance)
        kept = variances > 1e-6 * variances[-1]  # an average reference takes one direction away
        direction = np.full(kept.sum(), kept.sum() ** -0.5)
        self.filter = direction @ (vectors[:, kept] / np.sqrt(variances[kept])).T  # (n_chans,)
        self.pattern = (vectors[:, kept] * np.sqrt(variances[kept])) @ direction  # (n_chans,), filter @ pattern = 1
        self.pulses = _pulses(n_labels, eeg_uV.shape[2])
        self.sd = float(np.std(self.filter @ eeg_uV @ self.pulses.T))

    def coordinates(self, eeg_uV: np.ndarray) -> np.ndarray:
        """Along each label's response (n_labels,), in standard deviations of the background."""
        return self.filter @ eeg_uV.astype(np.float64) @ self.pulses.T / self.sd

    def response_uV(self, coordinates: np.ndarray) -> np.ndarray:
        """The EEG (n_chans, n_times) that has these coordinates and nothing else."""
        return np.outer(self.pattern, self.sd * coordinates @ self.pulses)

    def planted_uV(self, eeg_uV: np.ndarray, label: int, snr: float, rng: np.random.Generator) -> np.ndarray:
        """The background with the response of `label`: microvolts (n_chans, n_times), float32."""
        wanted = rng.normal(size=len(self.pulses))
        wanted[label] += snr
        return (eeg_uV + self.response_uV(wanted - self.coordinates(eeg_uV))).astype(np.float32)


def _pulses(n_labels: int, n_times: int) -> np.ndarray:
    """Half sines one after the other, orthonormal: (n_labels, n_times)."""
    width = n_times // n_labels
    pulses = np.zeros((n_labels, n_times))
    for k in range(n_labels):
        pulses[k, k * width : (k + 1) * width] = np.sin(np.pi * (np.arange(width) + 0.5) / width)
    return pulses / np.linalg.norm(pulses, axis=1, keepdims=True)


def write_set(
    folder: Path, background: Sequence[Window], plant: Plant, snr: float, seed: int, labels: Sequence[int] | None = None
) -> Path:
    """Write sample shards of the background with responses: one recording in four is of the train split.

    Each 25 windows are a recording. `labels` (one per window) are in turn and shuffled unless they are given.
    """
    rng, n_labels = generator("planted", seed), len(plant.pulses)
    if labels is None:
        labels = rng.permutation(np.arange(len(background)) % n_labels).tolist()
    records: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for i, (window, label) in enumerate(zip(background, labels, strict=True)):
        recording = i // PER_RECORDING
        split = "test" if recording % 4 else "train"
        eeg_uV = plant.planted_uV(window.eeg_uV, label, snr, rng)
        meta = {
            "recipe": "planted", "subject": "s1", "recording": f"r{recording}", "group": "", "split": split,
            "ch_names": list(window.ch_names), "positions": window.positions.tolist(), "sfreq": window.sfreq,
            "scale_uV": window.scale_uV, "label": NAMES[label], "label_text": NAMES[label], "texts": [],
            "question": "Which way?", "image_key": None, "onset_s": 10.0 * (i % PER_RECORDING),
        }  # fmt: skip
        if window.background is not None:
            meta["background"] = list(window.background)
        record = {"__key__": f"r{recording}-{i}", "npy": (eeg_uV / window.scale_uV).astype(np.float16), "json": meta}
        records[split].append(record)
    for split, found in records.items():
        write_shard(shard_path(folder, split, 0), found, required=("json", "npy"))
    write_manifest(folder)
    return folder


@dataclass(frozen=True)
class Observer:
    """The ideal observer as a model under test: its EEG ids are the coordinates, its answers the true posterior.

    `snr` is what it believes; where more or less was planted, it is no longer ideal.
    """

    plant: Plant
    snr: float
    fingerprint = "coordinates"
    image = SimpleNamespace(size=1, tokens=1, fingerprint="no pictures")

    @property
    def tokens_per_step(self) -> int:
        return len(self.plant.pulses)

    @property
    def size(self) -> int:
        return N_LEVELS * self.tokens_per_step

    @property
    def engine(self) -> "Observer":
        return self

    @property
    def eeg(self) -> "Observer":
        return self

    @cached_property
    def text(self) -> TextTokenizer:
        return TextTokenizer.train(NAMES, 256)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of(text=self.text, image=self.image, eeg=self)

    @cached_property
    def _ends(self) -> list[np.ndarray]:
        """What follows a prompt of eeg2label, for each label."""
        spans = [Span("text", np.array(ids)) for ids in self.text.encode(NAMES[: len(self.plant.pulses)])]
        rendered = [render(Document("eeg2label", None, (span,)), self.vocabulary) for span in spans]
        return [r.ids[r.part == OUTPUT] for r in rendered]

    @property
    def subjects(self) -> tuple[str, ...]:
        """People whom it knows: none, their responses are planted."""
        return ()

    def encode_windows(self, batch: list[Window]) -> list[Any]:
        """Each coordinate as one id."""
        slots = N_LEVELS * np.arange(len(self.plant.pulses))
        found = np.stack([self.plant.coordinates(window.eeg_uV) for window in batch])
        levels = np.clip((found / LARGEST + 1) / 2 * N_LEVELS, 0, N_LEVELS - 1).astype(int)
        return [SimpleNamespace(ids=ids, scale=0) for ids in slots + levels]

    def decode_windows(self, batch: list[Any], positions: np.ndarray, ch_names: tuple[str, ...]) -> list[Window]:
        """The responses with these coordinates."""
        return [
            Window(self.plant.response_uV(self._values(tokens.ids)).astype(np.float32), ch_names, positions, 1.0)
            for tokens in batch
        ]

    def _values(self, ids: np.ndarray) -> np.ndarray:
        return ((np.asarray(ids) % N_LEVELS + 0.5) / N_LEVELS * 2 - 1) * LARGEST

    def _log_posterior(self, prompt_ids: np.ndarray) -> np.ndarray:
        ids = self.vocabulary.to_local("eeg", prompt_ids[self.vocabulary.modality_ids(prompt_ids) == 3])
        evidence = np.zeros(len(self.plant.pulses)) if MASK_0 in prompt_ids else self.snr * self._values(ids)
        return evidence - np.logaddexp.reduce(evidence)

    def generate(self, prompts: Sequence[Any], settings: Any, keys: Any) -> list[np.ndarray]:
        """The likeliest label after each prompt."""
        return [np.concatenate([p.ids, self._ends[int(self._log_posterior(p.ids).argmax())]]) for p in prompts]

    def score(self, prompt_ids: np.ndarray, continuations: Sequence[np.ndarray]) -> np.ndarray:
        """Nats of each label that is asked for."""
        known = [end.tobytes() for end in self._ends]
        return self._log_posterior(prompt_ids)[[known.index(end.tobytes()) for end in continuations]]
