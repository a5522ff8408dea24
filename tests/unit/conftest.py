"""Fixtures that several folders of unit tests share; what they need is imported only when one is used."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_model.py


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model folder (tiny_model.py) that tests read and do not change."""
    from tiny_model import write_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def make_model_folder() -> Callable[..., None]:
    from tiny_model import write_model

    return write_model
