"""Tests here share tiny stages, in modules of their own, because a subprocess imports one of them too."""

import sys
from pathlib import Path

import numpy as np
import pytest
from cvep_stage import CVEP, records, write_samples

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def cvep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CVEP.is_file():
        pytest.skip("the shared data is absent")
    return write_samples(tmp_path_factory.mktemp("samples") / "cvep", records())


@pytest.fixture(scope="module")
def few(cvep: Path) -> Path:
    return write_samples(cvep.parent / "few", records(n_chans=4))


@pytest.fixture(scope="module")
def embeddings(cvep: Path) -> Path:
    path = cvep.parent / "letters.npz"
    keys = [f"the letter {label}" for label in "xyz"]
    np.savez(path, keys=np.array(keys), vectors=np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32))
    return path
