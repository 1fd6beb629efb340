r"""How often does a flow end in a spurious minimum (paper, Tables 3a, 3b, 4a and 4b)?

Each start is followed to its end and certified: local and global are minima by their Hessian, none is what
is not (a saddle, or not converged).
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.options import starts
from ..shared.published import (
    SAFRAN_SHAMIR,
    SAFRAN_SHAMIR_SURPLUS,
    TABLE_3A,
    TABLE_3B,
    TABLE_4A,
    TABLE_4B,
    THRESHOLDS_4B,
    Shares,
)
from ..shared.results import Results
from ..shared.shares import holds, percent, verdict
from ..shared.sweeps import LARGE, dimension_name, family_counts, swept
from ..shared.tables import Column, Row, number, share

DOCS = {
    "table3a": """\
How often does gradient flow end in a spurious minimum for K = M = 6 … 20 (paper, Table 3a)?

Each start is followed to its end and certified: local and global are minima by their Hessian, none is what
is not (a saddle, or not converged). Beside them stand the published shares, and those of Safran and Shamir.
""",
    "table3b": """\
How often does gradient flow end in a spurious minimum for K = M + 1 (paper, Table 3b)?

Each start is followed to its end and certified: local and global are minima by their Hessian, none is what
is not (a saddle, or not converged). Beside them stand the published shares, and those of Safran and Shamir.
Why the paper's shares differ is the question of `stopping`.
""",
    "table4a": """\
How often does normalised gradient flow (nGD) end in a spurious minimum for K = M (paper, Table 4a)?

As Table 3a, with students of length 1. For d = M they stay in the teachers' span; for d = 1,000 they begin
almost orthogonal to it. The paper gives no dimension (`dimension_of_starts`).
""",
    "table4b": """\
How often does normalised gradient flow (nGD) end above its lowest levels for K = M + 1 (paper, Table 4b)?

A surplus student of length 1 cannot be inactive, so that nothing has loss 0; the paper calls global what ends
below a loss that it reads off its histograms. The same thresholds are taken here, for students in the
teachers' span (d = M) and for students that can leave it (d = 1,000), whose minima are others.
""",
}
OPTIONS = {"seeds": starts("each width")}
FATES = ("local", "global", "none")
SPURIOUS_RUNS = 1000
"""Runs of Safran and Shamir at each width."""


class _Table(NamedTuple):
    """What distinguishes one of the four tables."""

    title: str
    flow: str
    surplus: int
    published: dict[int, Shares]  # by M
    spurious: dict[int, int] | None
    dimensions: tuple[int | None, ...]
    quick: int  # M of the small version
    quick_dimensions: tuple[int | None, ...]


_TABLES = {
    "table3a": _Table(
        "gradient flow, K = M", "gd", 0, TABLE_3A, SAFRAN_SHAMIR, (None,), 6, (None,)
    ),
    "table3b": _Table(
        "gradient flow, K = M + 1", "gd", 1, TABLE_3B, SAFRAN_SHAMIR_SURPLUS, (None,), 8, (None,)
    ),
    "table4a": _Table("nGD, K = M", "ngd", 0, TABLE_4A, None, (None, LARGE), 3, (None,)),
    "table4b": _Table("nGD, K = M + 1", "ngd", 1, TABLE_4B, None, (None, LARGE), 3, (None, LARGE)),
}


def _threshold(table: _Table, M: int) -> float | None:
    """The loss below which an end counts as global, where nothing has loss 0."""
    return THRESHOLDS_4B.get(M, 0.1) if table.flow == "ngd" and table.surplus else None


def rows(options) -> Results:
    """Count the fates of all starts of each width and dimension."""
    table = _TABLES[options.name]
    sizes = [table.quick] if options.quick else list(table.published)
    found, families = [], []
    for d in table.quick_dimensions if options.quick else table.dimensions:
        for M in sizes:
            runs = swept(options, M + table.surplus, M, table.flow, dimension=d)
            found.append(_row(runs, table, M))
            size = {"K": M + table.surplus, "M": M, "d": runs.dimension}
            families.append(size | {"families": family_counts(runs)})
    return Results(found, {"sweeps": families})


def _row(runs: ol.Sweep, table: _Table, M: int) -> Row:
    outcome, below = runs.outcome, _threshold(table, M)
    ended = np.isin(outcome, ["global_minimum", "local_minimum"])
    is_global = outcome == "global_minimum" if below is None else ended & (runs.loss < below)
    minima = [family for family in runs.summary().families if family.outcome == "local_minimum"]
    row: Row = {"K": runs.problem.students, "M": M, "d": runs.dimension, "starts": len(runs)}
    counts = (ended & ~is_global).sum(), is_global.sum(), (~ended).sum()
    row |= {name: int(count) for name, count in zip(FATES, counts, strict=True)}
    published = zip(FATES, table.published[M], strict=True)
    row |= {f"published_{name}": theirs for name, theirs in published}
    if table.spurious is not None:
        row["published_spurious"] = table.spurious[M]
    if below is not None:
        row["threshold"] = below
    row["local_minima"] = len(minima)
    row["lowest_loss"] = min((family.loss for family in minima), default=None)
    row["seconds"] = runs.seconds
    return row


def columns(results: Results) -> list[Column]:
    """Published and our shares beside each other."""
    made = [number("K"), number("M"), number("d")]
    for name in FATES:
        made.append(number(f"{name}: paper %", f"published_{name}"))
        made.append(share(f"{name}: here % (95 %)", name))
    made.append(Column("global of the paper", global_verdict))
    if "published_spurious" in results.rows[0]:
        per_cent = 100 / SPURIOUS_RUNS
        made.append(
            Column("spurious: Safran, Shamir %", lambda row: per_cent * row["published_spurious"])
        )
        made.append(Column("spurious of theirs", spurious_verdict))
    made += [number("local minima", "local_minima"), number("lowest", "lowest_loss")]
    made += [number("seeds", "starts"), number("seconds", digits=4)]
    if "threshold" in results.rows[0]:
        made.append(number("global if below", "threshold"))
    return made


def global_verdict(row: Row) -> str:
    """Whether our interval of the global share holds the paper's, or how far off it is."""
    return verdict(row["global"], row["starts"], row["published_global"])


def spurious_verdict(row: Row) -> str:
    """The same of the spurious share of Safran and Shamir."""
    theirs = 100 * row["published_spurious"] / SPURIOUS_RUNS
    return verdict(row["local"], row["starts"], theirs, SPURIOUS_RUNS)


def _dimensions(results: Results) -> dict[str, list[Row]]:
    """The rows by the name of their dimension, d = M first."""
    parts: dict[str, list[Row]] = {}
    for row in results.rows:
        name = dimension_name(None if row["d"] == row["M"] else row["d"])
        parts.setdefault(name, []).append(row)
    return parts


def remarks(results: Results) -> str:
    """How many published shares our intervals hold."""
    parts = _dimensions(results)
    if len(_TABLES[results.name].dimensions) == 1:
        return _agreement(results.rows)
    return " ".join(f"{name}: {_agreement(rows)}" for name, rows in parts.items())


def _agreement(rows: list[Row]) -> str:
    inside = sum(holds(row["global"], row["starts"], row["published_global"]) for row in rows)
    text = f"{inside} of the paper's {len(rows)} global shares lie in our 95 % intervals"
    if "published_spurious" in rows[0]:
        theirs = sum(spurious_verdict(row) == "inside" for row in rows)
        text += f", and {theirs} of Safran and Shamir's spurious shares (of 1,000 runs each)"
    return text + "."


def figure(results: Results) -> Figure:
    """Draw published and our shares against the width, and their difference, for the last dimension."""
    table = _TABLES[results.name]
    name, rows = list(_dimensions(results).items())[-1]
    width = "M" if table.surplus else "K"
    drawn = Figure(figsize=(7, 5.2), layout="constrained")
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    x = np.array([row[width] for row in rows])
    for fate, colour in zip(("global", "local", "none"), (BLUE, ORANGE, GREEN), strict=True):
        _draw_fate(above, below if fate == "global" else None, x, rows, fate, colour)
    if "published_spurious" in rows[0]:
        other = [100 * row["published_spurious"] / SPURIOUS_RUNS for row in rows]
        above.plot(x, other, "^", color=GREY, fillstyle="none", label="spurious, Safran and Shamir")
    above.set_ylabel("% of the starts")
    title = table.title if len(table.dimensions) == 1 else f"{table.title}, {name}"
    above.set_title(title, fontsize=10)
    drawn.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    below.axhline(0, color=GREY, linewidth=0.8)
    below.set_ylabel("global: here − paper")
    below.set_xlabel(f"width {width}")
    below.set_xticks(x)
    for axes in (above, below):
        plain(axes)
    return drawn


def _draw_fate(
    above: Axes, below: Axes | None, x: np.ndarray, rows: list[Row], fate: str, colour: Any
) -> None:
    """One fate's shares, ours with their intervals, and our shares less the paper's."""
    ours = np.array([percent(row[fate], row["starts"]) for row in rows])
    theirs = np.array([row[f"published_{fate}"] for row in rows])
    errors = np.abs(ours[:, 1:] - ours[:, :1]).T
    style = dict(fmt="o", color=colour, capsize=2)
    above.errorbar(x, ours[:, 0], errors, label=f"{fate}, here", **style)
    above.plot(x, theirs, "x--", color=colour, linewidth=0.8, label=f"{fate}, paper")
    if below is not None:
        below.errorbar(x, ours[:, 0] - theirs, errors, **style)
