"""What is not EEG must be noticed: reconstruction error of strange input, against that of the set's own validation EEG.

z is that of the tokenizer's own flag (`tokenizers.eeg.surprise`), calibrated on that set, and as it was shipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.metrics import nmse
from neuroleon.evaluation.tokenizers import restore
from neuroleon.signals.plausibility import check_recording, reject_reason
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Recording
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.surprise import UNLIKE_EEG_Z, Calibration
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

FLAT_SHARE = 0.01  # of the scale: a flat line with the noise of an amplifier
SQUARE_SCALES = 10.0
SQUARE_HZ = (1.0, 5.0)
NOISE_MARGIN_S = 2.0  # of a noise recording, cut off at both ends, where filters start

EEG, WHITE, FLAT, PHASES, SQUARE = "EEG", "white noise", "flat line", "EEG with random phases", "square waves"
UNUSUAL = (WHITE, FLAT, SQUARE)


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """One kind of input on one set: mean z, and the share of windows with z above 3.

    `shipped` is that share for the calibration that the tokenizer came with, over all sets it learned from; None
    without one.
    """

    recipe: str
    kind: str
    n_windows: int
    mean_z: float
    flagged: float
    shipped: float | None


def novelty(
    tokenizer: EEGTokenizer, recipe: str, known: Sequence[Window], windows: Sequence[Window], seed: int
) -> tuple[Novelty, ...]:
    """Every kind of input made from `windows`; `known` are windows of the set's validation split, two or more."""
    own = Calibration.of(_errors(tokenizer, known), [len(window.ch_names) for window in known])
    rows = []
    for kind, make in KINDS.items():
        made = [
            make(window, tokenizer.preprocess, generator("novelty", seed, recipe, i))
            for i, window in enumerate(windows)
        ]
        errors = _errors(tokenizer, made)
        z = _z(own, errors, made)
        shipped = None if tokenizer.calibration is None else _z(tokenizer.calibration, errors, made)
        rows.append(
            Novelty(
                recipe=recipe,
                kind=kind,
                n_windows=len(made),
                mean_z=float(z.mean()),
                flagged=float(np.mean(z > UNLIKE_EEG_Z)),
                shipped=None if shipped is None else float(np.mean(shipped > UNLIKE_EEG_Z)),
            )
        )
    return tuple(rows)


def _z(calibration: Calibration, errors: Sequence[float], windows: Sequence[Window]) -> np.ndarray:
    return np.array([calibration.z(e, len(w.ch_names)) for e, w in zip(errors, windows, strict=True)])


def _errors(tokenizer: EEGTokenizer, windows: Sequence[Window]) -> list[float]:
    restored = restore(tokenizer, windows, tokenizer.encode_windows(list(windows)))
    return [nmse(a.eeg_uV, b.eeg_uV) for a, b in zip(windows, restored, strict=True)]


def _white(window: Window, preprocess: Preprocess, rng: np.random.Generator) -> Window:
    """White noise at the window's electrodes, through the same front-end as any recording, at the window's scale."""
    margin = round(NOISE_MARGIN_S * window.sfreq)
    n_chans, n_times = window.eeg_uV.shape
    signal = rng.standard_normal((n_chans, n_times + 2 * margin))
    made = replace(preprocess, notch="none").apply(_recording(window, signal * window.scale_uV))
    kept = made.recording.eeg_uV[:, margin : margin + n_times]
    return replace(
        window,
        eeg_uV=kept * np.float32(window.scale_uV / made.scale_uV),
        ch_names=made.recording.ch_names,
        positions=made.recording.positions,
    )


def _recording(window: Window, eeg_uV: np.ndarray) -> Recording:
    return Recording(
        eeg_uV.astype(np.float32), window.ch_names, window.positions, window.sfreq, (), "made up", "nobody"
    )


def _flat(window: Window, preprocess: Preprocess, rng: np.random.Generator) -> Window:
    return _made(window, FLAT_SHARE * window.scale_uV * rng.standard_normal(window.eeg_uV.shape))


def _phases(window: Window, preprocess: Preprocess, rng: np.random.Generator) -> Window:
    """The same spectra and cross-spectra, other waveforms: every channel's phases turn by the same random angles."""
    n_times = window.eeg_uV.shape[1]
    spectrum = np.fft.rfft(window.eeg_uV.astype(np.float64), axis=1)
    turns = np.exp(2j * np.pi * rng.random(spectrum.shape[1]))
    turns[0] = 1.0
    if n_times % 2 == 0:
        turns[-1] = 1.0
    return replace(window, eeg_uV=np.fft.irfft(spectrum * turns, n=n_times, axis=1).astype(np.float32))


def _square(window: Window, preprocess: Preprocess, rng: np.random.Generator) -> Window:
    """A square wave of ten scales at each channel, of its own frequency and phase."""
    n_chans, n_times = window.eeg_uV.shape
    turns = rng.uniform(*SQUARE_HZ, (n_chans, 1)) * np.arange(n_times) / window.sfreq + rng.random((n_chans, 1))
    return _made(window, SQUARE_SCALES * window.scale_uV * np.where(turns % 1.0 < 0.5, 1.0, -1.0))


def _made(window: Window, eeg_uV: np.ndarray) -> Window:
    """A signal in place of the window's, in its reference."""
    if window.averaged:
        eeg_uV = eeg_uV - eeg_uV.mean(axis=0)
    return replace(window, eeg_uV=eeg_uV.astype(np.float32))


KINDS: dict[str, Callable[[Window, Preprocess, np.random.Generator], Window]] = {
    EEG: lambda window, preprocess, rng: window,
    PHASES: _phases,
    WHITE: _white,
    FLAT: _flat,
    SQUARE: _square,
}


def front_end_on_flat(window: Window, seed: int) -> tuple[str, str]:
    """What the checks before the tokenizer say of a flat recording, and of a flat window: refusals, or `passed`."""
    noise = generator("flat", seed).standard_normal((len(window.ch_names), 2000))
    try:
        check_recording(_recording(window, FLAT_SHARE * noise), "flat line")
        of_recording = "passed"
    except DataError as error:
        of_recording = str(error).removeprefix("flat line: ")
    flat = replace(window, eeg_uV=(FLAT_SHARE * noise).astype(np.float32))
    return of_recording, reject_reason(flat) or "passed"
