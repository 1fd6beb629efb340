"""One HTML page of the results in a folder, which holds everything itself."""

import base64
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .comparison import headings_and_cells, tables
from .entries import Entry

TITLE = "The loss landscape of two-layer networks, number by number"
ABOUT = (
    "Figures and tables of arXiv:2604.09412 in its order, computed anew by odelandscape beside the published "
    "numbers; then the experiments that ask where these differ and why."
)
DIGITS = 6
"""Significant digits in the report's tables."""
_COMPARED = (
    "Shares in percent, of 10,000 starts here and in the paper, of 1,000 of Safran and Shamir's "
    "(arXiv:1712.08968); SE: standard errors between the two."
)
_SHORT = 28  # characters of a cell that stays in one line

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 66rem; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 2px solid #0072B2; }
h3 { margin: 2.5rem 0 .3rem; } a { color: #005a8e; }
nav { columns: 2 20rem; font-size: .85rem; line-height: 1.4; }
nav h4 { margin: .8rem 0 .2rem; break-after: avoid; } nav ul { margin: 0; padding: 0; list-style: none; }
nav li { margin-bottom: .25rem; break-inside: avoid; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
.wide { overflow: auto; max-height: 32rem; }
table { border-collapse: collapse; font-size: .8rem; white-space: pre; }
th, td { padding: .2rem .55rem; text-align: right; border-bottom: 1px solid #ddd; }
th { background: #f2f6f9; white-space: normal; vertical-align: bottom; position: sticky; top: 0; }
.text { white-space: pre-line; text-align: left; min-width: 9.5rem; } .long { min-width: 17rem; }
.remarks { background: #f2f6f9; border-left: 4px solid #0072B2; padding: .5rem .8rem; }
.origin { color: #555; font-size: .8rem; } .missing { color: #555; }
@media print { body { max-width: none; font-size: 10pt; } h3 { break-after: avoid; }
  figure, .remarks { break-inside: avoid; } .wide { overflow: visible; max-height: none; }
  table { font-size: 6.5pt; white-space: pre-line; } th { position: static; }
  .text { min-width: 0; } nav { break-after: page; font-size: 7.5pt; } }
"""


def longest(table: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    """Return the length of the longest line in each column."""
    columns = zip(*table, strict=True)
    return [max(len(line) for lines in column for line in lines) for column in columns]


def broken(body: list[list[str]]) -> tuple[list[list[str]], list[str]]:
    """Return a table's cells, three intervals in three lines; and the kind of each column: numbers (empty),
    `text` or `long text`."""
    cells = [[cell.replace(") / ", ") /\n") for cell in row] for row in body]
    lengths = longest([[cell.split("\n") for cell in row] for row in cells])
    kinds = ["" if n <= _SHORT else "text" if n <= 2 * _SHORT else "long text" for n in lengths]
    return cells, kinds


def _prose(text: str) -> str:
    return re.sub("`(.*?)`", r"<code>\1</code>", html.escape(text))


def _table(headings: list[str], body: list[list[str]]) -> Iterator[str]:
    cells, kinds = broken(body)
    yield '<div class="wide"><table><thead><tr>'
    for name, kind in zip(headings, kinds, strict=True):
        yield f'<th class="{kind}">{html.escape(name)}</th>'
    yield "</tr></thead><tbody>"
    for row in cells:
        yield "<tr>"
        for text, kind in zip(row, kinds, strict=True):
            yield f'<td class="{kind}">{_prose(text)}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"


def _article(entry: Entry, folder: Path) -> Iterator[str]:
    yield f'<h3 id="{entry.name}">{_prose(entry.question)}</h3>'
    yield from (f"<p>{_prose(part)}</p>" for part in entry.paragraphs)
    printed = entry.printed
    if printed is None:
        yield f'<p class="missing">Not run yet: python -m experiments {entry.name}</p>'
        return
    picture = base64.b64encode((folder / f"{entry.name}.png").read_bytes()).decode()
    alt = html.escape(entry.question)
    yield f'<figure><img alt="{alt}" src="data:image/png;base64,{picture}"></figure>'
    if printed.remarks:
        yield f'<p class="remarks">{_prose(printed.remarks)}</p>'
    yield from _table(printed.headings, printed.body)
    yield f'<p class="origin">{entry.name}: {html.escape(printed.origin)}</p>'


def page(sections: list[tuple[str, list[Entry]]], folder: Path) -> Iterator[str]:
    """Lines of the page."""
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{TITLE}</title><style>{_STYLE}</style></head><body><h1>{TITLE}</h1>"
    yield f"<p>{ABOUT}</p><nav>"
    for heading, entries in sections:
        yield f"<h4>{html.escape(heading)}</h4><ul>"
        for entry in entries:
            yield f'<li><a href="#{entry.name}">{entry.name}</a> {_prose(entry.question)}</li>'
        yield "</ul>"
    yield "</nav>"
    compared = tables(folder)
    if compared:
        yield "<h2>All published numbers of Tables 1 to 4</h2>"
        yield f"<p>{_COMPARED}</p>"
    for title, lines in compared.items():
        yield f"<h3>{title}</h3>"
        yield from _table(*headings_and_cells(lines, DIGITS))
    for heading, entries in sections:
        yield f"<h2>{html.escape(heading)}</h2>"
        for entry in entries:
            yield from _article(entry, folder)
    yield "</body></html>"
