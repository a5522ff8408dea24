"""A model in a folder: `config.json` (sizes) and `model.safetensors` (weights and codebooks). Strict in both ways."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from neuroleon.common.checkpoint import load_weights, save_tensors
from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.model.config import ModelConfig
from neuroleon.model.embed import Codebook
from neuroleon.model.transformer import Neuroleon

FORMAT = 2


def save_model(model: Neuroleon, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` into an existing folder (inside `atomic_folder`)."""
    books = [book for book in model.embed.codebooks if isinstance(book, Codebook)]
    codebooks = [{"start": b.start, "shape": list(b.table.shape), "slots": b.n_slots} for b in books]
    description = {"format": FORMAT, "model": asdict(model.config), "n_ids": model.n_ids, "codebooks": codebooks}
    write_json(folder / "config.json", description)
    save_tensors(folder / "model.safetensors", model.state_dict())


def model_sizes(folder: Path) -> ModelConfig:
    """The sizes of a saved model, without its weights.

    Raises:
        CheckpointError: another format, or an unknown setting.
    """
    return _described(folder)[0]


def _described(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
    path = folder / "config.json"
    try:
        description = read_json(path)
        found = description["format"]
        if found != FORMAT:
            raise CheckpointError(f"{path}: format {found}, expected {FORMAT}; install the version that wrote it")
        return ModelConfig(**description["model"]), description
    except (DataError, ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: does not describe a model ({error}); export the model again") from error


def load_model(folder: Path, device: str | torch.device = "cpu") -> Neuroleon:
    """Rebuild a saved model, in evaluation mode.

    Raises:
        CheckpointError: another format, an unknown setting, or weights that are missing, spare or of another shape.
    """
    config, description = _described(folder)
    try:
        books = {book["start"]: torch.zeros(book["shape"]) for book in description["codebooks"]}
        slots = {book["start"]: book["slots"] for book in description["codebooks"]}
        model = Neuroleon(config, description["n_ids"], books, slots)
    except (ConfigError, KeyError, TypeError) as error:
        where = folder / "config.json"
        raise CheckpointError(f"{where}: does not describe a model ({error}); export the model again") from error
    load_weights(model, folder / "model.safetensors")
    return model.to(device).eval()
