"""The background spectrum of a recording: how strong each frequency usually is in it.

People, caps and days change the power of a rhythm by more than what is seen or done does, so power in a window is told
from that of its recording (as `scale_uV` does for amplitude). With it, trials of steady-state responses that were left
out, in other recordings, were told better: docs/experiments/2026-11-27-default.md.
"""

import numpy as np

from neuroleon.signals.plausibility import pieces

TOP_HZ = 45
SHORTEST_S = 60.0  # 20 s of a recording told no more than none, 40 s some, 80 s all that there was
STRETCH_S = 4.0  # whitened together: channels, and what they share, differ in strength from one to the next
SHRINKAGE = 0.01  # of a covariance, which the average reference leaves without full rank
POWER_FLOOR = 1e-2  # of the whitened channels' variance: what is filtered out hardly varies
DIGITS = 4


def background_of(eeg_uV: np.ndarray, sfreq: float, boundaries: tuple[int, ...]) -> tuple[float, ...] | None:
    """Log-power at 1, 2 ... 45 Hz: of whitened channels together, in Hann windows of 1 s, on average.

    Args:
        eeg_uV: a preprocessed recording (n_chans, n_times); its unit does not matter.
        sfreq: in Hz, 90 or more.
        boundaries: samples at which a piece begins that does not follow the one before.

    Returns:
        None where there is less than a minute in pieces of 1 s or more that are not flat: what a window differs in from
        so little is not known.
    """
    frame, stretch = round(sfreq), round(STRETCH_S * sfreq)
    hann = np.hanning(frame + 1)[:frame]
    log_power, n_samples = [], 0
    for first, stop in pieces(eeg_uV.shape[1], boundaries):
        for start in range(first, stop - frame + 1, stretch):
            part = eeg_uV[:, start : min(start + stretch, stop)].astype(np.float64)
            part -= part.mean(axis=1, keepdims=True)
            covariance = part @ part.T / part.shape[1]
            mean_variance = np.trace(covariance) / len(part)
            if part.shape[1] < frame or not mean_variance > 0:
                continue
            white = np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * mean_variance * np.eye(len(part)))
            frames = np.lib.stride_tricks.sliding_window_view(part, frame, axis=1)[:, :: frame // 2]
            spectra = np.fft.rfft(frames * hann, axis=-1)[..., 1 : TOP_HZ + 1]
            power = np.einsum("ckf,cd,dkf->kf", spectra.conj(), white, spectra, optimize=True).real
            log_power.append(np.log(power / np.square(hann).sum() + POWER_FLOOR))
            n_samples += part.shape[1]
    if n_samples < SHORTEST_S * sfreq:
        return None
    return tuple(np.concatenate(log_power).mean(axis=0).round(DIGITS).tolist())
