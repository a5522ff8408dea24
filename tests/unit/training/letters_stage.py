"""A small real stage for the tests of the loop: noisy letters, dropout, and a codebook that lives in buffers."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from neuroleon.common.checkpoint import save_tensors
from neuroleon.common.errors import ConfigError
from neuroleon.common.files import sha256_json
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.stimuli import draw
from neuroleon.training.config import LoopConfig, RunConfig
from neuroleon.training.loop import Trainer
from neuroleon.training.optim import OptimConfig
from neuroleon.training.schedule import ScheduleConfig
from neuroleon.training.stage import Examples

LETTERS = "ABCDEFGHIJ"
SIDE = 16


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(SIDE * SIDE, 32), nn.GELU(), nn.Dropout(0.2))
        self.quantize = VectorQuantize(32, 16, decay=0.9, kmeans_init=True, threshold_ema_dead_code=1)
        self.head = nn.Linear(32, len(LETTERS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quantized, _, commitment = self.quantize(self.encode(x))
        return self.head(quantized), commitment.sum()


class Deep(nn.Module):
    """Blocks and dropout, and no codebook."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(SIDE * SIDE, 32)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Dropout(0.2)) for _ in range(3))
        self.head = nn.Linear(32, len(LETTERS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x), x.new_zeros(())


@dataclass(frozen=True, kw_only=True)
class LettersConfig:
    """`nan_batches` hold a NaN, `loud_batches` numbers three times as large; SIGTERM is sent to this process when a
    batch of `sigterm_batches` is asked for. The network has a codebook (`flat`) or blocks (`deep`)."""

    batch_size: int = 32
    network: str = "flat"
    loud_batches: tuple[int, ...] = ()
    nan_batches: tuple[int, ...] = ()
    sigterm_batches: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; give 1 or more")


class LettersStage:
    """Reads letters drawn as the speller recipes draw them, under noise."""

    def __init__(self, config: LettersConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.letters = np.stack([draw("glyph", SIDE, text=letter)[..., 0] for letter in LETTERS]) / np.float32(255)
        self.x, self.y = self.noisy(generator("validation"), 300)

    def noisy(self, rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
        labels = rng.integers(0, len(LETTERS), n)
        pictures = self.letters[labels] + rng.normal(0, 0.3, (n, SIDE, SIDE)).astype(np.float32)
        return torch.from_numpy(pictures.reshape(n, -1)), torch.from_numpy(labels)

    @property
    def fingerprint(self) -> str:
        return sha256_json(LETTERS)

    def build(self) -> nn.Module:
        return Net() if self.config.network == "flat" else Deep()

    def batch(self, index: int) -> dict[str, Tensor]:
        if index in self.config.sigterm_batches:
            os.kill(os.getpid(), signal.SIGTERM)
        x, y = self.noisy(generator("letters", self.seed, index), self.config.batch_size)
        if index in self.config.loud_batches:
            x *= 3
        if index in self.config.nan_batches:
            x[0, 0] = float("nan")
        return {"x": x, "y": y}

    def contents(self, batch: dict[str, Tensor]) -> dict[str, float]:
        return {"letters": len(batch["y"])}

    def blocks(self, module: nn.Module) -> list[nn.Module]:
        return list(module.blocks) if isinstance(module, Deep) else []

    def loss(self, module: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, commitment = module(batch["x"])
        return {"commitment": commitment, "loss": nn.functional.cross_entropy(logits, batch["y"]) + commitment}

    def validate(self, module: nn.Module) -> dict[str, float]:
        torch.rand(1)  # looking draws random numbers, and must not disturb the training
        logits, _ = module(self.x)
        accuracy = (logits.argmax(1) == self.y).float().mean()
        return {"score": nn.functional.cross_entropy(logits, self.y).item(), "accuracy": accuracy.item()}

    def examples(self, module: nn.Module) -> Examples:
        read = LETTERS[module(self.x[:1])[0].argmax().item()]
        picture = (self.x[0].clamp(0, 1) * 255).byte().reshape(SIDE, SIDE, 1).expand(-1, -1, 3)
        return Examples(pictures={"letter": picture.numpy()}, sentences={"letter": f"read as {read}"})

    def export(self, module: nn.Module, folder: Path) -> None:
        save_tensors(folder / "model.safetensors", module.state_dict())


def train(
    out: Path,
    *,
    resume: str = "none",
    steps: int = 8,
    stage: LettersConfig | None = None,
    network: str = "flat",
    sigterm_batches: tuple[int, ...] = (),
    nan_batches: tuple[int, ...] = (),
    data: str = "/disk/letters",
    **loop,
) -> Path | None:
    """Train the tiny stage in `out`; the result is in out/final."""
    options = {"batches_per_step": 2, "validate_every": 2, "save_every": 1, "log_every": 1, "ema_decay": 0.9, **loop}
    run = RunConfig(
        seed=3,
        loop=LoopConfig(steps=steps, **options),
        optim=OptimConfig(lr=1e-2),
        schedule=ScheduleConfig(warmup=2),
    )
    stage = stage or LettersConfig(network=network, sigterm_batches=sigterm_batches, nan_batches=nan_batches)
    return make_trainer(out, run, stage, resume, data).run(out / "final")


def make_trainer(out: Path, run: RunConfig, stage: LettersConfig, resume: str, data: str = "/disk/letters") -> Trainer:
    settings = {"lr": run.optim.lr, "data": {"samples": [data]}}
    return Trainer(LettersStage(stage, run.seed), run, out, settings=settings, resume=resume)
