"""ImageTokenizer: pictures of one fixed size to a grid of ids, and back. It needs no quantization library.

Folder: `config.json` (format, network), `weights.safetensors` (network, `codebook`, and for taming's Gumbel models
`projection.weight`, `projection.bias`), `manifest.json`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from neuroleon.common.checkpoint import load_tensors, save_tensors
from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import atomic_folder, read_json, sha256_json, verify_folder, write_json
from neuroleon.tokenizers.vqgan import VQGAN, VQGANConfig

FORMAT = "neuroleon.image-tokenizer/1"
CODES = ("codebook", "projection.weight", "projection.bias")  # the tensors that are not the network's
CHUNK_PIXELS = 2**20  # pictures go through the network in chunks of about this many pixels


def to_floats(pictures: Tensor) -> Tensor:
    """uint8 (n, H, W, 3) -> float32 (n, 3, H, W) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_bytes(pictures: Tensor) -> Tensor:
    """float (n, 3, H, W) about [-1, 1] -> uint8 (n, H, W, 3), clipped."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


class ImageTokenizer:
    """A trained VQ-GAN as a tokenizer; ids run over the grid row by row.

    The id of a latent z is the largest of z @ weight + bias. For a nearest-neighbour codebook e (L2) these are e and
    -|e|^2 / 2; a Gumbel model (`projection`) brings its own, and the codebook only decodes.
    """

    def __init__(self, network: VQGAN, codebook: Tensor, projection: tuple[Tensor, Tensor] | None = None) -> None:
        self.config = network.config
        self._network = network.eval().requires_grad_(False)
        self._codebook = codebook.detach().float().contiguous()
        self._projection = projection
        self._weight, self._bias = projection or (self._codebook, -self._codebook.square().sum(1) / 2)

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.config.codebook_size

    @property
    def image_size(self) -> int:
        """Pixels of a side; pictures are square."""
        return self.config.resolution

    @property
    def tokens(self) -> int:
        """Ids of one picture."""
        return self.config.tokens

    @property
    def codebook(self) -> np.ndarray:
        """float32 (size, d): the vector of each id."""
        return self._codebook.cpu().numpy()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the network's shape and every weight: both ways of reading an id hang on all of them."""
        digest = hashlib.sha256(sha256_json({"format": FORMAT, "network": asdict(self.config)}).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def encode(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (n, image_size, image_size, 3) -> int64 (n, tokens).

        Raises:
            DataError: another size, another type, or no colour axis.
        """
        pictures, side = np.asarray(batch), self.image_size
        if pictures.dtype != np.uint8 or pictures.shape[1:] != (side, side, 3):
            raise DataError(
                f"pictures: found {pictures.dtype} {pictures.shape}, this tokenizer takes uint8 "
                f"(n, {side}, {side}, 3); make them with neuroleon.common.pictures.load_picture(path, {side})"
            )
        if not len(pictures):
            return np.empty((0, self.tokens), np.int64)
        return self._chunked(self._ids, torch.from_numpy(pictures))

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """Integers (n, tokens), each below `size` -> uint8 (n, image_size, image_size, 3).

        Raises:
            DataError: not whole numbers, another count per picture, or an id outside the codebook.
        """
        local = np.asarray(ids)
        if local.ndim != 2 or local.shape[1] != self.tokens or not np.issubdtype(local.dtype, np.integer):
            raise DataError(f"image ids: found {local.dtype} {local.shape}, expected integers (n, {self.tokens})")
        if local.size and not (0 <= local.min() and local.max() < self.size):
            raise DataError(
                f"image ids: found {local.min()} to {local.max()}, this codebook has 0 to {self.size - 1}; "
                "give local ids (Vocabulary.to_local)"
            )
        if not len(local):
            return np.empty((0, self.image_size, self.image_size, 3), np.uint8)
        return self._chunked(self._pictures, torch.from_numpy(local.astype(np.int64)))

    def save(self, folder: Path) -> None:
        """Write the folder, all or nothing."""
        with atomic_folder(folder) as temporary:
            write_json(temporary / "config.json", {"format": FORMAT, "network": asdict(self.config)})
            save_tensors(temporary / "weights.safetensors", self._tensors())

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Read a folder of `save`.

        Raises:
            CheckpointError: damaged, of another format, or weights that do not fit their config.
        """
        verify_folder(folder)
        config = _read_config(folder / "config.json")
        tensors = load_tensors(folder / "weights.safetensors")
        return cls.from_tensors(config, {name: t.to(device) for name, t in tensors.items()}, folder)

    @classmethod
    def from_tensors(cls, config: VQGANConfig, tensors: dict[str, Tensor], source: Path) -> Self:
        """Build from named weights, of which none may be missing, extra, of another shape, or not finite.

        Raises:
            CheckpointError: naming `source` and the weights that do not fit.
        """
        with torch.device("meta"):
            network = VQGAN(config)
        expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
        expected["codebook"] = (config.codebook_size, config.code_dim)
        if any(name.startswith("projection.") for name in tensors):
            expected |= {"projection.weight": expected["codebook"], "projection.bias": (config.codebook_size,)}
        found = {name: tuple(t.shape) for name, t in tensors.items()}
        if found != expected:
            different = sorted(found.items() ^ expected.items())
            raise CheckpointError(
                f"{source}: {len(different)} weights do not fit the config, first {different[:2]}; "
                "config and weights must come from the same run"
            )
        bad = [name for name, t in tensors.items() if t.dtype != torch.float32 or not t.isfinite().all()]
        if bad:
            raise CheckpointError(
                f"{source}: {bad[0]} is not finite float32; the training diverged, use an earlier one"
            )
        network.load_state_dict({n: t for n, t in tensors.items() if n not in CODES}, assign=True)
        codebook, *projection = (tensors[name] for name in CODES if name in tensors)
        return cls(network, codebook, (projection[0], projection[1]) if projection else None)

    def _tensors(self) -> dict[str, Tensor]:
        projection = self._projection or ()
        return self._network.state_dict() | dict(zip(CODES, (self._codebook, *projection), strict=False))

    def _ids(self, pictures: Tensor) -> Tensor:
        latents = self._network.latents(to_floats(pictures))
        scores = torch.addmm(self._bias, latents.flatten(0, 1), self._weight.T)
        return scores.argmax(1).view(len(pictures), self.tokens)

    def _pictures(self, ids: Tensor) -> Tensor:
        return to_bytes(self._network.pictures(F.embedding(ids, self._codebook)))

    def _chunked(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> np.ndarray:
        """`function` over the first axis, piece by piece, in float32 whatever the caller's precision."""
        device, count = self._codebook.device, max(1, CHUNK_PIXELS // self.image_size**2)
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            return torch.cat([function(chunk.to(device)).cpu() for chunk in torch.split(batch, count)]).numpy()


def _read_config(path: Path) -> VQGANConfig:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format is not {FORMAT}; this is not an image tokenizer of this version")
    try:
        network: dict[str, Any] = content["network"]
        return VQGANConfig(**(network | {name: tuple(network[name]) for name in ("ch_mult", "attn_resolutions")}))
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}; it was written by another version") from None
