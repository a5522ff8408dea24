"""What each step adds to the evidence for the labels that training knew: linear, fitted in closed form.

A logistic regression on a window is a sum over its steps. The summands are the semantic numbers of a step: of
*responses*, from the numbers of the waveform with weights that depend on the place of the step in its window, because a
response is locked to the window's start; and of *rhythms*, from log-power around the step, whatever its place.
# B batch, K harmonics, M sources, T samples, N steps, S semantic numbers of one kind
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.spatial import evenly, harmonics

PLACES = 32  # of a window's first steps, 4 s; later ones say nothing of responses
HEARD = 16  # numbers of the waveform that responses are read from: the first ones, which are made for them
FRAME_BLOCKS = 8  # a window of power is cut into as many blocks
POWER_FLOOR = 1e-2  # in squared units of the scale


class LogPower(nn.Module):
    """Log-power of each source in a Hann window around each step (up to its end, when causal).

    Steady-state responses are power at a known frequency, which no step resolves. Where a part of the window is not
    valid, power is that of the rest.
    """

    hann: Tensor
    places: Tensor

    def __init__(self, config: EEGTokenizerConfig, window: int) -> None:
        super().__init__()
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("places", harmonics(evenly(config.sources)), persistent=False)
        self.block, self.step = window // FRAME_BLOCKS, config.step_samples
        self.n_bins = int(config.spectral_top_hz * window / config.sfreq)
        # the block that a step lies in is complete at the step's end only where blocks are steps
        waits = self.block > self.step
        self.blocks_before = (FRAME_BLOCKS if waits else FRAME_BLOCKS - 1) if config.causal else FRAME_BLOCKS // 2

    def _frames(self, signal: Tensor) -> Tensor:
        """(B, M, T), T a multiple of the block -> (B, M, T / block, window)."""
        before, n_blocks = self.blocks_before * self.block, signal.shape[-1] // self.block
        after = max(0, (FRAME_BLOCKS - 1) * self.block - before)
        blocks = rearrange(functional.pad(signal, (before, after)), "b m (n t) -> b m n t", t=self.block)
        return torch.cat([blocks[:, :, k : k + n_blocks] for k in range(FRAME_BLOCKS)], dim=-1)

    def forward(self, field: Tensor, valid: Tensor) -> Tensor:
        """field (B, K, T), valid (B, T) -> (B, N, M * bins)."""
        n_times = field.shape[-1]
        rest = -n_times % self.block
        frames = self._frames(functional.pad(self.places.to(field) @ field, (0, rest)))
        seen = self._frames(functional.pad(valid, (0, rest))[:, None].to(field.dtype)) @ self.hann.square()
        spectrum = torch.fft.rfft(frames * self.hann, dim=-1)[..., 1 : self.n_bins + 1]
        power = (spectrum.real.square() + spectrum.imag.square()) / seen.clamp_min(1.0)[..., None]
        features = rearrange((power + POWER_FLOOR).log(), "b m n f -> b n (m f)")
        return features.repeat_interleave(self.block // self.step, dim=1)[:, : n_times // self.step]


class Evidence(nn.Module):
    """The numbers of the waveform and the field -> semantic numbers of responses and of rhythms.

    Zeros until training fits them (`training/stages/eeg_evidence.py`); where no label is told they stay zero.
    """

    templates: Tensor  # (PLACES, HEARD, S)
    rhythms: Tensor  # (n_features, S)

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.power = nn.ModuleList(LogPower(config, window) for window in config.spectral_samples)
        heard = min(HEARD, config.waveform_dim)
        self.register_buffer("templates", torch.zeros(PLACES, heard, config.semantic_dim))
        n_features = config.sources * sum(power.n_bins for power in self.power)
        self.register_buffer("rhythms", torch.zeros(n_features, config.semantic_dim))

    def set(self, templates: Tensor, rhythms: Tensor) -> None:
        """What training found."""
        self.templates.copy_(templates)
        self.rhythms.copy_(rhythms)

    def spectra(self, field: Tensor, valid: Tensor) -> Tensor:
        """Log-power in every window: field (B, K, T), valid (B, T) -> (B, N, n_features)."""
        return torch.cat([power(field, valid) for power in self.power], dim=-1)

    def forward(self, waveform: Tensor, field: Tensor, valid: Tensor) -> Tensor:
        """waveform (B, N, waveform_dim), field (B, K, T), valid (B, T) -> (B, N, 2 S), first of responses."""
        n = min(waveform.shape[1], PLACES)
        heard = waveform[:, :n, : self.templates.shape[1]]
        responses = torch.einsum("bnk,nks->bns", heard, self.templates[:n])
        responses = functional.pad(responses, (0, 0, 0, waveform.shape[1] - n))
        return torch.cat([responses, self.spectra(field, valid) @ self.rhythms], dim=-1)
