"""Electrodes to sources and back: the part of the network that makes it blind to the montage.

Channels are mixed once, at the signal's rate, into a fixed number of virtual sources by attention whose queries are
learned and whose keys come from electrode positions alone; so the number, order and names of channels do not matter.
# B batch, C channels, M sources, T samples, D model
"""

import math

import torch
from torch import Tensor, nn

OCTAVES = 4
PLACE_FEATURES = 3 + 6 * OCTAVES


def place_features(places: Tensor) -> Tensor:
    """Fourier features of places on the head: (..., 3) in head radii -> (..., 27)."""
    bands = [places * (2.0**octave * math.pi / 2) for octave in range(OCTAVES)]
    return torch.cat([places, *(f(band) for band in bands for f in (torch.sin, torch.cos))], dim=-1)


class SpatialEncoder(nn.Module):
    """Channels -> sources: each source is one attention map over the channels minus a share of another.

    The difference of two maps can form what a bipolar or Laplacian derivation forms; the share is learned, so that a
    single channel still passes. The key of a channel is made of its two electrodes; the second is absent where the
    channel is recorded against the common reference.
    """

    def __init__(self, sources: int, dim: int) -> None:
        super().__init__()
        self.keys = nn.Sequential(nn.Linear(2 * PLACE_FEATURES + 1, dim), nn.GELU(), nn.Linear(dim, dim))
        self.queries = nn.Parameter(torch.randn(2 * sources, dim) / math.sqrt(dim) * 4)
        self.share = nn.Parameter(torch.linspace(-3.0, 3.0, sources))

    def forward(self, eeg: Tensor, electrodes: Tensor, present: Tensor) -> Tensor:
        """eeg (B, C, T), electrodes (B, C, 7), present (B, C) bool, one channel or more each -> sources (B, M, T)."""
        anode, cathode, bipolar = electrodes[..., :3], electrodes[..., 3:6], electrodes[..., 6:]
        keys = self.keys(torch.cat([place_features(anode), place_features(cathode) * bipolar, bipolar], dim=-1))
        logits = torch.einsum("bcd,md->bmc", keys, self.queries)
        weights = logits.masked_fill(~present[:, None], -torch.inf).softmax(dim=-1)
        plus, minus = weights.chunk(2, dim=1)
        return torch.einsum("bmc,bct->bmt", plus - torch.sigmoid(self.share)[:, None] * minus, eeg)


class SpatialDecoder(nn.Module):
    """Sources -> channels at any electrodes; a bipolar derivation is the difference of its two electrodes."""

    def __init__(self, sources: int, dim: int) -> None:
        super().__init__()
        self.unmix = nn.Sequential(
            nn.Linear(PLACE_FEATURES, dim),
            nn.GELU(),
            nn.Linear(dim, dim),
            nn.GELU(),
            nn.Linear(dim, sources, bias=False),
        )

    def forward(self, sources: Tensor, electrodes: Tensor) -> Tensor:
        """sources (B, M, T), electrodes (B, C, 7) -> (B, C, T)."""
        anode, cathode = (self.unmix(place_features(place)) for place in (electrodes[..., :3], electrodes[..., 3:6]))
        return torch.einsum("bcm,bmt->bct", anode - electrodes[..., 6:] * cathode, sources)
