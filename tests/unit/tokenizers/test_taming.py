"""Conversion of official checkpoints: equal to taming's own computation, strict, and nothing is executed."""

import copy
import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from taming.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.vqvae.quantize import VectorQuantizer
from torch import Tensor, nn

from neuroleon.common.errors import CheckpointError
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.taming import _read_yaml, convert_taming
from neuroleon.tokenizers.vqgan import VQGAN

DDCONFIG = {
    "double_z": False,
    "z_channels": 8,
    "resolution": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [16],
    "dropout": 0.0,
}
VQ, GUMBEL = "taming.models.vqgan.VQModel", "taming.models.vqgan.GumbelVQ"


class TamingModel(nn.Module):
    """taming.models.vqgan.VQModel without Lightning, which its module imports: the same parts under the same names."""

    def __init__(self) -> None:
        super().__init__()
        with redirect_stdout(io.StringIO()):
            self.encoder, self.decoder = Encoder(**DDCONFIG), Decoder(**DDCONFIG)
        self.quantize: nn.Module = VectorQuantizer(24, 8, beta=0.25)
        self.quantize.embedding.weight.data.normal_()
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.loss = nn.Linear(2, 2)  # the published files carry LPIPS and the discriminator here

    def decode(self, codes: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(codes))


class GumbelModel(TamingModel):
    """taming.models.vqgan.GumbelVQ: a 1 x 1 convolution gives the logits of the codes."""

    def __init__(self) -> None:
        super().__init__()
        self.quantize = nn.Module()
        self.quantize.proj, self.quantize.embed = nn.Conv2d(8, 24, 1), nn.Embedding(24, 8)


def written(folder: Path, model: nn.Module, target: str, **changes: Any) -> tuple[Path, Path]:
    """model.yaml and last.ckpt as the published ones are laid out."""
    params = {"embed_dim": 8, "n_embed": 24, "ddconfig": DDCONFIG | changes, "lossconfig": {"target": "os.system"}}
    (folder / "model.yaml").write_text(yaml.safe_dump({"model": {"target": target, "params": params}}))
    content = {"epoch": 1, "global_step": 2, "state_dict": model.state_dict(), "optimizer_states": [{"state": {}}]}
    torch.save(content, folder / "last.ckpt")
    return folder / "model.yaml", folder / "last.ckpt"


def pictures() -> tuple[np.ndarray, Tensor]:
    shown = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return shown, torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_bytes(floats: Tensor) -> np.ndarray:
    return ((floats.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def test_a_converted_vqmodel_is_tamings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, (shown, floats) = TamingModel().eval(), pictures()
    convert_taming(*written(tmp_path, model, VQ), tmp_path / "image")
    tokenizer = ImageTokenizer.load(tmp_path / "image")

    codes, _, (_, _, indices) = model.quantize(model.quant_conv(model.encoder(floats)))
    ids = tokenizer.encode(shown)
    np.testing.assert_array_equal(ids, indices.view(3, -1))
    assert len(np.unique(ids)) > 3
    assert np.abs(tokenizer.decode(ids) - as_bytes(model.decode(codes))).max() <= 1
    np.testing.assert_array_equal(tokenizer.codebook, model.quantize.embedding.weight)


@torch.no_grad()
def test_a_converted_gumbel_model_takes_the_most_likely_code(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, (shown, floats) = GumbelModel().eval(), pictures()
    convert_taming(*written(tmp_path, model, GUMBEL), tmp_path / "image")
    tokenizer = ImageTokenizer.load(tmp_path / "image")

    indices = model.quantize.proj(model.quant_conv(model.encoder(floats))).argmax(1)
    codes = model.quantize.embed(indices).permute(0, 3, 1, 2)
    ids = tokenizer.encode(shown)
    np.testing.assert_array_equal(ids, indices.flatten(1))
    assert len(np.unique(ids)) > 3
    assert np.abs(tokenizer.decode(ids) - as_bytes(model.decode(codes))).max() <= 1


F16 = {"z_channels": 256, "resolution": 256, "ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2}
F8 = F16 | {"ch_mult": [1, 1, 2, 4], "attn_resolutions": [32]}
PUBLISHED_F16 = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "encoder.down.1.downsample.conv.bias": (128,),
    "encoder.down.2.block.0.nin_shortcut.weight": (256, 128, 1, 1),
    "encoder.down.4.attn.1.proj_out.weight": (512, 512, 1, 1),
    "encoder.mid.attn_1.q.bias": (512,),
    "encoder.conv_out.weight": (256, 512, 3, 3),
    "decoder.conv_in.weight": (512, 256, 3, 3),
    "decoder.up.4.attn.2.norm.weight": (512,),
    "decoder.up.4.upsample.conv.weight": (512, 512, 3, 3),
    "decoder.up.0.block.2.conv2.weight": (128, 128, 3, 3),
    "decoder.conv_out.bias": (3,),
    "quant_conv.weight": (256, 256, 1, 1),
    "post_quant_conv.weight": (256, 256, 1, 1),
}


@pytest.mark.parametrize(
    ("target", "size", "tokens", "shape"),
    [(VQ, 1024, 256, F16), (VQ, 16384, 256, F16), (GUMBEL, 8192, 1024, F8)],
    ids=["f16-1024", "f16-16384", "gumbel-f8-8192"],
)
def test_the_published_models_fit_name_by_name(
    tmp_path: Path, target: str, size: int, tokens: int, shape: dict[str, Any]
) -> None:
    path = written(tmp_path, nn.Identity(), target, **shape)[0]
    model = yaml.safe_load(path.read_text())
    model["model"]["params"] |= {"embed_dim": 256, "n_embed": size}
    path.write_text(yaml.safe_dump(model))
    config, is_gumbel = _read_yaml(path)
    with torch.device("meta"), redirect_stdout(io.StringIO()):
        ours = VQGAN(config)
        ddconfig = DDCONFIG | shape
        parts = {"encoder": Encoder(**ddconfig), "decoder": Decoder(**ddconfig)}
        parts |= {"quant_conv": nn.Conv2d(256, 256, 1), "post_quant_conv": nn.Conv2d(256, 256, 1)}
        theirs = nn.ModuleDict(parts)
    shapes = {name: tuple(t.shape) for name, t in ours.state_dict().items()}
    assert shapes == {name: tuple(t.shape) for name, t in theirs.state_dict().items()}
    assert (config.tokens, config.codebook_size, is_gumbel) == (tokens, size, target == GUMBEL)
    if shape is F16:
        assert PUBLISHED_F16.items() <= shapes.items()
        assert round(sum(p.numel() for p in ours.parameters()) / 1e6, 1) == 71.9


def test_the_class_that_lightning_left_in_the_published_files_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config, checkpoint = written(tmp_path, TamingModel(), VQ)
    content = torch.load(checkpoint, weights_only=True)
    name = "pytorch_lightning.callbacks.model_checkpoint"
    stand_in = ModuleType(name)
    stand_in.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pytorch_lightning", ModuleType("pytorch_lightning"))
        patch.setitem(sys.modules, "pytorch_lightning.callbacks", ModuleType("pytorch_lightning.callbacks"))
        patch.setitem(sys.modules, name, stand_in)
        torch.save(content | {"callbacks": {stand_in.ModelCheckpoint: {"best_model_score": None}}}, checkpoint)
    convert_taming(config, checkpoint, tmp_path / "image")
    assert ImageTokenizer.load(tmp_path / "image").size == 24


class Canary:
    """A pickle that makes a folder when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_an_evil_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    config, checkpoint = written(tmp_path, TamingModel(), VQ)
    canary = tmp_path / "canary"
    torch.save({"state_dict": {}, "callbacks": Canary(canary)}, checkpoint)
    with pytest.raises(CheckpointError, match=r"last\.ckpt.*nothing of it was run"):
        convert_taming(config, checkpoint, tmp_path / "image")
    assert not canary.exists()
    assert not (tmp_path / "image").exists()
    torch.load(checkpoint, weights_only=False)
    assert canary.exists()  # the canary sings where pickles are trusted


@pytest.mark.parametrize("change", ["missing", "shape", "extra", "not finite", "no state_dict", "cut", "absent"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: str) -> None:
    config, checkpoint = written(tmp_path, TamingModel(), VQ)
    content = copy.deepcopy(torch.load(checkpoint, weights_only=True))
    state = content["state_dict"]
    if change == "missing":
        del state["quantize.embedding.weight"]
    elif change == "shape":
        state["quant_conv.weight"] = torch.zeros(8, 4, 1, 1)
    elif change == "extra":
        state["quantize.used"] = torch.zeros(3)
    elif change == "not finite":
        state["quant_conv.bias"][0] = torch.inf
    elif change == "no state_dict":
        content = state
    torch.save(content, checkpoint)
    if change == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    elif change == "absent":
        checkpoint.unlink()
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        convert_taming(config, checkpoint, tmp_path / "image")
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize(
    ("target", "changes"),
    [("taming.models.vqgan.VQSegmentationModel", {}), (VQ, {"in_channels": 1}), (VQ, {"ch": 40}), (VQ, {"new": 1})],
)
def test_other_kinds_of_model_are_refused(tmp_path: Path, target: str, changes: dict[str, Any]) -> None:
    files = written(tmp_path, TamingModel(), target, **changes)
    with pytest.raises(CheckpointError, match=r"model\.yaml"):
        convert_taming(*files, tmp_path / "image")


@pytest.mark.parametrize("content", ["", "model: 3", "model: {target: x}", "{", "model: !!python/object:os.system {}"])
def test_another_yaml_is_refused(tmp_path: Path, content: str) -> None:
    config, checkpoint = written(tmp_path, TamingModel(), VQ)
    config.write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.yaml"):
        convert_taming(config, checkpoint, tmp_path / "image")


def test_a_yaml_of_the_other_quantizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        convert_taming(*written(tmp_path, TamingModel(), GUMBEL), tmp_path / "image")
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        convert_taming(*written(tmp_path, GumbelModel(), VQ), tmp_path / "image")
