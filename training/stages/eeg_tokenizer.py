"""Training of the EEG tokenizer: maps, semantic numbers and codebooks in closed form, then what the decoder adds.

The input is spoiled (`eeg_windows.spoil`), the target is not, so the tokenizer also fills in what is missing. Where a
transformer adds to the semantic numbers, heads teach it what was seen; they are dropped on export
(`tokenizers.eeg.heads`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from loguru import logger
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import sha256_file, sha256_json
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.shard_table import read_manifest
from neuroleon.data_pipeline.storage import Folder
from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.cross_fit import CrossFit
from neuroleon.tokenizers.eeg.evidence import Evidence
from neuroleon.tokenizers.eeg.heads import Contrast, ReadOuts, SetAdversary, pooled
from neuroleon.tokenizers.eeg.losses import reconstruction_losses
from neuroleon.tokenizers.eeg.network import EEGNetwork, existing_steps, whole_steps
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.training.config import RunConfig
from neuroleon.training.learned import learned_from
from neuroleon.training.model_card import shared_preprocess
from neuroleon.training.stage import Examples
from neuroleon.training.stages.eeg_evidence import fit_evidence
from neuroleon.training.stages.eeg_start import fields, fold_by_name, readout, set_trials, usual_background
from neuroleon.training.stages.eeg_windows import EEGDataConfig, Mixture, Spoiled, Trial, spoil, unspoiled

CALIBRATION_WINDOWS = 24  # of each set's validation split
START_STEPS_PER_CODE = 64  # that principal components and k-means are made of
LABELLED_WINDOWS = 2000  # of each aligned set, at most, that what tells its labels is estimated from
# Of the windows keep every level in training; the others a random number, few as often as many: rates are ratios
ALL_LEVELS_SHARE = 0.3
READ = ("label", "stimulus", "contrast")  # losses for which a batch may hold nothing


@dataclass(frozen=True, kw_only=True)
class EEGLossConfig:
    """Weights of the losses; 0 switches one off.

    `label`, `stimulus`, `contrast`, which needs `data.embeddings`, and `adversary`, the cross-entropy of the data set
    with its gradient reversed, shape what `network.encoder_layers` add to the semantic numbers, and need them.
    """

    wave: float = 1.0
    amplitude: float = 0.1
    phase: float = 0.3
    correlation: float = 0.5
    whitened: float = 1.0
    commitment: float = 1.0
    label: float = 1.0
    stimulus: float = 1.0
    contrast: float = 0.2
    adversary: float = 0.0
    label_smoothing: float = 0.05


@dataclass(frozen=True, kw_only=True)
class EEGTokenizerStageConfig(RunConfig):
    """Settings of the stage `eeg-tokenizer`.

    `levels_in_use`: of `network.levels`, those that the exported tokenizer writes unless it is asked for others:
    documents want few ids, reconstruction many.
    """

    data: EEGDataConfig
    network: EEGTokenizerConfig = field(default_factory=EEGTokenizerConfig)
    losses: EEGLossConfig = field(default_factory=EEGLossConfig)
    levels_in_use: int | None = None

    def __post_init__(self) -> None:
        if self.levels_in_use is not None and not 1 <= self.levels_in_use <= self.network.levels:
            raise ConfigError(f"levels_in_use is {self.levels_in_use}, expected 1 to {self.network.levels}")
        if not self.network.encoder_layers and (self.data.embeddings or self.losses.adversary):
            raise ConfigError(
                "data.embeddings and losses.adversary shape what a transformer adds to the semantic numbers, and "
                "network.encoder_layers is 0: set it to 1 or more, or leave them out"
            )


class EEGTokenizerTraining(nn.Module):
    """The network with the heads that only training needs; none where there is nothing that they could shape."""

    def __init__(self, config: EEGTokenizerConfig, n_labels: dict[str, int], n_sets: int, embedding_dim: int) -> None:
        super().__init__()
        self.network = EEGNetwork(config)
        n_semantic = 2 * config.semantic_dim
        self.heads = ReadOuts(n_semantic, n_labels, config.step_samples) if config.encoder_layers else None
        self.contrast = Contrast(n_semantic, embedding_dim) if embedding_dim else None
        self.adversary = SetAdversary(n_semantic, n_sets) if config.encoder_layers else None
        # what the trials of each fold had no part in; constants, made anew at every start, so not registered
        self.without_folds: tuple[Evidence, ...] = ()

    def latents(
        self, batch: dict[str, Tensor], eeg: Tensor, electrodes: Tensor, present: Tensor, valid: Tensor
    ) -> Tensor:
        """eeg (B, C, T), electrodes (B, C, 7), present (B, C) and valid (B, T) of the windows of a batch, as they are
        or spoiled -> (B, N, latent_dim).

        What a trial tells of its label is read as it will be in new recordings: by what was fitted without it. Codes
        made of what was fitted to it would be those of a certainty that no new trial has.
        """
        encoder, parts = self.network.encoder, []
        rows_of_folds = [(fold, (batch["fold"] == fold).nonzero()[:, 0]) for fold in batch["fold"].unique().tolist()]
        for fold, rows in rows_of_folds:
            evidence = encoder.evidence if fold < 0 else self.without_folds[fold].to(eeg.device)
            given = (x[rows] for x in (eeg, electrodes, present, valid, batch["subject"], batch["background"]))
            parts.append(encoder(*given, evidence))
        order = torch.cat([rows for _, rows in rows_of_folds]).argsort()
        return torch.cat(parts)[order]


class EEGTokenizerStage:
    """Drives `EEGTokenizerTraining`; the scoring number is the loss on the validation split, a mean over the sets."""

    def __init__(self, config: EEGTokenizerStageConfig, seed: int) -> None:
        self.config, self._seed = config, seed
        self.mixture = Mixture(config.data)
        self.preprocess = shared_preprocess(
            {
                name: Preprocess.from_json(windows.reader.manifest["preprocess"])
                for name, windows in self.mixture.train.items()
            }
        )

    @property
    def fingerprint(self) -> str:
        """sha256 over the shards and embeddings that are read."""
        parts = (self.mixture.train, self.mixture.validation)
        shards = [{name: part[name].reader.fingerprint for name in self.mixture.names} for part in parts]
        return sha256_json([*shards, {name: sha256_file(path) for name, path in self.config.data.embeddings.items()}])

    def build(self) -> nn.Module:
        n_labels = {name: len(self.mixture.train[name].labels) for name in self.mixture.aligned}
        unread = [
            name for name in self.mixture.names if name not in n_labels and len(self.mixture.train[name].labels) > 1
        ]
        if unread:
            logger.info(f"data.aligned leaves out {', '.join(unread)}: no codes are made for their labels")
        module = EEGTokenizerTraining(
            self.config.network, n_labels, len(self.mixture.names), self.mixture.embedding_dim
        )
        # made anew from the shards at every start, so no checkpoint needs it
        network, batches = module.network, list(self._first_batches())
        sets = {name: list(self._labelled(name)) for name in self.mixture.aligned}
        network.start_from(torch.cat([fields(network, batch) for batch in batches]), readout(network, sets, self._seed))
        # a stream begins before its recording is known, so what is causal reads power as it is
        if not self.config.network.causal and (usual := usual_background(sets)) is not None:
            network.encoder.evidence.tell_from(usual)
        sfreq = self.config.network.sfreq
        heard = ((name, set_trials(network, trials, sfreq)) for name, trials in sets.items() if trials)
        without_folds, fold_of = fit_evidence(network.encoder.evidence, heard, self._seed)
        module.without_folds = tuple(without_folds)
        self.mixture.subjects = network.encoder.evidence.subjects
        self.mixture.folds = {
            name: fold_by_name([trial for trial, _ in sets[name]], folds) for name, folds in fold_of.items()
        }
        batches = list(self._first_batches())  # the same ones, with the people and folds that are known by now
        network.quantizer.start_from(torch.cat([_latents(module, batch) for batch in batches]))
        return module

    def _labelled(self, name: str) -> Iterator[tuple[Trial, dict[str, Tensor]]]:
        """Labelled windows of a set's training split, spread over it, in whole steps, each as a batch of its own."""
        windows, size = self.mixture.train[name], self.config.network.step_samples
        for i in np.unique(np.linspace(0, len(windows) - 1, LABELLED_WINDOWS).round().astype(int)):
            trial = windows[int(i)]
            n_times = trial.eeg.shape[1] // size * size
            if trial.label is not None and n_times:
                stimulus = None if trial.stimulus is None else trial.stimulus[:n_times]
                trial = replace(trial, eeg=trial.eeg[:, :n_times], stimulus=stimulus)
                yield trial, self.mixture.collate([(name, trial)])

    def _first_batches(self) -> Iterator[dict[str, Tensor]]:
        """Batches of the mixture that the maps and codebooks start from."""
        rng, n_steps = generator("eeg-tokenizer", "start", self._seed), 0
        while n_steps < START_STEPS_PER_CODE * self.config.network.codes:
            batch = self.mixture.draw(rng)
            n_steps += int(whole_steps(batch["valid"], self.config.network.step_samples).sum())
            yield batch

    def batch(self, index: int) -> dict[str, Tensor]:
        rng = generator("eeg-tokenizer", self._seed, index)
        drawn = self.mixture.draw(rng)
        n, levels = len(drawn["set"]), self.config.network.levels
        some = np.exp(rng.uniform(0.0, math.log(levels + 1), size=n)).astype(int).clip(1, levels)
        keep = np.where(rng.random(n) < ALL_LEVELS_SHARE, levels, some)
        return drawn | {
            "keep": torch.from_numpy(keep),
            "spoil_seed": torch.tensor(int(rng.integers(2**31))),
            "progress": torch.tensor(min(1.0, index / (self.config.loop.steps * self.config.loop.batches_per_step))),
        }

    def contents(self, batch: dict[str, Tensor]) -> dict[str, float]:
        return {"windows": len(batch["set"])}

    def blocks(self, module: nn.Module) -> list[nn.Module]:
        return []

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        network = self.config.network
        spoiled = spoil(batch, int(batch["spoil_seed"]), network.step_samples, network.sfreq)
        return self._losses(_checked(module), batch, spoiled, batch["keep"])

    def _losses(
        self, module: EEGTokenizerTraining, batch: dict[str, Tensor], given: Spoiled, keep: Tensor
    ) -> dict[str, Tensor]:
        network, weights = module.network, self.config.losses
        exists = existing_steps(given.valid, self.config.network.step_samples)
        latents = module.latents(batch, given.eeg, given.electrodes, given.present, given.seen)
        quantized = network.quantizer(latents[exists], keep[:, None].expand_as(exists)[exists])
        kept, semantic = (_in_steps(x, exists) for x in (quantized.latents, quantized.semantic))
        predicted = network.decoder(kept, given.electrodes, exists)
        parts = reconstruction_losses(predicted, given.target, batch["known"], given.valid)
        parts["commitment"] = quantized.commitment
        if module.heads is not None:
            parts |= self._meaning(module, module.heads, batch, given.stimulus, semantic, exists)
        if weights.adversary and module.adversary is not None:
            parts["adversary"] = module.adversary(pooled(semantic, exists), batch["set"], batch["progress"])
        # what a batch does not have is NaN, and no part of the loss; any other NaN must show
        weighted = [
            getattr(weights, name) * value for name, value in parts.items() if name not in READ or not value.isnan()
        ]
        found = {"loss": torch.stack(weighted).sum(), **parts}
        if module.heads is not None:
            with torch.no_grad():
                found["accuracy"] = self._accuracy(module.heads, batch, semantic, exists)
        return found

    def _meaning(
        self,
        module: EEGTokenizerTraining,
        heads: ReadOuts,
        batch: dict[str, Tensor],
        stimulus: Tensor,
        semantic: Tensor,
        exists: Tensor,
    ) -> dict[str, Tensor]:
        """The losses of the read-outs and of the contrast; NaN where the batch has nothing to read."""
        nothing = semantic.new_tensor(math.nan)
        label, track, contrast = nothing, nothing, nothing
        smoothing = self.config.losses.label_smoothing if module.training else 0.0
        of_windows = pooled(semantic, exists)
        found = [
            functional.cross_entropy(
                heads.label_logits(name, of_windows[rows]),
                batch["label"][rows],
                label_smoothing=smoothing,
                reduction="sum",
            )
            for name, rows in self._labelled_rows(batch)
        ]
        if found:
            label = torch.stack(found).sum() / (batch["label"] >= 0).sum()
        shown = stimulus.isfinite()
        if shown.any():
            logits = heads.stimulus_logits(semantic)
            track = functional.binary_cross_entropy_with_logits(logits[shown], stimulus[shown])
        paired = batch["embedding"].isfinite().all(dim=1)
        if module.contrast is not None and paired.sum() > 1:
            contrast = module.contrast(of_windows[paired], batch["embedding"][paired])
        return {"label": label, "stimulus": track, "contrast": contrast}

    def _labelled_rows(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Each set that has labels in the batch, and which rows (B,) bool they are."""
        for i, name in enumerate(self.mixture.names):
            rows = (batch["set"] == i) & (batch["label"] >= 0)
            if rows.any():
                yield name, rows

    def _accuracy(self, heads: ReadOuts, batch: dict[str, Tensor], semantic: Tensor, exists: Tensor) -> Tensor:
        """Share of labels that the read-out names rightly; NaN without labels."""
        of_windows = pooled(semantic, exists)
        right = [
            heads.label_logits(name, of_windows[rows]).argmax(1) == batch["label"][rows]
            for name, rows in self._labelled_rows(batch)
        ]
        return torch.cat(right).float().mean() if right else semantic.new_tensor(math.nan)

    def validate(self, module: nn.Module) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name in self.mixture.names:
            rows, counts = [], []
            for batch in self.mixture.validation_batches(name):
                batch = _moved(batch, module)
                n = len(batch["set"])
                batch |= {"progress": batch["eeg"].new_tensor(1.0)}
                keep = torch.full((n,), self.config.network.levels, device=batch["eeg"].device)
                parts = self._losses(_checked(module), batch, unspoiled(batch), keep)
                rows.append({key: float(value) for key, value in parts.items()})
                counts.append(n)
            for key in ("loss", "wave", "correlation", "label", "accuracy") if rows else ():
                optional = key in ("label", "accuracy")  # a batch may have none; a loss that is NaN must show
                values = np.array([row.get(key, math.nan) if optional else row[key] for row in rows])
                use = np.isfinite(values) if optional else np.ones(len(values), bool)
                if use.any():
                    numbers[f"{name}/{key}"] = float(np.average(values[use], weights=np.array(counts)[use]))
        numbers["score"] = float(np.mean([value for key, value in numbers.items() if key.endswith("/loss")]))
        return numbers

    def examples(self, module: nn.Module) -> Examples:
        network, pictures = _checked(module).network, {}
        for name in self.mixture.names[:4]:
            for batch in self.mixture.validation_batches(name)[:1]:
                batch = _moved({key: value[:1] for key, value in batch.items()}, module)
                exists = existing_steps(batch["valid"], self.config.network.step_samples)
                given = ("eeg", "electrodes", "known", "valid", "subject", "background")
                latents = network.encoder(*(batch[key] for key in given))
                restored = network.quantizer.lookup(network.quantizer.encode(latents))
                predicted = network.decoder(restored, batch["electrodes"], exists)
                pictures[name] = _waveforms(batch["eeg"][0].cpu().numpy(), predicted[0].cpu().numpy())
        return Examples(pictures=pictures)

    def export(self, module: nn.Module, folder: Path) -> None:
        network, levels = _checked(module).network, self.config.levels_in_use or self.config.network.levels
        tokenizer = EEGTokenizer(self.config.network, self.preprocess, network)
        tokenizer = tokenizer.calibrated(self.mixture.held_out(CALIBRATION_WINDOWS)).with_levels(levels)
        tokenizer.write(folder)
        learned_from(read_manifest(Folder.at(samples)) for samples in self.config.data.samples).write(folder)
        by_split = {self.mixture.train[name].reader.fingerprint: folds for name, folds in self.mixture.folds.items()}
        without_folds = (tokenizer.reading(evidence) for evidence in _checked(module).without_folds)
        CrossFit(tuple(without_folds), by_split).save(folder)


def _checked(module: nn.Module) -> EEGTokenizerTraining:
    assert isinstance(module, EEGTokenizerTraining), f"expected the module of build(), found {type(module).__name__}"
    return module


@torch.no_grad()
def _latents(module: EEGTokenizerTraining, batch: dict[str, Tensor]) -> Tensor:
    """Latents (n, D) of the whole steps of a batch."""
    latents = module.eval().latents(batch, *(batch[name] for name in ("eeg", "electrodes", "known", "valid")))
    return latents[whole_steps(batch["valid"], module.network.encoder.step_samples)]


def _in_steps(latents: Tensor, exists: Tensor) -> Tensor:
    """Latents (n, D) of the existing steps at their places, zeros elsewhere: (B, N, D)."""
    placed = latents.new_zeros(*exists.shape, latents.shape[-1])
    return placed.masked_scatter(exists[..., None], latents)


def _moved(batch: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The batch on the module's device."""
    device = next(module.parameters()).device
    return {key: value.to(device) for key, value in batch.items()}


def _waveforms(original: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Original (black) and restored (red) waveforms of up to eight channels: uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row in range(min(8, len(original))):
        axes.plot(original[row] - 6 * row, "k", linewidth=0.8)
        axes.plot(restored[row] - 6 * row, "r", linewidth=0.8)
    axes.set_xlabel("samples at 200 Hz; black: recorded, red: restored from tokens")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
