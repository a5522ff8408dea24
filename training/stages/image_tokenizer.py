"""Stage `image-tokenizer`: trains the VQ-GAN on the pictures of sample shards and on folders of photographs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import sha256_file, sha256_json
from neuroleon.common.pictures import centre_square, find_pictures, open_picture, resized
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.plain_samples import sample_at
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Location
from neuroleon.tokenizers.image import ImageTokenizer, to_floats
from neuroleon.tokenizers.vqgan import VQGANConfig
from neuroleon.tokenizers.vqgan_loss import VQGANLossConfig, VQGANTraining
from neuroleon.training.stage import Examples

HELD_OUT = 10  # every tenth file of a folder of photographs is for validation
SHIFT = 3  # pixels that a shard's picture is moved at most, at 64 pixels a side
EXAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class ImageTokenizerConfig:
    """Settings of the stage.

    Attributes:
        samples: folders of sample shards; each is drawn from equally often, whatever its size.
        pictures: folders of photographs, of which a batch holds random crops.
        photo_share: the part of a batch that comes from `pictures` where both are given.
        validation_pictures: how many pictures are reconstructed at a validation.
    """

    samples: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    photo_share: float = 0.5
    batch_size: int = 32
    validation_pictures: int = 256
    network: VQGANConfig = field(default_factory=VQGANConfig)
    loss: VQGANLossConfig = field(default_factory=VQGANLossConfig)

    def __post_init__(self) -> None:
        if not self.samples and not self.pictures:
            raise ConfigError("no data: give folders of sample shards (samples) or of photographs (pictures)")
        if not 0 <= self.photo_share <= 1:
            raise ConfigError(f"photo_share is {self.photo_share}; give a number from 0 to 1")
        if self.validation_pictures < 1:
            raise ConfigError(f"validation_pictures is {self.validation_pictures}; give 1 or more")
        vectors = self.batch_size * self.network.tokens
        if vectors < self.network.codebook_size:
            raise ConfigError(
                f"batch_size {self.batch_size} gives {vectors} code vectors, fewer than the codebook's "
                f"{self.network.codebook_size}, which start as cluster centres of the first batch; raise batch_size"
            )


class ShardPictures:
    """The png members of one split of a folder of sample shards, `len` of them."""

    def __init__(self, folder: Location, split: str, size: int) -> None:
        self._reader, self._size = ShardReader(folder, split), size
        self.fingerprint = self._reader.fingerprint
        self._where = f"{folder} ({split})"
        if len(self._reader):
            self[0]  # a set without pictures, or with pictures of another size, is refused before training starts

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, i: int) -> np.ndarray:
        record = sample_at(self._reader, i, self._size)
        if "png" not in record:
            raise DataError(f"{self._where}: sample {record['__key__']} has no picture; leave this folder out")
        picture: np.ndarray = record["png"]
        if picture.shape != (self._size, self._size, 3):
            raise DataError(
                f"{self._where}: the picture of {record['__key__']} is {picture.shape}, network.resolution is "
                f"{self._size}; prepare the samples at that size, or change the network"
            )
        return picture

    def view(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Picture i, moved by a few pixels and a little brighter or darker: drawings come pixel by pixel the same."""
        most = round(SHIFT * self._size / 64)
        down, across = rng.integers(0, 2 * most + 1, 2)
        padded = np.pad(self[i], ((most, most), (most, most), (0, 0)), mode="edge")
        moved = padded[down : down + self._size, across : across + self._size]
        return _lit(moved, rng, contrast=0.1, light=10, tint=4)


class PhotoFolder:
    """Photographs in a folder, every tenth of them for validation; with fewer than ten, none is."""

    def __init__(self, folder: Path, split: str, size: int) -> None:
        everything = find_pictures(folder)
        held_out = set(everything[HELD_OUT - 1 :: HELD_OUT])
        self._files = [path for path in everything if (path in held_out) == (split == "validation")]
        self._size = size
        # Decoding takes far longer than cropping. Four times the side is enough for every crop.
        self._open = lru_cache(maxsize=256)(self._shrunk)

    @cached_property
    def fingerprint(self) -> str:
        return sha256_json({path.name: sha256_file(path) for path in self._files})

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, i: int) -> np.ndarray:
        return centre_square(self._open(self._files[i]), self._size)

    def _shrunk(self, path: Path) -> np.ndarray:
        picture = open_picture(path)
        height, width = picture.shape[:2]
        if min(height, width) < self._size:
            raise DataError(f"{path}: {width} x {height} pixels, crops of {self._size} are cut from it; take it out")
        scale = min(1.0, 4 * self._size / min(height, width))
        return resized(picture, round(width * scale), round(height * scale))

    def view(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """A random square crop of photograph i, half to all of its short side, perhaps mirrored, colours changed."""
        picture = self._open(self._files[i])
        height, width = picture.shape[:2]
        side = int(rng.integers(max(self._size, min(height, width) // 2), min(height, width) + 1))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        crop = resized(picture[top : top + side, left : left + side], self._size, self._size)
        return _lit(crop[:, :: rng.choice((-1, 1))], rng, contrast=0.2, light=20, tint=12)


def _lit(picture: np.ndarray, rng: np.random.Generator, *, contrast: float, light: float, tint: float) -> np.ndarray:
    """Contrast around mid grey, brightness and colour, each changed by at most the given amount (of 255)."""
    factor = 1 + rng.uniform(-contrast, contrast)
    offset = rng.uniform(-light, light) + rng.uniform(-tint, tint, 3)
    return np.clip((picture - 127.5) * factor + 127.5 + offset, 0, 255).astype(np.uint8)


class ImageTokenizerStage:
    """The stage as `training/loop.py` drives it; see `training/stage.py`."""

    def __init__(self, config: ImageTokenizerConfig, seed: int) -> None:
        self.config, self._seed = config, seed
        self._drawn, self._photos = self._sources("train")
        if not self._drawn and not self._photos:
            raise DataError("image-tokenizer: the train split holds no picture; give other samples or pictures")
        self._validation = self._validation_pictures()

    def _sources(self, split: str) -> tuple[list[ShardPictures], list[PhotoFolder]]:
        size = self.config.network.resolution
        drawn = [ShardPictures(folder, split, size) for folder in self.config.samples]
        photos = [PhotoFolder(Path(folder), split, size) for folder in self.config.pictures]
        return [s for s in drawn if len(s)], [s for s in photos if len(s)]

    def _validation_pictures(self) -> np.ndarray:
        """uint8 (n, size, size, 3): the same number from every source, evenly spaced in it."""
        drawn, photos = self._sources("validation")
        sources: Sequence[ShardPictures | PhotoFolder] = [*drawn, *photos]
        if not sources:
            raise DataError(
                "image-tokenizer: no validation picture; give samples with a validation split, or ten or more pictures"
            )
        each = max(1, self.config.validation_pictures // len(sources))
        places = [np.unique(np.linspace(0, len(s) - 1, each).round().astype(int)) for s in sources]
        return np.stack([s[int(i)] for s, chosen in zip(sources, places, strict=True) for i in chosen])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the pictures of the train split."""
        return sha256_json([s.fingerprint for s in self._drawn] + [s.fingerprint for s in self._photos])

    def build(self) -> VQGANTraining:
        """Fresh weights, channels last: on a CPU with bf16 several times as fast."""
        module = VQGANTraining(self.config.network, self.config.loss)
        return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batch(self, index: int) -> dict[str, Tensor]:
        """`pictures` uint8 (batch_size, size, size, 3), and `index`, on which the discriminator's start depends."""
        rng = generator("image-tokenizer", self._seed, index)
        pictures = [self._view(rng) for _ in range(self.config.batch_size)]
        return {"pictures": torch.from_numpy(np.stack(pictures)), "index": torch.tensor(index)}

    def _view(self, rng: np.random.Generator) -> np.ndarray:
        wants_photo = rng.random() < self.config.photo_share
        sources: Sequence[ShardPictures | PhotoFolder] = self._photos if wants_photo else self._drawn
        sources = sources or self._photos or self._drawn
        source = sources[int(rng.integers(len(sources)))]
        return source.view(int(rng.integers(len(source))), rng)

    def contents(self, batch: dict[str, Tensor]) -> dict[str, float]:
        return {"pictures": len(batch["pictures"])}

    def blocks(self, module: nn.Module) -> list[nn.Module]:
        return []

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The names of `VQGANTraining.forward`."""
        losses: dict[str, Tensor] = module(to_floats(batch["pictures"]), int(batch["index"]))
        return losses

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Pixel error (of 1), PSNR in dB, and how much of the codebook is in use, through the tokenizer itself."""
        tokenizer = self._tokenizer(module)
        ids = tokenizer.encode(self._validation)
        error = (tokenizer.decode(ids).astype(np.float64) - self._validation) / 255
        share = np.bincount(ids.ravel(), minlength=tokenizer.size) / ids.size
        used = share[share > 0]
        squared = np.square(error).mean(axis=(1, 2, 3)).clip(1e-10)
        l1 = float(np.abs(error).mean())
        return {
            "score": l1,
            "l1": l1,
            "psnr_db": float((-10 * np.log10(squared)).mean()),
            "codes_used": len(used) / tokenizer.size,
            "perplexity": float(np.exp(-(used * np.log(used)).sum())),
        }

    def examples(self, module: nn.Module) -> Examples:
        """Originals in the upper row, their reconstructions below."""
        places = np.unique(np.linspace(0, len(self._validation) - 1, EXAMPLES).round().astype(int))
        originals, tokenizer = self._validation[places], self._tokenizer(module)
        rows = [np.concatenate(list(row), axis=1) for row in (originals, tokenizer.decode(tokenizer.encode(originals)))]
        return Examples(pictures={"reconstructions": np.concatenate(rows)})

    def export(self, module: nn.Module, folder: Path) -> None:
        """Write the tokenizer folder."""
        self._tokenizer(module).save(folder)

    @staticmethod
    def _tokenizer(module: nn.Module) -> ImageTokenizer:
        assert isinstance(module, VQGANTraining), f"expected the module of build(), found {type(module).__name__}"
        return ImageTokenizer(copy.deepcopy(module.network), module.quantizer.codebook.clone())
