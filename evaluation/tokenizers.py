"""What the tokenizers themselves lose: a model can never answer from what its ids do not carry."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.metrics import BANDS_HZ, band, correlation, nmse, psnr_db, usage_and_perplexity
from neuroleon.evaluation.stats import Estimate, bootstrap_ci
from neuroleon.signals.window import Window


class EEGCodec(Protocol):
    """What is needed of `tokenizers.eeg.tokenizer.EEGTokenizer`; a token list has `.ids` and `.scale`."""

    @property
    def size(self) -> int: ...
    @property
    def tokens_per_step(self) -> int: ...
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


def _over_windows(values: Sequence[float], clusters: np.ndarray, seed: int) -> Estimate:
    array = np.array(values)
    finite = np.isfinite(array)  # a flat channel correlates with nothing
    return bootstrap_ci(array[finite], clusters[finite], seed=seed)


def eeg_fidelity(
    tokenizer: EEGCodec,
    recipe: str,
    windows: Sequence[Window],
    tokens: Sequence[Any],
    restored: Sequence[Window],
    *,
    clusters: np.ndarray,
    seed: int,
) -> Fidelity:
    """Correlation overall and per band (mean over channels), NMSE, and the use of each slot's codes.

    Slot j of a step owns the local ids [j * size / tokens_per_step, (j + 1) * size / tokens_per_step).
    """
    pairs = list(zip(windows, restored, strict=True))
    measures = {
        "correlation": [float(np.nanmean(correlation(a.eeg_uV, b.eeg_uV))) for a, b in pairs],
        "NMSE": [nmse(a.eeg_uV, b.eeg_uV) for a, b in pairs],
    }
    for name, (low_hz, high_hz) in BANDS_HZ.items():
        measures[f"correlation, {name} ({low_hz:g}-{high_hz:g} Hz)"] = [
            float(
                np.nanmean(
                    correlation(band(a.eeg_uV, low_hz, high_hz, a.sfreq), band(b.eeg_uV, low_hz, high_hz, b.sfreq))
                )
            )
            for a, b in pairs
        ]
    steps = np.concatenate([np.asarray(t.ids).reshape(-1, tokenizer.tokens_per_step) for t in tokens])
    width = tokenizer.size // tokenizer.tokens_per_step
    return Fidelity(
        modality="eeg",
        recipe=recipe,
        n=len(windows),
        measures={name: _over_windows(values, clusters, seed) for name, values in measures.items()},
        codes=tuple(_code_use(f"slot {j}", steps[:, j] - j * width, width) for j in range(tokenizer.tokens_per_step)),
    )


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
        codes=(_code_use("codebook", ids.reshape(-1), tokenizer.size),),
    )
    return fidelity, restored


def _code_use(name: str, ids: np.ndarray, size: int) -> CodeUse:
    used, perplexity = usage_and_perplexity(ids, size)
    return CodeUse(name=name, size=size, n_tokens=len(ids), used=used, perplexity=perplexity)
