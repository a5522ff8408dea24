"""In what form should a transformer of few paired trials hear the EEG? One table, on the validation splits.

    python benchmarks/eeg_input.py --samples runs/samples/cvep20 runs/samples/ssvep_exo --tokenizers runs/tokenizers \
        --out runs/eeg-input [--steps 600] [--seeds 0 1]

Small transformers are trained, with the same data, order, seed and steps, to answer each set's question from its EEG,
and differ in what stands at the place of an EEG id:

- free: a row of its own, as for words;
- codebook: the project's embedding, through the vectors of the codebook, what is known of the step so far;
- latents: the tokenizer's numbers of the step before they are quantized, at each of its ids;
- both: codebook plus latents;

and, with the codebook: columns of its vectors scaled alike, where the project's scales those of a part together; one
tokenization of each training trial instead of four (three of them augmented); the tokenizer of all trials for training
trials too, instead of what was fitted without them; and first half of the steps more on the EEG alone, of all sets and
without labels.

Each is asked, on windows of the validation split, for the likeliest label: its accuracy, log2 p of the true one among
the set's less what the best constant answer has (bits above chance), and its accuracy under the EEG of another window
(the control) and on windows that it was trained with, which shows what was learned by heart.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from neuroleon.common.files import read_json, sha256_json, write_json
from neuroleon.common.seed import generator, torch_generator
from neuroleon.data_pipeline.packing import LossWeights, pack
from neuroleon.data_pipeline.pretokenize import Tokenizers, variants_of
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.evaluation.controls import derangement
from neuroleon.evaluation.feed import ids_of_answer, span_of
from neuroleon.evaluation.trials import balanced
from neuroleon.model.config import ModelConfig
from neuroleon.model.embed import CodebookEmbedding
from neuroleon.model.loss import token_loss
from neuroleon.model.transformer import Neuroleon
from neuroleon.tokenizers.document import Document, Rendered, Span, prompt, render
from neuroleon.training.optim import OptimConfig, make_optimizer
from neuroleon.training.schedule import ScheduleConfig, rate_factor
from neuroleon.training.state import Ema

VARIANTS = 4  # tokenizations of a training trial: the clean one, then augmented ones
ASKED = 200  # windows of each set and split, balanced over labels
AT_ONCE = 50  # windows that are asked about together
DOCUMENTS = 16  # of a step
ROW = 512
EEG_ALONE = "eeg"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table."""

    ids: str = "codebook"  # how ids are embedded: `codebook`, or `free` rows
    alike: bool = False  # every column of the codebook's vectors has the same variance
    latents: str = "no"  # `no`, `instead` of the ids' vectors, or `beside` them
    variants: int = VARIANTS
    cross_fit: bool = True
    unlabelled: float = 0.0  # steps on EEG alone before, as a share of the steps


SETTINGS = {
    "free": Setting(ids="free"),
    "codebook": Setting(),
    "latents": Setting(latents="instead"),
    "both": Setting(latents="beside"),
    "codebook, columns alike": Setting(alike=True),
    "codebook, one tokenization": Setting(variants=1),
    "codebook, no cross-fit": Setting(cross_fit=False),
    "codebook, EEG alone before": Setting(unlabelled=0.5),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """One labelled window: its tokenizations, the latents of each, float32 (n_steps, width), and, for training, its
    tokenizations by the tokenizer that was fitted to it."""

    label: str
    eeg: tuple[Span, ...]
    latents: tuple[np.ndarray, ...]
    fitted: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSet:
    """The windows of one set, its question and its labels as spans."""

    name: str
    question: np.ndarray
    labels: dict[str, Span]
    windows: dict[str, list[Window]]


def read_set(folder: Path, tokenizers: Tokenizers) -> LabelledSet:
    """Tokenize the labelled windows of a folder of samples."""
    windows: dict[str, list[Window]] = {}
    texts: dict[str, str] = {}
    question = ""
    for split in ("train", "validation"):
        reader, windows[split] = ShardReader(folder, split), []
        for record in tqdm(reader, desc=f"{folder.name} {split}", total=len(reader), leave=False):
            info = record["json"]
            if info.get("label") is None or "npy" not in record:
                continue
            texts[info["label"]], question = info["label_text"], info["question"]
            several = variants_of(record, VARIANTS if split == "train" else 1, seed=0)
            without = tokenizers.eeg_for(record, reader.fingerprint)
            by_each = (one.encode_windows(several) for one in (without, tokenizers.eeg))
            eeg, fitted = (tuple(map(span_of, tokens)) for tokens in by_each)
            latents = tuple(without.latents(several))
            windows[split].append(Window(label=info["label"], eeg=eeg, latents=latents, fitted=fitted))
    encoded = tokenizers.text.encode(list(texts.values()))
    labels = {label: Span("text", np.array(ids)) for label, ids in zip(texts, encoded, strict=True)}
    return LabelledSet(
        name=folder.name, question=np.array(tokenizers.text.encode([question])[0]), labels=labels, windows=windows
    )


class HeardEEG(nn.Module):
    """An embedding with the latents that `heard` gives for the next call at the places of EEG ids.

    Latents are less their mean and over their spread in training; the projection starts as those of codebooks do.
    """

    heard: tuple[Tensor, Tensor] | None = None  # (B, T, width), and where there are any (B, T)

    def __init__(self, inner: CodebookEmbedding, known: np.ndarray, config: ModelConfig, where: str) -> None:
        super().__init__()
        self.inner, self.where, self.reach = inner, where, inner.reach
        self.mean, self.spread = torch.from_numpy(known.mean(0)), torch.from_numpy(known.std(0).clip(1e-6))
        self.projection = nn.Linear(known.shape[1], config.dim, bias=False)
        nn.init.trunc_normal_(self.projection.weight, std=config.init_std / known.shape[1] ** 0.5)

    def forward(self, ids: Tensor, documents: Tensor | None = None) -> Tensor:
        vectors: Tensor = self.inner(ids, documents)
        if self.where == "no" or self.heard is None:
            return vectors
        latents, known = self.heard
        said = self.projection((latents - self.mean) / self.spread)
        return torch.where(known[..., None], said if self.where == "instead" else vectors + said, vectors)


def _alike(table: Tensor, n_slots: int) -> Tensor:
    """A codebook's table with every column scaled so that its sum over the slots of a step has variance 1."""
    variance = table.reshape(n_slots, -1, table.shape[1]).square().mean(dim=1).sum(dim=0)
    return table / torch.where(variance > 0, variance, 1).sqrt()


class Trained:
    """A small transformer in one of the settings."""

    def __init__(self, setting: Setting, sets: Sequence[LabelledSet], tokenizers: Tokenizers, seed: int) -> None:
        self.setting, self.sets, self.vocabulary, self.seed = setting, sets, tokenizers.vocabulary, seed
        torch.manual_seed(seed)
        eeg = self.vocabulary.range_of("eeg")
        tables = {eeg.start: torch.as_tensor(tokenizers.eeg.codebook)} if setting.ids == "codebook" else {}
        config = ModelConfig(dropout=0.1)
        self.model = Neuroleon(config, self.vocabulary.size, tables, {eeg.start: eeg.tokens} if tables else None)
        if setting.alike:
            (book,) = self.model.embed.codebooks
            book.table = _alike(book.table, eeg.tokens)
        known = np.concatenate([w.latents[0] for one in sets for w in one.windows["train"]])
        self.embed = HeardEEG(self.model.embed, known, config, setting.latents)
        self.model.embed = self.embed  # type: ignore[assignment]

    def train(self, steps: int) -> None:
        optimizer, schedule = make_optimizer(self.model, OptimConfig(lr=1.5e-3)), ScheduleConfig(warmup=100)
        ema, alone = Ema(self.model, 0.995), round(steps * self.setting.unlabelled)
        self.model.train()
        for step in tqdm(range(alone + steps), leave=False):
            documents, latents = self._batch(step, is_alone=step < alone)
            for group in optimizer.param_groups:
                group["lr"] = 1.5e-3 * rate_factor(step, alone + steps, schedule)
            weights = LossWeights(only_outputs=True, eeg=1.0 if step < alone else 0.0)
            torch.manual_seed(torch_generator("dropout", self.seed, step).initial_seed())
            self._loss(documents, latents, weights).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.update(step)
        for average, weight in zip(ema.averages, self.model.parameters(), strict=True):
            weight.data.copy_(average)
        self.model.eval()

    def _batch(self, step: int, *, is_alone: bool) -> tuple[list[Rendered], list[np.ndarray | None]]:
        rng = generator("eeg input", self.seed, step)
        documents, latents = [], []
        for _ in range(DOCUMENTS):
            chosen = self.sets[rng.integers(len(self.sets))]
            windows = chosen.windows["train"]
            window = windows[rng.integers(len(windows))]
            variant = int(rng.integers(self.setting.variants))
            eeg = (window.eeg if self.setting.cross_fit else window.fitted)[variant]
            if is_alone:
                document = Document(EEG_ALONE, None, (eeg,))
            else:
                spans = (eeg, chosen.labels[window.label])
                document = Document("eeg2label", chosen.question, spans)
            documents.append(render(document, self.vocabulary))
            latents.append(None if is_alone else window.latents[variant])  # what is to be written is not given away
        return documents, latents

    def _loss(self, documents: list[Rendered], latents: list[np.ndarray | None], weights: LossWeights) -> Tensor:
        packed = pack(documents, ROW, self.vocabulary, weights)
        tensors = {name: torch.from_numpy(array) for name, array in vars(packed).items()}
        self.embed.heard = self._heard(tensors["ids"], tensors["documents"], latents)
        where = tensors["weights"] > 0
        logits = self.model(tensors["ids"], tensors["positions"], tensors["documents"], where=where)
        flat = {name: tensors[name][where] for name in ("targets", "weights")}
        return token_loss(logits, flat["targets"], flat["weights"], tensors["kinds"].long()[where])["loss"]

    def _heard(self, ids: Tensor, documents: Tensor, latents: Sequence[np.ndarray | None]) -> tuple[Tensor, Tensor]:
        """The latents of each document at its EEG ids; every id of a step has the step's."""
        eeg = self.vocabulary.range_of("eeg")
        given, known = torch.zeros(*ids.shape, len(self.embed.mean)), torch.zeros(ids.shape, dtype=torch.bool)
        inside = (ids >= eeg.start) & (ids < eeg.stop)
        for number, one in enumerate(latents, start=1):
            if one is not None:
                here = inside & (documents == number)
                given[here], known[here] = torch.from_numpy(one).repeat_interleave(eeg.tokens, dim=0), True
        return given, known

    @torch.inference_mode()
    def bits(self, asked: LabelledSet, windows: Sequence[Window]) -> np.ndarray:
        """log2 p of each label of the set as the answer, (n_windows, n_labels)."""
        prompts = [prompt("eeg2label", asked.question, [window.eeg[0]], self.vocabulary) for window in windows]
        if len({len(ids) for ids in prompts}) > 1:  # one row cannot be padded where another goes on
            return np.concatenate([self.bits(asked, [window]) for window in windows])
        rows = torch.from_numpy(np.stack(prompts).astype(np.int64))
        documents = torch.arange(1, len(rows) + 1)[:, None].expand_as(rows)  # one a row
        self.embed.heard = self._heard(rows, documents, [window.latents[0] for window in windows])
        last = torch.zeros_like(rows, dtype=torch.bool)
        last[:, -1] = True
        logits, cache = self.model(rows, return_cache=True, where=last)
        self.embed.heard = None
        found = []
        for span in asked.labels.values():
            end = torch.from_numpy(ids_of_answer("eeg2label", span, self.vocabulary).astype(np.int64))
            end = end.expand(len(rows), -1)
            after = torch.cat([logits[:, None], self.model(end[:, :-1], cache=cache)], dim=1)
            log_p = after.log_softmax(dim=-1).gather(2, end[..., None])
            found.append(log_p.sum(dim=(1, 2)).double().numpy() / np.log(2))
        return np.stack(found, axis=1)

    def ask(self, asked: LabelledSet) -> dict[str, float]:
        """Accuracy and bits on validation, under the true and another window's EEG, and accuracy in training."""
        labels = list(asked.labels)
        told = {}
        for split in ("train", "validation"):
            windows = asked.windows[split]
            chosen = [windows[i] for i in balanced([w.label for w in windows], ASKED, 0, asked.name, split)]
            true = np.array([labels.index(window.label) for window in chosen])
            partner = derangement(np.arange(len(chosen)), generator("eeg input", asked.name))
            conditions = {"train": {"train": chosen}}.get(
                split, {"real": chosen, "shuffled": [chosen[i] for i in partner]}
            )
            share = np.bincount(true) / len(true)
            chance = float(np.sum(share[share > 0] * np.log2(share[share > 0])))
            for name, heard in conditions.items():
                bits = np.concatenate([self.bits(asked, heard[i : i + AT_ONCE]) for i in range(0, len(heard), AT_ONCE)])
                told[name] = float((bits.argmax(1) == true).mean())
                among = bits[np.arange(len(true)), true] - np.logaddexp2.reduce(bits, axis=1)
                told[f"{name} bits"] = float(among.mean()) - chance
        return told


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of samples with labels")
    parser.add_argument("--tokenizers", type=Path, required=True, help="folder with the tokenizers text, image and eeg")
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON a row; a row of the same run stays")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=list(SETTINGS), help="rows of the table")
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    tokenizers = Tokenizers.load(given.tokenizers, cross_fit=True)
    sets = [read_set(folder, tokenizers) for folder in given.samples]
    read = {
        "tokenizers": [tokenizers.vocabulary.fingerprint, tokenizers.cross_fit and tokenizers.cross_fit.fingerprint],
        "samples": [[ShardReader(folder, s).fingerprint for s in ("train", "validation")] for folder in given.samples],
    }
    head = ["", "seed", *(one.name for one in sets)]
    print("accuracy, shuffled, in training; bits above chance")
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|", flush=True)
    for seed in given.seeds:
        for name in given.only:
            run = sha256_json(asdict(SETTINGS[name]) | read | {"seed": seed, "steps": given.steps})
            path = given.out / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}-{run[:12]}.json"
            if not path.is_file():
                trained = Trained(SETTINGS[name], sets, tokenizers, seed)
                trained.train(given.steps)
                write_json(path, {one.name: trained.ask(one) for one in sets})
            told = read_json(path)
            cells = [
                f"{t['real']:.2f}, {t['shuffled']:.2f}, {t['train']:.2f}; {t['real bits']:+.2f}" for t in told.values()
            ]
            print(f"| {name} | {seed} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
