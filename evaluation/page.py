"""A page of headings, tables and pictures, written once and rendered twice: as Markdown, and as HTML (`page_html`).

Texts may hold **bold** marks; all else in them is plain. A picture knows how to draw itself, so that a figure and what
a page says of it stand in one place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FIGURES = "figures"


@dataclass(frozen=True)
class Heading:
    """`level` 1 is the title of the page."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells; a cell such as `0.5 [0.4, 0.6]` is an estimate with its interval."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A figure in `figures/NAME.png`: `draw` writes it, `caption` says what is seen."""

    name: str
    caption: str
    draw: Callable[[Path], None]


@dataclass(frozen=True)
class Folded:
    """What is read only by who looks for it: closed at first in HTML, open in Markdown."""

    title: str
    blocks: "Sequence[Block]"


Block = Heading | Text | Bullets | Table | Picture | Folded


def pictures(blocks: Sequence[Block]) -> Iterator[Picture]:
    """Every picture of a page, in order."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Folded):
            yield from pictures(block.blocks)


def as_markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown (with the tables of GitHub)."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_line(text)}"
        case Text(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {_line(item)}" for item in items)
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join(
                "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
            )
        case Picture(name, caption):
            return f"![{_line(caption)}]({FIGURES}/{name}.png)"
        case Folded(title, inner):
            return "\n\n".join([f"**{_line(title)}**", *map(_markdown, inner)])


def _line(text: str) -> str:
    return " ".join(text.split())
