"""How strongly the condition steers: what the stream with it says against the stream without it."""

import math

import torch
from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Logits u + scale * (c - u) of the streams with and without the condition; `scale` 1 is the condition alone.

    Classifier-free guidance (Ho and Salimans, arXiv 2207.12598; CM3leon, arXiv 2309.02591, 3.1).
    """
    return unconditional + scale * (conditional - unconditional)


def contrast(conditional: Tensor, unconditional: Tensor, k: int, alpha: float) -> Tensor:
    """Logits log p_c - log p_u (B, n) where p_c is at least `alpha` of its k-th largest, -inf elsewhere.

    Contrastive decoding TopK (CM3leon, 3.2), whose expert has the condition and whose amateur has not; with k = 1 it is
    contrastive decoding (Li et al., arXiv 2210.15097). Ids that may not come have -inf in both.
    """
    expert, amateur = conditional.log_softmax(dim=-1), unconditional.log_softmax(dim=-1)
    least = expert.topk(min(k, expert.shape[-1]), dim=-1).values[..., -1:] + math.log(alpha)
    plausible = (expert >= least) & expert.isfinite()
    return torch.where(plausible, expert - amateur, -torch.inf)
