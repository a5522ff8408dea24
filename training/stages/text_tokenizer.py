"""Stage `text-tokenizer`: trains the byte-level BPE on all that the model will ever read or write.

It counts pairs instead of following a gradient, so `train.py` calls `fit` and the loop is not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.plain_samples import described
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Location
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.text import TextTokenizer


@dataclass(frozen=True, kw_only=True)
class TextTokenizerConfig:
    """Settings of the stage.

    Attributes:
        samples: folders of sample shards; their sentences, label texts and questions are read, of the train split only.
        texts: more text, UTF-8 files with one text in a line.
        size: the largest number of ids; little text gives fewer.
    """

    samples: tuple[Location, ...] = ()
    texts: tuple[Path, ...] = ()
    size: int = 4096

    def __post_init__(self) -> None:
        if not self.samples and not self.texts:
            raise ConfigError("no data: give folders of sample shards (samples) or text files (texts)")


class TextTokenizerStage:
    """Trains a `TextTokenizer`; every distinct text counts once, so that a thousand trials do not make it a word."""

    def __init__(self, config: TextTokenizerConfig, seed: int) -> None:
        self.config = config  # there is nothing random in it: `seed` is that of every stage

    def fit(self, folder: Path) -> None:
        """Train and write the tokenizer folder.

        Raises:
            DataError: a shard is damaged, or a text file is absent or not UTF-8.
        """
        texts = dict.fromkeys(self._texts())  # distinct, in order
        tokenizer = TextTokenizer.train(texts, self.config.size)
        tokenizer.save(folder)
        n_ids = sum(map(len, tokenizer.encode(list(texts))))
        n_bytes = sum(len(text.encode()) for text in texts)
        print(
            f"wrote {folder}: {tokenizer.size} ids from {len(texts)} texts, {n_bytes / max(1, n_ids):.2f} bytes per id"
        )

    def _texts(self) -> Iterator[str]:
        for task in TASKS.values():
            yield from task.instructions
        for folder in self.config.samples:
            reader = ShardReader(folder, "train")
            for record in reader:
                info = described(record, reader)
                yield from (*(info["texts"] or ()), *(info[name] for name in ("label_text", "question") if info[name]))
        for path in self.config.texts:
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"{path}: not a readable UTF-8 text file ({error}); convert it, or leave it out"
                ) from None
            yield from (line.strip() for line in lines if line.strip())
