"""A page (`page.py`) as one HTML file: styles and pictures inside, no script, nothing loaded from elsewhere."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from neuroleon.evaluation.page import Block, Bullets, Folded, Heading, Picture, Table, Text

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5c6670; --line: #d9dee3; --paper: #ffffff; --tint: #f4f6f8;
  --mark: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #9aa5b1; --line: #38414a; --paper: #14181c; --tint: #1d2329; --mark: #7db8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin: 0 0 .75rem; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .6rem 0; }
ul { padding-left: 1.2rem; }
li { margin: .25rem 0; }
a { color: var(--mark); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 0 0 1rem; font-size: .9rem; }
.table { overflow-x: auto; margin: .75rem 0; border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .65rem; min-width: 3.5rem; text-align: left; vertical-align: top; }
th { background: var(--tint); color: var(--soft); font-weight: 600; white-space: nowrap; }
tr + tr td { border-top: 1px solid var(--line); }
td.number { white-space: nowrap; }
td small { display: block; color: var(--soft); font-size: .92em; }
td:not(.number) { min-width: 7rem; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: .4rem; }
figcaption { color: var(--soft); font-size: .86rem; max-width: 46rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--mark); }
@media print { body { max-width: none; } details > * { display: block; } }
"""

_ESTIMATE = re.compile(r"([-+]?[\d.]+) (\[[^\]]*\])")
_NUMBER = re.compile(r"[-+]?[\d.,]+( ?%)?|-")


def as_html(blocks: Sequence[Block], pictures: Mapping[str, bytes]) -> str:
    """The page as HTML; `pictures` are PNG files by the names that the page calls them.

    Its title is the first heading; headings of the second level are linked at the top.
    """
    headings = [block for block in blocks if isinstance(block, Heading)]
    links = [f'<a href="#{_anchor(h.text)}">{_inline(h.text)}</a>' for h in headings if h.level == 2]
    body = [_html(block, pictures) for block in blocks]
    if links:
        body.insert(1, f"<nav>{''.join(links)}</nav>")
    title = escape(headings[0].text)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _html(block: Block, pictures: Mapping[str, bytes]) -> str:
    match block:
        case Heading(level, text):
            return f'<h{level} id="{_anchor(text)}">{_inline(text)}</h{level}>'
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "\n".join(f"<li>{_inline(item)}</li>" for item in items) + "\n</ul>"
        case Table(head, rows):
            return _table(head, rows)
        case Picture(name, caption):
            data = b64encode(pictures[name]).decode()
            image = f'<img src="data:image/png;base64,{data}" alt="{escape(caption)}">'
            return f"<figure>{image}<figcaption>{_inline(caption)}</figcaption></figure>"
        case Folded(title, inner):
            inside = "\n".join(_html(one, pictures) for one in inner)
            return f"<details><summary>{_inline(title)}</summary>\n{inside}\n</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{_inline(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    return '<div class="table"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _cell(text: str) -> str:
    if found := _ESTIMATE.fullmatch(text):
        return f'<td class="number">{found[1]}<small>{found[2]}</small></td>'
    kind = ' class="number"' if _NUMBER.fullmatch(text) else ""
    return f"<td{kind}>{_inline(text)}</td>"


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text, quote=False))


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
