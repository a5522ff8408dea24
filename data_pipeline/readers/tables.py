"""Tables that lie beside recordings: .tsv and .csv files, which are text, and parquet files."""

import csv
import io
from pathlib import Path

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import require_content


class _Comma(csv.excel):
    strict = True


class _Tab(csv.excel):  # a .tsv of BIDS has no quotes
    delimiter = "\t"
    quoting = csv.QUOTE_NONE
    strict = True


_DIALECTS = {".tsv": _Tab, ".csv": _Comma}


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a .tsv or .csv file in UTF-8, with or without a byte order mark: column name -> text as it stands.

    Raises:
        DataError: absent, not fetched, not UTF-8, without a line of names, a name twice, or a row with more or fewer
            cells than names; its line is given, its text is not.
    """
    if path.suffix.lower() not in _DIALECTS:
        raise DataError(f"{path}: extension {path.suffix!r}; expected a table, .tsv or .csv")
    require_content(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), _DIALECTS[path.suffix.lower()])
        rows = [(lines.line_num, row) for row in lines if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({type(error).__name__}); fetch it again") from None
    if not rows:
        raise DataError(f"{path}: no line of column names; fetch it again")
    names = rows[0][1]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: column {twice[0]!r} comes twice; expected each name once; mend the table")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise DataError(f"{path}: line {line} has {len(row)} cells, expected {len(names)}; mend the table")
    return [dict(zip(names, row, strict=True)) for _, row in rows[1:]]


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


def read_rows(path: Path, needed: set[str]) -> list[dict[str, object]]:
    """The rows of a parquet file.

    Raises:
        DataError: absent, damaged, or without a column that is needed.
        ConfigError: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        raise ConfigError(f'{path}: reading parquet needs pyarrow; pip install "neuroleon[formats]"') from None
    try:
        table = read_table(path)
    except (OSError, ArrowException) as error:
        raise DataError(f"{path}: not a readable parquet file ({type(error).__name__}); fetch it again") from None
    if missing := sorted(needed - set(table.column_names)):
        raise DataError(f"{path}: no column {', '.join(missing)}; found {', '.join(table.column_names)}")
    rows: list[dict[str, object]] = table.to_pylist()
    return rows
