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
from torch.nn.utils import parametrize
from x_transformers import Encoder

from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.evidence import Evidence
from neuroleon.tokenizers.eeg.quantizer import EEGQuantizer
from neuroleon.tokenizers.eeg.spatial import HARMONICS, SpatialDecoder, SpatialEncoder

LATENT_DROPOUT = 0.5  # of what the transformer hears of a step: a thousand trials are soon known by heart
MEANING_SHARE = 0.5  # of the error that the start is made for (docs/experiments.md)


def existing_steps(valid: Tensor, step_samples: int) -> Tensor:
    """valid (B, T) -> (B, N) bool: steps with a sample that is valid."""
    return valid.unflatten(1, (-1, step_samples)).any(dim=-1)


def whole_steps(valid: Tensor, step_samples: int) -> Tensor:
    """valid (B, T) -> (B, N) bool: steps whose samples are all valid."""
    return valid.unflatten(1, (-1, step_samples)).all(dim=-1)


def patches(field: Tensor, step_samples: int) -> Tensor:
    """(B, K, T) -> (B, N, K * step_samples)."""
    return rearrange(field, "b k (n t) -> b n (k t)", t=step_samples)


def components(covariance: Tensor, readout: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """What `n` numbers of a step are to carry: rows (n, F) that make them, of variance 1 on average and no correlation,
    and their variances (n,), the largest first; float64.

    They are the components of an error that counts twice: half of it is the step's own, every component of its
    `covariance` (F, F) divided by the fourth root of its variance (half way from the least error, where slow waves take
    all, to equal parts for all), and half that of `readout` (r, F), what must survive first (r may be 0).
    """
    variance, axes = torch.linalg.eigh(covariance)
    variance = variance.clamp_min(1e-6)
    metric = axes * (variance.rsqrt() / variance.sqrt().sum()) @ axes.mT  # an error as large as the step is 1
    if len(readout):
        meaning = readout.double().mT @ readout.double()
        metric = (1 - MEANING_SHARE) * metric + MEANING_SHARE * meaning / (meaning @ covariance).trace()
    values, vectors = torch.linalg.eigh(metric)
    root = vectors * values.clamp_min(0.0).sqrt() @ vectors.mT
    sizes, found = torch.linalg.eigh(root @ covariance @ root)
    sizes, found = sizes.flip(0)[:n].clamp_min(1e-12), found.flip(1)[:, :n]
    unit = len(sizes) / sizes.sum()
    return found.mT @ root * unit.sqrt(), sizes * unit


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


class Context(nn.Module):
    """What a transformer adds to the semantic numbers of a step, from the numbers around it; at first little.

    What a number means depends on where in a response its step stands, so numbers are gated by the place.
    """

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.drop = nn.Dropout(LATENT_DROPOUT)
        self.heard = nn.Linear(config.latent_dim, config.dim)
        self.position = StepPosition(config.dim)
        self.gate = nn.Linear(config.dim, config.dim)
        self.temporal = TemporalTransformer(config, config.encoder_layers, causal=config.causal)
        self.to_semantic = nn.Linear(config.dim, 2 * config.semantic_dim)
        # little beside a posterior, and not nothing: no gradient passes a quantizer whose numbers are all 0
        nn.init.normal_(self.to_semantic.weight, std=0.05 / math.sqrt(config.dim))
        nn.init.zeros_(self.to_semantic.bias)

    def forward(self, numbers: Tensor, exists: Tensor) -> Tensor:
        """numbers (B, N, latent_dim), exists (B, N) bool -> (B, N, 2 S)."""
        position = self.position(numbers.shape[1])
        hidden = self.heard(self.drop(numbers)) * (1 + self.gate(position)) + position
        return self.to_semantic(self.temporal(hidden, exists))


class EEGEncoder(nn.Module):
    """EEG in units of its scale -> latents of each step: numbers of its waveform and of what tells labels, both linear
    and fitted in closed form, and what a transformer adds to the latter, where there is one."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.step_samples = config.step_samples
        self.spatial = SpatialEncoder()
        self.to_waveform = nn.Linear(HARMONICS * config.step_samples, config.waveform_dim, bias=False)
        self.evidence = Evidence(config)
        self.context = Context(config) if config.encoder_layers else None

    def forward(
        self,
        eeg: Tensor,
        electrodes: Tensor,
        present: Tensor,
        valid: Tensor,
        subject: Tensor | None = None,
        background: Tensor | None = None,
        evidence: Evidence | None = None,
    ) -> Tensor:
        """eeg (B, C, T), electrodes (B, C, 7), present (B, C), valid (B, T), T whole steps, subject (B,) of
        `Evidence.indices` (default: nobody known), background (B, 45) of `backgrounds` (default: none known),
        evidence: what reads labels (default: its own) -> (B, N, latent_dim)."""
        exists = existing_steps(valid, self.step_samples)
        with torch.autocast(eeg.device.type, enabled=False):  # sums over thousands of numbers, which half would lose
            field = self.spatial(eeg * valid[:, None], electrodes, present)
            waveform = self.to_waveform(patches(field, self.step_samples))
            subject = torch.full_like(exists[:, 0], -1, dtype=torch.long) if subject is None else subject
            semantic = (evidence or self.evidence)(field, valid, exists, subject, background)
        if self.context is not None:
            semantic = semantic + self.context(torch.cat([waveform, semantic], dim=-1), exists)
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
        """The linear maps of the waveform, from fields (n, K * step_samples) of steps of real EEG, n >= 1.

        They are `components`, and stay as they are: gradients of all the losses together soon turn them away from what
        few bits can carry. The decoder's transformer adds nothing yet, and never to what `readout` reads, which is the
        codes' alone to say.
        """
        fields = fields.double()
        covariance = fields.mT @ fields / len(fields)
        coder, back = self.encoder.to_waveform, self.decoder.from_waveform
        to_latents, variance = components(covariance, readout, coder.out_features)
        for linear in (coder, back):
            nn.init.zeros_(linear.weight)
            linear.requires_grad_(False)
        n = len(to_latents)
        coder.weight[:n] = to_latents
        back.weight[:, :n] = covariance @ to_latents.mT / variance  # the steps that are likeliest, given their latents
        for name in ("weight", "bias"):
            nn.init.zeros_(getattr(self.decoder.to_field, name))
            parametrize.register_parametrization(self.decoder.to_field, name, Outside(readout.float()))

    def as_trained(self) -> Self:
        """A copy that is plain weights: what training holds them to (`Outside`) is in them."""
        made = copy.deepcopy(self)
        if parametrize.is_parametrized(made.decoder.to_field):
            for name in ("weight", "bias"):
                parametrize.remove_parametrizations(made.decoder.to_field, name)
        return made
