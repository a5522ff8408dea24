"""What counts as right: a label, a sentence that names a label, a picture; and how near a reconstruction is."""

from collections.abc import Mapping, Sequence

import numpy as np

from neuroleon.decoding.labels import Label, LabelSet

# Gamma ends where `signals.preprocess` cuts.
BANDS_HZ = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 45.0)}
LSD_FRAME_S = 0.5
LSD_FLOOR = 1e-6  # of a channel's mean power in the band: 60 dB below it nothing is compared


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
    """Pearson's r of the rows of two (n, d), one by one, (n,); NaN where a row of either is flat."""
    a = first - first.mean(axis=1, keepdims=True)
    b = second - second.mean(axis=1, keepdims=True)
    energy = (a**2).sum(axis=1) * (b**2).sum(axis=1)
    return np.where(energy > 0, (a * b).sum(axis=1) / np.sqrt(np.where(energy > 0, energy, 1.0)), np.nan)


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's r of each row of (n, d) with each of (m, d): (n, m); 0 with a flat row."""
    return np.asarray(_standardised(first) @ _standardised(second).T)


def _standardised(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) without mean, of length 1; a flat row stays 0."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def nmse(original: np.ndarray, restored: np.ndarray) -> float:
    """Error energy over signal energy of two signals of one shape; 0 is perfect, 1 is what a flat line scores."""
    return float(((original - restored) ** 2).sum() / (original**2).sum())


def log_spectral_distance_db(original: np.ndarray, restored: np.ndarray, sfreq: float) -> float:
    """Log-spectral distance of two signals (n_chans, n_times), dB: Gray and Markel 1976 (IEEE Trans. ASSP 24, 380), L2.

    The root mean square, over the bins of 1 to 45 Hz, of the difference of the two power spectra in dB; a mean over the
    Hann frames of 0.5 s (half overlapping) and channels. Equal signals score 0. Two unrelated noises of one spectrum
    score about 7.5: the log power of a bin scatters by 5.6 dB on its own.
    """
    n_times = original.shape[1]
    size = min(n_times, round(LSD_FRAME_S * sfreq))
    starts = range(0, n_times - size + 1, max(1, size // 2))
    hz = np.fft.rfftfreq(size, 1 / sfreq)
    inside = (hz >= BANDS_HZ["delta"][0]) & (hz <= BANDS_HZ["gamma"][1])
    frames = np.stack([np.stack([x[:, a : a + size] for a in starts]) for x in (original, restored)])
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=-1)[..., inside]) ** 2  # (2, frames, chans, bins)
    floor = LSD_FLOOR * power[0].mean(axis=(0, 2))[:, None]
    first, second = 10 * np.log10(np.maximum(power, np.maximum(floor, np.finfo(float).tiny)))
    return float(np.sqrt(((first - second) ** 2).mean(axis=-1)).mean())


def usage_and_perplexity(ids: np.ndarray, size: int) -> tuple[float, float]:
    """Share of `size` ids that occur in `ids`, and exp of the entropy of their frequencies (at most `size`)."""
    share = np.bincount(ids, minlength=size) / len(ids)
    used = share[share > 0]
    return float(len(used) / size), float(np.exp(-np.sum(used * np.log(used))))
