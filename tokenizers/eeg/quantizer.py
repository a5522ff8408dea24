"""Latents to codes and back: residual vectors, single-level vectors or finite scalars behind one interface.

A step has `levels` codes, and any prefix of them is a coarser code of the same step: training drops the levels behind a
random one, window by window (`keep`). The second and third level code the semantic numbers of responses and of rhythms,
from codebooks of their own: in one residual sequence with the waveform each costs the others (split quantization:
Defossez et al. 2024).
# B batch, N steps, L levels, D latent
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from loguru import logger
from torch import Tensor, nn
from torch.nn import functional
from vector_quantize_pytorch import FSQ, VectorQuantize
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from neuroleon.tokenizers.eeg.config import FSQ_LEVELS, SEMANTIC, EEGTokenizerConfig

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

# k-means warns of fewer vectors than codes; codes that it leaves alike are moved when they turn out dead
logger.disable("vector_quantize_pytorch")

K_MEANS_ROUNDS = 10
DEAD_SHARE = 0.25  # of its fair share of vectors; a code with less is moved onto a vector of the batch


@dataclass(frozen=True)
class Quantized:
    """What a training step gets: gradients pass through the semantic numbers to the encoder, and nowhere else.

    `latents` (n, D) are of the levels kept, `semantic` (n, 2 * semantic_dim) of the semantic levels; `codes` (n, L) of
    all.
    """

    latents: Tensor
    semantic: Tensor
    codes: Tensor
    commitment: Tensor


class EEGQuantizer(nn.Module):
    """The quantizer that `config.quantizer` names, of the waveform; the semantic levels are always nearest vectors.

    EMA codebooks, revival of dead codes and the rotation trick are vector-quantize-pytorch's. A code is dead well below
    its fair share of the vectors: with the usual threshold of two vectors a batch, codebooks with about as many codes
    as a batch has steps were drawn anew all the time (docs/experiments.md).
    """

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.levels, self.coded, self.dim = config.levels, config.coded, config.latent_dim
        self.finite = tuple(config.quantizer == "fsq" and level not in SEMANTIC for level in range(config.levels))
        self.layers = nn.ModuleList(
            FSQ(list(FSQ_LEVELS), force_quantization_f32=False)
            if finite
            else VectorQuantize(
                dim=place.stop - place.start,
                codebook_size=config.codes,
                decay=0.99,
                kmeans_init=True,
                kmeans_iters=10,
                threshold_ema_dead_code=1,  # on; how many vectors is set for each batch
                commitment_weight=0.25,
            )
            for finite, place in zip(self.finite, self.coded, strict=True)
        )

    def _placed(self, vector: Tensor, level: int) -> Tensor:
        """A level's vectors (..., d) at their place in latents (..., D), zeros elsewhere."""
        place = self.coded[level]
        return functional.pad(vector, (place.start, self.dim - place.stop))

    def forward(self, latents: Tensor, keep: Tensor) -> Quantized:
        """latents (n, D) of steps that exist, keep (n,): how many of a step's levels are not dropped, at least 1."""
        with torch.autocast(latents.device.type, enabled=False):
            rest, total, codes = latents.float(), torch.zeros_like(latents, dtype=torch.float32), []
            semantic, commitments = [], []
            for level in range(self.levels):
                given = rest[:, self.coded[level]]
                vector, code, commitment = self._level(given, level)
                rest = rest - self._placed(vector, level)
                if level in SEMANTIC:
                    vector = rotate_to(given, vector)
                    semantic.append(vector)
                    commitments.append(commitment)
                total = total + self._placed(vector * (level < keep)[:, None], level)
                codes.append(code)
        return Quantized(
            total, torch.cat(semantic, dim=-1), torch.stack(codes, dim=-1), torch.stack(commitments).mean()
        )

    def _level(self, given: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """given (n, d) -> vectors (n, d), codes (n,) and commitment loss of one level."""
        layer: Any = self.layers[level]
        if self.finite[level]:
            vector, code = (x[0] for x in layer(given[None]))
            return vector.detach(), code.long(), given.new_zeros(())
        dead = DEAD_SHARE * len(given) / layer.codebook_size  # in vectors of this batch
        layer._codebook.threshold_ema_dead_code = layer._codebook.reset_cluster_size = dead
        vector, code, loss = layer(given[None])
        return vector[0].detach(), code[0], loss.squeeze()

    @torch.no_grad()
    def start_from(self, latents: Tensor) -> None:
        """Codebooks as k-means of latents (n, D), n >= 1: each level of what the levels before it left.

        scikit-learn's k-means, which takes a tenth of the time that vector-quantize-pytorch's own start does.
        """
        rest = latents.float()
        for level in range(self.levels):
            given = rest[:, self.coded[level]]
            if self.finite[level]:
                continue
            layer: Any = self.layers[level]
            book = layer._codebook
            found = _k_means(given.numpy(), layer.codebook_size, seed=level)
            centres, codes = torch.from_numpy(found.cluster_centers_), found.labels_[: len(given)]
            sizes = torch.from_numpy(np.bincount(codes, minlength=len(centres))).float()
            book.embed.data.copy_(centres[None])
            book.cluster_size.data.copy_(sizes[None])
            book.embed_avg.data.copy_((centres * sizes[:, None])[None])
            book.initted.data.fill_(True)
            rest = rest - self._placed(centres[codes], level)

    def encode(self, latents: Tensor, levels: int | None = None) -> Tensor:
        """latents (B, N, D) -> codes (B, N, l) int64 of the first l levels, by default all: the nearest vector of each,
        in the precision given."""
        codes, rest = [], latents
        for level in range(levels or self.levels):
            part, layer = rest[..., self.coded[level]], self.layers[level]
            if self.finite[level]:
                code = layer(part)[1].long()
            else:
                book = self.vectors(level).to(latents.dtype)
                distances = torch.addmm(book.square().sum(-1), part.flatten(0, 1), book.T, alpha=-2)
                # of codes that are the same in half precision always the first
                code = distances.float().argmin(dim=-1).unflatten(0, part.shape[:2])
                rest = rest - self._placed(book[code], level)
            codes.append(code)
        return torch.stack(codes, dim=-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, N, l) of the first l levels, 1 <= l <= L -> latents (B, N, D)."""
        levels = range(codes.shape[-1])
        return torch.stack([self._placed(self.vectors(k)[codes[..., k]], k) for k in levels]).sum(0)

    def vectors(self, level: int) -> Tensor:
        """(codes, d): the vector of every code of a level."""
        layer: Any = self.layers[level]
        vectors: Tensor = layer.implicit_codebook if self.finite[level] else layer.codebook
        return vectors

    def set_vectors(self, level: int, vectors: Tensor) -> None:
        """The inverse of `vectors`; finite scalars are what they are."""
        layer: Any = self.layers[level]
        if not self.finite[level]:
            layer._codebook.embed.data.copy_(vectors[None])
            layer._codebook.initted.data.fill_(True)

    @property
    def summands(self) -> Tensor:
        """(L * codes, D): what every local id adds to the latent of its step."""
        return torch.cat([self._placed(self.vectors(level), level) for level in range(self.levels)])


def _k_means(values: np.ndarray, n_codes: int, seed: int) -> "KMeans":
    """k-means of values (n, d); where they are fewer than the codes, of several copies: dead codes are moved later."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rounds = KMeans(n_codes, init="random", n_init=1, max_iter=K_MEANS_ROUNDS, random_state=seed)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return rounds.fit(values if len(values) >= n_codes else np.resize(values, (n_codes, values.shape[1])))
