"""Latents to codes and back: residual vectors, single-level vectors or finite scalars behind one interface.

A step has `levels` codes, and any prefix of them is a coarser code of the same step: training drops the levels behind a
random one, window by window (`keep`). The second level codes the semantic part of the latent, from a codebook beside
those of the waveform: in one residual sequence each costs the other (split quantization: Defossez et al. 2024).
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

    `latents` (n, D) are of the levels kept, `semantic` (n, code_dim) of the semantic level; `codes` (n, L) of all.
    """

    latents: Tensor
    semantic: Tensor
    codes: Tensor
    commitment: Tensor


class EEGQuantizer(nn.Module):
    """The quantizer that `config.quantizer` names.

    EMA codebooks, k-means start, revival of dead codes and the rotation trick are vector-quantize-pytorch's. A code is
    dead well below its fair share of the vectors: with the usual threshold of two vectors a batch, codebooks with about
    as many codes as a batch has steps were drawn anew all the time (docs/experiments.md).
    """

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.kind, self.levels, self.coded = config.quantizer, config.levels, config.coded
        self.dim = config.latent_dim
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

    def _placed(self, vector: Tensor, level: int) -> Tensor:
        """A level's vectors (..., code_dim) at their place in latents (..., D), zeros elsewhere."""
        place = self.coded[level]
        return functional.pad(vector, (place.start, self.dim - place.stop))

    def forward(self, latents: Tensor, keep: Tensor) -> Quantized:
        """latents (n, D) of steps that exist, keep (n,): how many of a step's levels are not dropped, at least 1."""
        with torch.autocast(latents.device.type, enabled=False):
            rest, total, codes = latents.float(), torch.zeros_like(latents, dtype=torch.float32), []
            semantic, commitment = rest[:, self.coded[SEMANTIC]], rest.new_zeros(())
            for level in range(self.levels):
                given = rest[:, self.coded[level]]
                vector, code, loss = self._level(given, level)
                codes.append(code)
                if level == SEMANTIC:
                    # finite scalars pass gradients by themselves
                    semantic = vector if self.kind == "fsq" else rotate_to(given, vector)
                    vector, commitment = semantic, loss
                else:
                    vector = vector.detach()
                total = total + self._placed(vector * (level < keep)[:, None], level)
                rest = rest - self._placed(vector.detach(), level)
        return Quantized(total, semantic, torch.stack(codes, dim=-1), commitment)

    def _level(self, given: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """given (n, code_dim) -> vectors (n, code_dim), codes (n,) and commitment loss of one level."""
        if self.kind == "fsq":
            vector, code = (x[0] for x in self.layers[0](given[None]))
            return vector, code.long(), given.new_zeros(())
        layer: Any = self.layers[level]
        dead = DEAD_SHARE * len(given) / layer.codebook_size  # in vectors of this batch
        layer._codebook.threshold_ema_dead_code = layer._codebook.reset_cluster_size = dead
        vector, code, loss = layer(given[None])
        return vector[0].detach(), code[0], loss.squeeze()

    @torch.no_grad()
    def start_from(self, waveform: Tensor) -> None:
        """Codebooks of the waveform as k-means of its latents (n, waveform_dim), n >= 1: each level of what the levels
        before it left. The semantic codebook starts at the first batch of training.

        scikit-learn's k-means, which takes a tenth of the time that vector-quantize-pytorch's own start does.
        """
        if self.kind == "fsq":
            return
        rest = functional.pad(waveform.float(), (0, self.dim - waveform.shape[1]))
        for level in range(self.levels):
            if level == SEMANTIC:
                continue
            layer: Any = self.layers[level]
            part, book = rest[:, self.coded[level]], layer._codebook
            found = _k_means(part.numpy(), layer.codebook_size, seed=level)
            centres, codes = torch.from_numpy(found.cluster_centers_), found.labels_[: len(part)]
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
            part = rest[..., self.coded[level]]
            if self.kind == "fsq":
                code = self.layers[0](part)[1].long()
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
        return torch.cat([self._placed(self.vectors(level), level) for level in range(self.levels)])

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
