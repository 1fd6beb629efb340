"""One page, and one PDF, of what the experiments have left in a folder."""

import base64
import html
import importlib
import itertools
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.image
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from .comparison import tables
from .order import SECTIONS
from .legacy import cell

_DIGITS = 6
_SHORT = 28  # characters of a cell that stays in one line
_TITLE = "The loss landscape of two-layer networks, number by number"
_ABOUT = (
    "Figures and tables of arXiv:2604.09412 in its order, computed anew by odelandscape beside the published "
    "numbers; then the experiments that say where these differ and why."
)
_COMPARED = (
    "Shares in percent, of 10,000 starts here and in the paper, of 1,000 of Safran and Shamir's "
    "(arXiv:1712.08968); SE: standard errors between the two."
)

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
.seen { background: #f2f6f9; border-left: 4px solid #0072B2; padding: .5rem .8rem; }
.made { color: #555; font-size: .8rem; } .missing { color: #555; }
@media print { body { max-width: none; font-size: 10pt; } h3 { break-after: avoid; }
  figure, .seen { break-inside: avoid; } .wide { overflow: visible; max-height: none; }
  table { font-size: 6.5pt; white-space: pre-line; } th { position: static; }
  .text { min-width: 0; } nav { break-after: page; font-size: 7.5pt; } }
"""


class Entry(NamedTuple):
    """An experiment on the page: the first line of its docstring and the rest, and what it left."""

    name: str
    question: str
    how: list[str]
    left: dict | None


def _entry(name: str, folder: Path) -> Entry:
    doc = (importlib.import_module(f"experiments.{name}").__doc__ or name).strip()
    question, _, rest = doc.partition("\n")
    how = [" ".join(part.split()) for part in rest.strip().split("\n\n") if part.strip()]
    file = folder / f"{name}.json"
    left = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return Entry(name, question, how, left)


def _prose(text: str) -> str:
    return re.sub("`(.*?)`", r"<code>\1</code>", html.escape(text))


def _longest(table: list[list[list[str]]]) -> list[int]:
    """Of the lines in each column."""
    columns = zip(*table, strict=True)
    return [max(len(line) for lines in column for line in lines) for column in columns]


def _cells(rows: list[dict]) -> tuple[list[list[str]], list[str]]:
    """A table's cells, three intervals in three lines; and of each column whether it is numbers (empty),
    `text` or `long text`."""
    cells = [
        [cell(value, _DIGITS).replace(") / ", ") /\n") for value in row.values()] for row in rows
    ]
    longest = _longest([[text.split("\n") for text in row] for row in cells])
    return cells, [
        "" if n <= _SHORT else "text" if n <= 2 * _SHORT else "long text" for n in longest
    ]


def _table(rows: list[dict]) -> Iterator[str]:
    cells, kinds = _cells(rows)
    yield '<div class="wide"><table><thead><tr>'
    for name, kind in zip(rows[0], kinds, strict=True):
        yield f'<th class="{kind}">{html.escape(name)}</th>'
    yield "</tr></thead><tbody>"
    for row in cells:
        yield "<tr>"
        for text, kind in zip(row, kinds, strict=True):
            yield f'<td class="{kind}">{_prose(text)}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"


def _made(left: dict) -> str:
    small = ", small version" if left["arguments"]["quick"] == "True" else ""
    versions = ", ".join(f"{name} {version}" for name, version in left["versions"].items())
    return f"{left['seconds']:.0f} s{small}; {versions}"


def _article(entry: Entry, folder: Path) -> Iterator[str]:
    yield f'<h3 id="{entry.name}">{_prose(entry.question)}</h3>'
    yield from (f"<p>{_prose(part)}</p>" for part in entry.how)
    if entry.left is None:
        yield f'<p class="missing">Not run yet: python -m experiments {entry.name}</p>'
        return
    picture = base64.b64encode((folder / f"{entry.name}.png").read_bytes()).decode()
    alt = html.escape(entry.question)
    yield f'<figure><img alt="{alt}" src="data:image/png;base64,{picture}"></figure>'
    if entry.left["remarks"]:
        yield f'<p class="seen">{_prose(entry.left["remarks"])}</p>'
    yield from _table(entry.left["rows"])
    yield f'<p class="made">{entry.name}: {html.escape(_made(entry.left))}</p>'


def _page(sections: list[tuple[str, list[Entry]]], folder: Path) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_TITLE}</title><style>{_STYLE}</style></head><body><h1>{_TITLE}</h1>"
    yield f"<p>{_ABOUT}</p><nav>"
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
    for name, rows in compared.items():
        yield f"<h3>{name}</h3>"
        yield from _table(rows)
    for heading, entries in sections:
        yield f"<h2>{html.escape(heading)}</h2>"
        for entry in entries:
            yield from _article(entry, folder)
    yield "</body></html>"


_A4 = (8.27, 11.69)  # inches
_LINE = 1.3 / 72  # inches, for each point of a text's size
_SMALLEST = 5.5  # points of a table below its figure
_WIDTHS = {"": 34, "text": 34, "long text": 52}  # characters of a cell on a sheet


def _wrapped(text: str, width: int) -> list[str]:
    text = text.replace("`", "")
    return [line for part in text.split("\n") for line in textwrap.wrap(part, width) or [""]]


def _text(figure: Figure, y: float, text: str, width: int, size: float = 9, **style) -> float:
    """Text from y downwards; where it ends."""
    lines = _wrapped(text, width)
    style |= {"fontsize": size, "linespacing": 1.2, "va": "top"}
    figure.text(0.07, y, "\n".join(lines), **style)
    return y - (len(lines) + 0.8) * _LINE * size / figure.get_figheight()


def _cover(sections: list[tuple[str, list[Entry]]]) -> Figure:
    figure = Figure(figsize=_A4)
    y = _text(figure, 0.95, _TITLE, 48, 18, weight="bold")
    y = _text(figure, y, _ABOUT, 108)
    for heading, entries in sections:
        y = _text(figure, y, heading, 100, weight="bold") + 0.004
        lines = [f"{entry.name}: {entry.question}" for entry in entries if entry.left is not None]
        y = _text(figure, y, "\n".join(lines), 130, 7.5)
    return figure


def _sheets(entry: Entry, folder: Path) -> Iterator[Figure]:
    """Of the PDF: a sheet with question, figure and what was seen, and the table there or on its own."""
    assert entry.left is not None
    figure = Figure(figsize=_A4)
    y = _text(figure, 0.96, entry.question, 68, 13, weight="bold")
    y = _text(figure, y, "\n\n".join(entry.how), 108)
    picture = matplotlib.image.imread(folder / f"{entry.name}.png")
    height = min(0.86 * _A4[0] / _A4[1] * picture.shape[0] / picture.shape[1], y - 0.2)
    axes = figure.add_axes((0.07, y - height, 0.86, height))
    axes.imshow(picture)
    axes.set_axis_off()
    y = _text(figure, y - height - 0.01, entry.left["remarks"], 108)
    figure.text(0.07, 0.03, f"{entry.name}: {_made(entry.left)}", fontsize=8, color="0.4")
    rows = _printed(entry.left["rows"])
    room = (y - 0.05) * _A4[1] / (_LINE * sum(map(len, rows)))
    size = min(_size(figure, rows), room)
    if size >= _SMALLEST:
        _block(figure, y, rows, size)
    yield figure
    if size < _SMALLEST:
        yield from _table_sheets(entry.left["rows"], f"{entry.name}: its table")


def _printed(rows: list[dict]) -> list[list[str]]:
    """Head and rows of a table, each as lines of text of one width: long cells go on below themselves."""
    cells, kinds = _cells(rows)
    body = [
        [_wrapped(x, _WIDTHS[kind]) for x, kind in zip(row, kinds, strict=True)] for row in cells
    ]
    head = [_wrapped(name, max(n, 10)) for name, n in zip(rows[0], _longest(body), strict=True)]
    table = [head, *body]
    widths = _longest(table)
    return [
        [
            "  ".join(
                line.ljust(n) if kind else line.rjust(n)
                for line, n, kind in zip(lines, widths, kinds, strict=True)
            )
            for lines in itertools.zip_longest(*row, fillvalue="")
        ]
        for row in table
    ]


def _size(figure: Figure, rows: list[list[str]]) -> float:
    """Points at which a table is as wide as a sheet: a character has 0.602 of its size."""
    return min(8.0, 0.86 * 72 * figure.get_figwidth() / (0.602 * max(len(rows[0][0]), 1)))


def _block(figure: Figure, y: float, rows: list[list[str]], size: float) -> None:
    style = {"va": "top", "fontsize": size, "family": "monospace", "linespacing": 1.2}
    head, *body = rows
    figure.text(0.07, y, "\n".join(head), weight="bold", **style)
    y -= len(head) * size * _LINE / figure.get_figheight()
    figure.text(0.07, y, "\n".join(itertools.chain.from_iterable(body)), **style)


def _table_sheets(rows: list[dict], title: str) -> Iterator[Figure]:
    head, *body = _printed(rows)
    while body:
        sheet = Figure(figsize=_A4[::-1])
        y = _text(sheet, 0.95, title, 100, 11, weight="bold")
        size = _size(sheet, [head])
        room = (y - 0.06) * sheet.get_figheight() / (_LINE * size) - len(head)
        part = []
        while body and (room >= len(body[0]) or not part):
            room -= len(body[0])
            part.append(body.pop(0))
        _block(sheet, y, [head, *part], size)
        yield sheet


def write(folder: Path) -> list[Path]:
    """Write report.html and report.pdf into the folder that holds what the experiments left.

    Raises ValueError if it holds nothing.
    """
    sections = [(title, [_entry(name, folder) for name in names]) for title, names in SECTIONS]
    there = [entry for _, entries in sections for entry in entries if entry.left is not None]
    if not there:
        raise ValueError(f"{folder} holds no experiment: python -m experiments all --out {folder}")
    page, pdf = folder / "report.html", folder / "report.pdf"
    page.write_text("\n".join(_page(sections, folder)), encoding="utf-8")
    with PdfPages(pdf) as sheets:
        sheets.savefig(_cover(sections))
        for name, rows in tables(folder).items():
            for sheet in _table_sheets(rows, name):
                sheets.savefig(sheet)
        for entry in there:
            for sheet in _sheets(entry, folder):
                sheets.savefig(sheet)
    return [page, pdf]
