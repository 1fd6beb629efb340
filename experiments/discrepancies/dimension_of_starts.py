r"""In which dimension d of the inputs were the published runs made (paper, Tables 3 and 4)?

Rows of students are N(0, I/d): for d = M they stay in the teachers' span, for larger d they can leave it, and
begin with smaller overlaps. The share of each flow is mapped against d and compared with the published one.
For K = M + 1 nGD has other minima when students can leave the span: K = 3, M = 2 ends above the paper's
threshold of 0.123 for d = M and below it for d > M.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREY, plain
from ..shared.options import starts
from ..shared.published import SAFRAN_SHAMIR, TABLE_3A, TABLE_4A, TABLE_4B, THRESHOLDS_4B
from ..shared.results import Results
from ..shared.shares import percent, verdict
from ..shared.sweeps import LARGE, swept
from ..shared.tables import Cell, Column, Row, number, share

OPTIONS = {"seeds": starts("each", quick=500)}
_CASES = (  # flow, K, M, published share, threshold on the loss
    *(("gd", M, M, TABLE_3A[M].global_share, None) for M in (8, 10, 12)),
    *(("ngd", M, M, TABLE_4A[M].global_share, None) for M in (8, 10, 12)),
    *(("ngd", M + 1, M, TABLE_4B[M].global_share, THRESHOLDS_4B[M]) for M in (2, 3, 4)),
)
_TIMES = (1, 1.25, 1.5, 2, 4)  # dimensions over M
_SPURIOUS_RUNS = 1000  # of Safran and Shamir
_LEVELS = 3  # of the lowest that are listed


def rows(options) -> Results:
    """Count the global ends of each case in each dimension."""
    cases, times = (_CASES[-2:-1], (1, 2)) if options.quick else (_CASES, _TIMES)
    found = []
    for flow, K, M, published, below in cases:
        for d in sorted({round(time * M) for time in times} | {LARGE}):
            runs = swept(options, K, M, flow, dimension=d)
            row = {"flow": flow, "K": K, "M": M, "d": d, "threshold": below}
            row |= {"published_global": published, **_counts(runs, below)}
            row["published_spurious"] = SAFRAN_SHAMIR[M] if flow == "gd" else None
            found.append(row | {"seconds": runs.seconds})
    return Results(found)


def _counts(runs: ol.Sweep, below: float | None) -> Row:
    """Starts that end as global: in the global minimum, or below a loss; and the lowest levels, with the
    share of starts that end there."""
    ended = np.isin(runs.outcome, ["global_minimum", "local_minimum"])
    is_global = runs.outcome == "global_minimum" if below is None else ended & (runs.loss < below)
    lowest = runs.summary().families[:_LEVELS]
    return {
        "global": int(is_global.sum()),
        "starts": len(runs),
        "levels": [[family.loss, family.fraction] for family in lowest],
    }


def columns(results: Results) -> list[Column]:
    """Published and our shares beside each other, and the lowest levels."""
    return [
        *(number(name) for name in ("flow", "K", "M", "d")),
        number("global if below", "threshold"),
        number("paper %", "published_global"),
        share("here % (95 %)", "global"),
        Column("agreement", _verdict),
        Column("Safran, Shamir %", _safran_shamir),
        Column("levels (share %)", _levels),
        number("seeds", "starts"),
        number("seconds"),
    ]


def _verdict(row: Row) -> str:
    return verdict(row["global"], row["starts"], row["published_global"])


def _safran_shamir(row: Row) -> Cell:
    spurious = row["published_spurious"]
    return None if spurious is None else 100 - 100 * spurious / _SPURIOUS_RUNS


def _levels(row: Row) -> Cell:
    return "; ".join(f"{loss:.6f} ({100 * part:.1f})" for loss, part in row["levels"])


def remarks(results: Results) -> str:
    """For which dimensions our intervals hold the published share."""
    inside = {
        f"{row['flow']} K = {row['K']}, M = {row['M']}: d = {row['d']}"
        for row in results.rows
        if _verdict(row) == "inside"
    }
    if not inside:
        return "No published share lies in our intervals."
    return f"The published share lies in our 95 % interval for {'; '.join(sorted(inside))}."


def figure(results: Results) -> Figure:
    """Draw our shares against d / M, a panel for each flow and size, with the published share."""
    cases: dict[tuple, list[Row]] = {}
    for row in results.rows:
        cases.setdefault((row["flow"], row["K"], row["M"]), []).append(row)
    across, down = min(3, len(cases)), -(-len(cases) // 3)
    drawn = Figure(figsize=(8.6, 2.5 * down + 0.6), layout="constrained")
    panels = drawn.subplots(down, across, squeeze=False).flat
    for axes, rows in zip(panels, cases.values(), strict=False):
        _panel(axes, rows)
    return drawn


def _panel(axes: Axes, rows: list[Row]) -> None:
    first = rows[0]
    shares = np.array([percent(row["global"], row["starts"]) for row in rows])
    errors = np.abs(shares[:, 1:] - shares[:, :1]).T
    x = [row["d"] / row["M"] for row in rows]
    axes.errorbar(x, shares[:, 0], errors, fmt="o-", color=BLUE, capsize=2, markersize=4)
    published = first["published_global"]
    axes.axhline(published, color=GREY, linestyle="--", label=f"paper: {published} %")
    axes.set_xscale("log")
    flow = "nGD" if first["flow"] == "ngd" else "GD"
    axes.set_title(f"{flow}, K = {first['K']}, M = {first['M']}", fontsize=9)
    axes.set_xlabel("d / M", fontsize=8)
    axes.set_ylabel("global, %", fontsize=8)
    axes.legend(frameon=False, fontsize=7)
    plain(axes)
