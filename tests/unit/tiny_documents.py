"""A small set of documents with a planted code: the frequency of a window says what was seen."""

from pathlib import Path

import numpy as np

from neuroleon.common.files import write_json
from neuroleon.data_pipeline.pretokenize import Tokenizers, tokenize_shards
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.signals.preprocess import Preprocess
from neuroleon.training.stages.transformer import DocumentsConfig

HZ = {"circle": 5.0, "square": 20.0}
QUESTION = "Circle or square?"


def sample(i: int, rng: np.random.Generator) -> dict:
    label = list(HZ)[i % 2]
    times = np.arange(200) / 200
    eeg = np.sin(2 * np.pi * (HZ[label] * times + rng.random())) * np.ones((3, 1)) + 0.1 * rng.normal(size=(3, 200))
    picture = np.full((16, 16, 3), 30 if label == "circle" else 220, np.uint8)
    told = {
        "recipe": "shapes", "subject": "s1", "recording": f"r{i % 4}", "group": "", "ch_names": ["O1", "Oz", "O2"],
        "sfreq": 200.0,
        "positions": [[-0.3, -0.9, 0.1], [0.0, -1.0, 0.1], [0.3, -0.9, 0.1]], "scale_uV": 8.0, "label": label,
        "texts": [f"a {label} was shown"], "label_text": label, "question": QUESTION, "image_key": label, "onset_s": i,
    }  # fmt: skip
    return {"__key__": f"{i:04d}", "npy": eeg.astype(np.float16), "json": told, "png": picture}


def write_documents(root: Path, model_folder: Path) -> DocumentsConfig:
    """Sample shards and token shards of the set `shapes` below `root`, with the tokenizers of a tiny model folder."""
    samples, rng = root / "samples" / "shapes", np.random.default_rng(0)
    for split, n in (("train", 40), ("validation", 12)):
        write_shard(shard_path(samples, split, 0), [sample(i, rng) for i in range(n)], ("json", "npy", "png"))
    write_manifest(samples, name="shapes", recordings={"train": ["s1/r0", "s1/r1"], "validation": ["s1/r2"]})
    write_json(samples / "preprocess.json", Preprocess().to_json())
    told = {"name": "shapes", "title": "Two shapes", "licence": "CC0-1.0", "citation": "nobody", "question": QUESTION}
    labels = {"label_text": {name: name for name in HZ}, "pictures": {}, "redistribute_pictures": True}
    write_json(samples / "recipe.json", told | labels | {"windows": [{"tmin_s": 0.25, "duration_s": 1.0}]})
    tokenizers = model_folder / "tokenizers"
    tokens = tokenize_shards([samples], Tokenizers.load(tokenizers), root / "tokens", variants=2)
    return DocumentsConfig(
        tokens=tuple(tokens), samples=(samples,), tokenizers=tokenizers, length=256, documents_per_batch=8
    )
