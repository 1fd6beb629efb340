r"""How often does each flow reach the global minimum at K = 17, 18 and 19, M = 17 (paper, Table 2)?

GD, 2L-GD (the second layer learns too), nGD (students of length 1) and onGD (orthonormal students). Of nGD
and onGD with K > M nothing has loss 0: the table has the share that ends at the lowest level, and for nGD
with K = M + 1 the one below 0.1, which the paper calls global. Surplus students of 2L-GD come to loss 0 ever
more slowly: the table has the share below 0.01, too, at a minimum or not yet. Students have 1,000
dimensions, but those of onGD have 2M, and those of 2L-GD with K > M, which takes longest, M.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.options import starts
from ..shared.published import TABLE_2, THRESHOLD_4A
from ..shared.results import Results
from ..shared.shares import inside, percent, verdict
from ..shared.sweeps import LARGE, family_counts, swept
from ..shared.tables import Column, Row, number, share

OPTIONS = {"seeds": starts("each", quick=100)}
_DIMENSIONS = {
    "gd": (LARGE, LARGE, LARGE),
    "2l-gd": (LARGE, 17, 17),
    "ngd": (LARGE, LARGE, LARGE),
    "ongd": (34, 34, 34),
}
_LOW = {("ngd", 1): 0.1, ("2l-gd", 1): THRESHOLD_4A, ("2l-gd", 2): THRESHOLD_4A}
"""Below it the paper calls a run global, by flow and K − M."""


def rows(options) -> Results:
    """Count the ends of all starts of each flow and K."""
    M, surplus, flows = 17, (0, 1, 2), list(TABLE_2)
    if options.quick:
        M, surplus, flows = 6, (0,), ["2l-gd"]
    found, sweeps = [], []
    for flow in flows:
        for more in surplus:
            d = None if options.quick else _DIMENSIONS[flow][more]
            runs = swept(options, M + more, M, flow, dimension=d)
            published = TABLE_2[flow][more] if M == 17 else None
            found.append(_row(runs, flow, published))
            size = {"flow": flow, "K": M + more, "M": M, "d": runs.dimension}
            sweeps.append(size | {"families": family_counts(runs)})
    return Results(found, {"sweeps": sweeps})


def _row(runs: ol.Sweep, flow: str, published: float | None) -> Row:
    K, M = runs.problem.students, runs.problem.teachers
    ended = np.isin(runs.outcome, ["global_minimum", "local_minimum"])
    constrained = flow in ("ngd", "ongd") and K > M
    lowest = runs.loss[ended].min(initial=np.inf)
    best = runs.outcome == "global_minimum"
    if constrained:
        best = ended & (runs.loss < lowest + 1e-7)
    below = None
    if (flow, K - M) in _LOW:
        counted = ended if flow == "ngd" else runs.outcome != "local_minimum"
        below = int((counted & (runs.loss < _LOW[flow, K - M])).sum())
    return {
        "flow": flow,
        "K": K,
        "M": M,
        "d": runs.dimension,
        "starts": len(runs),
        "published": published,
        "best": int(best.sum()),
        "below": below,
        "best_loss": float(lowest) if constrained else 0.0,
        "none": int((~ended).sum()),
        "seconds": runs.seconds,
    }


def compared(row: Row) -> int:
    """The count that the paper's share is compared with."""
    return row["best"] if row["below"] is None else row["below"]


def agreement(row: Row) -> str | None:
    """Whether our interval holds the published share, or how far off it is."""
    if row["published"] is None:
        return None
    return verdict(compared(row), row["starts"], row["published"])


def columns(results: Results) -> list[Column]:
    """Published and our shares."""
    return [
        *(number(name) for name in ("flow", "K", "M", "d")),
        number("paper %", "published"),
        share("global or lowest, here % (95 %)", "best"),
        share("below the threshold, here % (95 %)", "below"),
        Column("agreement", agreement),
        number("its loss", "best_loss"),
        share("not converged or saddle %", "none"),
        number("seeds", "starts"),
        number("seconds", digits=4),
    ]


def remarks(results: Results) -> str:
    """How many published shares our intervals hold."""
    return inside([agreement(row) for row in results.rows])


def figure(results: Results) -> Figure:
    """Draw our shares as bars, the published ones as crosses."""
    rows = results.rows
    drawn = Figure(figsize=(7, 3.8), layout="constrained")
    axes = drawn.subplots()
    x = np.arange(len(rows))
    colours = [(BLUE, GREEN, ORANGE)[row["K"] - row["M"]] for row in rows]
    ours = np.array([percent(compared(row), row["starts"]) for row in rows])
    errors = np.abs(ours[:, 1:] - ours[:, :1]).T
    axes.bar(x, ours[:, 0], yerr=errors, color=colours, capsize=2, label="here (95 %)")
    known = [i for i, row in enumerate(rows) if row["published"] is not None]
    axes.plot(
        known, [rows[i]["published"] for i in known], "kx", label="paper (none: not converged)"
    )
    axes.set_xticks(x, [f"{row['flow']}\nK = {row['K']}" for row in rows], fontsize=8)
    axes.set_ylabel("% of the starts")
    drawn.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    plain(axes)
    return drawn
