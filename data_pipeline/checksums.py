"""Published checksums of a data set: `NAME.md5` or `NAME.sha256` beside the recipe `NAME.yaml`.

The lists are those that `md5sum` and `sha256sum` write and check, with paths below the recipe's folder of data:

    cd ROOT/FOLDER && md5sum -c .../recipes/NAME.md5

A file that is not listed is not checked: a set may hold more than its publisher has listed.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from neuroleon.common.errors import ConfigError, DataError

_LINE = re.compile(r"([0-9a-f]+) [ *](\S.*)")
_DIGITS = {"md5": 32, "sha256": 64}


def read_checksums(recipe: Path) -> dict[str, str]:
    """File below the folder of data -> `md5:...` or `sha256:...`; empty where no list lies beside the recipe.

    Raises:
        ConfigError: a line is not one of such a list, or both lists are there.
    """
    lists = [path for kind in _DIGITS if (path := recipe.with_suffix(f".{kind}")).is_file()]
    if len(lists) > 1:
        raise ConfigError(f"{lists[0]}: there is {lists[1].name} too; keep one of them")
    return {name: digest for path in lists for name, digest in _read(path).items()}


def _read(path: Path) -> dict[str, str]:
    kind = path.suffix[1:]
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or len(match[1]) != _DIGITS[kind] or match[2] in found:
            raise ConfigError(
                f"{path}: line {number} is {line[:80]!r}; expected {_DIGITS[kind]} digits of 0-9a-f, two spaces and a "
                f"file, each file once, as {kind}sum writes them"
            )
        found[match[2]] = f"{kind}:{match[1]}"
    return found


def require_published(folder: Path, files: Iterable[Path], checksums: dict[str, str]) -> int:
    """Check those of the files that are listed, and say how many these are.

    Raises:
        DataError: a file has other bytes than were published.
    """
    listed = [(path, checksums[name]) for path in files if (name := _name(folder, path)) in checksums]
    for path, expected in listed:
        kind, _, digest = expected.partition(":")
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; fetch it again") from None
        if found != digest:
            raise DataError(
                f"{path}: {kind} is {found}, published is {digest}; fetch it again, or, if you changed it knowingly, "
                "prepare with a copy of the recipe, without its list of checksums"
            )
    return len(listed)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""
