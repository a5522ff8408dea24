"""Embeddings of texts and pictures by small networks of transformers that the test makes."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, ViTConfig, ViTImageProcessor, ViTModel

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.data_pipeline.embeddings import write_embeddings
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard

WORDS = ["cat", "dog"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("samples") / "pets", np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in WORDS]
    told = [{"label_text": word, "image_key": f"p{i}"} for i, word in enumerate(WORDS)]
    records = [{"__key__": f"w{i}", "json": told[i % 2], "png": pixels[i % 2]} for i in range(5)]
    write_shard(shard_path(folder, "train", 0), records[:3])
    write_shard(shard_path(folder, "test", 0), records[3:])
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    ids = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=4, **sizes)).save_pretrained(folder)
    return folder


def test_each_text_once_whatever_its_batch(samples: Path, bert: Path, tmp_path: Path) -> None:
    assert write_embeddings([samples], "text", str(bert), tmp_path / "text.npz") == 2
    with np.load(tmp_path / "text.npz", allow_pickle=False) as stored:
        keys, vectors = stored["keys"].tolist(), stored["vectors"]
    assert keys == WORDS
    assert vectors.shape == (2, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not np.allclose(vectors[0], vectors[1])


def test_each_picture_once(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(image_size=32, patch_size=16, **sizes)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    assert write_embeddings([samples], "image", str(folder), tmp_path / "image.npz") == 2
    with np.load(tmp_path / "image.npz", allow_pickle=False) as stored:
        assert stored["keys"].tolist() == ["p0", "p1"]
        assert stored["vectors"].shape == (2, 16)


def test_what_cannot_be_embedded_is_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no AutoTokenizer"):
        write_embeddings([samples], "text", str(tmp_path / "nothing"), tmp_path / "out.npz")
    bare = tmp_path / "bare"
    write_shard(shard_path(bare, "train", 0), [{"__key__": "a", "json": {"label_text": None}}])
    write_manifest(bare)
    with pytest.raises(DataError, match="no text to embed"):
        write_embeddings([bare], "text", "x", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
