"""Tables as text, and for notebooks."""

import html
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
