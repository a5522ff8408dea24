"""The VQ-GAN of the image tokenizer: taming's encoder and decoder around a small grid of code vectors.

Names of the parts are taming's, so that its published weights fit. The codebook is not here: while training it is
`Quantizer` (vector-quantize-pytorch), afterwards a table held by `neuroleon.tokenizers.image`.
"""

import io
from contextlib import redirect_stdout
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from neuroleon.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VQGANConfig:
    """Shape of the network. The defaults are the laptop preset: 64 px, 8 x 8 tokens.

    `patch` folds patch x patch pixels into channels before the encoder (1: taming's own layout); the networks then run
    on a grid `patch` times smaller: after the same 150 CPU-seconds, patch 4 with 64 channels rebuilt photographs at
    19.4 dB, patch 2 with 32 channels at 18.4 dB. `attn_resolutions` are side lengths on that grid.
    `norm_groups`: taming fixes 32, which at 32 channels is instance norm and erases the brightness of a picture; at 64
    channels 8 groups are 1 dB better than 32 after 100 CPU-seconds.
    """

    resolution: int = 64
    patch: int = 4
    ch: int = 64
    ch_mult: tuple[int, ...] = (1, 2)
    num_res_blocks: int = 1
    attn_resolutions: tuple[int, ...] = ()
    z_channels: int = 64
    norm_groups: int = 8
    codebook_size: int = 512
    code_dim: int = 32

    def __post_init__(self) -> None:
        numbers = (self.resolution, self.patch, self.ch, *self.ch_mult, self.num_res_blocks, self.z_channels)
        if not self.ch_mult or min(*numbers, self.norm_groups, self.codebook_size, self.code_dim) < 1:
            raise ConfigError(f"network: every size must be at least 1, found {self}; correct the config")
        if self.ch % 32:
            raise ConfigError(f"network.ch is {self.ch}; taming's group norm needs a multiple of 32")
        if self.ch % self.norm_groups:
            raise ConfigError(f"network.norm_groups is {self.norm_groups}; it must divide network.ch = {self.ch}")
        if self.resolution % self.factor:
            raise ConfigError(
                f"network.resolution is {self.resolution}; with patch {self.patch} and ch_mult {self.ch_mult} "
                f"it must be a multiple of {self.factor}"
            )

    @property
    def factor(self) -> int:
        """Pixels per code along one side."""
        return int(self.patch * 2 ** (len(self.ch_mult) - 1))

    @property
    def side(self) -> int:
        """Codes along one side of a picture."""
        return self.resolution // self.factor

    @property
    def tokens(self) -> int:
        """Codes of one picture, in row order."""
        return self.side**2


class VQGAN(nn.Module):
    """Pictures to latent vectors, and code vectors to pictures (Esser et al. 2021, section 3.1)."""

    def __init__(self, config: VQGANConfig) -> None:
        from taming.modules.diffusionmodules.model import Decoder, Encoder

        super().__init__()
        self.config = config
        channels = 3 * config.patch**2
        shape = {
            "ch": config.ch,
            "out_ch": channels,
            "ch_mult": config.ch_mult,
            "num_res_blocks": config.num_res_blocks,
            "attn_resolutions": config.attn_resolutions,
            "in_channels": channels,
            "resolution": config.resolution // config.patch,
            "z_channels": config.z_channels,
        }
        with redirect_stdout(io.StringIO()):  # taming's decoder prints its latent shape
            self.encoder = Encoder(double_z=False, **shape)
            self.decoder = Decoder(**shape)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.z_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                module.num_groups = config.norm_groups

    def latents(self, pictures: Tensor) -> Tensor:
        """float (n, 3, resolution, resolution) in [-1, 1] -> (n, tokens, code_dim), before quantization."""
        grid: Tensor = self.quant_conv(self.encoder(F.pixel_unshuffle(pictures, self.config.patch)))
        return grid.flatten(2).transpose(1, 2)

    def pictures(self, codes: Tensor) -> Tensor:
        """Code vectors (n, tokens, code_dim) -> float (n, 3, resolution, resolution), about [-1, 1], not clipped."""
        side = self.config.side
        grid = codes.transpose(1, 2).reshape(len(codes), self.config.code_dim, side, side)
        return F.pixel_shuffle(self.decoder(self.post_quant_conv(grid)), self.config.patch)


class Quantizer(nn.Module):
    """The codebook while it is trained: moving averages, k-means start, revival of dead codes, rotation trick.

    Build it after `Accelerator()`: the library asks once per process whether it runs distributed, and remembers.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.vq = VectorQuantize(
            config.code_dim,
            config.codebook_size,
            decay=0.99,
            kmeans_init=True,
            threshold_ema_dead_code=2,
            commitment_weight=0.25,
        )

    @property
    def codebook(self) -> Tensor:
        """float32 (codebook_size, code_dim)."""
        table: Tensor = self.vq.codebook
        return table

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Finite latents (n, tokens, code_dim) -> the nearest codes, ids (n, tokens), commitment loss.

        In training mode the codes pass gradients on to the latents, and the codebook moves. Always in float32: the
        library itself only turns CUDA autocast off.
        """
        with torch.autocast(latents.device.type, enabled=False):
            codes, ids, commitment = self.vq(latents.float())
        return codes, ids, commitment.sum()
