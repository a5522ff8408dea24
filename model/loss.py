"""The training loss: weighted cross-entropy plus z-loss, and what each modality costs in nats."""

import torch
from torch import Tensor

# The kinds of `Vocabulary.modality_ids`; 0 is a special id.
KINDS = {"text": 1, "image": 2, "eeg": 3}


def token_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, kinds: Tensor, z_weight: float = 1e-5
) -> dict[str, Tensor]:
    """Loss of next-id prediction, in fp32.

    Args:
        logits: (..., V); the leading shape may be (B, T), or (N,) where only some positions were computed.
        targets: (...,) ids.
        weights: (...,) weight of each position in the loss; positions of weight 0 take no part at all.
        kinds: (...,) 0 special, 1 text, 2 image, 3 EEG: the modality of each target.
        z_weight: weight of log^2 Z, which keeps logits from drifting (PaLM, arXiv 2204.02311, 5; Chameleon, 2.3).

    Returns:
        `loss` (to minimise), `z` (weighted mean of log^2 Z), and the unweighted mean nats of each of `text`, `image`
        and `eeg` that has a target of weight above 0; NaN for a modality without one. All but `loss` are detached.
    """
    used = weights > 0
    logits, targets, kinds = logits[used].float(), targets[used].long(), kinds[used]
    weights = weights[used].float()
    log_z = torch.logsumexp(logits, dim=-1)
    nats = log_z - logits.gather(-1, targets[:, None])[:, 0]
    total = weights.sum().clamp_min(torch.finfo(torch.float32).tiny)
    z = (weights * log_z.square()).sum() / total
    result = {"loss": (weights * nats).sum() / total + z_weight * z, "z": z.detach()}
    for name, kind in KINDS.items():
        result[name] = nats.detach()[kinds == kind].mean()  # NaN for none
    return result
