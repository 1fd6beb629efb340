"""Tables as text."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate


def text_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """Return a table of finished cells: a head, a rule, and the rows.

    - `left`: numbers of the columns that are aligned left; the others are aligned right.
    """
    sides = ["left" if i in left else "right" for i in range(len(head))]
    options = {"tablefmt": "simple", "disable_numparse": True}
    return tabulate(list(rows), list(head), colalign=sides, preserve_whitespace=True, **options)
