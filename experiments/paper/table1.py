r"""Which families do starts reach with K = 17, 18 and 19 students for M = 17 teachers (paper, Table 1)?

End states of gradient flow are counted by their number α of anti-aligned students (global minima stand as
global, whatever surplus students do in them). For K > M a surplus student is counted with the teacher it
overlaps most with, so that a split anti-aligned student counts twice; `surplus_levels` names each minimum.

The paper gives no dimension: shares are those of students in the teachers' span (d = M), and, beside them,
of students in 1,000 dimensions, who begin almost orthogonal to it.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.options import starts
from ..shared.published import TABLE_1
from ..shared.results import Results
from ..shared.shares import inside, percent, verdict
from ..shared.sweeps import LARGE, dimension_name, family_counts, swept
from ..shared.tables import Cell, Column, Row, fixed, number, share

OPTIONS = {"seeds": starts("each K")}
DIMENSIONS = {"span": None, "large": LARGE}
"""Prefix of a row's keys, by the dimension that `swept` is given."""
ENDS = ("global", *(f"α = {alpha}" for alpha in range(1, 5)), "others")


def rows(options) -> Results:
    """Count the ends of all starts of each K."""
    M, widths, dimensions = 17, (17, 18, 19), DIMENSIONS
    if options.quick:
        M, widths, dimensions = 8, (8,), {"span": None}
    found, sweeps = [], []
    for K in widths:
        published = (*TABLE_1[K], None) if M == 17 else (None,) * 6
        some: list[Row] = [
            {"K": K, "M": M, "end": end, "published": theirs}
            for end, theirs in zip(ENDS, published, strict=True)
        ]
        for prefix, d in dimensions.items():
            runs = swept(options, K, M, dimension=d)
            for row, count in zip(some, _counts(runs), strict=True):
                row["starts"] = len(runs)
                row[f"{prefix}_count"] = count
                row[f"{prefix}_seconds"] = runs.seconds
            size = {"K": K, "M": M, "d": runs.dimension}
            sweeps.append(size | {"families": family_counts(runs)})
        found += some
    return Results(found, {"sweeps": sweeps})


def _counts(runs: ol.Sweep) -> list[int]:
    """How many starts end in each of `ENDS`."""
    minimum = runs.outcome == "local_minimum"
    counts = [int((runs.outcome == "global_minimum").sum())]
    counts += [int((minimum & (runs.anti_aligned == alpha)).sum()) for alpha in range(1, 5)]
    return [*counts, len(runs) - sum(counts)]


def _dimensions(results: Results) -> dict[str, str]:
    """Prefixes of the dimensions that were computed, and their names."""
    first = results.rows[0]
    return {
        prefix: dimension_name(d) for prefix, d in DIMENSIONS.items() if f"{prefix}_count" in first
    }


def agreement(row: Row, prefix: str) -> str | None:
    """Whether our interval holds the published share, or how far off it is."""
    if row["published"] is None:
        return None
    return verdict(row[f"{prefix}_count"], row["starts"], row["published"])


def columns(results: Results) -> list[Column]:
    """Published shares, and ours for each dimension."""
    made = [number("K"), number("M"), number("end"), number("paper %", "published")]
    for prefix, name in _dimensions(results).items():

        def of(row: Row, prefix: str = prefix) -> Cell:
            return agreement(row, prefix)

        made.append(share(f"{name}: here % (95 %)", f"{prefix}_count"))
        made.append(Column(f"{name}: agreement", of))
        made.append(fixed(f"{name}: seconds", f"{prefix}_seconds", 1))
    return [*made, number("seeds", "starts")]


def remarks(results: Results) -> str:
    """How many published shares our intervals hold, for each dimension."""
    return " ".join(
        f"{name}: {inside([agreement(row, prefix) for row in results.rows])}"
        for prefix, name in _dimensions(results).items()
    )


def figure(results: Results) -> Figure:
    """Draw our shares as bars, the published ones as crosses, a panel for each K."""
    widths = list(dict.fromkeys(row["K"] for row in results.rows))
    drawn = Figure(figsize=(8, 3.6), layout="constrained")
    panels = drawn.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, K, colour in zip(panels, widths, (BLUE, GREEN, ORANGE), strict=False):
        some = [row for row in results.rows if row["K"] == K]
        _bars(axes, some, _dimensions(results), colour)
        axes.set_title(f"K = {K}, M = {some[0]['M']}", fontsize=10)
    panels[0].set_ylabel("% of the starts")
    return drawn


def _bars(axes: Axes, rows: list[Row], dimensions: dict[str, str], colour: str) -> None:
    x = np.arange(len(rows))
    for at, (prefix, name) in zip((-0.2, 0.2), dimensions.items(), strict=False):
        filled = prefix == "span"
        style = dict(color=colour) if filled else dict(color="white", edgecolor=colour)
        ours = np.array([percent(row[f"{prefix}_count"], row["starts"]) for row in rows])
        errors = np.abs(ours[:, 1:] - ours[:, :1]).T
        axes.bar(x + at, ours[:, 0], 0.4, yerr=errors, capsize=2, label=f"{name} (95 %)", **style)
    known = [i for i, row in enumerate(rows) if row["published"] is not None]
    axes.plot(known, [rows[i]["published"] for i in known], "kx", markersize=7, label="paper")
    axes.set_xticks(x, [row["end"] for row in rows], rotation=60, fontsize=8)
    axes.legend(frameon=False, fontsize=8)
    plain(axes)
