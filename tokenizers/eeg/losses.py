"""Reconstruction losses of the EEG tokenizer, each returned by name.

The phase loss is the cosine of the difference weighted by amplitude, never a difference of raw angles: at 20 dB
signal-to-noise 3 % of the bins wrap and would make 89 % of that loss.
"""

import torch
from torch import Tensor
from torch.nn import functional

STFT_SAMPLES = (32, 64, 128)
# x[t] - 0.9 x[t - 1] about evens out the spectrum of EEG, of whose power nine tenths lie below 13 Hz
PRE_EMPHASIS = 0.9


def reconstruction_losses(predicted: Tensor, target: Tensor, known: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Losses between signals (B, C, T) in units of the scale, over `known` channels (B, C), `valid` samples (B, T)."""
    seen = valid[:, None].expand_as(target)[known].float()  # (channels, T)
    predicted, target = predicted[known].float() * seen, target[known].float() * seen
    share = seen.mean().clamp_min(1e-6)  # means over all samples are too small by it
    wave = functional.smooth_l1_loss(predicted, target) / share
    amplitude, phase = predicted.new_zeros(()), predicted.new_zeros(())
    for n_fft in STFT_SAMPLES:
        window = torch.hann_window(n_fft, device=target.device) / n_fft**0.5
        spectra = [
            torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True, center=True, pad_mode="constant")
            for x in (predicted, target)
        ]
        size = [spectrum.abs() for spectrum in spectra]
        amplitude = amplitude + functional.l1_loss((size[0] + 0.1).log(), (size[1] + 0.1).log()) / share
        cosine = (spectra[0] * spectra[1].conj()).real / (size[0] * size[1] + 1e-3)
        phase = phase + ((1 - cosine) * size[1]).sum() / size[1].sum().clamp_min(1e-6)
    return {
        "wave": wave,
        "amplitude": amplitude / len(STFT_SAMPLES),
        "phase": phase / len(STFT_SAMPLES),
        "correlation": (1 - _correlation(predicted, target, seen)).mean(),
        "whitened": (1 - _correlation(_whitened(predicted, seen), _whitened(target, seen), seen[:, 1:])).mean(),
    }


def _whitened(signal: Tensor, seen: Tensor) -> Tensor:
    """Pre-emphasised, (channels, T) -> (channels, T - 1); zeros where a sample or the one before it is not seen."""
    return (signal[:, 1:] - PRE_EMPHASIS * signal[:, :-1]) * seen[:, 1:] * seen[:, :-1]


def _correlation(predicted: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    """Pearson's, of each channel over the samples seen; (channels, T) -> (channels,)."""
    count = seen.sum(1, keepdim=True).clamp_min(1.0)
    a, b = ((x - x.sum(1, keepdim=True) / count) * seen for x in (predicted, target))
    return (a * b).sum(1) / ((a.square().sum(1) + 1e-4).sqrt() * (b.square().sum(1) + 1e-4).sqrt())
