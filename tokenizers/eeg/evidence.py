"""What the EEG so far says of the labels that training knew: a logistic regression of each set's labels, step by step.

The semantic numbers of a step are the posterior of every such label, given the window up to this step, less chance.
*Responses* are read from the numbers of the waveform with weights that depend on the place of the step in its window,
because a response is locked to the window's start: evidence adds up. *Rhythms* are read from log-power around the
steps, whatever their place: its mean so far, trusted as at the end of a window, which early in a window is too much
(`docs/plan.md`). On EEG of anything else they name a label that training knew, and that means nothing.
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


class Posterior(nn.Module):
    """Log-odds (..., S) of the labels of several sets -> probability of each in its set, less chance.

    Numbers that no label has are 0, and all are before training fits them (`training/stages/eeg_evidence.py`).
    """

    bias: Tensor
    same_set: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(n))
        self.register_buffer("same_set", torch.eye(n))  # 1 where row and column are labels of one set

    def forward(self, evidence: Tensor) -> Tensor:
        log_odds = evidence + self.bias
        others = log_odds[..., None, :].masked_fill(self.same_set == 0, -torch.inf)
        return (log_odds - others.logsumexp(dim=-1)).exp() - 1 / self.same_set.sum(dim=1)


class Evidence(nn.Module):
    """The numbers of the waveform and the field -> semantic numbers of responses and of rhythms."""

    templates: Tensor
    spectra: Tensor

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.powers = nn.ModuleList(LogPower(config, window) for window in config.spectral_samples)
        n, n_bins = config.semantic_dim, sum(power.n_bins for power in self.powers if isinstance(power, LogPower))
        self.register_buffer("templates", torch.zeros(PLACES, min(HEARD, config.waveform_dim), n))
        self.register_buffer("spectra", torch.zeros(config.sources * n_bins, n))
        self.of_responses, self.of_rhythms = Posterior(n), Posterior(n)

    def power(self, field: Tensor, valid: Tensor) -> Tensor:
        """Log-power in every window: field (B, K, T), valid (B, T) -> (B, N, n_features)."""
        return torch.cat([power(field, valid) for power in self.powers], dim=-1)

    def forward(self, waveform: Tensor, field: Tensor, valid: Tensor, exists: Tensor) -> Tensor:
        """waveform (B, N, waveform_dim), field (B, K, T), valid (B, T), exists (B, N) -> (B, N, 2 S)."""
        n = min(waveform.shape[1], PLACES)
        heard = waveform[:, :n, : self.templates.shape[1]]
        responses = torch.einsum("bnk,nks->bns", heard, self.templates[:n])
        responses = functional.pad(responses, (0, 0, 0, waveform.shape[1] - n))
        rhythms = self.power(field, valid) @ self.spectra * exists[..., None]
        n_seen = exists.cumsum(dim=1).clamp_min(1)[..., None]
        return torch.cat(
            [self.of_responses(responses.cumsum(dim=1)), self.of_rhythms(rhythms.cumsum(dim=1) / n_seen)], dim=-1
        )
