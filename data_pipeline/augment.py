"""Changes of a window's signal that a brain would not notice: each makes another tokenization of the same trial.

With few paired trials a transformer memorises them by epoch five; several tokenizations of each, made here before the
tokenizer sees the signal, are what stands against it. They must tell what the trial tells: noise of .1 to .3 of the
scale, in the average of all channels too, left .55 of the sides that the codes of `muse_field` tell, where .75 are told
without, and the answer was not learned; as it is here, .68 (docs/experiments/2026-11-27-people.md).
"""

from dataclasses import replace

import numpy as np

from neuroleon.signals.window import Window

NOISE = (0.05, 0.15)  # standard deviation, in units of the window's scale
AMPLITUDE = 0.2  # largest |log| of the factor
SHIFT_SAMPLES = 2  # 10 ms at 200 Hz
DROPPED_SHARE = 0.25
FEWEST_TO_DROP_FROM = 8  # channels; one of four is too much of a head


def augment(window: Window, rng: np.random.Generator) -> Window:
    """The window with channels left out, shifted in time, scaled and with noise; same length and `scale_uV`.

    The scale stays, so that a larger amplitude is seen as one. What a shift uncovers repeats the nearest sample. Where
    the reference was the average of all channels, it is that of those that are left.
    """
    kept = _kept_channels(len(window.ch_names), rng)
    eeg_uV = window.eeg_uV[kept]
    shift = int(rng.integers(-SHIFT_SAMPLES, SHIFT_SAMPLES + 1))
    times = np.clip(np.arange(eeg_uV.shape[1]) - shift, 0, eeg_uV.shape[1] - 1)
    factor = np.exp(rng.uniform(-AMPLITUDE, AMPLITUDE))
    noise = rng.standard_normal(eeg_uV.shape) * rng.uniform(*NOISE) * window.scale_uV
    changed = eeg_uV[:, times] * factor + noise
    if window.averaged:
        changed -= changed.mean(axis=0)
    return replace(
        window,
        eeg_uV=changed.astype(np.float32),
        ch_names=tuple(window.ch_names[i] for i in kept),
        positions=window.positions[kept],
    )


def _kept_channels(n_chans: int, rng: np.random.Generator) -> np.ndarray:
    """Indices, in order, without 0 to 25 % of them; all of them where there are few."""
    if n_chans < FEWEST_TO_DROP_FROM:
        return np.arange(n_chans)
    n_dropped = rng.integers(int(n_chans * DROPPED_SHARE) + 1)
    return np.sort(rng.permutation(n_chans)[n_dropped:])
