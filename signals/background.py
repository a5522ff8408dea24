"""The background spectrum of a recording: how strong each frequency usually is in it.

People, caps and days change the power of a rhythm by more than what is seen or done does, so power in a window is told
from that of its recording (as `scale_uV` does for amplitude). With it, trials of steady-state responses that were left
out, in other recordings, were told better: docs/experiments/2026-11-27-default.md.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from neuroleon.signals.plausibility import pieces

TOP_HZ = 45
SHORTEST_S = 60.0  # 20 s of a recording told no more than none, 40 s some, 80 s all that there was
STRETCH_S = 4.0  # whitened together: channels, and what they share, differ in strength from one to the next
FLAT_SHARE = 1e-4  # of the median variance of stretches: below it nothing was recorded
SHRINKAGE = 0.01  # of a covariance, which the average reference leaves without full rank
POWER_FLOOR = 1e-2  # of the whitened channels' variance: what is filtered out hardly varies
DIGITS = 4

Spans = list[tuple[int, int]]


def background_of(eeg_uV: np.ndarray, sfreq: float, boundaries: tuple[int, ...]) -> tuple[float, ...] | None:
    """Log-power at 1, 2 ... 45 Hz less its mean: of whitened channels together, in Hann windows of 1 s, on average.

    Of whitened channels the mean over frequencies says how many there are, and nothing else.

    Args:
        eeg_uV: a preprocessed recording (n_chans, n_times); its unit does not matter.
        sfreq: in Hz.
        boundaries: samples at which a piece begins that does not follow the one before.

    Returns:
        None where less than a minute, in pieces of 1 s or more, is not flat: what a window differs in from so little is
        not known; and at less than 90 Hz.
    """
    frame = round(sfreq)
    if frame < 2 * TOP_HZ:
        return None
    hann = np.hanning(frame + 1)[:frame]
    together = list(_stretches(pieces(eeg_uV.shape[1], boundaries), frame, round(STRETCH_S * sfreq)))
    variances = np.array([np.trace(_covariance(_centred(eeg_uV, spans))) for spans in together])
    recorded = variances > FLAT_SHARE * np.median(variances[variances > 0]) if variances.any() else variances > 0
    kept = [spans for spans, is_recorded in zip(together, recorded, strict=True) if is_recorded]
    if sum(stop - start for spans in kept for start, stop in spans) < SHORTEST_S * sfreq:
        return None
    total, n_frames = np.zeros(TOP_HZ), 0
    for spans in kept:
        parts = _centred(eeg_uV, spans)
        covariance, n_chans = _covariance(parts), len(parts[0])
        least = SHRINKAGE * np.trace(covariance) / n_chans
        white = np.linalg.inv((1 - SHRINKAGE) * covariance + least * np.eye(n_chans))
        for part in parts:
            frames = np.lib.stride_tricks.sliding_window_view(part, frame, axis=1)[:, :: frame // 2]
            spectra = np.fft.rfft(frames * hann, axis=-1)[..., 1 : TOP_HZ + 1]
            power = np.einsum("ckf,cd,dkf->kf", spectra.conj(), white, spectra, optimize=True).real
            total += np.log(power / np.square(hann).sum() + POWER_FLOOR).sum(axis=0)
            n_frames += len(power)
    mean = total / n_frames
    return tuple((mean - mean.mean()).round(DIGITS).tolist())


def _stretches(of_pieces: Sequence[tuple[int, int]], shortest: int, stretch: int) -> Iterator[Spans]:
    """Spans that are whitened together: parts of a long piece, each of `stretch` samples or more, or short pieces that
    make as many together. The last may have fewer; pieces of less than `shortest` are in none."""
    spans: Spans = []
    for first, stop in of_pieces:
        if stop - first < shortest:
            continue
        edges = np.linspace(first, stop, 1 + max(1, (stop - first) // stretch)).round().astype(int).tolist()
        for span in pairwise(edges):
            spans.append(span)
            if sum(end - start for start, end in spans) >= stretch:
                yield spans
                spans = []
    if spans:
        yield spans


def _centred(eeg_uV: np.ndarray, spans: Spans) -> list[np.ndarray]:
    parts = [eeg_uV[:, start:stop].astype(np.float64) for start, stop in spans]
    return [part - part.mean(axis=1, keepdims=True) for part in parts]


def _covariance(parts: list[np.ndarray]) -> np.ndarray:
    products: np.ndarray = sum(part @ part.T for part in parts)
    return products / sum(part.shape[1] for part in parts)
