"""Stages `pretrain` and `finetune`: the transformer on documents of token shards."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import MANIFEST, sha256_file, sha256_json, verify_folder, write_atomic, write_json
from neuroleon.common.learned import Learned
from neuroleon.data_pipeline.causal_mask import Masking
from neuroleon.data_pipeline.loader import DocumentConfig, DocumentSource, TokenFolder, TokenRecord
from neuroleon.data_pipeline.order import WINDOW
from neuroleon.data_pipeline.packing import LossWeights, Packed, pack
from neuroleon.data_pipeline.pretokenize import Tokenizers
from neuroleon.data_pipeline.shard_table import read_manifest
from neuroleon.data_pipeline.storage import Folder, Location
from neuroleon.decoding.labels import save_labels
from neuroleon.model.config import ModelConfig, preset
from neuroleon.model.flops import train_flops
from neuroleon.model.loss import KINDS, token_loss
from neuroleon.model.transformer import Neuroleon
from neuroleon.model.weights import load_model, model_sizes, save_model
from neuroleon.retrieval.encoder import Encoder
from neuroleon.retrieval.memory import Retrieval
from neuroleon.tokenizers.document import Document, Rendered, parse, prompt, render
from neuroleon.tokenizers.eeg.cross_fit import copy_without_folds
from neuroleon.tokenizers.tasks import TASKS, Task
from neuroleon.tokenizers.vocabulary import Vocabulary
from neuroleon.training.learned import learned_from
from neuroleon.training.model_card import SampleSet, model_card, shared_preprocess
from neuroleon.training.stage import Examples

# Raised when the same data would give other documents, or other tokens that count. 2: what was cut out of an input is
# an output. 3: the order of records is that of `data_pipeline/order.py`
DOCUMENTS = 3
ROWS = 16  # rows of one forward pass in validation: bounds the memory of the logits
SHOWN = ("eeg2image", "eeg2text", "eeg2label", "text2image", "image2text")  # tasks whose outputs the log shows
SHOWN_EACH = 2


@dataclass(frozen=True, kw_only=True)
class DocumentsConfig:
    """What documents are made of; the fields are those of `data_pipeline.loader.DocumentConfig`.

    Attributes:
        tokens: folders of token shards; each may be an address such as s3://bucket/tokens/NAME.
        samples: the folders of sample shards they were made from; the model folder has their labels and pictures.
        tokenizers: the folder with `text/`, `image/` and `eeg/`.
        validation_records: how many records of each set are validated on.
    """

    tokens: tuple[Location, ...]
    samples: tuple[Location, ...]
    tokenizers: Path
    length: int = 1024
    documents_per_batch: int = 16
    shuffle_shards: int = WINDOW
    recipes: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, float] = field(default_factory=dict)
    condition_dropout: float = 0.1
    masking: Masking = field(default_factory=Masking)
    loss: LossWeights = field(default_factory=LossWeights)
    retrieval: Retrieval = field(default_factory=Retrieval)
    validation_records: int = 64

    def __post_init__(self) -> None:
        tokens, samples = ({Folder.at(one).name for one in given} for given in (self.tokens, self.samples))
        if tokens != samples:
            raise ConfigError(
                f"data.tokens are {sorted(tokens)}, data.samples are {sorted(samples)}; give the token folder and the "
                "sample folder of every set"
            )
        if self.validation_records < 1:
            raise ConfigError(f"data.validation_records is {self.validation_records}; give 1 or more")

    def counts(self, name: str) -> bool:
        """Whether a set is trained on: `recipes` may leave out some."""
        return self.recipes.get(name, 0.0 if self.recipes else 1.0) > 0

    def documents(self, seed: int) -> DocumentConfig:
        """The settings of the training documents."""
        names = (
            "length", "documents_per_batch", "shuffle_shards", "recipes", "tasks", "condition_dropout", "masking",
            "loss", "retrieval",
        )  # fmt: skip
        return DocumentConfig(seed=seed, split="train", **{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings of the stage `pretrain`.

    Attributes:
        data: what it reads.
        preset: a named size of `model.config.PRESETS`, of which `model` then only changes the dropout.
        model: the sizes, without a preset.
        export_float16: halve the exported weights.
    """

    data: DocumentsConfig
    preset: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    export_float16: bool = False

    def __post_init__(self) -> None:
        if self.preset is not None and replace(self.model, dropout=0.0) != ModelConfig():
            raise ConfigError(f"preset is {self.preset} and model has sizes of its own; leave one of them out")
        if self.data.length > self.sizes.max_length:
            raise ConfigError(f"data.length is {self.data.length}, the model holds {self.sizes.max_length} tokens")

    @property
    def sizes(self) -> ModelConfig:
        return self.model if self.preset is None else replace(preset(self.preset), dropout=self.model.dropout)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings of the stage `finetune`; only what is answered counts in the loss.

    Attributes:
        data: what it reads.
        init: a model folder, or the run folder of `pretrain`.
        export_float16: halve the exported weights.
    """

    data: DocumentsConfig
    init: Path
    export_float16: bool = False


class _TransformerStage:
    """What both stages share; see `training/stage.py` for the methods of a stage."""

    _sizes: ModelConfig

    def __init__(self, data: DocumentsConfig, seed: int, *, only_outputs: bool, export_float16: bool) -> None:
        self._data = replace(data, loss=replace(data.loss, only_outputs=only_outputs or data.loss.only_outputs))
        self._float16 = export_float16
        self._tokenizers = Tokenizers.load(data.tokenizers)
        self.vocabulary: Vocabulary = self._tokenizers.vocabulary
        self._sets = [SampleSet.read(folder) for folder in data.samples]
        self._preprocess = shared_preprocess(
            {one.folder.name: one.preprocess for one in self._sets if one.preprocess is not None}
        )
        encoder = Encoder(self.vocabulary, self._tokenizers.eeg, self._tokenizers.image)
        self._source = DocumentSource(data.tokens, self.vocabulary, self._data.documents(seed), encoder)
        self._tasks = [TASKS[name] for name in TASKS if not data.tasks or data.tasks.get(name, 0) > 0]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over what a document is, the vocabulary and the manifests of the token shards."""
        folders = [Folder.at(location) for location in self._data.tokens]
        shards = {folder.name: hashlib.sha256(folder.read(MANIFEST)).hexdigest() for folder in folders}
        return sha256_json({"documents": DOCUMENTS, "vocabulary": self.vocabulary.fingerprint, "shards": shards})

    def batch(self, index: int) -> dict[str, Tensor]:
        return self._source.batch(index)

    def contents(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """`tokens` without padding, and the `flops` that they need, attention inside of documents only."""
        lengths = torch.bincount(batch["documents"].flatten())[1:].tolist()
        heads = int((batch["weights"] > 0).sum())
        flops = train_flops(self._sizes, self.vocabulary.size, lengths, heads)
        return {"tokens": float(sum(lengths)), "flops": flops}

    def blocks(self, module: nn.Module) -> list[nn.Module]:
        return _transformer(module).sublayers

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, `z`, and the nats of each modality (NaN where the batch has none)."""
        return _row_loss(module, batch)

    @cached_property
    def _validation(self) -> tuple[list[Rendered], list[Rendered]]:
        """Documents of the tasks that start from EEG, and of the others: clean, unmasked, always the same.

        Each chosen record gives one of either kind; the tasks that it can serve take turns.
        """
        from_eeg: list[Rendered] = []
        others: list[Rendered] = []
        for folder, i, record in self._validation_records():
            for kind, wanted in ((from_eeg, True), (others, False)):
                tasks = [t for t in self._tasks if t.name.startswith("eeg2") is wanted and record.supports(t)]
                if tasks:
                    task = tasks[i % len(tasks)]
                    document = record.document(task, _wording(folder, record, task))
                    kind.append(render(document, self.vocabulary, record.key))
        if not from_eeg and not others:
            raise DataError("the validation splits of data.tokens are empty; prepare sets that have one")
        return from_eeg, others

    def _validation_records(self) -> list[tuple[TokenFolder, int, TokenRecord]]:
        """(folder, running number, record), evenly spaced in each set that is trained on."""
        chosen = []
        for path in self._data.tokens:
            folder = TokenFolder(path, "validation", self.vocabulary)
            if len(folder) and self._data.counts(folder.name):
                places = np.unique(np.linspace(0, len(folder) - 1, self._data.validation_records).round().astype(int))
                chosen += [(folder, i, folder[int(place)]) for i, place in enumerate(places)]
        return chosen

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Nats of each modality over all validation documents; the score is the weighted nats of the answers to EEG.

        A model that is not taught any task from EEG is scored on all answers.
        """
        from_eeg, others = self._validation
        answers = replace(self._data.loss, only_outputs=True)
        score = self._mean_nats(module, from_eeg or others, answers)["loss"]
        nats = self._mean_nats(module, [*from_eeg, *others], self._data.loss)
        return {"score": score, **nats}

    def _mean_nats(self, module: nn.Module, documents: Sequence[Rendered], weights: LossWeights) -> dict[str, float]:
        """Exact means over all tokens of the documents, however they fall into rows."""
        packed = pack(documents, self._data.length, self.vocabulary, weights)
        sums: dict[str, float] = {}
        totals: dict[str, float] = {}
        for start in range(0, len(packed.ids), ROWS):
            batch = _tensors(packed, slice(start, start + ROWS), next(module.parameters()).device)
            values = _row_loss(module, batch, z_weight=0.0)
            counts = {name: ((batch["kinds"] == kind) & (batch["weights"] > 0)).sum() for name, kind in KINDS.items()}
            for name, count in {"loss": batch["weights"].sum(), **counts}.items():
                if count > 0:
                    sums[name] = sums.get(name, 0.0) + float(values[name]) * float(count)
                    totals[name] = totals.get(name, 0.0) + float(count)
        return {name: sums[name] / totals[name] for name in sums}

    def examples(self, module: nn.Module) -> Examples:
        """Answers to a few validation records: pictures beside what was shown, sentences beside what was said."""
        from neuroleon.decoding.engine import Engine, Prompt
        from neuroleon.decoding.sampling import Sampling

        transformer = _transformer(module)
        asked: list[tuple[Task, Document]] = []
        prompts: list[Prompt] = []
        for task in (TASKS[name] for name in SHOWN if TASKS[name] in self._tasks):
            serving = [(folder, record) for folder, _, record in self._validation_records() if record.supports(task)]
            for folder, record in serving[:: max(1, len(serving) // SHOWN_EACH)][:SHOWN_EACH]:
                wording = _wording(folder, record, task)
                document = record.document(task, wording)
                ids = prompt(task.name, wording, document.spans[: len(task.inputs)], self.vocabulary)
                asked.append((task, document))
                prompts.append(Prompt(ids=ids))
        keys = [("examples", i) for i in range(len(prompts))]
        answers = Engine(transformer, self.vocabulary).generate(prompts, Sampling(top_p=0.95), keys)
        pictures, sentences = {}, {}
        for i, ((task, document), ids) in enumerate(zip(asked, answers, strict=True)):
            name, truth, answer = f"{task.name}/{i}", document.spans[-1], parse(ids, self.vocabulary).spans[-1]
            if task.outputs[-1] == "image":
                both = np.stack([truth.ids_local, answer.ids_local])
                pictures[name] = np.concatenate(list(self._tokenizers.image.decode(both)), axis=1)
            else:
                said, wanted = self._tokenizers.text.decode([answer.ids_local, truth.ids_local])
                sentences[name] = f"{said!r} (it was {wanted!r})"
        return Examples(pictures=pictures, sentences=sentences)

    def export(self, module: nn.Module, folder: Path) -> None:
        """Write the whole model folder: nothing else is needed to use the model."""
        transformer = _transformer(module)
        save_model(copy.deepcopy(transformer).half() if self._float16 else transformer, folder)
        self.vocabulary.save(folder / "vocabulary.json")
        for name in ("text", "image", "eeg"):
            copy_without_folds(self._data.tokenizers / name, folder / "tokenizers" / name)
        write_json(folder / "preprocess.json", self._preprocess.to_json())
        sets = {one.folder.name: one.labels() for one in self._sets if one.preprocess is not None}
        save_labels({name: labels for name, labels in sets.items() if labels.labels}, folder)
        n_parameters = sum(p.numel() for p in module.parameters())
        self._learned().write(folder)
        card = model_card(
            [s.recipe for s in self._sets], [t.name for t in self._tasks], self.validate(module), n_parameters
        )
        write_atomic(folder / "README.md", card)

    def _learned(self) -> Learned:
        """The recordings that the weights know: those that the token shards of the sets that count were made of."""
        counted = (Folder.at(location) for location in self._data.tokens)
        manifests = [read_manifest(folder) for folder in counted if self._data.counts(folder.name)]
        return learned_from(manifest.get("samples", {}) for manifest in manifests)


class PretrainStage(_TransformerStage):
    """Trains the transformer from fresh weights."""

    def __init__(self, config: PretrainConfig, seed: int) -> None:
        super().__init__(config.data, seed, only_outputs=False, export_float16=config.export_float16)
        self._sizes = config.sizes

    def build(self) -> nn.Module:
        image, eeg = self.vocabulary.range_of("image"), self.vocabulary.range_of("eeg")
        tables = {
            image.start: torch.as_tensor(self._tokenizers.image.codebook),
            eeg.start: torch.as_tensor(self._tokenizers.eeg.codebook),
        }
        return Neuroleon(self._sizes, self.vocabulary.size, tables, {eeg.start: eeg.tokens})


class FinetuneStage(_TransformerStage):
    """Goes on from a trained model; only the outputs of documents count."""

    def __init__(self, config: FinetuneConfig, seed: int) -> None:
        super().__init__(config.data, seed, only_outputs=True, export_float16=config.export_float16)
        final = config.init / "final"
        self._init = final if final.is_dir() else config.init
        verify_folder(self._init)
        self._sizes = model_sizes(self._init)
        Vocabulary.load(self._init / "vocabulary.json").require(
            self.vocabulary.fingerprint, str(config.data.tokenizers)
        )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the data and the model it starts from."""
        return sha256_json({"data": super().fingerprint, "init": sha256_file(self._init / MANIFEST)})

    def _learned(self) -> Learned:
        return Learned.read(self._init) | super()._learned()

    def build(self) -> nn.Module:
        module = load_model(self._init)
        if self._data.length > module.config.max_length:
            raise ConfigError(
                f"data.length is {self._data.length}, {self._init} holds {module.config.max_length} tokens"
            )
        return module.train()


def _transformer(module: nn.Module) -> Neuroleon:
    assert isinstance(module, Neuroleon), f"expected the module of build(), found {type(module).__name__}"
    return module


def _wording(folder: TokenFolder, record: TokenRecord, task: Task) -> np.ndarray:
    """The first wording of a task, or the record's own question."""
    return record.question if task.asks_question else folder.instructions[task.name][0]


def _row_loss(module: nn.Module, batch: dict[str, Tensor], z_weight: float = 1e-5) -> dict[str, Tensor]:
    """`token_loss` of packed rows; logits are computed only where a target has a weight."""
    counted = batch["weights"] > 0
    logits = module(batch["ids"], batch["positions"], batch["documents"], where=counted)
    targets, weights, kinds = (batch[name][counted] for name in ("targets", "weights", "kinds"))
    return token_loss(logits, targets, weights, kinds, z_weight)


def _tensors(packed: Packed, rows: slice, device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array[rows]).to(device) for name, array in vars(packed).items()}
