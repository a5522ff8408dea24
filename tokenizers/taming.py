"""Official checkpoints of taming-transformers (`model.yaml` + `last.ckpt`), converted once into our tokenizer folder.

f16-1024 and f16-16384 (VQModel) and Gumbel f8-8192 (GumbelVQ). Lightning is not needed, before or after.
"""

from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.unpickle import load_torch
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.vqgan import VQGANConfig

TARGETS = {"taming.models.vqgan.VQModel": False, "taming.models.vqgan.GumbelVQ": True}  # name -> is Gumbel
FIXED = {"double_z": False, "in_channels": 3, "out_ch": 3, "dropout": 0.0, "resamp_with_conv": True}
SIZES = ("resolution", "ch", "ch_mult", "num_res_blocks", "attn_resolutions", "z_channels")
CODEBOOK = "quantize.embedding.weight"
GUMBEL = {"quantize.embed.weight": "codebook", "quantize.proj.weight": "projection.weight"}
GUMBEL |= {"quantize.proj.bias": "projection.bias"}


class _LightningCallback:
    """Stands for the one class that the official files name, as a key of their callback states; it does nothing."""


HARMLESS = {"pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": _LightningCallback}


def convert_taming(config_yaml: Path, checkpoint: Path, out: Path) -> ImageTokenizer:
    """Write the tokenizer folder `out` from an official pair of files; nothing in them is executed.

    A Gumbel model takes the most likely code, without the random noise that taming adds even outside of training.

    Raises:
        CheckpointError: another kind of model, a file that is not plain weights, or weights that do not fit the config.
    """
    config, is_gumbel = _read_yaml(config_yaml)
    if is_gumbel and config.z_channels != config.code_dim:
        raise CheckpointError(
            f"{config_yaml}: z_channels {config.z_channels} and embed_dim {config.code_dim} differ; "
            "a GumbelVQ model projects latents of z_channels"
        )
    weights = {_our_name(name, is_gumbel): t for name, t in _read_weights(checkpoint).items() if _is_ours(name)}
    if is_gumbel:
        if "projection.weight" not in weights:
            raise CheckpointError(f"{checkpoint}: no quantize.proj.weight; {config_yaml} is of another model")
        weights["projection.weight"] = weights["projection.weight"].flatten(1)  # a 1 x 1 convolution
    tokenizer = ImageTokenizer.from_tensors(config, weights, checkpoint)
    tokenizer.save(out)
    return tokenizer


def _is_ours(name: str) -> bool:
    return not name.startswith("loss.")  # LPIPS and the discriminator


def _our_name(name: str, is_gumbel: bool) -> str:
    return (GUMBEL if is_gumbel else {CODEBOOK: "codebook"}).get(name, name)


def _read_yaml(path: Path) -> tuple[VQGANConfig, bool]:
    try:
        model = yaml.safe_load(path.read_text())["model"]
        target, params = model["target"], model["params"]
        shape: dict[str, Any] = dict(params["ddconfig"])
        sizes = {name: shape.pop(name) for name in SIZES}
        sizes |= {"codebook_size": params["n_embed"], "code_dim": params["embed_dim"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: {error!r}; expected taming's model.yaml with model.target, params.ddconfig, n_embed and embed_dim"
        ) from None
    if target not in TARGETS:
        raise CheckpointError(f"{path}: model.target is {target}; this converts {' and '.join(TARGETS)}")
    other = {name: value for name, value in shape.items() if name not in FIXED or FIXED[name] != value}
    if other:
        raise CheckpointError(f"{path}: ddconfig has {other}; this converts RGB pictures, with {FIXED}")
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
    try:
        return VQGANConfig(patch=1, norm_groups=32, **sizes), TARGETS[target]
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give the last.ckpt beside model.yaml")
    try:
        content = load_torch(path, HARMLESS)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(t, Tensor) for t in weights.values()):
        raise CheckpointError(
            f"{path}: no state_dict of tensors; expected a Lightning checkpoint of taming-transformers"
        )
    return weights
