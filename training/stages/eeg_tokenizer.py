"""Training of the EEG tokenizer: reconstruction at every electrode, and labels read from the quantized latents.

The input is spoiled (noise, missing channels), the target is not, so the tokenizer also fills in channels. Two linear
heads make the codes keep what tells what was seen, and are dropped on export: one reads the label from the mean latent
(Thought2Text's first stage), the other the stimulus itself, sample by sample, where a set knows it (EEG2Code, Nagel &
Spueler 2018).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import sha256_json
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.augment import AMPLITUDE, DROPPED_SHARE, MIN_CHANNELS_TO_DROP, NOISE, SHIFT_SAMPLES
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.losses import reconstruction_losses
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import CLIP, EEGTokenizer
from neuroleon.training.config import RunConfig
from neuroleon.training.stage import Examples


@dataclass(frozen=True, kw_only=True)
class EEGDataConfig:
    """Which windows, and how many.

    Attributes:
        samples: folders of sample shards.
        aligned: names of the sets whose labels shape the codes; the others are only reconstructed.
        weights: how often a batch comes from a set, by name; sets that are not named have weight 1.
        batch_size: windows of a batch, all of one set.
        validation_windows: windows of each set that are validated on.
    """

    samples: list[Path]
    aligned: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    batch_size: int = 48
    validation_windows: int = 256


@dataclass(frozen=True, kw_only=True)
class EEGLossConfig:
    """Weights of the losses."""

    wave: float = 1.0
    amplitude: float = 0.3
    phase: float = 0.5
    commitment: float = 1.0
    label: float = 1.0
    stimulus: float = 2.0
    label_smoothing: float = 0.05


@dataclass(frozen=True, kw_only=True)
class EEGTokenizerStageConfig(RunConfig):
    """Settings of the stage `eeg-tokenizer`."""

    data: EEGDataConfig
    network: EEGTokenizerConfig = field(default_factory=EEGTokenizerConfig)
    losses: EEGLossConfig = field(default_factory=EEGLossConfig)


@dataclass(frozen=True)
class _Trial:
    eeg: np.ndarray  # float16 (n_chans, n_times), in units of the scale
    positions: np.ndarray
    ch_names: tuple[str, ...]
    label: str | None
    stimulus: np.ndarray | None  # float32 (n_times,), 0..1


class _Windows:
    """One split of one set, in memory."""

    def __init__(self, folder: Path, split: str) -> None:
        reader = ShardReader(folder, split)
        self.fingerprint = reader.fingerprint
        self.trials = [
            _Trial(
                eeg=record["npy"],
                positions=np.asarray(meta["positions"], np.float32),
                ch_names=tuple(meta["ch_names"]),
                label=meta["label"],
                stimulus=np.asarray(meta["stimulus"], np.float32) if "stimulus" in meta else None,
            )
            for record in reader
            if "npy" in record
            for meta in [record["json"]]
        ]

    @cached_property
    def labels(self) -> list[str]:
        return sorted({trial.label for trial in self.trials if trial.label is not None})


class EEGTokenizerTraining(nn.Module):
    """The network with the label heads that only training needs."""

    def __init__(self, config: EEGTokenizerConfig, n_labels: dict[str, int]) -> None:
        super().__init__()
        self.network = EEGNetwork(config)
        latent = config.slots * config.code_dim
        self.heads = nn.ModuleDict({name: nn.Linear(latent, n) for name, n in n_labels.items()})
        self.stimulus = nn.Linear(latent, config.step_samples)


class EEGTokenizerStage:
    """Drives `EEGTokenizerTraining`; the scoring number is reconstruction plus label loss on the validation split."""

    def __init__(self, config: EEGTokenizerStageConfig, seed: int) -> None:
        self.config, self._seed = config, seed
        self.train = {folder.name: _Windows(folder, "train") for folder in config.data.samples}
        self.validation = {folder.name: _Windows(folder, "validation") for folder in config.data.samples}
        self.train = {name: windows for name, windows in self.train.items() if windows.trials}
        unknown = (set(config.data.aligned) | set(config.data.weights)) - set(self.train)
        if unknown or not self.train:
            raise ConfigError(
                f"data.aligned or data.weights names {sorted(unknown)}, the folders with EEG windows to train on "
                f"are {sorted(self.train)}; correct the config or prepare these sets"
            )
        for name in config.data.aligned:
            if len(self.train[name].labels) < 2:
                raise ConfigError(f"data.aligned: {name} has no two labels; take it out")
        if not any(self.validation[name].trials for name in self.train):
            raise DataError(f"data.samples: {sorted(self.train)} have no validation windows; add a set that has some")

    @property
    def fingerprint(self) -> str:
        """sha256 over the shards that are read."""
        return sha256_json(
            {name: windows.fingerprint for part in (self.train, self.validation) for name, windows in part.items()}
        )

    def build(self) -> nn.Module:
        return EEGTokenizerTraining(
            self.config.network, {name: len(self.train[name].labels) for name in self.config.data.aligned}
        )

    def batch(self, index: int) -> dict[str, Tensor]:
        rng = generator("eeg-tokenizer", self._seed, index)
        names = sorted(self.train)
        weights = np.array([self.config.data.weights.get(name, 1.0) for name in names])
        set_index = int(rng.choice(len(names), p=weights / weights.sum()))
        trials = self.train[names[set_index]].trials
        chosen = [trials[i] for i in rng.integers(len(trials), size=self.config.data.batch_size)]
        return self._collate(names[set_index], chosen) | {"noise_seed": torch.tensor(int(rng.integers(2**31)))}

    def _collate(self, name: str, trials: Sequence[_Trial]) -> dict[str, Tensor]:
        """Stack windows of one set; a channel that a recording lacks is marked absent, never filled.

        A window without a label, or with one that training does not have, has label -1; without a stimulus, NaN.
        """
        n_chans = max(len(trial.ch_names) for trial in trials)
        n_times = min(trial.eeg.shape[1] for trial in trials)
        eeg = np.zeros((len(trials), n_chans, n_times), np.float32)
        positions = np.zeros((len(trials), n_chans, 3), np.float32)
        known = np.zeros((len(trials), n_chans), bool)
        for row, trial in enumerate(trials):
            count = len(trial.ch_names)
            eeg[row, :count] = trial.eeg[:, :n_times]
            positions[row, :count], known[row, :count] = trial.positions, True
        labels = self.train[name].labels if name in self.config.data.aligned else []
        label = [labels.index(trial.label) if trial.label in labels else -1 for trial in trials]
        stimulus = np.full((len(trials), n_times), np.nan, np.float32)
        for row, trial in enumerate(trials):
            if labels and trial.stimulus is not None:
                stimulus[row] = trial.stimulus[:n_times]
        return {
            "eeg": torch.from_numpy(eeg).clamp(-CLIP, CLIP),
            "positions": torch.from_numpy(positions),
            "known": torch.from_numpy(known),
            "label": torch.tensor(label),
            "stimulus": torch.from_numpy(stimulus),
            "set": torch.tensor(sorted(self.train).index(name)),
        }

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        target, spoiled, present = _spoil(batch)
        return self._losses(module, batch, target, spoiled, present)

    def _losses(
        self, module: nn.Module, batch: dict[str, Tensor], target: Tensor, spoiled: Tensor, present: Tensor
    ) -> dict[str, Tensor]:
        module, weights = _checked(module), self.config.losses
        network = module.network
        latents = network.encoder(spoiled, batch["positions"], present)
        quantized, _, commitment = network.quantizer(latents)
        predicted = network.decoder(quantized, batch["positions"])
        parts = reconstruction_losses(predicted, target, batch["known"]) | {"commitment": commitment}
        total = sum(getattr(weights, name) * value for name, value in parts.items())
        name = sorted(self.train)[int(batch["set"])]
        parts |= {key: target.new_tensor(math.nan) for key in ("label", "accuracy", "stimulus")}
        seen = batch["stimulus"].isfinite()
        if seen.any():
            track = module.stimulus(quantized).flatten(1).float()
            parts["stimulus"] = functional.binary_cross_entropy_with_logits(track[seen], batch["stimulus"][seen])
            total = total + weights.stimulus * parts["stimulus"]
        labelled = batch["label"] >= 0
        if labelled.any():
            logits, wanted = module.heads[name](quantized.mean(dim=1))[labelled].float(), batch["label"][labelled]
            smoothing = weights.label_smoothing if module.training else 0.0
            parts["label"] = functional.cross_entropy(logits, wanted, label_smoothing=smoothing)
            parts["accuracy"] = (logits.argmax(1) == wanted).float().mean()
            total = total + weights.label * parts["label"]
        return {"loss": total, **parts}

    def _validation_batches(self, name: str) -> list[dict[str, Tensor]]:
        trials = self.validation[name].trials
        picked = np.unique(np.linspace(0, len(trials) - 1, self.config.data.validation_windows).round().astype(int))
        size = self.config.data.batch_size
        return [
            self._collate(name, [trials[i] for i in picked[start : start + size]])
            for start in range(0, len(picked), size)
            if len(trials)
        ]

    def validate(self, module: nn.Module) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name in self.train:
            rows = []
            for batch in self._validation_batches(name):
                batch = _moved(batch, module)
                parts = self._losses(module, batch, batch["eeg"], batch["eeg"], batch["known"])
                rows.append({key: float(value) for key, value in parts.items()})
            for key in ("loss", "wave", "label", "accuracy") if rows else ():
                optional = key in ("label", "accuracy")  # a batch may have none; a loss that is NaN must show
                if values := [row[key] for row in rows if not (optional and math.isnan(row[key]))]:
                    numbers[f"{name}/{key}"] = float(np.mean(values))
        numbers["score"] = float(np.mean([value for key, value in numbers.items() if key.endswith("/loss")]))
        return numbers

    def examples(self, module: nn.Module) -> Examples:
        network, pictures = _checked(module).network, {}
        for name in list(self.train)[:4]:
            for batch in self._validation_batches(name)[:1]:
                batch = _moved({key: value[:1] for key, value in batch.items() if value.ndim}, module)
                quantized, _, _ = network.quantizer(network.encoder(batch["eeg"], batch["positions"], batch["known"]))
                predicted = network.decoder(quantized, batch["positions"])
                names = self.validation[name].trials[0].ch_names
                pictures[name] = _waveforms(batch["eeg"][0].cpu().numpy(), predicted[0].cpu().numpy(), names)
        return Examples(pictures=pictures)

    def export(self, module: nn.Module, folder: Path) -> None:
        EEGTokenizer(self.config.network, _checked(module).network).write(folder)


def _checked(module: nn.Module) -> EEGTokenizerTraining:
    assert isinstance(module, EEGTokenizerTraining), f"expected the module of build(), found {type(module).__name__}"
    return module


def _moved(batch: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The batch on the module's device."""
    device = next(module.parameters()).device
    return {key: value.to(device) for key, value in batch.items()}


def _spoil(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """(target, input, present): both shifted and scaled alike, the input with noise and fewer channels.

    The ranges are those of `data_pipeline.augment`.
    """
    eeg, known = batch["eeg"], batch["known"]
    rng = torch.Generator(device="cpu").manual_seed(int(batch["noise_seed"]))
    n, n_chans, n_times = eeg.shape
    shift = torch.randint(-SHIFT_SAMPLES, SHIFT_SAMPLES + 1, (n, 1, 1), generator=rng).to(eeg.device)
    times = (torch.arange(n_times, device=eeg.device) - shift).clamp(0, n_times - 1).expand(n, n_chans, n_times)
    gain = torch.empty(n, 1, 1).uniform_(-AMPLITUDE, AMPLITUDE, generator=rng).exp().to(eeg.device)
    target = eeg.gather(2, times) * gain
    level = torch.empty(n, 1, 1).uniform_(*NOISE, generator=rng).to(eeg.device)
    spoiled = target + level * torch.randn(eeg.shape, generator=rng).to(eeg.device)
    share = torch.rand(n, 1, generator=rng) * DROPPED_SHARE
    dropped = (torch.rand(n, n_chans, generator=rng) < share).to(eeg.device)
    present = known & ~dropped if n_chans >= MIN_CHANNELS_TO_DROP else known
    present = torch.where(present.any(dim=1, keepdim=True), present, known)
    return target, spoiled, present


def _waveforms(original: np.ndarray, restored: np.ndarray, ch_names: tuple[str, ...]) -> np.ndarray:
    """Original (black) and restored (red) waveforms of up to eight channels: uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = range(min(8, len(ch_names)))
    for row in shown:
        axes.plot(original[row] - 6 * row, "k", linewidth=0.8)
        axes.plot(restored[row] - 6 * row, "r", linewidth=0.8)
    axes.set_yticks([-6 * row for row in shown], [ch_names[row] for row in shown])
    axes.set_xlabel("samples at 200 Hz; black: recorded, red: restored from tokens")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
