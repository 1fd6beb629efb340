"""How rows of numbers are written as a table: a column is a heading and what it shows of a row."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tabulate import tabulate

from odelandscape.sweeps.summary import wilson_interval

from .shares import interval

Cell = str | int | float | None
Row = dict[str, Any]


class Column(NamedTuple):
    """A column of a printed table. Floats are shown with at most `digits` significant digits."""

    heading: str
    of: Callable[[Row], Cell]
    digits: int = 10


def number(heading: str, key: str | None = None, digits: int = 10) -> Column:
    """A number or identifier as it is stored."""
    return Column(heading, lambda row: row.get(key or heading), digits)


def fixed(heading: str, key: str, decimals: int, scale: float = 1.0) -> Column:
    """A number, times `scale` (100 for percent), with so many decimals."""

    def of(row: Row) -> Cell:
        value = row.get(key)
        return None if value is None else f"{scale * value:.{decimals}f}"

    return Column(heading, of)


def rounded(heading: str, key: str, decimals: int) -> Column:
    """A number with at most so many decimals."""

    def of(row: Row) -> Cell:
        value = row.get(key)
        return None if value is None else round(value, decimals)

    return Column(heading, of)


def fraction(heading: str, count: str, total: str = "starts") -> Column:
    """The share of two stored counts, between 0 and 1."""
    return Column(heading, lambda row: row[count] / row[total])


def bounds(low: str, high: str, count: str, total: str = "starts") -> list[Column]:
    """The ends of the 95 % interval of a share between 0 and 1, by their headings."""
    return [
        Column(low, lambda row: wilson_interval(row[count], row[total])[0]),
        Column(high, lambda row: wilson_interval(row[count], row[total])[1]),
    ]


def share(heading: str, count: str, total: str = "starts") -> Column:
    """The share of two stored counts with its 95 % interval, in percent."""

    def of(row: Row) -> Cell:
        return None if row.get(count) is None else interval(row[count], row[total])

    return Column(heading, of)


def text(value: Cell, digits: int = 10) -> str:
    """A cell as it is shown."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def cells(columns: Sequence[Column], rows: Sequence[Row], digits: int = 10) -> list[list[str]]:
    """The table's body, floats with at most `digits` significant digits."""
    return [
        [text(column.of(row), min(digits, column.digits)) for column in columns] for row in rows
    ]


def markdown(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table for people, which Markdown renders."""
    return tabulate(body, headings, tablefmt="github", stralign="right", disable_numparse=True)


def comma_separated(rows: Sequence[Row]) -> str:
    """All stored numbers of the rows, with all digits; lists as JSON."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, keys, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()})
    return file.getvalue()
