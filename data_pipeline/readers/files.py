"""The files of a data set: what fits the options of a recipe, and what lies beside a recording."""

from pathlib import Path

COMPANIONS = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",)}  # files that hold what a header file only names


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
