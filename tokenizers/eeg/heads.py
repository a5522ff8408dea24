"""What shapes the codes beside reconstruction, in training only: read-outs of meaning, and an adversary.

All are switched by what the training run is given: labels, stimuli, embeddings of what was seen, or a weight.
# B batch, N steps, D latent, E embedding
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

SHARED_DIM = 64  # of the space in which EEG and what was seen meet (EEG-CLIP)


def pooled(latents: Tensor, exists: Tensor) -> Tensor:
    """Mean over the existing steps: (B, N, D), (B, N) bool -> (B, D)."""
    weight = exists[..., None].to(latents.dtype)
    return (latents * weight).sum(1) / weight.sum(1).clamp_min(1.0)


class ReadOuts(nn.Module):
    """Linear heads on quantized latents: what they read is linearly there for whoever uses the codes.

    One head for the labels of each set on the pooled latent (Thought2Text's first stage), and one for the stimulus
    itself, sample by sample, where a set knows it (EEG2Code, Nagel & Spueler 2018).
    """

    def __init__(self, latent: int, n_labels: Mapping[str, int], step_samples: int) -> None:
        super().__init__()
        self.labels = nn.ModuleDict({f"of_{name}": nn.Linear(latent, n) for name, n in n_labels.items()})
        self.stimulus = nn.Linear(latent, step_samples)

    def label_logits(self, name: str, pooled_latents: Tensor) -> Tensor:
        """Logits of the labels of set `name`: (B, D) -> (B, labels)."""
        logits: Tensor = self.labels[f"of_{name}"](pooled_latents)
        return logits.float()

    def stimulus_logits(self, latents: Tensor) -> Tensor:
        """(B, N, D) -> (B, T): log-odds of light at every sample."""
        return self.stimulus(latents).flatten(1).float()


class Contrast(nn.Module):
    """EEG against embeddings of what was seen, in a shared space of 64 numbers (EEG-CLIP; CLIP's loss both ways)."""

    def __init__(self, latent: int, embedding: int) -> None:
        super().__init__()
        self.eeg = nn.Linear(latent, SHARED_DIM)
        self.seen = nn.Linear(embedding, SHARED_DIM)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))

    def forward(self, pooled_latents: Tensor, embeddings: Tensor) -> Tensor:
        """(B, D) and (B, E) -> the loss. An embedding that several windows share is one candidate, not many."""
        candidates, wanted = embeddings.unique(dim=0, return_inverse=True)
        first = functional.normalize(self.eeg(pooled_latents), dim=1)
        second = functional.normalize(self.seen(candidates), dim=1)
        logits = first @ second.T / self.log_temperature.clamp(math.log(0.01), 0.0).exp()
        mine = functional.one_hot(wanted, len(candidates)).T.float()
        back = functional.cross_entropy(logits.T, mine / mine.sum(1, keepdim=True))
        return (functional.cross_entropy(logits, wanted) + back) / 2


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: "_Reverse", x: Tensor, strength: Tensor) -> Tensor:
        ctx.save_for_backward(strength)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: "_Reverse", *grads: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return -strength * grads[0], None


class SetAdversary(nn.Module):
    """Tells the data set from the codes; its gradient is reversed on the way back (Ganin et al. 2016, section 3)."""

    def __init__(self, latent: int, n_sets: int) -> None:
        super().__init__()
        self.classify = nn.Sequential(nn.Linear(latent, latent), nn.GELU(), nn.Linear(latent, n_sets))

    def forward(self, pooled_latents: Tensor, sets: Tensor, progress: Tensor) -> Tensor:
        """(B, D), index of each window's set (B,), share of the run that is done () -> cross-entropy."""
        strength = 2 / (1 + torch.exp(-10 * progress)) - 1
        return functional.cross_entropy(self.classify(_Reverse.apply(pooled_latents, strength)).float(), sets)
