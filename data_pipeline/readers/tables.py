"""Small tables of a data set: TSV and CSV files with one line of column names."""

import csv
import io
from pathlib import Path

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.base import require_content


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table, each by column name. `.tsv` files are split at tabs, all others at commas.

    A byte order mark at the start is no part of the first name; several sets of OpenNeuro have one.

    Raises:
        DataError: absent, not UTF-8, without a line of names, a name twice, or a row with more or fewer cells than
            names; its line is given, its text is not.
    """
    require_content(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        rows = [(lines.line_num, row) for row in lines if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({type(error).__name__}); save it anew as UTF-8 text") from None
    if not rows:
        raise DataError(f"{path}: no line of column names; fetch it again")
    names = rows[0][1]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: column {twice!r} comes twice; expected each name once; mend the table")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise DataError(f"{path}: line {line} has {len(row)} cells, expected {len(names)}; mend the table")
    return [dict(zip(names, row, strict=True)) for _, row in rows[1:]]
