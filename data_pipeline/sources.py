"""What lies in a data set, before any signal is prepared: its recordings, and the files that each of them needs."""

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import READERS
from neuroleon.data_pipeline.readers.mne_raw import SUFFIXES, matching_files
from neuroleon.data_pipeline.readers.pictures import PictureTar
from neuroleon.data_pipeline.recipe import Recipe
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Recording

COMPANIONS = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",)}  # files that hold what a header file only names
PER_FILE = ("mne", "bci2_p300")  # readers with an option `files`: every file can be read, and can fail, alone


@dataclass(frozen=True, kw_only=True)
class Located:
    """A recording (or picture): what splits need to know of it, the reader options that yield it, and its files."""

    source: Source
    options: tuple[tuple[str, Any], ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A recording or file that could not be used, and the message that says why."""

    name: str
    message: str


def survey(recipe: Recipe, folder: Path) -> tuple[list[Located], list[Failure]]:
    """Every recording of a recipe's source below `folder`, and the files that cannot even be listed.

    Raises:
        ConfigError: there is no such reader, or one of its options is unknown, missing or not well formed.
        DataError: the folder is absent, or a file that all recordings depend on cannot be read.
    """
    options = recipe.source.options
    if recipe.source.reader not in (*READERS, "pictures"):
        raise ConfigError(f"source.reader is {recipe.source.reader!r}; expected one of {', '.join(READERS)}, pictures")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data is the folder that holds {recipe.source.folder}")
    if recipe.source.reader == "pictures":
        tar = PictureTar(folder, options)
        sources = [Source(recording=name, subject="", group=group) for name, group in sorted(tar.groups.items())]
        files = (tar.path, *(folder / options[name] for name in ("classes",) if name in options))
        return [Located(source=s, options=_frozen(options), files=files) for s in sources], []
    if recipe.source.reader in PER_FILE:
        return _survey_files(recipe, folder, options)
    files = (
        (folder / options["file"],) if "file" in options else tuple(sorted(p for p in folder.iterdir() if p.is_file()))
    )
    recordings = READERS[recipe.source.reader](folder, options)
    return [Located(source=source_of(r), options=_frozen(options), files=files) for r in recordings], []


def read(recipe: Recipe, folder: Path, located: Located) -> Iterator[Recording]:
    """The recordings that the options of `located` yield: this one, and those that come from the same file."""
    return READERS[recipe.source.reader](folder, dict(located.options))


def source_of(recording: Recording) -> Source:
    return Source(recording=recording.name, subject=recording.subject, group=recording.group)


def _frozen(options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(options.items()))


def _survey_files(recipe: Recipe, folder: Path, options: dict[str, Any]) -> tuple[list[Located], list[Failure]]:
    located, failures = [], []
    for path, match in matching_files(folder, options):
        relative = path.relative_to(folder).as_posix()
        if not path.exists():
            failures.append(Failure(name=relative, message="a link to a file that is not here; fetch it"))
            continue
        own = {**options, "files": glob.escape(relative)}
        try:
            source = _source_by_name(path, match) if recipe.source.reader == "mne" else _only(recipe, folder, own)
        except DataError as error:
            failures.append(Failure(name=relative, message=str(error)))
            continue
        beside = (path.with_suffix(suffix) for suffix in COMPANIONS.get(path.suffix.lower(), ()))
        files = (path, *(other for other in beside if other.is_file()))
        located.append(Located(source=source, options=_frozen(own), files=files))
    if not located and not failures:
        raise DataError(f"{folder}: no file fits the options {options}; mend the recipe")
    return located, failures


def _source_by_name(path: Path, match: re.Match[str]) -> Source:
    """What the mne reader will say of a file, from its path alone: thousands of files need not be opened for it."""
    words = match.groupdict()
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), path.suffix)
    name = words.get("recording") or path.name.removesuffix(path.name[len(path.name) - len(suffix) :])
    return Source(recording=name, subject=words.get("subject") or "", group=words.get("group") or "")


def _only(recipe: Recipe, folder: Path, options: dict[str, Any]) -> Source:
    return next(source_of(recording) for recording in READERS[recipe.source.reader](folder, options))
