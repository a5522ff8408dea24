"""From which recordings weights were made: a file beside them, so that nobody scores them on what they know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from neuroleon.common.errors import CheckpointError
from neuroleon.common.files import read_json, write_json

FILE = "recordings.json"
FORMAT = 1

Recordings = Mapping[str, frozenset[str]]  # set -> SUBJECT/RECORDING, pseudonyms as shards have them


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The recordings that weights learned from (`train`), and those that chose among them (`validation`).

    `complete` is whether these are all: a part that an earlier version made does not say its own.
    """

    train: Recordings = field(default_factory=dict)
    validation: Recordings = field(default_factory=dict)
    complete: bool = False

    def __or__(self, other: "Learned") -> "Learned":
        """What either knows."""
        return Learned(
            train=_union(self.train, other.train),
            validation=_union(self.validation, other.validation),
            complete=self.complete and other.complete,
        )

    def write(self, folder: Path) -> None:
        """Write `recordings.json` into an existing folder."""
        splits = {
            split: {name: sorted(found) for name, found in sorted(by_set.items())}
            for split, by_set in (("train", self.train), ("validation", self.validation))
        }
        write_json(folder / FILE, {"format": FORMAT, "complete": self.complete, **splits})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` wrote; nothing, and not complete, where it did not: an earlier version made the folder.

        Raises:
            CheckpointError: of another shape or format.
            DataError: not JSON.
        """
        path = folder / FILE
        if not path.is_file():
            return cls()
        found = read_json(path)
        try:
            if found["format"] != FORMAT:
                raise CheckpointError(f"{path}: format {found['format']!r}, expected {FORMAT}; use a newer neuroleon")
            return cls(
                train=_recordings(found["train"]),
                validation=_recordings(found["validation"]),
                complete=found["complete"] is True,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: {error!r}; copy the folder again") from None

    @classmethod
    def of_model(cls, folder: Path) -> "Learned":
        """What a model folder learned from: the transformer and the EEG tokenizer.

        Raises:
            CheckpointError, DataError: as `read`.
        """
        return cls.read(folder) | cls.read(folder / "tokenizers" / "eeg")


def _recordings(found: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    if wrong := [name for name, of_set in found.items() if not isinstance(of_set, list)]:
        raise TypeError(f"recordings of {wrong[0]} are no list")
    return {name: frozenset(map(str, of_set)) for name, of_set in found.items()}


def _union(one: Recordings, other: Recordings) -> dict[str, frozenset[str]]:
    nothing: frozenset[str] = frozenset()
    return {name: one.get(name, nothing) | other.get(name, nothing) for name in one.keys() | other.keys()}
