"""Sheets of a PDF of the results in a folder."""

import itertools
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
from matplotlib.figure import Figure

from .entries import Entry, Printed
from .page import ABOUT, TITLE, broken, longest

_A4 = (8.27, 11.69)  # inches
_LINE = 1.3 / 72  # inches, for each point of a text's size
_SMALLEST = 5.5  # points of a table below its figure
_WIDTHS = {"": 34, "text": 34, "long text": 52}  # characters of a cell on a sheet


def _wrapped(text: str, width: int) -> list[str]:
    text = text.replace("`", "")
    return [line for part in text.split("\n") for line in textwrap.wrap(part, width) or [""]]


def _text(figure: Figure, y: float, text: str, width: int, size: float = 9, **style) -> float:
    """Write text from y downwards, and return where it ends."""
    lines = _wrapped(text, width)
    style |= {"fontsize": size, "linespacing": 1.2, "va": "top"}
    figure.text(0.07, y, "\n".join(lines), **style)
    return y - (len(lines) + 0.8) * _LINE * size / figure.get_figheight()


def cover(sections: list[tuple[str, list[Entry]]]) -> Figure:
    """The first sheet: title and contents."""
    figure = Figure(figsize=_A4)
    y = _text(figure, 0.95, TITLE, 48, 18, weight="bold")
    y = _text(figure, y, ABOUT, 108)
    for heading, entries in sections:
        y = _text(figure, y, heading, 100, weight="bold") + 0.004
        lines = [
            f"{entry.name}: {entry.question}" for entry in entries if entry.printed is not None
        ]
        y = _text(figure, y, "\n".join(lines), 130, 7.5)
    return figure


def sheets(entry: Entry, printed: Printed, folder: Path) -> Iterator[Figure]:
    """A sheet with question, figure and remarks, and the table there or on sheets of its own."""
    figure = Figure(figsize=_A4)
    y = _text(figure, 0.96, entry.question, 68, 13, weight="bold")
    y = _text(figure, y, "\n\n".join(entry.paragraphs), 108)
    picture = matplotlib.image.imread(folder / f"{entry.name}.png")
    height = min(0.86 * _A4[0] / _A4[1] * picture.shape[0] / picture.shape[1], y - 0.2)
    axes = figure.add_axes((0.07, y - height, 0.86, height))
    axes.imshow(picture)
    axes.set_axis_off()
    y = _text(figure, y - height - 0.01, printed.remarks, 108)
    figure.text(0.07, 0.03, f"{entry.name}: {printed.origin}", fontsize=8, color="0.4")
    rows = set_table(printed.headings, printed.body)
    room = (y - 0.05) * _A4[1] / (_LINE * sum(map(len, rows)))
    size = min(_size(figure, rows), room)
    if size >= _SMALLEST:
        _block(figure, y, rows, size)
    yield figure
    if size < _SMALLEST:
        yield from table_sheets(printed.headings, printed.body, f"{entry.name}: its table")


def set_table(headings: list[str], cells: list[list[str]]) -> list[list[str]]:
    """Head and rows of a table, each as lines of text of one width: long cells go on below themselves."""
    cells, kinds = broken(cells)
    body = [
        [_wrapped(x, _WIDTHS[kind]) for x, kind in zip(row, kinds, strict=True)] for row in cells
    ]
    head = [_wrapped(name, max(n, 10)) for name, n in zip(headings, longest(body), strict=True)]
    table = [head, *body]
    widths = longest(table)
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


def table_sheets(headings: list[str], cells: list[list[str]], title: str) -> Iterator[Figure]:
    """As many sheets as a table fills."""
    head, *body = set_table(headings, cells)
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
