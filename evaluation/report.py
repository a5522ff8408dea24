"""The report folder: report.html and report.md to read, report.json to compute with, figures/ to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import atomic_folder, write_atomic
from neuroleon.evaluation.page import FIGURES, Block, as_markdown, pictures
from neuroleon.evaluation.page_html import as_html
from neuroleon.evaluation.record import NAME, as_record, as_text, plain
from neuroleon.evaluation.results import Report
from neuroleon.evaluation.sections import page_of

FINDINGS_FORMAT = 1


def write_report(report: Report, out: Path) -> None:
    """Write the folder `out`; an earlier report there is replaced.

    Raises:
        ConfigError: `out` holds something that is no report of ours.
    """
    require_free(out)
    with atomic_folder(out) as folder:
        write_atomic(folder / NAME, as_text(as_record(report)))
        write_page(folder, "report", page_of(report))


def write_findings(found: Any, stem: str, blocks: Sequence[Block], out: Path) -> None:
    """Write what was found in several reports: `stem`.json, .md and .html in the folder `out`; an earlier one is
    replaced.

    Raises:
        ConfigError: `out` holds something else.
    """
    require_free(out, f"{stem}.json")
    with atomic_folder(out) as folder:
        write_atomic(folder / f"{stem}.json", as_text({"format": FINDINGS_FORMAT, **plain(found)}))
        write_page(folder, stem, blocks)


def write_page(folder: Path, stem: str, blocks: Sequence[Block]) -> None:
    """Draw the pictures into `folder`/figures; write `stem`.md, which links them, and `stem`.html, which holds them."""
    drawn: dict[str, bytes] = {}
    for picture in pictures(blocks):
        path = folder / FIGURES / f"{picture.name}.png"
        path.parent.mkdir(exist_ok=True)
        picture.draw(path)
        drawn[picture.name] = path.read_bytes()
    write_atomic(folder / f"{stem}.md", as_markdown(blocks))
    write_atomic(folder / f"{stem}.html", as_html(blocks, drawn))


def require_free(out: Path, name: str = NAME) -> None:
    """Refuse to replace anything but an earlier report, which is known by the file `name`.

    Raises:
        ConfigError: `out` is a file, or a folder with content but without `name`.
    """
    if out.exists() and not (out / name).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: holds something that is not a report; give a new folder, it would be replaced")
