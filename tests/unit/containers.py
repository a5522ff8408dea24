"""What the tests of containers share: names, noise, what a task reads, and a pickle that would run."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from neuroleon.data_pipeline.readers.base import Located
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import Report, prepare_samples
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.signals.recording import Recording

NAMES = ["FP1", "FPZ", "FP2", "T3", "CZ"]
OURS = ("Fp1", "Fpz", "Fp2", "T7", "Cz")


class Runs:
    """A pickle that runs a command when it is opened."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def eeg(seed: int, n_times: int, n_chans: int = 5) -> np.ndarray:
    """Microvolts, float64, as mne's `get_data(units="uV")` gives them."""
    return 15 * np.random.default_rng(seed).normal(size=(n_chans, n_times))


def read(reader: str, root: Path, options: dict[str, Any]) -> list[Recording]:
    return list(READERS[reader].read(root, options))


def alone(reader: str, root: Path, options: dict[str, Any]) -> list[Recording]:
    """What `locate` lists, each read by its own options: what a task of the preparation does."""
    locate = READERS[reader].locate
    assert locate is not None
    recordings = []
    for one in locate(root, options):
        assert isinstance(one, Located)
        (recording,) = read(reader, root, dict(one.options))
        assert (recording.name, recording.subject, recording.group) == (
            one.source.recording,
            one.source.subject,
            one.source.group,
        )
        assert all(path.is_file() for path in one.files)
        recordings.append(recording)
    return recordings


def prepare(root: Path, reader: str, options: dict[str, Any], **changes: Any) -> Report:
    recipe = {
        "name": "own",
        "title": "Own",
        "licence": "CC0-1.0",
        "citation": "none",
        "source": {"reader": reader, "options": options},
        "windows": [{"by": "sliding", "duration_s": 1.0}],
        **changes,
    }
    (root / "own.yaml").write_text(yaml.safe_dump(recipe))
    return prepare_samples(load_recipe(root / "own.yaml"), root, root / "out")


def labels_of(root: Path, split: str) -> list[str]:
    return [sample["json"]["label"] for sample in ShardReader(root / "out" / "own", split)]
