"""Embeddings of what was seen, by a foreign network: what the EEG tokenizer's semantic levels can be drawn towards.

The file is an `.npz` with `keys` (n,), label texts or image keys, and `vectors` float32 (n, E) of length one.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import write_atomic
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.data_pipeline.storage import Location

BATCH = 32


def write_embeddings(samples: Sequence[Location], of: Literal["text", "image"], model: str, out: Path) -> int:
    """Embed every label text, or every picture, that the folders of sample shards hold; write `out`, return how many.

    `model` is a folder or hub id of a network that transformers' AutoModel loads, with its tokenizer (text) or image
    processor (image). Texts are averaged over their tokens; pictures are the network's pooled output, or the average
    over its patches.

    Raises:
        CheckpointError: the network cannot be loaded.
        ConfigError: transformers is not installed.
        DataError: the sets hold no label text, or no picture.
    """
    found = _texts(samples) if of == "text" else _pictures(samples)
    if not found:
        raise DataError(f"{', '.join(map(str, samples))}: no {of} to embed; choose sets that have some")
    embed = _text_network(model) if of == "text" else _image_network(model)
    items = list(found.values())
    vectors = np.concatenate([embed(items[start : start + BATCH]) for start in range(0, len(items), BATCH)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    content = io.BytesIO()
    np.savez(content, keys=np.array(list(found)), vectors=vectors.astype(np.float32))
    write_atomic(out, content.getvalue())
    return len(items)


def _records(samples: Sequence[Location]) -> Iterator[Mapping[str, Any]]:
    for folder in samples:
        for split in SPLITS:
            yield from ShardReader(folder, split)


def _texts(samples: Sequence[Location]) -> dict[str, str]:
    """Label text -> what is embedded: the text itself."""
    texts = (record["json"].get("label_text") for record in _records(samples))
    return {text: text for text in texts if text}


def _pictures(samples: Sequence[Location]) -> dict[str, np.ndarray]:
    """Image key -> uint8 (H, W, 3)."""
    found: dict[str, np.ndarray] = {}
    for record in _records(samples):
        key = record["json"].get("image_key")
        if key and key not in found and "png" in record:
            found[key] = record["png"]
    return found


def _loaded(kind: str, model: str) -> Any:
    """`transformers.<kind>.from_pretrained(model)`, without code of the model's own."""
    try:
        import transformers
    except ImportError:
        raise ConfigError("embeddings need the package transformers; install it") from None
    try:
        return getattr(transformers, kind).from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{model}: no {kind} of transformers can be loaded ({reason})") from None


def _text_network(model: str) -> Any:
    import torch

    tokenizer, network = _loaded("AutoTokenizer", model), _loaded("AutoModel", model).eval()

    @torch.no_grad()
    def embed(texts: list[str]) -> np.ndarray:
        inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
        hidden = network(**inputs).last_hidden_state
        weight = inputs["attention_mask"][..., None].float()
        return ((hidden * weight).sum(1) / weight.sum(1)).numpy()

    return embed


def _image_network(model: str) -> Any:
    import torch

    processor, network = _loaded("AutoImageProcessor", model), _loaded("AutoModel", model)
    network = getattr(network, "vision_model", network).eval()  # of a two-tower network, the tower that sees

    @torch.no_grad()
    def embed(pictures: list[np.ndarray]) -> np.ndarray:
        outputs = network(**processor(images=list(pictures), return_tensors="pt"))
        pooled = outputs.pooler_output if outputs.pooler_output is not None else outputs.last_hidden_state.mean(1)
        return pooled.flatten(1).numpy()

    return embed
