"""Tables as text: the .tsv and .csv files that lie beside recordings."""

import csv
import io
from pathlib import Path

from neuroleon.common.errors import DataError


class _Comma(csv.excel):
    strict = True


class _Tab(csv.excel):  # a .tsv of BIDS has no quotes
    delimiter = "\t"
    quoting = csv.QUOTE_NONE
    strict = True


_DIALECTS = {".tsv": _Tab, ".csv": _Comma}
_ANNEX = b"annex/objects/"  # what a git-annex set has in place of a file that was not fetched


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a .tsv or .csv file in UTF-8, with or without a byte order mark: column name -> text as it stands.

    Raises:
        DataError: absent, not fetched, not UTF-8, without a header, a column named twice, or a row of another length.
    """
    if path.suffix.lower() not in _DIALECTS:
        raise DataError(f"{path}: extension {path.suffix!r}; expected a table, .tsv or .csv")
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "in a DataLad set run `datalad get` on it" if path.is_symlink() else "fetch it"
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    if _ANNEX in content[:200]:
        raise DataError(f"{path}: a pointer to a file that is not here; in a DataLad set run `datalad get` on it")
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        rows = [row for row in csv.reader(text, _DIALECTS[path.suffix.lower()]) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({error}); fetch it again") from None
    if not rows:
        raise DataError(f"{path}: the file is empty; expected a line of column names; fetch it again")
    header = rows[0]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path}: column {twice[0]!r} comes twice; expected each name once; mend the file")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(f"{path}, row {number}: {len(row)} fields, expected {len(header)}; fetch it again")
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]


def require_columns(path: Path, rows: list[dict[str, str]], needed: set[str]) -> None:
    """Refuse a table without rows or without a column that its reader needs.

    Raises:
        DataError: the file, what is missing, and what there is.
    """
    found = rows[0].keys() if rows else set()
    if missing := sorted(needed - found):
        raise DataError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(found) or 'no row'}; is this the right file?"
        )
