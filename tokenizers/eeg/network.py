"""The network of the EEG tokenizer: any montage -> latents per 125 ms step -> codes -> any montage.

What is missing is marked, never filled: `present` says which channels there are, `valid` which samples. Samples that
are not valid hold zeros; the network is told so.
# B batch, C channels, K harmonics, M sources, T samples, N steps, D model
"""

import copy
import math
from typing import Self

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from x_transformers import Encoder

from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.quantizer import EEGQuantizer
from neuroleon.tokenizers.eeg.spatial import HARMONICS, SpatialDecoder, SpatialEncoder, evenly, harmonics

FRAME_BLOCKS = 8  # a window of power is cut into as many blocks, and seen anew after each
LATENT_DROPOUT = 0.5  # of what the transformer hears of a step: a thousand trials are soon known by heart
POWER_DROPOUT = 0.5  # of the windows in training: responses are else not learned, as power is soon known by heart
STANDARD_RATE = 0.02  # of a batch in the running mean and spread
POWER_FLOOR = 1e-2  # in squared units of the scale
MEANING_SHARE = 0.5  # of the error that the start is made for (docs/experiments.md)


def existing_steps(valid: Tensor, step_samples: int) -> Tensor:
    """valid (B, T) -> (B, N) bool: steps with a sample that is valid."""
    return valid.unflatten(1, (-1, step_samples)).any(dim=-1)


def patches(field: Tensor, step_samples: int) -> Tensor:
    """(B, K, T) -> (B, N, K * step_samples)."""
    return rearrange(field, "b k (n t) -> b n (k t)", t=step_samples)


class SpectralFeatures(nn.Module):
    """Log-power of each source in a Hann window around each step (up to its end, when causal): (B, M, T) -> (B, N, D).

    Steady-state responses are power at a known frequency, which no step resolves. Through a low rank and much dropout,
    because power spectra are also what trials are easily memorised by. Where a part of the window is not valid, power
    is that of the rest.
    """

    hann: Tensor

    def __init__(self, config: EEGTokenizerConfig, window: int) -> None:
        super().__init__()
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.block, self.step = window // FRAME_BLOCKS, config.step_samples
        self.n_bins = int(config.spectral_top_hz * window / config.sfreq)
        # the block that a step lies in is complete at the step's end only where blocks are steps
        waits = self.block > self.step
        self.blocks_before = (FRAME_BLOCKS if waits else FRAME_BLOCKS - 1) if config.causal else FRAME_BLOCKS // 2
        n_features = config.sources * self.n_bins
        self.project = nn.Sequential(
            nn.LayerNorm(n_features),
            nn.Dropout(0.5),
            nn.Linear(n_features, config.spectral_rank),
            nn.Linear(config.spectral_rank, config.dim),
        )

    def _frames(self, signal: Tensor) -> Tensor:
        """(B, K, T), T a multiple of the block -> (B, K, T / block, window)."""
        before, n_blocks = self.blocks_before * self.block, signal.shape[-1] // self.block
        after = max(0, (FRAME_BLOCKS - 1) * self.block - before)
        blocks = rearrange(functional.pad(signal, (before, after)), "b k (n t) -> b k n t", t=self.block)
        # whole blocks beside one another, not `unfold`: its backward is 20 times slower on a CPU
        return torch.cat([blocks[:, :, k : k + n_blocks] for k in range(FRAME_BLOCKS)], dim=-1)

    def forward(self, sources: Tensor, valid: Tensor) -> Tensor:
        n_times = sources.shape[-1]
        rest = -n_times % self.block
        frames = self._frames(functional.pad(sources, (0, rest)))
        seen = self._frames(functional.pad(valid, (0, rest))[:, None].to(sources.dtype)) @ self.hann.square()
        spectrum = torch.fft.rfft(frames * self.hann, dim=-1)[..., 1 : self.n_bins + 1]
        power = (spectrum.real.square() + spectrum.imag.square()) / seen.clamp_min(1.0)[..., None]
        features = self.project(rearrange((power + POWER_FLOOR).log(), "b m n f -> b n (m f)"))
        if self.training:
            features = features * (torch.rand(len(features), 1, 1, device=features.device) >= POWER_DROPOUT)
        return features.repeat_interleave(self.block // self.step, dim=1)[:, : n_times // self.step]


class StepPosition(nn.Module):
    """Where a step stands in its window, a learned mix of sines with a period of 128 steps (16 s): N -> (N, D).

    Windows start at an event, and responses to it are locked to that start. In one encoder held-out letters of `cvep20`
    were at .13 without a position and at .51 with one (docs/experiments.md).
    """

    turns: Tensor

    def __init__(self, dim: int, harmonics: int = 32) -> None:
        super().__init__()
        self.register_buffer("turns", torch.arange(1, harmonics + 1) * math.pi / 64, persistent=False)
        self.mix = nn.Linear(2 * harmonics, dim, bias=False)
        nn.init.normal_(self.mix.weight, std=0.1 / math.sqrt(harmonics))

    def forward(self, n_steps: int) -> Tensor:
        angle = torch.arange(n_steps, device=self.turns.device)[:, None] * self.turns
        return self.mix(torch.cat([angle.sin(), angle.cos()], dim=-1))


class TemporalTransformer(nn.Module):
    """Rotary transformer over steps; each sees itself and the existing steps in reach."""

    def __init__(self, config: EEGTokenizerConfig, depth: int, *, causal: bool = False) -> None:
        super().__init__()
        self.context, self.causal = config.context_steps, causal
        self.layers = Encoder(
            dim=config.dim,
            depth=depth,
            verbose=False,
            heads=config.heads,
            attn_dim_head=config.dim // config.heads,
            attn_flash=True,
            rotary_pos_emb=True,
            rotary_emb_dim=config.dim // config.heads,
            use_rmsnorm=True,
            ff_glu=True,
            ff_swish=True,
            ff_mult=2,
            attn_dropout=config.dropout,
            ff_dropout=config.dropout,
        )

    def forward(self, hidden: Tensor, exists: Tensor) -> Tensor:
        """hidden (B, N, D), exists (B, N) bool -> (B, N, D)."""
        step = torch.arange(hidden.shape[1], device=hidden.device)
        ahead = step[None] - step[:, None]  # of the query
        near = (ahead.abs() <= self.context) & (ahead <= (0 if self.causal else self.context))
        return self.layers(hidden, attn_mask=((near & exists[:, None]) | (ahead == 0))[:, None])


class Standard(nn.Module):
    """Numbers less their mean, over their spread, both of the steps seen of late in training.

    What all steps share would else drown what tells them apart: vectors that were only scaled to one length had 7 of
    1,024 codes after 250 steps. Means of the batch would not do, for a batch holds windows of few sets.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, x: Tensor, exists: Tensor) -> Tensor:
        """x (B, N, D), exists (B, N) bool -> (B, N, D)."""
        if self.training:
            with torch.no_grad():
                seen = x[exists].float()
                self.mean.lerp_(seen.mean(0), STANDARD_RATE)
                self.variance.lerp_((seen - self.mean).square().mean(0), STANDARD_RATE)
        return (x - self.mean) * (self.variance + 1e-5).rsqrt()


class EEGEncoder(nn.Module):
    """EEG in units of its scale -> latents of each step: its waveform, linear and not learned by gradients, beside what
    the transformer says of the step and what surrounds it."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.step_samples = config.step_samples
        self.spatial = SpatialEncoder()
        self.mix = nn.Linear(HARMONICS, config.sources, bias=False)
        self.mix.weight.data.copy_(harmonics(evenly(config.sources)))  # the field at as many places
        self.to_waveform = nn.Linear(HARMONICS * config.step_samples, config.waveform_dim, bias=False)
        self.drop = nn.Dropout(LATENT_DROPOUT)
        self.heard = nn.Linear(config.waveform_dim + 1, config.dim)  # and how much of the step there is
        self.spectral = nn.ModuleList(SpectralFeatures(config, window) for window in config.spectral_samples)
        self.position = StepPosition(config.dim)
        # what a number means depends on where in a response its step stands: a template is a product with the place
        self.gate = nn.Linear(config.dim, config.dim)
        self.temporal = TemporalTransformer(config, config.encoder_layers, causal=config.causal)
        self.to_semantic = nn.Linear(config.dim, config.code_dim)
        self.standard = Standard(config.code_dim)

    def forward(self, eeg: Tensor, electrodes: Tensor, present: Tensor, valid: Tensor) -> Tensor:
        """eeg (B, C, T), electrodes (B, C, 7), present (B, C), valid (B, T), T whole steps -> (B, N, latent_dim)."""
        field = self.spatial(eeg * valid[:, None], electrodes, present)
        waveform = self.to_waveform(patches(field, self.step_samples))
        there = valid.unflatten(1, (-1, self.step_samples)).to(eeg).mean(dim=-1, keepdim=True)
        hidden, sources = self.heard(torch.cat([self.drop(waveform), there], dim=-1)), self.mix.weight @ field
        for spectral in self.spectral:
            hidden = hidden + spectral(sources, valid)
        position = self.position(hidden.shape[1])
        hidden = hidden * (1 + self.gate(position)) + position
        exists = existing_steps(valid, self.step_samples)
        semantic = self.standard(self.to_semantic(self.temporal(hidden, exists)), exists)
        return torch.cat([waveform, semantic], dim=-1)


class EEGDecoder(nn.Module):
    """Quantized latents -> EEG at any electrodes, in units of the scale."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.from_latents = nn.Linear(config.latent_dim, config.dim)
        self.temporal = TemporalTransformer(config, config.decoder_layers)
        self.to_field = nn.Linear(config.dim, HARMONICS * config.step_samples)
        self.from_waveform = nn.Linear(config.waveform_dim, HARMONICS * config.step_samples, bias=False)
        self.spatial = SpatialDecoder()

    def forward(self, latents: Tensor, electrodes: Tensor, exists: Tensor) -> Tensor:
        """latents (B, N, latent_dim), electrodes (B, C, 7), exists (B, N) bool -> (B, C, T)."""
        waveform = latents[..., : self.from_waveform.in_features]
        hidden = self.to_field(self.temporal(self.from_latents(latents), exists)) + self.from_waveform(waveform)
        return self.spatial(rearrange(hidden, "b n (k t) -> b k (n t)", k=HARMONICS), electrodes)


class Outside(nn.Module):
    """A linear map's weight or bias (F, ...) without what its outputs would have in the span of `directions` (r, F)."""

    span: Tensor

    def __init__(self, directions: Tensor) -> None:
        super().__init__()
        self.register_buffer("span", torch.linalg.qr(directions.mT)[0], persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight - self.span @ (self.span.mT @ weight)


class EEGNetwork(nn.Module):
    """Encoder, quantizer and decoder; everything an EEG tokenizer folder stores."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.encoder = EEGEncoder(config)
        self.quantizer = EEGQuantizer(config)
        self.decoder = EEGDecoder(config)

    @torch.no_grad()
    def start_from(self, fields: Tensor, readout: Tensor) -> None:
        """Start as principal components and k-means: fields (n, K * step_samples) of steps of real EEG, n >= 1.

        The components are those of an error that counts twice: half of it is the waveform's, every component divided
        by the fourth root of its variance (half way from the least error, where slow waves take all bits, to equal
        parts for all), and half that of `readout` (r, K * step_samples), what must survive first (r may be 0). They
        stay as they are: gradients of all the losses together soon turn them away from what few bits can carry. The
        decoder's transformer adds nothing yet, and never to what `readout` reads, which is the codes' alone to say.
        """
        fields = fields.double()
        covariance = fields.mT @ fields / len(fields)
        variance, axes = torch.linalg.eigh(covariance)
        variance = variance.clamp_min(1e-6)
        metric = axes * (variance.rsqrt() / variance.sqrt().sum()) @ axes.mT  # an error as large as the EEG is 1
        if len(readout):
            meaning = readout.double().mT @ readout.double()
            metric = (1 - MEANING_SHARE) * metric + MEANING_SHARE * meaning / (meaning @ covariance).trace()
        values, vectors = torch.linalg.eigh(metric)
        root = vectors * values.clamp_min(0.0).sqrt() @ vectors.mT
        sizes, components = torch.linalg.eigh(root @ covariance @ root)
        n = min(len(sizes), self.encoder.to_waveform.out_features)
        sizes, components = sizes.flip(0)[:n].clamp_min(1e-12), components.flip(1)[:, :n]
        to_latents = components.mT @ root * (n / sizes.sum()).sqrt()  # latents of variance 1 on average
        coder, back = self.encoder.to_waveform, self.decoder.from_waveform
        for linear in (coder, back):
            nn.init.zeros_(linear.weight)
            linear.requires_grad_(False)
        coder.weight[:n] = to_latents
        # the steps that are likeliest, given their latents
        back.weight[:, :n] = covariance @ to_latents.mT * sizes.reciprocal() * (sizes.sum() / n)
        for name in ("weight", "bias"):
            nn.init.zeros_(getattr(self.decoder.to_field, name))
            parametrize.register_parametrization(self.decoder.to_field, name, Outside(readout.float()))
        self.quantizer.start_from(coder(fields.float()))

    def as_trained(self) -> Self:
        """A copy that is plain weights: what training holds them to (`Outside`) is in them."""
        made = copy.deepcopy(self)
        if parametrize.is_parametrized(made.decoder.to_field):
            for name in ("weight", "bias"):
                parametrize.remove_parametrizations(made.decoder.to_field, name)
        return made
