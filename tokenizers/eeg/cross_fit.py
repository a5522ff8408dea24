"""Cross-fitting: EEG tokenizers that some training trials had no part in, to make the tokens of these trials.

A tokenizer whose labels were fitted to a trial tells them surer than it will tell those of any new trial, and whoever
learns from such tokens learns to trust them too far. So each trial is tokenized by what was fitted without its fold
(Chernozhukov et al. 2018). All else, and every code's meaning, is one tokenizer's.

    FOLDER/cross-fit/0 ...         EEG tokenizers, one for each fold
    FOLDER/cross-fit/folds.json    by fingerprint of the training samples and key of the sample: which of them
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from neuroleon.common.errors import CheckpointError
from neuroleon.common.files import MANIFEST, atomic_folder, read_json, write_json
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

FOLDER, FOLDS = "cross-fit", "folds.json"


@dataclass(frozen=True)
class CrossFit:
    """`folds`: by fingerprint of a training split and key of a sample, which of `tokenizers` had no part in it."""

    tokenizers: tuple[EEGTokenizer, ...] = ()
    folds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, split: str, key: str) -> EEGTokenizer | None:
        """The tokenizer that a sample of a split had no part in; None where the one of all samples had none either."""
        fold = self.folds.get(split, {}).get(key)
        return None if fold is None else self.tokenizers[fold]

    @property
    def fingerprints(self) -> list[str]:
        """sha256 of each tokenizer."""
        return [tokenizer.fingerprint for tokenizer in self.tokenizers]

    def save(self, folder: Path) -> None:
        """Write it into the folder of the tokenizer of all samples; nothing where there are no folds."""
        for k, tokenizer in enumerate(self.tokenizers):
            tokenizer.save(folder / FOLDER / str(k))
        if self.tokenizers:
            write_json(folder / FOLDER / FOLDS, self.folds)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote into the folder of a tokenizer; no folds where it wrote none.

        Raises:
            CheckpointError: damaged, or a fold without a tokenizer.
        """
        if not (folder / FOLDER).is_dir():
            return cls()
        folds: dict[str, dict[str, int]] = read_json(folder / FOLDER / FOLDS)
        n = 1 + max(fold for of_split in folds.values() for fold in of_split.values())
        return cls(tuple(EEGTokenizer.load(folder / FOLDER / str(k)) for k in range(n)), folds)


def copy_without_folds(source: Path, target: Path) -> None:
    """Copy a tokenizer's folder, all or nothing, without what only the tokens of its own training need.

    Raises:
        CheckpointError: the folder is not there.
    """
    if not source.is_dir():
        raise CheckpointError(f"{source}: no such folder; give the folder of a tokenizer")
    with atomic_folder(target) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(FOLDER, MANIFEST), dirs_exist_ok=True)
