"""Electrodes to spherical harmonics and back: the part of the network that makes it blind to the montage.

The field on the head is a sum of harmonics up to degree 5. What the channels there are say of their coefficients is the
posterior mean of a Gaussian field with noise, which is also what spherical splines are (Perrin et al. 1989): nothing is
learned, any channels will do, and what few channels cannot tell stays near 0.
# B batch, C channels, K harmonics, T samples, N steps
"""

import math
from functools import cache

import torch
from einops import rearrange
from torch import Tensor, nn

DEGREE = 5
HARMONICS = (DEGREE + 1) ** 2
# Of the scale's square: noise of a channel, against a field whose degree n has the variance 1 / (n (n + 1)) for each
# coefficient. Chosen on eight sets: a quarter of the channels from the others, and letters of cvep20 from what is left.
NOISE = 0.05
# Of the largest variance in a window, added to all before their inverse is taken: what few channels cannot tell, and
# what only their noise tells, stays small
LEAST_VARIANCE = 0.01


@cache
def _prior() -> Tensor:
    """Variance (K,) of each coefficient."""
    degree = torch.tensor([n for n in range(DEGREE + 1) for _ in range(2 * n + 1)], dtype=torch.float64)
    return 1 / (degree * (degree + 1)).clamp_min(1.0)


def harmonics(places: Tensor) -> Tensor:
    """Real spherical harmonics at the directions of places (..., 3), of mean square 1 over the sphere: (..., K)."""
    x, y, z = (places / places.norm(dim=-1, keepdim=True).clamp_min(1e-6)).unbind(-1)
    columns: dict[tuple[int, int], Tensor] = {}
    real, imaginary = torch.ones_like(x), torch.zeros_like(x)  # of (x + i y)^m
    diagonal = 1.0
    for m in range(DEGREE + 1):
        before, legendre = torch.zeros_like(x), torch.full_like(x, diagonal)  # P_n^m(z) / sin^m, from n = m on
        for n in range(m, DEGREE + 1):
            size = math.sqrt((2 * n + 1) * math.factorial(n - m) / math.factorial(n + m) * (2 if m else 1))
            columns[n, m] = size * legendre * real
            if m:
                columns[n, -m] = size * legendre * imaginary
            before, legendre = legendre, ((2 * n + 1) * z * legendre - (n + m) * before) / (n - m + 1)
        real, imaginary = x * real - y * imaginary, x * imaginary + y * real
        diagonal *= 2 * m + 1
    return torch.stack([columns[n, m] for n in range(DEGREE + 1) for m in range(-n, n + 1)], dim=-1)


def measured(electrodes: Tensor) -> Tensor:
    """What each channel measures of the harmonics: (B, C, 7) -> (B, C, K); a derivation, their difference."""
    return harmonics(electrodes[..., :3]) - electrodes[..., 6:] * harmonics(electrodes[..., 3:6])


class SpatialEncoder(nn.Module):
    """Channels -> the coefficients of the field, in units of the scale."""

    def forward(self, eeg: Tensor, electrodes: Tensor, present: Tensor) -> Tensor:
        """eeg (B, C, T), electrodes (B, C, 7), present (B, C) bool, one channel or more each -> (B, K, T)."""
        seen = measured(electrodes) * present[..., None]
        precision = seen.mT @ seen + torch.diag(NOISE / _prior().to(seen))
        return torch.linalg.solve(precision, seen.mT) @ eeg


class SpatialDecoder(nn.Module):
    """Coefficients -> channels at any electrodes; in double precision, so that an electrode is given back alike in any
    company: the rounding of a product depends on its shape."""

    def forward(self, coefficients: Tensor, electrodes: Tensor) -> Tensor:
        """coefficients (B, K, T), electrodes (B, C, 7) -> (B, C, T)."""
        with torch.autocast(coefficients.device.type, enabled=False):
            return (measured(electrodes.double()) @ coefficients.double()).to(coefficients)


def whitening(field: Tensor, valid: Tensor, step_samples: int, *, causal: bool) -> Tensor:
    """The inverse square root of a window's own covariance: what is common to all of its EEG is divided out, and with
    it most of what people do not share (Euclidean alignment: He and Wu 2020, of a recording there).

    field (B, K, T), valid (B, T) -> (B, 1, K, K); when `causal`, (B, N, K, K), of the samples up to each step's end.
    """
    steps = rearrange(field * valid[:, None], "b k (n t) -> b n k t", t=step_samples)
    products, n_valid = steps @ steps.mT, rearrange(valid, "b (n t) -> b n t", t=step_samples).sum(dim=-1)
    if causal:
        products, n_valid = products.cumsum(dim=1), n_valid.cumsum(dim=1)
    else:
        products, n_valid = products.sum(dim=1, keepdim=True), n_valid.sum(dim=1, keepdim=True)
    variance, axes = torch.linalg.eigh(products / n_valid.clamp_min(1)[..., None, None])
    variance = variance.clamp_min(0.0) + LEAST_VARIANCE * variance[..., -1:]
    return axes * variance.clamp_min(1e-12).rsqrt()[..., None, :] @ axes.mT


def evenly(n: int) -> Tensor:
    """Directions (n, 3) spread over the part of the sphere that caps cover (a Fibonacci lattice)."""
    height = 1 - (torch.arange(n) + 0.5) / n * 1.2  # down to 12 degrees below the ears
    turn = torch.arange(n) * math.pi * (3 - math.sqrt(5))
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * turn.cos(), radius * turn.sin(), height], dim=-1)
