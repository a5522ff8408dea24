"""Text tokens: byte-level BPE of the HuggingFace library, trained here or taken from any `tokenizer.json`."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tokenizers as hf
from tokenizers import decoders, models, pre_tokenizers, trainers

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import MANIFEST, atomic_folder, sha256_json, verify_folder, write_atomic

FILE = "tokenizer.json"
N_BYTES = 256


class TextTokenizer:
    """Turns strings into local text ids and back. It has no special tokens: the vocabulary has them."""

    def __init__(self, tokenizer: hf.Tokenizer) -> None:
        # A tokenizer saved by a training script may cut or fill every text; neither may happen here.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "TextTokenizer":
        """Learn at most `size` ids from `texts`: the 256 bytes, then merges. Little text gives fewer ids.

        Raises:
            ConfigError: `size` has no room for the 256 bytes.
        """
        if size < N_BYTES:
            raise ConfigError(f"text tokenizer: size is {size}, expected at least {N_BYTES}, one id for each byte")
        tokenizer = hf.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @cached_property
    def size(self) -> int:
        """Number of ids: the largest id + 1."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of what decides an id: vocabulary, merges, normalizer, pre-tokenizer, added tokens and decoder.

        Settings of a batch (truncation, padding) are in the same file and are left out.
        """
        content = json.loads(self._tokenizer.to_str())
        parts = ("model", "normalizer", "pre_tokenizer", "added_tokens", "decoder")
        return sha256_json({part: content[part] for part in parts})

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Local ids of each text.

        Raises:
            DataError: a text is no valid Unicode (a lone surrogate).
        """
        try:
            for text in texts:
                text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"a text is not valid Unicode ({error}); read its file with the right encoding") from None
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """The text of each list of local ids; bytes that are no UTF-8 become U+FFFD."""
        return self._tokenizer.decode_batch([list(map(int, ids)) for ids in batch], skip_special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write the folder: `tokenizer.json` and its manifest."""
        with atomic_folder(folder) as temporary:
            write_atomic(temporary / FILE, self._tokenizer.to_str(pretty=True))

    @classmethod
    def load(cls, path: Path) -> "TextTokenizer":
        """From a folder that `save` wrote, or a `tokenizer.json` of any origin.

        Raises:
            CheckpointError: no such file, damaged, or not a tokenizer.
        """
        if (path / MANIFEST).exists():
            verify_folder(path)
        file = path / FILE if path.is_dir() else path
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file; give a {FILE} or a folder that holds one")
        try:
            return cls(hf.Tokenizer.from_str(file.read_text(encoding="utf-8")))
        except Exception as error:  # the library raises plain Exception
            raise CheckpointError(f"{file}: not a tokenizer of the HuggingFace library ({error})") from None
