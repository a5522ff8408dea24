"""The interface that the three tokenizers share."""

from pathlib import Path
from typing import Any, Protocol, Self


class Tokenizer(Protocol):
    """Turns a modality into local ids (0 .. size-1) and back.

    `fingerprint` is the sha256 over everything that changes the meaning of an id.
    """

    @property
    def size(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, batch: Any) -> Any: ...

    def decode(self, ids: Any) -> Any: ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...
