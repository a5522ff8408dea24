"""Sample shards to token shards: every sample is tokenized once, so that training reads integers.

    OUT/NAME/train-000000.tar ...   KEY.npy int32 local ids end to end, KEY.json what lies where
    OUT/NAME/vocabulary.json, instructions.json (local text ids of every wording), tokens.json (how they were made)

Each shard is one task: a killed run goes on where it stopped.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from loguru import logger

from neuroleon.common.errors import DataError
from neuroleon.common.files import locked, read_json, write_json
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.augment import augment
from neuroleon.data_pipeline.launch import HERE, Launch, run_tasks
from neuroleon.data_pipeline.plain_samples import sample_at
from neuroleon.data_pipeline.shard_table import read_manifest
from neuroleon.data_pipeline.shards import ShardReader, index_path, write_manifest, write_shard
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.data_pipeline.storage import Folder, Location
from neuroleon.data_pipeline.windows import window_of
from neuroleon.signals.window import Window
from neuroleon.tokenizers.base import Tokenizer
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import Vocabulary

if TYPE_CHECKING:
    from neuroleon.tokenizers.eeg.cross_fit import CrossFit

FORMAT = 1
VOCABULARY, INSTRUCTIONS, SETTINGS = "vocabulary.json", "instructions.json", "tokens.json"
_BATCH = 32  # samples encoded together
_REPLACED = ("positions", "background", "stimulus", "texts", "label_text", "question")


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """The three tokenizers of a vocabulary; `cross_fit`: EEG tokenizers that some training samples had no part in."""

    text: Tokenizer
    image: Any  # a Tokenizer with image_size and tokens
    eeg: Any  # a Tokenizer with tokens_per_step
    cross_fit: "CrossFit | None" = None

    @classmethod
    def load(cls, folder: Path, *, cross_fit: bool = False) -> "Tokenizers":
        """From `folder/text`, `folder/image` and `folder/eeg`; `cross_fit` is for who makes tokens to learn from.

        Raises:
            CheckpointError: one of them is missing or damaged.
        """
        from neuroleon.tokenizers.eeg.cross_fit import CrossFit
        from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
        from neuroleon.tokenizers.image import ImageTokenizer
        from neuroleon.tokenizers.text import TextTokenizer

        return cls(
            text=TextTokenizer.load(folder / "text"),
            image=ImageTokenizer.load(folder / "image"),
            eeg=EEGTokenizer.load(folder / "eeg"),
            cross_fit=CrossFit.load(folder / "eeg") if cross_fit else None,
        )

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        for name in ("text", "image", "eeg"):
            getattr(self, name).save(folder / name)
        if self.cross_fit is not None:
            self.cross_fit.save(folder / "eeg")

    def eeg_for(self, sample: Mapping[str, Any], split: str) -> Any:
        """The EEG tokenizer to make a sample's tokens with, given the fingerprint of its split: one whose labels were
        not fitted to it."""
        if self.cross_fit is None:
            return self.eeg
        return self.cross_fit.of(split, sample["__key__"], str(sample["json"].get("recording"))) or self.eeg

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.of(text=self.text, image=self.image, eeg=self.eeg)


@dataclass(frozen=True)
class _Shard:
    """One task: the samples `start` .. `stop - 1` of a split become `path`. It is small: it goes to other processes."""

    source: Location
    split: str
    fingerprint: str  # of the split
    start: int
    stop: int
    path: Path
    variants: int
    seed: int

    def is_done(self) -> bool:
        return self.path.is_file() and index_path(self.path).is_file()


@lru_cache(maxsize=len(SPLITS))
def _opened(source: Location, split: str, fingerprint: str) -> ShardReader:
    """The samples of a task, opened once per process."""
    reader = ShardReader(source, split)
    if reader.fingerprint != fingerprint:
        raise DataError(f"{source}: {split} changed while it was tokenized; run it again, into another folder")
    return reader


def tokenize_shards(
    samples: Sequence[Location],
    tokenizers: Tokenizers,
    out: Path,
    *,
    variants: int = 4,
    seed: int = 0,
    launch: Launch = HERE,
) -> list[Path]:
    """Tokenize the sample folders `samples` (each DIR/NAME) into `out`/NAME; shards that are there already stay.

    Args:
        samples: what `prepare.py samples` wrote, or `prepare.py index` found: pictures and texts (`plain_samples`).
        variants: EEG tokenizations of a training sample: the clean one, then augmented ones. Other splits have one.
        launch: where and how many at a time; without it, one after the other in this process.

    Returns:
        The token folders.

    Raises:
        DataError: a sample folder is damaged, two have one name, or `out`/NAME holds tokens of other tokenizers,
            samples or settings.
        ConfigError: another run is at work in one of the folders.
    """
    if variants < 1:
        raise DataError(f"tokens: variants is {variants}; expected at least 1")
    names = Counter(Folder.at(source).name for source in samples)
    if twice := [name for name, n in names.items() if n > 1]:
        raise DataError(f"{out / twice[0]}: the tokens of two folders of samples; give each once, or rename one")
    with ExitStack() as held:
        for name in names:
            held.enter_context(locked(out / name / ".lock"))
        return _tokenize_folders(samples, tokenizers, out, variants, seed, launch)


def _tokenize_folders(
    samples: Sequence[Location], tokenizers: Tokenizers, out: Path, variants: int, seed: int, launch: Launch
) -> list[Path]:
    _opened.cache_clear()  # a folder may have been prepared anew since
    of_folder: dict[Path, list[_Shard]] = {}
    for source in samples:
        folder = out / Folder.at(source).name
        readers = {split: ShardReader(source, split) for split in SPLITS}
        _claim(folder, readers, tokenizers, variants, seed)
        of_folder[folder] = list(_tasks(folder, source, readers, variants, seed))
        if tokenizers.cross_fit is None:
            logger.info(f"{folder.name}: training samples are tokenized by what may have been fitted to them")
        elif readers["train"].fingerprint in tokenizers.cross_fit.folds:
            logger.info(f"{folder.name}: training samples are tokenized by what their recordings had no part in")
        else:
            logger.info(f"{folder.name}: no fold of the EEG tokenizer's cross-fit/ is of these very samples")
    shards = list(chain.from_iterable(of_folder.values()))
    _run(shards, tokenizers, launch, out / ".tasks")
    for source, (folder, made) in zip(samples, of_folder.items(), strict=True):
        facts = read_manifest(Folder.at(source))
        facts = {name: value for name, value in facts.items() if name not in ("format", "shards", "n_samples")}
        write_manifest(
            folder, [index_path(shard.path) for shard in made], samples=facts, **read_json(folder / SETTINGS)
        )
    return list(of_folder)


def _claim(folder: Path, readers: dict[str, ShardReader], tokenizers: Tokenizers, variants: int, seed: int) -> None:
    """Write what the folder's tokens are made with, or compare with what an earlier run wrote."""
    vocabulary = tokenizers.vocabulary
    settings = {
        "tokens_format": FORMAT,
        "vocabulary": vocabulary.fingerprint,
        "cross_fit": tokenizers.cross_fit.fingerprint if tokenizers.cross_fit else None,
        "source": {split: reader.fingerprint for split, reader in readers.items()},
        "variants": variants,
        "seed": seed,
    }
    path = folder / SETTINGS
    if path.exists():
        found = read_json(path)
        if found != settings:
            differ = sorted(name for name in settings if found.get(name) != settings[name])
            raise DataError(f"{path}: tokens made with another {', '.join(differ)}; choose another folder or delete it")
    vocabulary.save(folder / VOCABULARY)
    wordings = {name: tokenizers.text.encode(task.instructions) for name, task in TASKS.items()}
    write_json(folder / INSTRUCTIONS, wordings)
    write_json(path, settings)


def _tasks(
    folder: Path, source: Location, readers: Mapping[str, ShardReader], variants: int, seed: int
) -> Iterator[_Shard]:
    """One task per sample shard, under the same name."""
    for split, reader in readers.items():
        start = 0
        for one in reader.shards:
            stop = start + one.n_samples
            n = variants if split == "train" else 1
            yield _Shard(source, split, reader.fingerprint, start, stop, folder / one.name, n, seed)
            start = stop


def _run(shards: list[_Shard], tokenizers: Tokenizers, launch: Launch, folder: Path) -> None:
    todo = [shard for shard in shards if not shard.is_done()]
    run = partial(
        run_tasks, tasks=todo, launch=launch, done=len(shards) - len(todo), what="tokens", logs=folder / "slurm"
    )
    if launch.is_here or not todo:
        run(partial(_tokenize_shard, tokenizers=tokenizers))
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as saved:  # networks do not pickle; their folders do as well
        tokenizers.save(Path(saved))
        run(partial(_tokenize_in_worker, folder=Path(saved)))


@cache  # once per process, not once per shard
def _loaded(folder: Path) -> Tokenizers:
    import torch

    torch.set_num_threads(1)
    return Tokenizers.load(folder, cross_fit=True)


def _tokenize_in_worker(shard: _Shard, folder: Path) -> None:
    _tokenize_shard(shard, _loaded(folder))


def _tokenize_shard(shard: _Shard, tokenizers: Tokenizers) -> None:
    starts = range(shard.start, shard.stop, _BATCH)
    samples = _opened(shard.source, shard.split, shard.fingerprint)
    side = tokenizers.image.image_size
    batches = ([sample_at(samples, i, side) for i in range(s, min(s + _BATCH, shard.stop))] for s in starts)
    records = chain.from_iterable(_tokenize(batch, tokenizers, shard) for batch in batches)
    write_shard(shard.path, records, required=("json", "npy"), split=shard.split)


def _tokenize(samples: list[Mapping[str, Any]], tokenizers: Tokenizers, shard: _Shard) -> list[dict[str, Any]]:
    """The token records of a batch of samples, each modality encoded in one call."""
    n = shard.variants
    with_eeg = [sample for sample in samples if "npy" in sample]
    with_image = [sample for sample in samples if "png" in sample]
    by_tokenizer: dict[Any, list[Mapping[str, Any]]] = {}
    for sample in with_eeg:
        by_tokenizer.setdefault(tokenizers.eeg_for(sample, shard.fingerprint), []).append(sample)
    eeg: dict[str, list[Any]] = {}
    for tokenizer, some in by_tokenizer.items():
        tokens = tokenizer.encode_windows([window for s in some for window in variants_of(s, n, shard.seed)])
        eeg |= {sample["__key__"]: tokens[i * n : (i + 1) * n] for i, sample in enumerate(some)}
    pictures = tokenizers.image.encode(_pictures(with_image, tokenizers, shard.path)) if with_image else []
    image = {s["__key__"]: ids for s, ids in zip(with_image, pictures, strict=True)}
    step = tokenizers.eeg.tokens_per_step
    return [_record(s, eeg.get(s["__key__"], []), image.get(s["__key__"]), tokenizers.text, step) for s in samples]


def variants_of(sample: Mapping[str, Any], n: int, seed: int) -> list[Window]:
    """`n` windows of a sample with EEG: the clean one, then augmented ones; which depends on the seed, the sample and
    the variant alone."""
    info, clean = sample["json"], window_of(sample)
    names = (("augment", seed, info["recipe"], sample["__key__"], v) for v in range(1, n))
    return [clean, *(augment(clean, generator(*name)) for name in names)]


def _pictures(samples: list[Mapping[str, Any]], tokenizers: Tokenizers, path: Path) -> np.ndarray:
    side = tokenizers.image.image_size
    for sample in samples:
        if sample["png"].shape != (side, side, 3):
            raise DataError(
                f"{path.name}: picture of {sample['__key__']} is {sample['png'].shape}, the image tokenizer takes "
                f"{(side, side, 3)}; prepare the samples with pictures of that size"
            )
    return np.stack([sample["png"] for sample in samples])


def _record(
    sample: Mapping[str, Any], eeg: list[Any], image: np.ndarray | None, text: Tokenizer, step: int
) -> dict[str, Any]:
    info, pieces, end = sample["json"], [], 0

    def put(ids: Sequence[int] | np.ndarray) -> list[int]:
        nonlocal end
        pieces.append(np.asarray(ids, dtype=np.int32))
        end += len(ids)
        return [end - len(ids), end]

    def put_texts(texts: list[str]) -> list[list[int]]:
        if not all(texts):
            raise DataError(f"sample {sample['__key__']} of {info['recipe']} has an empty text; mend its recipe")
        return [put(ids) for ids in text.encode(texts)]

    places: dict[str, Any] = {"sample": sample["__key__"], "eeg": None, "image": None}
    if eeg:
        spans = [[*put(tokens.ids), int(tokens.scale)] for tokens in eeg]
        places["eeg"] = {"variants": spans, "steps": len(eeg[0].ids) // step}
    if image is not None:
        places["image"] = put(image)
    places["texts"] = put_texts(info.get("texts") or [])
    for name in ("label_text", "question"):
        places[name] = put_texts([info[name]])[0] if info.get(name) else None
    kept = {name: value for name, value in info.items() if name not in _REPLACED}
    ids = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
    return {"__key__": sample["__key__"], "npy": ids, "json": {**kept, **places}}
