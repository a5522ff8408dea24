"""Latents to codes and back: residual vectors, single-level vectors or finite scalars behind one interface.

A step has `levels` codes, and any prefix of them is a coarser code of the same step: training drops the levels behind a
random one, window by window (`keep`).
# B batch, N steps, L levels, D latent
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from loguru import logger
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, VectorQuantize
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from neuroleon.tokenizers.eeg.config import FSQ_LEVELS, EEGTokenizerConfig

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

# k-means warns of fewer vectors than codes; codes that it leaves alike are moved when they turn out dead
logger.disable("vector_quantize_pytorch")

K_MEANS_ROUNDS = 10
DEAD_SHARE = 0.25  # of its fair share of vectors; a code with less is moved onto a vector of the batch


@dataclass(frozen=True)
class Quantized:
    """What a training step gets: gradients pass through `latents` and `first` to the encoder.

    `latents` (n, D) are of the levels kept, `first` of the first level alone; `codes` (n, L) of all.
    """

    latents: Tensor
    first: Tensor
    codes: Tensor
    commitment: Tensor


class EEGQuantizer(nn.Module):
    """The quantizer that `config.quantizer` names.

    EMA codebooks, k-means start, revival of dead codes and the rotation trick are vector-quantize-pytorch's. Gradients
    are rotated once, from the latent to the sum of its levels: rotated at each of many levels and added up, as the
    library's own residual quantizer does, they were so noisy that no label was learned. A code is dead well below its
    fair share of the vectors: with the usual threshold of two vectors a batch, codebooks with about as many codes as a
    batch has steps were drawn anew all the time (docs/experiments.md).
    """

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.kind, self.levels, self.code_dim = config.quantizer, config.levels, config.code_dim
        if self.kind == "fsq":
            self.layers = nn.ModuleList([FSQ(list(FSQ_LEVELS), force_quantization_f32=False)])
            return
        self.layers = nn.ModuleList(
            VectorQuantize(
                dim=config.code_dim,
                codebook_size=config.codes,
                decay=0.99,
                kmeans_init=True,
                kmeans_iters=10,
                threshold_ema_dead_code=1,  # on; how many vectors is set for each batch
                commitment_weight=0.25,
            )
            for _ in range(config.levels)
        )

    def _slices(self, latents: Tensor) -> list[Tensor]:
        """The part of the latent that each level of `vq` and `fsq` describes: L tensors (..., code_dim)."""
        return list(rearrange(latents, "... (l d) -> l ... d", l=self.levels).unbind(0))

    def forward(self, latents: Tensor, keep: Tensor) -> Quantized:
        """latents (n, D) of steps that exist, keep (n,): how many of a step's levels are not dropped, at least 1."""
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            vectors, codes, losses = self._all_levels(latents)
            kept = [vector * (level < keep)[:, None] for level, vector in enumerate(vectors)]
            nothing = [torch.zeros_like(vectors[0])] * (self.levels - 1)
            if self.kind == "rvq":
                total, first = torch.stack(kept).sum(0), vectors[0]
            else:
                total, first = torch.cat(kept, dim=-1), torch.cat([vectors[0], *nothing], dim=-1)
            if self.kind != "fsq":  # whose rounding passes gradients by itself
                total, first = rotate_to(latents, total.detach()), rotate_to(latents, first.detach())
        return Quantized(total, first, torch.stack(codes, dim=-1), torch.stack(losses).mean())

    def _all_levels(self, latents: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Vectors (n, code_dim), codes (n,) and commitment loss of every level."""
        vectors, codes, losses = [], [], []
        rest = latents
        for level, part in enumerate([latents] * self.levels if self.kind == "rvq" else self._slices(latents)):
            if self.kind == "fsq":
                vector, code = (x[0] for x in self.layers[0](part[None]))
                loss = part.new_zeros(())
            else:
                layer: Any = self.layers[level]
                dead = DEAD_SHARE * len(latents) / layer.codebook_size  # in vectors of this batch
                layer._codebook.threshold_ema_dead_code = layer._codebook.reset_cluster_size = dead
                vector, code, loss = layer((rest if self.kind == "rvq" else part)[None])
                vector, code = vector[0], code[0]
                rest = rest - vector.detach() if self.kind == "rvq" else rest
            vectors.append(vector)
            codes.append(code.long())
            losses.append(loss.squeeze())
        return vectors, codes, losses

    @torch.no_grad()
    def start_from(self, latents: Tensor) -> None:
        """Codebooks as k-means of latents (n, D), n >= 1: each level of what the levels before it left.

        scikit-learn's k-means, which takes a tenth of the time that vector-quantize-pytorch's own start does.
        """
        if self.kind == "fsq":
            return
        rest, slices = latents.float(), [] if self.kind == "rvq" else self._slices(latents.float())
        for level in range(self.levels):
            layer: Any = self.layers[level]
            part, book = rest if self.kind == "rvq" else slices[level], layer._codebook
            found = _k_means(part.numpy(), layer.codebook_size, seed=level)
            centres, codes = torch.from_numpy(found.cluster_centers_), found.labels_[: len(part)]
            sizes = torch.from_numpy(np.bincount(codes, minlength=len(centres))).float()
            book.embed.data.copy_(centres[None])
            book.cluster_size.data.copy_(sizes[None])
            book.embed_avg.data.copy_((centres * sizes[:, None])[None])
            book.initted.data.fill_(True)
            rest = rest - centres[codes] if self.kind == "rvq" else rest

    def encode(self, latents: Tensor, levels: int | None = None) -> Tensor:
        """latents (B, N, D) -> codes (B, N, l) int64 of the first l levels, by default all: the nearest vector of each,
        in the precision given."""
        levels = levels or self.levels
        if self.kind == "fsq":
            return torch.stack([self.layers[0](part)[1].long() for part in self._slices(latents)[:levels]], dim=-1)
        codes, rest = [], latents
        slices = [] if self.kind == "rvq" else self._slices(latents)
        for level in range(levels):
            book = self.vectors(level).to(latents.dtype)
            part = rest if self.kind == "rvq" else slices[level]
            distances = torch.addmm(book.square().sum(-1), part.flatten(0, 1), book.T, alpha=-2)
            code = distances.float().argmin(dim=-1)  # of codes that are the same in half precision always the first
            code = code.unflatten(0, part.shape[:2])
            codes.append(code)
            rest = rest - book[code] if self.kind == "rvq" else rest
        return torch.stack(codes, dim=-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, N, l) of the first l levels, 1 <= l <= L -> latents (B, N, D)."""
        n_levels = codes.shape[-1]
        vectors = [self.vectors(level)[codes[..., level]] for level in range(n_levels)]
        if self.kind == "rvq":
            return torch.stack(vectors).sum(0)
        missing = [torch.zeros_like(vectors[0])] * (self.levels - n_levels)
        return torch.cat([*vectors, *missing], dim=-1)

    def vectors(self, level: int) -> Tensor:
        """(codes, code_dim): the vector of every code of a level."""
        layer: Any = self.layers[0 if self.kind == "fsq" else level]
        vectors: Tensor = layer.implicit_codebook if self.kind == "fsq" else layer.codebook
        return vectors

    def set_codebook(self, codebook: Tensor) -> None:
        """The inverse of `codebook`."""
        if self.kind != "fsq":
            layers: list[Any] = list(self.layers)
            for layer, vectors in zip(layers, codebook.chunk(self.levels), strict=True):
                layer._codebook.embed.data.copy_(vectors[None])
                layer._codebook.initted.data.fill_(True)

    @property
    def summands(self) -> Tensor:
        """(L * codes, D): what every local id adds to the latent of its step."""
        if self.kind == "rvq":
            return self.codebook
        return torch.block_diag(*(self.vectors(level) for level in range(self.levels)))

    @property
    def codebook(self) -> Tensor:
        """(L * codes, code_dim): the vector of every local id, in the order of the ids."""
        return torch.cat([self.vectors(level) for level in range(self.levels)])


def _k_means(values: np.ndarray, n_codes: int, seed: int) -> "KMeans":
    """k-means of values (n, d); where they are fewer than the codes, of several copies: dead codes are moved later."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rounds = KMeans(n_codes, init="random", n_init=1, max_iter=K_MEANS_ROUNDS, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return rounds.fit(values if len(values) >= n_codes else np.resize(values, (n_codes, values.shape[1])))
