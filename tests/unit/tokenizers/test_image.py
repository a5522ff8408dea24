"""ImageTokenizer: borders, exactness, folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.files import MANIFEST, sha256_file, write_json
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.vqgan import VQGAN, Quantizer, VQGANConfig

SMALL = VQGANConfig(resolution=16, patch=2, ch=32, ch_mult=(1, 1), z_channels=8, codebook_size=16, code_dim=8)


@pytest.fixture
def tokenizer() -> ImageTokenizer:
    torch.manual_seed(0)
    return ImageTokenizer(VQGAN(SMALL), torch.randn(16, 8) * 0.3)


def pictures(n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def test_shapes_and_ranges(tokenizer: ImageTokenizer) -> None:
    ids = tokenizer.encode(pictures())
    assert ids.shape == (5, tokenizer.tokens) == (5, 16)
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) > 1
    assert 0 <= ids.min() <= ids.max() < tokenizer.size == 16
    back = tokenizer.decode(ids)
    assert back.shape == (5, 16, 16, 3)
    assert back.dtype == np.uint8
    assert tokenizer.codebook.shape == (16, 8)


def test_no_pictures_make_no_ids(tokenizer: ImageTokenizer) -> None:
    ids = tokenizer.encode(pictures(0))
    assert ids.shape == (0, 16)
    assert tokenizer.decode(ids).shape == (0, 16, 16, 3)


def test_a_result_does_not_depend_on_its_batch_nor_on_autocast(
    tokenizer: ImageTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, back = tokenizer.encode(pictures()), tokenizer.decode(tokenizer.encode(pictures()))
    monkeypatch.setattr("neuroleon.tokenizers.image.CHUNK_PIXELS", 2 * 16 * 16)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(tokenizer.encode(pictures()), ids)
        assert np.abs(tokenizer.decode(ids).astype(int) - back).max() <= 1


def test_ids_are_those_of_the_quantizer_it_was_trained_with() -> None:
    torch.manual_seed(0)
    network, quantizer = VQGAN(SMALL), Quantizer(SMALL)
    floats = torch.from_numpy(pictures()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        quantizer(network.latents(floats))
        codes, ids, _ = quantizer.eval()(network.latents(floats))
        wanted = ((network.pictures(codes).clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1)
    tokenizer = ImageTokenizer(network, quantizer.codebook)
    np.testing.assert_array_equal(tokenizer.encode(pictures()), ids)
    assert np.abs(tokenizer.decode(ids.numpy()).astype(int) - wanted.numpy()).max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((1, 16, 16, 4), np.uint8),
        np.zeros((16, 16, 3), np.uint8),
    ],
)
def test_other_pictures_are_refused(tokenizer: ImageTokenizer, wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="16, 16, 3"):
        tokenizer.encode(wrong)


@pytest.mark.parametrize(
    "wrong", [np.full((1, 16), 16), np.full((1, 16), -1), np.zeros((1, 15), int), np.zeros(16, int), np.zeros((1, 16))]
)
def test_other_ids_are_refused(tokenizer: ImageTokenizer, wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="image ids"):
        tokenizer.decode(wrong)


def test_a_saved_tokenizer_is_the_same_tokenizer(tokenizer: ImageTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "image")
    loaded = ImageTokenizer.load(tmp_path / "image")
    ids = tokenizer.encode(pictures())
    np.testing.assert_array_equal(loaded.encode(pictures()), ids)
    np.testing.assert_array_equal(loaded.decode(ids), tokenizer.decode(ids))
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.config == SMALL


@pytest.mark.parametrize("name", ["codebook", "encoder.conv_in.weight", "decoder.conv_out.bias"])
def test_the_fingerprint_sees_every_weight(tokenizer: ImageTokenizer, name: str) -> None:
    tensors = tokenizer._tensors()
    changed = {n: t.clone() for n, t in tensors.items()}
    changed[name].view(-1)[0] += 1e-3
    other = ImageTokenizer.from_tensors(SMALL, changed, Path("changed"))
    same = ImageTokenizer.from_tensors(SMALL, {n: t.clone() for n, t in tensors.items()}, Path("same"))
    assert same.fingerprint == tokenizer.fingerprint != other.fingerprint


def sealed(folder: Path) -> None:
    """Make the manifest fit a folder that a test changed."""
    names = [p.name for p in folder.iterdir() if p.name != MANIFEST]
    write_json(folder / MANIFEST, {name: sha256_file(folder / name) for name in names})


def test_a_changed_file_is_refused(tokenizer: ImageTokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    tokenizer.save(folder)
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        ImageTokenizer.load(folder)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "nan", "dtype"])
def test_weights_that_do_not_fit_are_refused(tokenizer: ImageTokenizer, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "image"
    tokenizer.save(folder)
    tensors = load_file(folder / "weights.safetensors")
    if change == "missing":
        del tensors["codebook"]
    elif change == "extra":
        tensors["loss.logvar"] = torch.zeros(1)
    elif change == "shape":
        tensors["codebook"] = torch.zeros(16, 9)
    elif change == "nan":
        tensors["quant_conv.bias"][0] = float("nan")
    else:
        tensors["quant_conv.bias"] = tensors["quant_conv.bias"].double()
    save_file(tensors, folder / "weights.safetensors")
    sealed(folder)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors|image"):
        ImageTokenizer.load(folder)


@pytest.mark.parametrize(
    "content", [{}, [], {"format": "neuroleon.image-tokenizer/1"}, {"format": "neuroleon.image-tokenizer/9"}]
)
def test_another_config_is_refused(tokenizer: ImageTokenizer, tmp_path: Path, content: object) -> None:
    folder = tmp_path / "image"
    tokenizer.save(folder)
    (folder / "config.json").write_text(json.dumps(content))
    sealed(folder)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        ImageTokenizer.load(folder)


@pytest.mark.parametrize("network", [{"ch": 48}, {"ch": "64"}, {"colour": 3}])
def test_a_config_that_makes_no_network_is_refused(
    tokenizer: ImageTokenizer, tmp_path: Path, network: dict[str, object]
) -> None:
    folder = tmp_path / "image"
    tokenizer.save(folder)
    content = json.loads((folder / "config.json").read_text())
    content["network"] |= network
    (folder / "config.json").write_text(json.dumps(content))
    sealed(folder)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        ImageTokenizer.load(folder)
