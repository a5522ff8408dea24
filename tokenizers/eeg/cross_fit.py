"""Cross-fitting: EEG tokenizers whose labels some training trials had no part in, to make the tokens of these trials.

A tokenizer whose labels were fitted to a trial tells them surer than it will tell those of any new trial, and whoever
learns from such tokens learns to trust them too far. So each trial is tokenized by what was fitted without its fold
(Chernozhukov et al. 2018). All else, and every code's meaning, is one tokenizer's.

    FOLDER/cross-fit/0 ...         EEG tokenizers, one for each fold
    FOLDER/cross-fit/folds.json    by fingerprint of the training samples, and recording or key of a sample: which
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from neuroleon.common.files import MANIFEST, atomic_folder, read_json, sha256_json, verify_folder, write_json
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

FOLDER, FOLDS = "cross-fit", "folds.json"


@dataclass(frozen=True)
class CrossFit:
    """`folds`: by fingerprint of a training split, and recording or key of a sample, which of `tokenizers` it had no
    part in the labels of."""

    tokenizers: tuple[EEGTokenizer, ...] = ()
    folds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, split: str, key: str, recording: str) -> EEGTokenizer | None:
        """The tokenizer to make a sample's tokens with; None where no fold leaves it out."""
        folds = self.folds.get(split, {})
        fold = folds.get(key, folds.get(recording))
        return None if fold is None else self.tokenizers[fold]

    @property
    def fingerprint(self) -> str | None:
        """sha256 of the tokenizers, and of which sample is whose; None without folds."""
        if not self.tokenizers:
            return None
        return sha256_json([[tokenizer.fingerprint for tokenizer in self.tokenizers], self.folds])

    def save(self, folder: Path) -> None:
        """Write it into the folder of the tokenizer of all samples; nothing where there are no folds."""
        if not self.tokenizers:
            return
        with atomic_folder(folder / FOLDER) as temporary:
            for k, tokenizer in enumerate(self.tokenizers):
                tokenizer.save(temporary / str(k))
            write_json(temporary / FOLDS, self.folds)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote into the folder of a tokenizer; no folds where it wrote none.

        Raises:
            CheckpointError: damaged, or a fold without a tokenizer.
        """
        if not (folder / FOLDER).is_dir():
            return cls()
        verify_folder(folder / FOLDER)
        folds: dict[str, dict[str, int]] = read_json(folder / FOLDER / FOLDS)
        n = 1 + max(fold for of_split in folds.values() for fold in of_split.values())
        return cls(tuple(EEGTokenizer.load(folder / FOLDER / str(k)) for k in range(n)), folds)


def copy_without_folds(source: Path, target: Path) -> None:
    """Copy a tokenizer's folder, all or nothing, without what only the tokens of its own training need.

    Raises:
        CheckpointError: the folder is not there, or damaged.
    """
    verify_folder(source)
    with atomic_folder(target) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(FOLDER, MANIFEST), dirs_exist_ok=True)
