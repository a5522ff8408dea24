"""Classifier-free guidance: how strongly the condition steers (Ho and Salimans, arXiv 2207.12598; CM3leon, 3.1)."""

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Logits u + scale * (c - u) of the streams with and without the condition; `scale` 1 is the condition alone."""
    return unconditional + scale * (conditional - unconditional)
