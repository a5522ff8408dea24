"""The network of the EEG tokenizer: any montage -> latents per 125 ms step -> codes -> any montage.

Channels are mixed once, at the signal's rate, into a fixed number of virtual sources by attention whose queries are
learned and whose keys come from electrode positions alone; so the number, order and names of channels do not matter.
# B batch, C channels, M sources, T samples, N steps, S slots, L levels, D model
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from vector_quantize_pytorch import GroupedResidualVQ
from x_transformers import Encoder

from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig

OCTAVES = 4


def position_features(positions: Tensor) -> Tensor:
    """Fourier features of electrode positions: (..., 3) in head radii -> (..., 27)."""
    bands = [positions * (2.0**octave * math.pi / 2) for octave in range(OCTAVES)]
    return torch.cat([positions, *(f(band) for band in bands for f in (torch.sin, torch.cos))], dim=-1)


class SpatialEncoder(nn.Module):
    """Channels -> sources: each source is one attention map over the electrodes minus a share of another.

    The difference of two maps can form what a bipolar or Laplacian derivation forms; the share is learned, so that a
    single channel still passes.
    """

    def __init__(self, sources: int, dim: int) -> None:
        super().__init__()
        self.keys = nn.Sequential(nn.Linear(3 + 6 * OCTAVES, dim), nn.GELU(), nn.Linear(dim, dim))
        self.queries = nn.Parameter(torch.randn(2 * sources, dim) / math.sqrt(dim) * 4)
        self.share = nn.Parameter(torch.linspace(-3.0, 3.0, sources))

    def forward(self, eeg: Tensor, positions: Tensor, present: Tensor) -> Tensor:
        """eeg (B, C, T), positions (B, C, 3), present (B, C) bool -> sources (B, M, T)."""
        keys_BCD = self.keys(position_features(positions))
        logits = torch.einsum("bcd,md->bmc", keys_BCD, self.queries)
        weights = logits.masked_fill(~present[:, None], -torch.inf).softmax(dim=-1)
        plus, minus = weights.chunk(2, dim=1)
        return torch.einsum("bmc,bct->bmt", plus - torch.sigmoid(self.share)[:, None] * minus, eeg)


class SpectralFeatures(nn.Module):
    """Log-power of each source around each step, in a Hann window: (B, M, T) -> (B, N, D).

    Steady-state responses are power at a known frequency, which the stem's short filters do not resolve. Through a low
    rank and much dropout, because power spectra are also what trials are easily memorised by.
    """

    basis: Tensor

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        window = config.spectral_samples
        n_bins = int(config.spectral_top_hz * window / config.sfreq)
        angle = 2 * math.pi * torch.arange(1, n_bins + 1) * torch.arange(window)[:, None] / window
        hann = torch.hann_window(window)[:, None] / math.sqrt(window)
        self.register_buffer("basis", torch.cat([torch.cos(angle), torch.sin(angle)], 1) * hann, persistent=False)
        self.step, self.window = config.step_samples, window
        n_features = config.sources * n_bins
        self.project = nn.Sequential(
            nn.LayerNorm(n_features),
            nn.Dropout(0.5),
            nn.Linear(n_features, config.spectral_rank),
            nn.Linear(config.spectral_rank, config.dim),
        )

    def forward(self, sources: Tensor) -> Tensor:
        n_steps, n_blocks = sources.shape[-1] // self.step, self.window // self.step
        left = n_blocks // 2 * self.step
        padded = functional.pad(sources, (left, self.window - self.step - left))
        blocks = rearrange(padded, "b m (n t) -> b m n t", t=self.step)
        # whole steps beside one another, not `unfold`: its backward is 20 times slower on a CPU
        frames = torch.cat([blocks[:, :, k : k + n_steps] for k in range(n_blocks)], dim=-1)
        cosine, sine = (frames @ self.basis).chunk(2, dim=-1)
        log_power = (cosine.square() + sine.square() + 1e-2).log()
        return self.project(rearrange(log_power, "b m n f -> b n (m f)"))


class StepPosition(nn.Module):
    """Where a step stands in its window, a learned mix of sines with a period of 128 steps (16 s): N -> (N, D).

    Windows start at an event, and responses to it are locked to that start. In one encoder held-out letters of `cvep20`
    were at .13 without a position and at .51 with one (docs/experiments.md).
    """

    def __init__(self, dim: int, harmonics: int = 32) -> None:
        super().__init__()
        self.harmonics = harmonics
        self.mix = nn.Linear(2 * harmonics, dim, bias=False)
        nn.init.normal_(self.mix.weight, std=0.1 / math.sqrt(harmonics))

    def forward(self, n_steps: int) -> Tensor:
        device = self.mix.weight.device
        turns = torch.arange(1, self.harmonics + 1, device=device) * math.pi / 64
        angle = torch.arange(n_steps, device=device)[:, None] * turns
        return self.mix(torch.cat([angle.sin(), angle.cos()], dim=-1))


class TemporalTransformer(nn.Module):
    """Rotary transformer over steps in which a step sees `context_steps` on either side."""

    def __init__(self, config: EEGTokenizerConfig, depth: int) -> None:
        super().__init__()
        self.context = config.context_steps
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

    def forward(self, hidden_BND: Tensor) -> Tensor:
        step = torch.arange(hidden_BND.shape[1], device=hidden_BND.device)
        near = (step[:, None] - step[None]).abs() <= self.context
        return self.layers(hidden_BND, attn_mask=near[None, None].expand(hidden_BND.shape[0], 1, -1, -1))


class EEGEncoder(nn.Module):
    """EEG in units of its scale -> latents (B, N, S * code_dim)."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        half = config.dim // 2
        self.spatial = SpatialEncoder(config.sources, half)
        self.stem = nn.Sequential(
            nn.Conv1d(config.sources, half, 15, stride=5, padding=5),
            nn.GELU(),
            nn.Conv1d(half, config.dim, 9, stride=config.step_samples // 5, padding=2),
        )
        self.spectral = SpectralFeatures(config)
        self.position = StepPosition(config.dim)
        self.temporal = TemporalTransformer(config, config.encoder_layers)
        self.to_latents = nn.Linear(config.dim, config.slots * config.code_dim)

    def forward(self, eeg: Tensor, positions: Tensor, present: Tensor) -> Tensor:
        """eeg (B, C, T) with T a multiple of the step -> (B, N, S * code_dim)."""
        sources = self.spatial(eeg, positions, present)
        hidden = self.stem(sources).transpose(1, 2) + self.spectral(sources)
        return self.to_latents(self.temporal(hidden + self.position(hidden.shape[1])))


class EEGDecoder(nn.Module):
    """Quantized latents -> EEG at any electrode positions, in units of the scale."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.sources = config.sources
        self.from_latents = nn.Linear(config.slots * config.code_dim, config.dim)
        self.temporal = TemporalTransformer(config, config.decoder_layers)
        self.to_sources = nn.Linear(config.dim, config.sources * config.step_samples)
        self.smooth = nn.Conv1d(config.sources, config.sources, 9, padding=4)
        half = config.dim // 2
        self.unmix = nn.Sequential(
            nn.Linear(3 + 6 * OCTAVES, half), nn.GELU(), nn.Linear(half, config.sources, bias=False)
        )

    def forward(self, quantized: Tensor, positions: Tensor) -> Tensor:
        """quantized (B, N, S * code_dim), positions (B, C, 3) -> (B, C, T)."""
        hidden = self.to_sources(self.temporal(self.from_latents(quantized)))
        sources = rearrange(hidden, "b n (m t) -> b m (n t)", m=self.sources)
        return torch.einsum("bcm,bmt->bct", self.unmix(position_features(positions)), self.smooth(sources))


class EEGQuantizer(nn.Module):
    """Residual vector quantization of every slot on its own: latents (B, N, S * code_dim) <-> codes (B, N, L * S).

    Codes are ordered coarse to fine inside a step. EMA codebooks, k-means start, revival of dead codes and the rotation
    trick are vector-quantize-pytorch's; it runs in float32, since its CPU path does not leave autocast by itself.
    """

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.slots, self.levels = config.slots, config.levels
        self.layers = GroupedResidualVQ(
            dim=config.slots * config.code_dim,
            groups=config.slots,
            num_quantizers=config.levels,
            codebook_size=config.codes,
            decay=0.99,
            kmeans_init=True,
            kmeans_iters=10,
            threshold_ema_dead_code=2,
            commitment_weight=0.25,
            rotation_trick=True,
            quantize_dropout=config.levels > 1,
        )

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns quantized latents, codes (B, N, L * S; -1 where a level was dropped) and the commitment loss."""
        with torch.autocast(latents.device.type, enabled=False):
            quantized, codes, commitment = self.layers(latents.float())
        return quantized, rearrange(codes, "s b n l -> b n (l s)"), commitment.mean()

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, N, L * S) -> quantized latents."""
        return self.layers.get_output_from_indices(rearrange(codes, "b n (l s) -> s b n l", s=self.slots))

    @property
    def codebook(self) -> Tensor:
        """(L * S * codes, code_dim): the vector of every local id, in the order of the ids."""
        return rearrange(self.layers.codebooks, "s l c d -> (l s c) d")


class EEGNetwork(nn.Module):
    """Encoder, quantizer and decoder; everything an EEG tokenizer folder stores."""

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.encoder = EEGEncoder(config)
        self.quantizer = EEGQuantizer(config)
        self.decoder = EEGDecoder(config)
