"""What a reader of a data set is: it lists the recordings without opening their signals, and reads them."""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Recording

Options = dict[str, Any]
_POINTER_BYTES = 32_768  # git-annex takes no larger file for a pointer


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


@dataclass(frozen=True)
class Reader:
    """A reader by its two functions; both take the data set's folder and the recipe's options.

    Attributes:
        read: the recordings that the options ask for, one at a time.
        locate: where each recording lies, or what is wrong with its file, in sorted order and without opening signals:
            thousands of files are listed in seconds, and each can be read, and can fail, alone. `read` with the options
            of a `Located` yields its recording (and at most those of the same file). None where one file holds the
            whole set: it is then read to be listed.
    """

    read: Callable[[Path, Options], Iterator[Recording]]
    locate: Callable[[Path, Options], Iterator[Located | Failure]] | None = None


def located(source: Source, options: Options, *files: Path) -> Located:
    """A `Located` of options as a dictionary (values of plain kinds)."""
    return Located(source=source, options=tuple(sorted(options.items())), files=files)


def source_of(recording: Recording) -> Source:
    """What splits need to know of a recording."""
    return Source(recording=recording.name, subject=recording.subject, group=recording.group)


def require_options(
    reader: str, options: Options, *, needed: Set[str] = frozenset(), allowed: Set[str] = frozenset()
) -> None:
    """Refuse options that a reader does not have.

    Raises:
        ConfigError: an option is unknown or missing; the reader and all of its options are named.
    """
    if unknown := sorted(options.keys() - needed - allowed):
        raise ConfigError(f"reader {reader}: unknown options {unknown}; expected {sorted(needed | allowed)}")
    if missing := sorted(needed - options.keys()):
        raise ConfigError(f"reader {reader}: option {missing[0]} is missing; expected {sorted(needed | allowed)}")


def whole_number(reader: str, options: Options, name: str, *, least: int, most: int | None = None) -> None:
    """Refuse an option that is no whole number, such as '19' in quotes or true, or out of range.

    Raises:
        ConfigError: the reader, what the option is, and what it may be.
    """
    value = options[name]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        expected = f"from {least} on" if most is None else f"from {least} to {most}"
        raise ConfigError(f"reader {reader}: {name} is {value!r}; expected a whole number {expected}")


def require_content(path: Path) -> None:
    """Refuse a file that is not here, or of which only the name is: a DataLad set before `datalad get`.

    git-annex leaves a link to nothing, or a small text that names the object (unlocked files, and file systems
    without links).

    Raises:
        DataError: no such file, a link to nothing, an empty file, or a pointer of git-annex.
    """
    get = f"in a DataLad set run `datalad get {path.name}`"
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: a link to a file that is not here; {get}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; fetch it, or mend the recipe")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: the file is empty; fetch it again; {get}")
    if size <= _POINTER_BYTES:
        with path.open("rb") as file:
            start = file.read(64).lstrip(b"./")
        if start.startswith((b"annex/objects/", b"git/annex/objects/")):
            raise DataError(f"{path}: a git-annex pointer, not the file itself; {get}")
