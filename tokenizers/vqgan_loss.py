"""What a VQ-GAN is trained on: reconstruction, commitment to the codebook and, if wanted, a patch discriminator.

`VQGANTraining` holds all that learns. One backward pass serves both players: the generator's term sees a discriminator
of constants, the discriminator's term sees reconstructions without their past.
"""

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.vqgan import VQGAN, Quantizer, VQGANConfig


@dataclass(frozen=True, kw_only=True)
class AdversarialConfig:
    """Patch discriminator with hinge losses (Esser et al. 2021, section 3.1), at a constant weight.

    `start`: the first batch that it takes part in; before, the reconstructions are too poor to learn from.
    """

    enabled: bool = False
    start: int = 2000
    weight: float = 0.1
    ch: int = 32
    layers: int = 2

    def __post_init__(self) -> None:
        if self.start < 0 or self.weight < 0 or self.ch < 1 or self.layers < 1:
            raise ConfigError(f"loss.adversarial: numbers below their least in {self}; correct the config")


@dataclass(frozen=True, kw_only=True)
class VQGANLossConfig:
    """Weights beside the pixel loss: differences of neighbours (strokes, contours), 4 x 4 means (colour, shading)."""

    edges: float = 0.5
    coarse: float = 0.5
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)

    def __post_init__(self) -> None:
        if self.edges < 0 or self.coarse < 0:
            raise ConfigError(f"loss: weights are {self.edges} and {self.coarse}; give 0 or more")


def edge_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels, down and across."""
    down, across = (found - wanted).diff(dim=-2), (found - wanted).diff(dim=-1)
    return down.abs().mean() + across.abs().mean()


def coarse_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """L1 between the means of 4 x 4 pixels."""
    return F.avg_pool2d(found - wanted, 4).abs().mean()


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss on patch logits: real above 1, fake below -1."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


class VQGANTraining(nn.Module):
    """Network, codebook and discriminator; `forward` gives the losses, so that a wrapper of it sees all its use."""

    def __init__(self, network: VQGANConfig, loss: VQGANLossConfig) -> None:
        super().__init__()
        self.config = loss
        self.network = VQGAN(network)
        self.quantizer = Quantizer(network)
        self.discriminator: nn.Module | None = None
        if loss.adversarial.enabled:
            from taming.modules.discriminator.model import NLayerDiscriminator, weights_init

            self.discriminator = NLayerDiscriminator(3, loss.adversarial.ch, loss.adversarial.layers)
            self.discriminator.apply(weights_init)

    def forward(self, pictures: Tensor, index: int) -> dict[str, Tensor]:
        """float (n, 3, H, W) in [-1, 1], and the number of the batch -> scalars by name, "loss" is to be minimised.

        Where the latents are not finite, on this rank or another, the codebook is left alone; "loss" is then not finite
        where the latents are not.
        """
        nothing = torch.full((), float("nan"), device=pictures.device)
        names = ["loss", "pixel", "edges", "coarse", "commitment"]
        names += ["generator", "discriminator"] if self.discriminator is not None else []
        losses = dict.fromkeys(names, nothing)
        latents = self.network.latents(pictures)
        if not _finite_on_all_ranks(latents):
            return losses | {"loss": latents.float().mean()}
        codes, _, losses["commitment"] = self.quantizer(latents)
        found = self.network.pictures(codes).float()
        losses["pixel"] = F.l1_loss(found, pictures)
        losses["edges"] = edge_loss(found, pictures)
        losses["coarse"] = coarse_loss(found, pictures)
        losses["loss"] = losses["pixel"] + losses["commitment"]
        losses["loss"] = losses["loss"] + self.config.edges * losses["edges"] + self.config.coarse * losses["coarse"]
        if self.discriminator is not None and index >= self.config.adversarial.start:
            self._add_adversarial(self.discriminator, losses, found, pictures)
        return losses

    def _add_adversarial(
        self, discriminator: nn.Module, losses: dict[str, Tensor], found: Tensor, wanted: Tensor
    ) -> None:
        constants = {name: p.detach() for name, p in discriminator.named_parameters()}
        losses["generator"] = -functional_call(discriminator, constants, found).float().mean()
        real, fake = discriminator(wanted).float(), discriminator(found.detach()).float()
        losses["discriminator"] = hinge_discriminator_loss(real, fake)
        players = self.config.adversarial.weight * losses["generator"] + losses["discriminator"]
        losses["loss"] = losses["loss"] + players


def _finite_on_all_ranks(latents: Tensor) -> bool:
    """The codebook adds up what all ranks saw: where one of them left it out, the others would wait for ever."""
    is_finite = latents.isfinite().all().float()
    if dist.is_initialized():
        dist.all_reduce(is_finite, dist.ReduceOp.MIN)
    return bool(is_finite)
