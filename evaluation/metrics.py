"""What counts as right: a label, a sentence that names a label, a picture; and how near a reconstruction is."""

from collections.abc import Mapping, Sequence

import numpy as np

from neuroleon.decoding.labels import Label, LabelSet

BANDS_HZ = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 75.0)}


def match_label(answer: str, label_texts: Mapping[str, str]) -> str | None:
    """The label whose text is exactly `answer` after strip and casefold; None for anything else."""
    wanted = answer.strip().casefold()
    return next((label for label, text in label_texts.items() if text.strip().casefold() == wanted), None)


def parse_sentence(sentence: str, wordings: Mapping[str, Sequence[str]], label_texts: Mapping[str, str]) -> str | None:
    """The label that `sentence` names, by the rule of `decoding.labels.LabelSet.named`."""
    labels = {x: Label(text=text, wordings=tuple(wordings.get(x, ()))) for x, text in label_texts.items()}
    return LabelSet(labels=labels).named(sentence)


def nearest_picture(picture: np.ndarray, candidates: np.ndarray) -> int:
    """Index of the candidate (n, H, W, 3) with the least mean squared error to `picture` (H, W, 3), uint8."""
    difference = candidates.astype(np.float32) - picture.astype(np.float32)
    return int(np.argmin(np.mean(difference**2, axis=(1, 2, 3))))


def psnr_db(original: np.ndarray, restored: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures, dB; equal pictures count as if half a grey level apart."""
    error = float(np.mean((original.astype(np.float64) - restored.astype(np.float64)) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 0.25)))


def band(eeg: np.ndarray, low_hz: float, high_hz: float, sfreq: float) -> np.ndarray:
    """The part of `eeg` (n_chans, n_times) in [low_hz, high_hz), by its Fourier bins."""
    spectrum = np.fft.rfft(eeg, axis=1)
    hz = np.fft.rfftfreq(eeg.shape[1], 1 / sfreq)
    return np.fft.irfft(spectrum * ((hz >= low_hz) & (hz < high_hz)), n=eeg.shape[1], axis=1)


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation per channel (n_chans,); NaN where a channel of either is flat."""
    a = first - first.mean(axis=1, keepdims=True)
    b = second - second.mean(axis=1, keepdims=True)
    energy = (a**2).sum(axis=1) * (b**2).sum(axis=1)
    return np.where(energy > 0, (a * b).sum(axis=1) / np.sqrt(np.where(energy > 0, energy, 1.0)), np.nan)


def nmse(original: np.ndarray, restored: np.ndarray) -> float:
    """Error energy over signal energy of two signals of one shape; 0 is perfect, 1 is what a flat line scores."""
    return float(((original - restored) ** 2).sum() / (original**2).sum())


def usage_and_perplexity(ids: np.ndarray, size: int) -> tuple[float, float]:
    """Share of `size` ids that occur in `ids`, and exp of the entropy of their frequencies (at most `size`)."""
    share = np.bincount(ids, minlength=size) / len(ids)
    used = share[share > 0]
    return float(len(used) / size), float(np.exp(-np.sum(used * np.log(used))))
