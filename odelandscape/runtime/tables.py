"""Numbers with the digits that they have, and tables as text and for notebooks."""

import html
import math
from collections.abc import Iterable, Sequence

from tabulate import tabulate


def text_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """Return a table of finished cells: a head, a rule, and the rows, without blanks at the ends of lines.

    - `left`: numbers of the columns that are aligned left; the others are aligned right.
    """
    sides = ["left" if i in left else "right" for i in range(len(head))]
    text = tabulate(
        # Without rows tabulate takes no alignment: an empty row, whose line is dropped.
        list(rows) or [[""] * len(head)],
        list(head),
        tablefmt="simple",
        disable_numparse=True,
        colalign=sides,
        preserve_whitespace=True,
    )
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")


def with_digits(value: float, error: float, digits: int = 10) -> str:
    """Return a number with at most so many significant digits, and no more than its error leaves."""
    if not 10 * error <= abs(value):
        return "0" if value == 0 == error else _uncertain(value, error)
    sound = digits if error == 0 else math.floor(math.log10(abs(value) / error))
    return f"{value:.{max(1, min(digits, sound))}g}"


def with_decimals(value: float, error: float, decimals: int) -> str:
    """Return a number with at most so many decimals, and no more than its error leaves."""
    sound = decimals if error == 0 else math.floor(-math.log10(2 * error))
    if sound < 1:
        return _uncertain(value, error)
    return f"{value:z.{min(decimals, sound)}f}"  # z: 0 has no sign


def _uncertain(value: float, error: float) -> str:
    return f"{value:.1g} ± {error:.1g}"


def html_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """Return the table of `text_table` in HTML, with a caption."""

    def line(tag: str, cells: Sequence[str]) -> str:
        sides = ("left" if i in left else "right" for i in range(len(cells)))
        written = (
            f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
            for side, cell in zip(sides, cells, strict=True)
        )
        return f"<tr>{''.join(written)}</tr>"

    body = "".join(line("td", row) for row in rows)
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"
