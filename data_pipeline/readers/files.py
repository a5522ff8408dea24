"""The files of a data set: what fits the options of a recipe, and what lies beside a recording."""

import glob
import re
from pathlib import Path

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Options

COMPANIONS = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",)}  # files that hold what a header file only names

Found = list[tuple[Path, re.Match[str]]]  # paths, and what the pattern found in each


def stamp(path: Path) -> list[int]:
    """Bytes of a file and ns of its last change; nothing where it is not here."""
    try:
        return [path.stat().st_size, path.stat().st_mtime_ns]
    except OSError:
        return []


def files_of(path: Path) -> list[Path]:
    """The file of a recording and those beside it that hold its samples and marks, links to nothing among them."""
    beside = [path.with_suffix(suffix) for suffix in COMPANIONS.get(path.suffix.lower(), ())]
    return [path, *(other for other in beside if other.is_symlink() or other.exists())]


def matching(root: Path, options: Options) -> Found:
    """What lies below `root` and fits the glob `files` and, searched in its relative path, the regular expression
    `pattern` of the options; sorted. Links to files that are not here are among them.

    Raises:
        ConfigError: one of the two is not well formed.
    """
    files, pattern = options.get("files", "*"), options.get("pattern", "")
    try:
        search = re.compile(pattern).search
        paths = sorted(path for path in root.glob(files) if not path.is_dir())
    except (re.error, ValueError, NotImplementedError) as error:
        raise ConfigError(f"reader options files {files!r} and pattern {pattern!r}: {error}; mend the recipe") from None
    found = [(path, search(path.relative_to(root).as_posix())) for path in paths]
    return [(path, match) for path, match in found if match]


def listed(root: Path, options: Options) -> tuple[Found, list[Failure]]:
    """As `matching`, with links to files that are not here apart, as failures: for `locate`.

    Raises:
        ConfigError: an option is not well formed.
        DataError: nothing fits at all.
    """
    found = matching(root, options)
    if not found:
        raise DataError(f"{root}: no file fits the options {options}; check the folder and the recipe")
    away = "a link to a file that is not here; fetch it (in a DataLad set: datalad get)"
    return [one for one in found if one[0].exists()], [
        Failure(name=path.relative_to(root).as_posix(), message=away) for path, _ in found if not path.exists()
    ]


def readable(root: Path, options: Options) -> Found:
    """As `listed`, for `read`: every file that fits must be here.

    Raises:
        ConfigError: an option is not well formed.
        DataError: nothing fits at all, or a link leads nowhere.
    """
    found, failures = listed(root, options)
    if failures:
        raise DataError(f"{root / failures[0].name}: {failures[0].message}")
    return found


def one_file(root: Path, path: Path, options: Options) -> Options:
    """The options that ask for this file alone."""
    return {**options, "files": glob.escape(path.relative_to(root).as_posix())}
