"""What the tokenizers themselves lose: a model can never answer from what its ids do not carry."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.metrics import psnr_db, usage_and_perplexity
from neuroleon.evaluation.stats import Estimate, bootstrap_ci
from neuroleon.signals.window import Window


class EEGCodec(Protocol):
    """What is needed of `tokenizers.eeg.tokenizer.EEGTokenizer`; a token list has `.ids` and `.scale`."""

    @property
    def size(self) -> int: ...
    @property
    def tokens_per_step(self) -> int: ...
    @property
    def subjects(self) -> tuple[str, ...]: ...
    def encode_windows(self, batch: list[Window]) -> list[Any]: ...
    def decode_windows(self, batch: list[Any], positions: np.ndarray, ch_names: tuple[str, ...]) -> list[Window]: ...


class ImageCodec(Protocol):
    """What is needed of `tokenizers.image.ImageTokenizer`."""

    @property
    def size(self) -> int: ...
    def encode(self, batch: np.ndarray) -> np.ndarray: ...
    def decode(self, ids: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class CodeUse:
    """How much of a codebook occurs in `n_tokens` ids; `perplexity` is at most `size`, and at most `n_tokens`."""

    name: str
    size: int
    n_tokens: int
    used: float
    perplexity: float


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Measures of one tokenizer on one set: name -> mean over windows or pictures, with interval."""

    modality: str
    recipe: str
    n: int
    measures: dict[str, Estimate]
    codes: tuple[CodeUse, ...]


def restore(tokenizer: EEGCodec, windows: Sequence[Window], tokens: Sequence[Any]) -> list[Window]:
    """Decode each window's tokens at the window's own electrodes.

    Raises:
        DataError: the tokenizer gave back another shape than it was given.
    """
    montages: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, window in enumerate(windows):
        montages[window.ch_names, window.positions.tobytes()].append(i)
    restored: dict[int, Window] = {}
    for members in montages.values():
        first = windows[members[0]]
        decoded = tokenizer.decode_windows([tokens[i] for i in members], first.positions, first.ch_names)
        restored |= dict(zip(members, decoded, strict=True))
    for i, window in enumerate(windows):
        if restored[i].eeg_uV.shape != window.eeg_uV.shape:
            raise DataError(
                f"EEG tokenizer: gave back {restored[i].eeg_uV.shape} for a window of {window.eeg_uV.shape}; "
                "cut windows of whole 125 ms steps"
            )
    return [restored[i] for i in range(len(windows))]


def over_windows(values: Sequence[float] | np.ndarray, clusters: np.ndarray, seed: int) -> Estimate:
    """The mean of what is finite, with its interval over trials; over windows, where all are of one trial."""
    array = np.array(values)
    finite = np.isfinite(array)  # a flat channel correlates with nothing
    array, clusters = array[finite], clusters[finite]
    one_trial = len(np.unique(clusters)) == 1
    return bootstrap_ci(array, np.arange(len(array)) if one_trial else clusters, seed=seed)


def image_fidelity(tokenizer: ImageCodec, recipe: str, pictures: np.ndarray, seed: int) -> tuple[Fidelity, np.ndarray]:
    """PSNR and code use over distinct pictures uint8 (n, H, W, 3), n at least 2; and the restored pictures."""
    ids = np.asarray(tokenizer.encode(pictures))
    restored = np.asarray(tokenizer.decode(ids))
    psnr = np.array([psnr_db(a, b) for a, b in zip(pictures, restored, strict=True)])
    fidelity = Fidelity(
        modality="image",
        recipe=recipe,
        n=len(pictures),
        measures={"PSNR (dB)": bootstrap_ci(psnr, np.arange(len(psnr)), seed=seed)},
        codes=(code_use("codebook", ids.reshape(-1), tokenizer.size),),
    )
    return fidelity, restored


def code_use(name: str, ids: np.ndarray, size: int) -> CodeUse:
    """How the ids 0 .. size - 1 are used in `ids` (n,)."""
    used, perplexity = usage_and_perplexity(ids, size)
    return CodeUse(name=name, size=size, n_tokens=len(ids), used=used, perplexity=perplexity)
