"""Token shards to training batches: which document stands at which position is a pure function of (seed, position).

So resume is exact, whatever the number of workers and ranks: a position says everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.causal_mask import Masking, rotate_spans
from neuroleon.data_pipeline.order import WINDOW, ShardOrder
from neuroleon.data_pipeline.packing import LossWeights, pack
from neuroleon.data_pipeline.pretokenize import INSTRUCTIONS, VOCABULARY
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Folder, Location
from neuroleon.retrieval.augment import augmented, find, render_found
from neuroleon.retrieval.encoder import Encoder
from neuroleon.retrieval.memory import Memory, Retrieval, guard_of
from neuroleon.tokenizers.document import Document, Rendered, Span, render
from neuroleon.tokenizers.tasks import TASKS, Task
from neuroleon.tokenizers.vocabulary import Vocabulary

ROUND = 1000  # positions in which every recipe comes exactly as often as its weight says


@dataclass(frozen=True, kw_only=True)
class DocumentConfig:
    """What a training batch holds.

    `recipes` weighs token folders by name (empty: by their number of records), `tasks` weighs tasks among those that a
    record can serve (empty: all alike). `condition_dropout` makes a document unconditional, for guidance. `retrieval`
    puts like documents of the same folders before one, as many as the row has room for. Records are mixed inside of
    `shuffle_shards` shards; a set of fewer is mixed as a whole.
    """

    seed: int = 0
    split: str = "train"
    length: int = 1024
    documents_per_batch: int = 16
    shuffle_shards: int = WINDOW
    recipes: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, float] = field(default_factory=dict)
    condition_dropout: float = 0.1
    masking: Masking = field(default_factory=Masking)
    loss: LossWeights = field(default_factory=LossWeights)
    retrieval: Retrieval = field(default_factory=Retrieval)

    def __post_init__(self) -> None:
        if self.length < 1 or self.documents_per_batch < 1:
            raise ConfigError(f"length {self.length} and documents_per_batch {self.documents_per_batch}: at least 1")
        if self.shuffle_shards < 1:
            raise ConfigError(f"shuffle_shards is {self.shuffle_shards}; expected at least 1")
        if not 0 <= self.condition_dropout <= 1:
            raise ConfigError(f"condition_dropout is {self.condition_dropout}; expected 0 .. 1")
        if unknown := sorted(set(self.tasks) - set(TASKS)):
            raise ConfigError(f"task {unknown[0]!r}: there is none of that name; choose of {', '.join(TASKS)}")
        for name, weights in (("recipes", self.recipes), ("tasks", self.tasks)):
            if weights and (min(weights.values()) < 0 or sum(weights.values()) <= 0):
                raise ConfigError(f"weights of {name} are {weights}; expected 0 or more, and one above 0")


class TokenRecord:
    """One record of a token shard: local ids of everything that its sample has."""

    def __init__(self, ids: np.ndarray, info: Mapping[str, Any], key: str) -> None:
        self._ids = ids
        self.info = info
        self.key = key

    def supports(self, task: Task) -> bool:
        """Whether the sample has all that `task` needs."""
        has = {"eeg": bool(self.info["eeg"]), "image": bool(self.info["image"]), "text": bool(self.info[task.text])}
        return all(has[m] for m in task.modalities) and not (task.asks_question and not self.info["question"])

    def n_texts(self, task: Task) -> int:
        """How many texts can stand in the task's text span."""
        return len(self.info["texts"]) if task.text == "texts" else 1

    @property
    def n_variants(self) -> int:
        return len(self.info["eeg"]["variants"]) if self.info["eeg"] else 1

    @property
    def question(self) -> np.ndarray:
        """Local text ids of the sample's question."""
        return self._ids[slice(*self.info["question"])]

    def span(self, modality: str, task: Task, *, variant: int = 0, text: int = 0) -> Span:
        """A span of the sample; `variant` chooses the tokenization of EEG, `text` one of several texts."""
        if modality == "eeg":
            start, stop, scale = self.info["eeg"]["variants"][variant]
            return Span("eeg", self._ids[start:stop], scale)
        if modality == "image":
            return Span("image", self._ids[slice(*self.info["image"])])
        place = self.info["texts"][text] if task.text == "texts" else self.info["label_text"]
        return Span("text", self._ids[slice(*place)])

    def contents(self) -> dict[str, list[np.ndarray]]:
        """Local ids of all that it shows and says, by modality: the clean EEG, the picture, every sentence."""
        eeg = self.info["eeg"]["variants"][:1] if self.info["eeg"] else []
        images = [self.info["image"]] if self.info["image"] else []
        places = {"eeg": eeg, "image": images, "text": self.info["texts"]}
        return {
            modality: [self._ids[start:stop] for start, stop, *_ in found]
            for modality, found in places.items()
            if found
        }

    def document(self, task: Task, instruction: np.ndarray, *, variant: int = 0, text: int = 0) -> Document:
        """The sample under a task; `instruction` holds local text ids."""
        spans = tuple(self.span(modality, task, variant=variant, text=text) for modality in task.modalities)
        return Document(task.name, instruction, spans)


class TokenFolder:
    """One recipe's token shards of one split, on this machine or behind an address.

    Raises:
        DataError: damaged or unfinished.
        CheckpointError: tokenized with another vocabulary.
    """

    def __init__(self, folder: Location, split: str, vocabulary: Vocabulary) -> None:
        at = Folder.at(folder)
        self.name = at.name
        theirs = Vocabulary.of_json(at.read_json(VOCABULARY), at.where(VOCABULARY))
        vocabulary.require(theirs.fingerprint, str(at))
        self._reader = ShardReader(folder, split)
        wordings = at.read_json(INSTRUCTIONS)
        self.instructions = {task: [np.array(ids, np.int32) for ids in lists] for task, lists in wordings.items()}

    def __len__(self) -> int:
        return len(self._reader)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Records of each shard."""
        return tuple(shard.n_samples for shard in self._reader.shards)

    def __getitem__(self, i: int) -> TokenRecord:
        record = self._reader[i]
        return TokenRecord(record["npy"], record["json"], f"{self.name}/{record['__key__']}")


def training_memory(token_folders: Sequence[Location], vocabulary: Vocabulary, encoder: Encoder) -> Memory:
    """The training records of token folders as a memory.

    Raises:
        DataError: damaged or unfinished folders, or no training records.
        ConfigError: two folders of one name.
        CheckpointError: tokenized with another vocabulary.
    """
    return Memory(list(_open(token_folders, "train", vocabulary).values()), encoder)


def _open(token_folders: Sequence[Location], split: str, vocabulary: Vocabulary) -> dict[str, TokenFolder]:
    folders = [TokenFolder(path, split, vocabulary) for path in token_folders]
    named = {folder.name: folder for folder in folders}
    if len(named) != len(folders):
        raise ConfigError(f"token folders {[f.name for f in folders]}: a name comes twice; rename one")
    return named


class DocumentSource:
    """Documents of several token folders, mixed by weight.

    In every `ROUND` positions each recipe has its share, and a recipe's records come in a new random order every epoch,
    each exactly once (`order.ShardOrder`).

    Args:
        encoder: of what is looked for, with `config.retrieval`.

    Raises:
        ConfigError: a weight names no folder, or is too small to come once in a round.
        DataError: no records; damaged folders; no task for a recipe's first record.
    """

    def __init__(
        self,
        token_folders: Sequence[Location],
        vocabulary: Vocabulary,
        config: DocumentConfig,
        encoder: Encoder | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.config = config
        self._folders = _open(token_folders, config.split, vocabulary)
        self._shares = _shares(self._folders, config)
        self._orders = {
            name: ShardOrder(self._folders[name].sizes, (config.seed, name), config.shuffle_shards)
            for name in self._shares
        }
        self._tasks = {n: w for n, w in (config.tasks or dict.fromkeys(TASKS, 1.0)).items() if w > 0}
        for name in self._shares:
            self._choose_task(self._folders[name][0], generator("first record", name))
        self._memory: Memory | None = None
        if config.retrieval.documents:
            if encoder is None:
                raise ConfigError("retrieval.documents is above 0 and there is no encoder to compare by; give one")
            self._memory = Memory([self._folders[name] for name in self._shares], encoder)

    def place(self, position: int) -> tuple[str, int]:
        """(recipe, number of its record) at a position."""
        number, offset = divmod(position, ROUND)
        order = _round(self.config.seed, tuple(self._shares.values()), number)
        chosen = order[offset]
        name = list(self._shares)[chosen]
        earlier = number * self._shares[name] + int(np.count_nonzero(order[:offset] == chosen))
        return name, self._orders[name].number(earlier)

    def document(self, position: int) -> Rendered:
        """The document at a position: record, task, wording, variant, dropout and masking all drawn from it.

        Raises:
            DataError: the record serves none of the tasks that have a weight.
        """
        name, number = self.place(position)
        folder, record = self._folders[name], self._folders[name][number]
        rng = generator("document", self.config.seed, position)
        task = self._choose_task(record, rng)
        wordings = [record.question] if task.asks_question else folder.instructions[task.name]
        document = record.document(
            task,
            wordings[rng.integers(len(wordings))],
            variant=int(rng.integers(record.n_variants)),
            text=int(rng.integers(record.n_texts(task))) if "text" in task.modalities else 0,
        )
        if rng.random() < self.config.condition_dropout:
            document = document.without_condition()
        rendered = rotate_spans(
            render(document, self.vocabulary, record.key), rng, self.vocabulary, self.config.masking
        )
        if self._memory is None:
            return rendered
        # how many is drawn first, for every document, so that it does not depend on what is found
        wanted = replace(self.config.retrieval, documents=int(rng.integers(self.config.retrieval.documents + 1)))
        found = find(self._memory, document, wanted, guard_of(record, name), rng)
        room = self.config.length - len(rendered)
        return augmented(rendered, render_found(found, document, self.vocabulary, room))

    def batch(self, index: int) -> dict[str, torch.Tensor]:
        """Batch number `index`: `documents_per_batch` documents, packed.

        Returns:
            `ids`, `targets`, `kinds`, `positions`, `documents` (int64) and `weights` (float32), each (n_rows, length);
            see `packing.Packed`.
        """
        n = self.config.documents_per_batch
        documents = [self.document(position) for position in range(index * n, (index + 1) * n)]
        packed = pack(documents, self.config.length, self.vocabulary, self.config.loss)
        tensors = {name: torch.from_numpy(array) for name, array in vars(packed).items()}
        return {**tensors, "kinds": tensors["kinds"].long()}

    def _choose_task(self, record: TokenRecord, rng: np.random.Generator) -> Task:
        names = [name for name in self._tasks if record.supports(TASKS[name])]
        if not names:
            has = [m for m in ("eeg", "image", "texts", "label_text") if record.info[m]]
            raise DataError(
                f"record {record.key} has {', '.join(has) or 'nothing'}, which serves none of the tasks "
                f"{', '.join(self._tasks)}; give a weight to another task, or weight 0 to its recipe"
            )
        weights = np.array([self._tasks[name] for name in names])
        return TASKS[names[rng.choice(len(names), p=weights / weights.sum())]]


@lru_cache(maxsize=8)
def _round(seed: int, shares: tuple[int, ...], number: int) -> np.ndarray:
    """Which recipe (by number) stands at each position of a round."""
    return generator("round", seed, number).permutation(np.repeat(np.arange(len(shares)), shares))


def _shares(folders: Mapping[str, TokenFolder], config: DocumentConfig) -> dict[str, int]:
    """How many of `ROUND` positions each recipe gets; they sum to `ROUND`, and none with a weight gets 0."""
    weights = config.recipes or {name: float(len(folder)) for name, folder in folders.items()}
    if unknown := sorted(set(weights) - set(folders)):
        raise ConfigError(f"weight of recipe {unknown[0]!r}: its token folder is not among {', '.join(folders)}")
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    if empty := [name for name in weights if not len(folders[name])]:
        raise DataError(f"token folder {empty[0]}: no records in split {config.split}; leave it out")
    total = sum(weights.values())
    if not total:
        raise DataError(f"token folders {', '.join(folders) or 'none'}: no records in split {config.split}")
    borders = [0, *(round(ROUND * partial / total) for partial in accumulate(weights.values()))]
    shares = {name: b - a for name, (a, b) in zip(weights, pairwise(borders), strict=True)}
    if small := [name for name, share in shares.items() if share < 1]:
        raise ConfigError(
            f"recipe {small[0]} has {weights[small[0]]:g} of {total:g}; expected 1 in {ROUND} or more: set `recipes`"
        )
    return shares
