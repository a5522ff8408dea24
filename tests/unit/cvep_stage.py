"""The EEG tokenizer's stage of a tiny network on a few real windows of one set, and its batches and losses."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn

from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.training.config import LoopConfig
from neuroleon.training.stages.eeg_tokenizer import EEGLossConfig, EEGTokenizerStage, EEGTokenizerStageConfig
from neuroleon.training.stages.eeg_windows import EEGDataConfig

CVEP = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cvep20" / "cvep20.npz"
TINY = EEGTokenizerConfig(
    sources=4,
    dim=32,
    heads=2,
    encoder_layers=1,
    decoder_layers=1,
    levels=3,
    codes=32,
    code_dim=8,
    semantic_dim=6,
    dropout=0.0,
)
N_CHANS, N_WINDOWS = 8, 16
OFF = dict.fromkeys(asdict(EEGLossConfig()), 0.0)


def records(n_chans: int = N_CHANS, n: int = 24) -> list[dict[str, Any]]:
    """`n` windows of 2 s. Every fourth lacks two electrodes; every sixth has no label, and neither a stimulus."""
    with np.load(CVEP) as data:
        scaled = data["x"][:n].astype(np.float32)
        labels, names, codes = data["label"][:n].tolist(), data["ch"].tolist(), data["codes"]
    scaled = resample_poly(scaled, 5, 6, axis=-1)[..., :400]
    scaled /= np.diff(np.percentile(scaled, [25, 75])) / 1.349
    made = []
    for i, eeg in enumerate(scaled):
        kept = n_chans - 2 * (i % 4 == 3)
        told: dict[str, Any] = {
            "ch_names": names[:kept], "positions": electrode_positions(names[:kept]).tolist(), "sfreq": 200.0,
            "scale_uV": 10.0, "subject": str(i % 2), "recording": f"r{i % 4}", "label": None,
        }  # fmt: skip
        if i % 6:
            track = np.resize(codes[ord(labels[i]) - ord("A")], 400).astype(float).tolist()
            label = "xyz"[ord(labels[i]) % 3]
            told |= {"label": label, "stimulus": track, "label_text": f"the letter {label}"}
        made.append({"__key__": f"w{i}", "npy": eeg[:kept].clip(-15, 15).astype(np.float16), "json": told})
    return made


def write_samples(folder: Path, made: list[dict[str, Any]], **preprocess: Any) -> Path:
    n_train = len(made) * 2 // 3
    write_shard(shard_path(folder, "train", 0), made[:n_train], required=("json", "npy"))
    write_shard(shard_path(folder, "validation", 0), made[n_train:], required=("json", "npy"))
    labels = {"train": dict.fromkeys("xyz", 5)}
    recordings = {split: [f"{k % 2}/r{k}" for k in range(4)] for split in ("train", "validation")}
    facts = {"name": "cvep", "labels": labels, "recordings": recordings}
    write_manifest(folder, preprocess=Preprocess(**preprocess).to_json(), **facts)
    return folder


def stage(folder: Path, seed: int = 0, loss: dict[str, float] | None = None, **data: Any) -> EEGTokenizerStage:
    settings = EEGDataConfig(**{"samples": [folder], "aligned": ["cvep"], "batch_s": 2.0 * N_WINDOWS, **data})
    losses = EEGLossConfig(**(loss or {}))
    config = EEGTokenizerStageConfig(data=settings, network=TINY, losses=losses, loop=LoopConfig(steps=50))
    return EEGTokenizerStage(config, seed)


def started(made: EEGTokenizerStage) -> nn.Module:
    """One and the same network, whose codebooks are those of a first batch and whose decoder listens to every level."""
    torch.manual_seed(0)
    module = made.build().train()
    torch.nn.init.normal_(module.network.decoder.to_field.parametrizations.weight.original, std=0.01)
    with torch.no_grad():
        made.loss(module, made.batch(0))
    return module


def losses(made: EEGTokenizerStage, batch: dict[str, Tensor]) -> dict[str, float]:
    module = started(made).eval()
    with torch.no_grad():
        return {name: float(value) for name, value in made.loss(module, batch).items()}
