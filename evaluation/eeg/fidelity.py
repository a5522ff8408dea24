"""How near EEG comes back from its ids, and how its ids are used: for the model report and for the tokenizer report."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroleon.evaluation.metrics import BANDS_HZ, band, correlation, log_spectral_distance_db, nmse
from neuroleon.evaluation.tokenizers import CodeUse, EEGCodec, Fidelity, code_use, over_windows
from neuroleon.signals.window import Window

CORRELATION, NMSE, LSD = "correlation", "NMSE", "log-spectral distance (dB)"
BANDS = {name: f"correlation, {name} ({low:g}-{high:g} Hz)" for name, (low, high) in BANDS_HZ.items()}


def window_measures(original: np.ndarray, restored: np.ndarray, sfreq: float) -> dict[str, float]:
    """Every measure of one window (n_chans, n_times); a correlation is a mean over channels, NaN where all are flat.

    A window shorter than a cycle of a band has no bin in it, and NaN as its correlation there.
    """
    measures = {
        CORRELATION: mean_correlation(original, restored),
        NMSE: nmse(original, restored),
        LSD: log_spectral_distance_db(original, restored, sfreq),
    }
    for name, (low_hz, high_hz) in BANDS_HZ.items():
        pair = (band(x, low_hz, high_hz, sfreq) for x in (original, restored))
        measures[BANDS[name]] = mean_correlation(*pair)
    return measures


def mean_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's of each channel (n_chans, n_times), its mean over the channels that are not flat; NaN without any."""
    found = correlation(first, second)
    return float(np.mean(found[np.isfinite(found)])) if np.isfinite(found).any() else float("nan")


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
    """The measures of `window_measures` over windows, those that two windows or more have, and the use of the codes."""
    rows = [window_measures(a.eeg_uV, b.eeg_uV, a.sfreq) for a, b in zip(windows, restored, strict=True)]
    return Fidelity(
        modality="eeg",
        recipe=recipe,
        n=len(windows),
        measures={
            name: over_windows([row[name] for row in rows], clusters, seed)
            for name in rows[0]
            if sum(np.isfinite(row[name]) for row in rows) > 1
        },
        codes=level_use(tokenizer, tokens),
    )


def level_use(tokenizer: EEGCodec, tokens: Sequence[Any]) -> tuple[CodeUse, ...]:
    """The use of the codes of each level of a step, coarse to fine.

    Level j owns the local ids [j * size / tokens_per_step, (j + 1) * size / tokens_per_step).
    """
    n_levels, width = tokenizer.tokens_per_step, tokenizer.size // tokenizer.tokens_per_step
    steps = np.concatenate([np.asarray(t.ids).reshape(-1, n_levels) for t in tokens])
    return tuple(code_use(f"level {j + 1}", steps[:, j] - j * width, width) for j in range(n_levels))
