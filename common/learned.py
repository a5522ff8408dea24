"""From which recordings weights were made: a file beside them, so that nobody scores them on what they know."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from neuroleon.common.errors import CheckpointError
from neuroleon.common.files import read_json, write_json

FILE = "recordings.json"
FORMAT = 1

Recordings = Mapping[str, frozenset[str]]  # set -> SUBJECT/RECORDING, pseudonyms as shards have them


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The recordings that weights learned from (`train`), and those that chose among them (`validation`)."""

    train: Recordings
    validation: Recordings

    def __or__(self, other: "Learned") -> "Learned":
        """What either knows."""
        return Learned(train=_union(self.train, other.train), validation=_union(self.validation, other.validation))

    def write(self, folder: Path) -> None:
        """Write `recordings.json` into an existing folder."""
        splits = {
            split: {name: sorted(found) for name, found in sorted(by_set.items())}
            for split, by_set in (("train", self.train), ("validation", self.validation))
        }
        write_json(folder / FILE, {"format": FORMAT, **splits})

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What `write` wrote; None where it did not: the folder was made by an earlier version.

        Raises:
            CheckpointError: of another shape or format.
            DataError: not JSON.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        found = read_json(path)
        try:
            if found["format"] != FORMAT:
                raise CheckpointError(f"{path}: format {found['format']!r}, expected {FORMAT}: use a newer version")
            splits = {
                split: {str(name): frozenset(map(str, of_set)) for name, of_set in found[split].items()}
                for split in ("train", "validation")
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: {error!r}; copy the folder again") from None
        return cls(**splits)

    @classmethod
    def of_model(cls, folder: Path) -> "Learned | None":
        """What a model folder learned from, the transformer and the EEG tokenizer; None where one does not say it.

        Raises:
            CheckpointError, DataError: as `read`.
        """
        transformer, tokenizer = cls.read(folder), cls.read(folder / "tokenizers" / "eeg")
        return None if transformer is None or tokenizer is None else transformer | tokenizer


def _union(one: Recordings, other: Recordings) -> dict[str, frozenset[str]]:
    nothing: frozenset[str] = frozenset()
    return {name: one.get(name, nothing) | other.get(name, nothing) for name in one.keys() | other.keys()}
