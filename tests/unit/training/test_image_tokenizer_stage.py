"""The image tokenizer's stage: its data, its metrics, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.data_pipeline.stimuli import draw
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.vqgan import VQGANConfig
from neuroleon.training.stages.image_tokenizer import ImageTokenizerConfig, ImageTokenizerStage

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
PHOTOS = DATA / "muse_visual" / "stim" / "cats_dogs"
SMALL = VQGANConfig(ch=32, z_channels=16, codebook_size=64, code_dim=8)


def shards(folder: Path, letters: str = "ABCDEFGH", size: int = 64, **members: object) -> str:
    """Sample shards with a drawn letter per sample, in three splits."""
    for split in ("train", "validation"):
        records = [
            {"__key__": f"{split}{i}", "json": {}, "png": draw("glyph", size, text=c), **members}
            for i, c in enumerate(letters)
        ]
        records = [{name: value for name, value in r.items() if value is not None} for r in records]
        write_shard(shard_path(folder, split, 0), records)
    write_manifest(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """Twelve photographs of one colour each, red in the file's number."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        Image.new("RGB", (100, 80), (20 * i, 128, 128)).save(folder / f"{i:02}.png")
    return str(folder)


def stage(seed: int = 0, **settings: object) -> ImageTokenizerStage:
    return ImageTokenizerStage(ImageTokenizerConfig(network=SMALL, batch_size=8, **settings), seed)


def test_a_batch_is_a_pure_function_of_seed_and_index(tmp_path: Path, photos: str) -> None:
    settings = {"samples": (shards(tmp_path / "letters"),), "pictures": (photos,)}
    first, again, other = stage(**settings), stage(**settings), stage(seed=1, **settings)
    later = first.batch(4)["pictures"]
    one = first.batch(3)["pictures"]
    assert one.shape == (8, 64, 64, 3)
    assert one.dtype == torch.uint8
    assert torch.equal(one, again.batch(3)["pictures"])
    assert not torch.equal(one, later)
    assert not torch.equal(one, other.batch(3)["pictures"])
    assert first.fingerprint == again.fingerprint


def test_photos_make_their_share_of_a_batch(tmp_path: Path, photos: str) -> None:
    made = stage(samples=(shards(tmp_path / "letters"),), pictures=(photos,), photo_share=0.25)
    pictures = torch.cat([made.batch(i)["pictures"] for i in range(40)]).float()
    is_photo = pictures.std(dim=(1, 2)).amax(1) < 1  # of one colour
    assert 0.15 < is_photo.float().mean() < 0.35


def test_held_out_photographs_are_never_trained_on(photos: str) -> None:
    made = stage(pictures=(photos,))
    assert len(made._validation) == 1  # the tenth of twelve, red 180
    assert made._validation[0, 0, 0, 0] == 180
    assert [path.name for path in made._photos[0]._files] == [f"{i:02}.png" for i in range(12) if i != 9]


def test_drawings_are_moved_and_lit_a_little(tmp_path: Path) -> None:
    source = stage(samples=(shards(tmp_path / "letters"),))._drawn[0]
    views = np.stack([source.view(0, np.random.default_rng(i)) for i in range(30)]).astype(float)
    assert len({view.tobytes() for view in views}) == 30
    centres = [np.argwhere(view[..., 0] > 128).mean(0) for view in views]
    assert np.ptp(centres, axis=0).min() > 3
    assert np.abs(np.array(centres) - np.argwhere(source[0][..., 0] > 128).mean(0)).max() < 3.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no data"),
        ({"samples": ("x",), "photo_share": 2.0}, "photo_share"),
        ({"samples": ("x",), "batch_size": 1, "network": VQGANConfig()}, "batch_size"),
        ({"samples": ("x",), "validation_pictures": 0}, "validation_pictures"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageTokenizerConfig(**settings)


def test_sets_without_pictures_or_of_another_size_are_refused(tmp_path: Path, photos: str) -> None:
    with pytest.raises(DataError, match="no picture"):
        stage(samples=(shards(tmp_path / "bare", png=None),))
    with pytest.raises(DataError, match="resolution"):
        stage(samples=(shards(tmp_path / "large", size=128),))
    for path in Path(photos).iterdir():
        Image.new("RGB", (40, 200)).save(path)
    with pytest.raises(DataError, match="40 x 200"):
        stage(pictures=(photos,))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        stage(pictures=(str(tmp_path / "empty"),))


def test_training_makes_letters_readable_and_exports_them(tmp_path: Path) -> None:
    made = stage(samples=(shards(tmp_path / "letters"),))
    torch.manual_seed(0)
    module = made.build()
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    for index in range(60):
        losses = made.loss(module.train(), made.batch(index))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        if index == 0:
            before = made.validate(module.eval())
    after = made.validate(module.eval())
    assert after["psnr_db"] > before["psnr_db"] + 4
    assert after["score"] < before["score"] / 2
    assert 1 < after["perplexity"] <= after["codes_used"] * 64 + 1e-6
    assert all(p.requires_grad for p in module.network.parameters())  # validation took a copy

    grid = made.examples(module).pictures["reconstructions"]
    assert grid.shape == (128, 8 * 64, 3)
    made.export(module, tmp_path / "image")
    tokenizer = ImageTokenizer.load(tmp_path / "image")
    letters = np.stack([draw("glyph", text=c) for c in "ABCDEFGH"])
    np.testing.assert_array_equal(grid[:64], np.concatenate(list(letters), axis=1))
    back = tokenizer.decode(tokenizer.encode(letters))
    # each reconstruction is nearest to its own letter
    distance = np.abs(back[:, None].astype(float) - letters[None]).mean((2, 3, 4))
    assert (distance.argmin(1) == np.arange(8)).mean() >= 0.75


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the shared data is not here")
def test_real_photographs_give_many_views(tmp_path: Path) -> None:
    made = stage(samples=(shards(tmp_path / "letters"),), pictures=(str(PHOTOS),), photo_share=1.0)
    pictures = made.batch(0)["pictures"].numpy()
    assert len({p.tobytes() for p in pictures}) == 8
    assert pictures.std() > 30
