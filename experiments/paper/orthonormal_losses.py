r"""At which losses does orthonormal gradient descent (onGD) end (paper, Figures 17 and 18)?

K = M above, K = M + 1 below, in d = 2M dimensions, a column for each M.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..shared.draw import plain
from ..shared.ongd import (
    COLOURS,
    END,
    HORIZONTAL,
    LABELS,
    LEARNED,
    endings,
    loss_columns,
    loss_row,
)
from ..shared.options import starts
from ..shared.results import Results
from ..shared.tables import Column, Row

DOCS = {
    "figure17": """\
At which losses does orthonormal gradient descent (onGD) end for few hidden units (paper, Figure 17)?

K = M above, K = M + 1 below, M = 2 … 6, in d = 2M dimensions. Each panel has the losses of the same starts
at the ends of their paths (certified), at a stop at t = 30, and stationary under the horizontal projection
G − GWᵀW, which never turns the students within their span (`orthonormal_endings`). The first are quantised,
the others are not. `figure18` is the same for more hidden units.
""",
    "figure18": """\
At which losses does orthonormal gradient descent (onGD) end for many hidden units (paper, Figure 18)?

As `figure17`, for M = 8 … 17.
""",
}
OPTIONS = {"seeds": starts("each K and M", default=1000, quick=64)}
_TEACHERS = {"figure17": (2, 3, 4, 5, 6), "figure18": (8, 10, 12, 14, 17)}
_QUICK_SURPLUS = {"figure17": 0, "figure18": 1}
_STOP = 30.0
_WHERE = (END, f"t = {_STOP:g}", HORIZONTAL)
_KEYS = dict(zip(_WHERE, ("end", "stop", "horizontal"), strict=True))
_SHADE = 0.5
_LEFT_EDGE = 5e-4  # losses below it share the first bar


def rows(options) -> Results:
    """Compute the losses of the same starts in three places, for each K and M."""
    teachers, surplus = _TEACHERS[options.name], (0, 1)
    if options.quick:
        teachers, surplus = (5,), (_QUICK_SURPLUS[options.name],)
    found, losses = [], {}
    for more in surplus:
        for M in teachers:
            some = endings(options, M + more, M, (_STOP,))
            # Where nothing has loss 0, the best is the lowest loss that a start ends at.
            below = LEARNED + (some.runs.loss.min() if more else 0)
            for where in _WHERE:
                found.append(loss_row(some.runs, where, some.loss[where], below))
                losses[f"{_KEYS[where]}_{M + more}_{M}"] = some.loss[where]
            print(f"K = {M + more}, M = {M}: done", flush=True)
    return Results(found, data=losses)


def columns(results: Results) -> list[Column]:
    """Quantiles of the losses, and the share that is as low as can be."""
    return loss_columns()


def figure(results: Results) -> Figure:
    """Draw the distributions of losses: a column for each M, a row for each K − M."""
    sizes = list(dict.fromkeys((row["K"], row["M"]) for row in results.rows))
    teachers = list(dict.fromkeys(M for _, M in sizes))
    surplus = list(dict.fromkeys(K - M for K, M in sizes))
    shape = len(surplus), len(teachers)
    size = 1.8 + 2.3 * len(teachers), 0.8 + 2.3 * len(surplus)
    drawn = Figure(figsize=size, layout="constrained")
    panels = drawn.subplots(*shape, sharex="row", sharey=True, squeeze=False)
    for more, line in zip(surplus, panels, strict=True):
        losses = [
            {where: results.arrays[f"{_KEYS[where]}_{M + more}_{M}"] for where in _WHERE}
            for M in teachers
        ]
        everything = np.concatenate([values for one in losses for values in one.values()])
        edges = np.geomspace(max(_LEFT_EDGE, 0.8 * everything.min()), 1.2 * everything.max(), 91)
        zero = " (0 is at the left end)" if edges[0] == _LEFT_EDGE else ""
        for axes, M, one in zip(line, teachers, losses, strict=True):
            _distributions(axes, one, edges)
            axes.set_ylim(0.5 / results.options["seeds"], 1.5)
            axes.set_title(f"K = {M + more}, M = {M}", fontsize=10)
            axes.set_xlabel(f"loss{zero}")
        line[0].set_ylabel("share of the starts")
    patches = [
        Patch(fc=(COLOURS[where], _SHADE), ec=COLOURS[where], label=LABELS[where])
        for where in _WHERE
    ]
    drawn.legend(handles=patches, frameon=False, loc="outside upper center", ncols=len(_WHERE))
    return drawn


def _distributions(axes: Axes, losses: dict[str, np.ndarray], edges: np.ndarray) -> None:
    for where in reversed(_WHERE):  # the end, a few bars, above the others
        values = np.maximum(losses[where], edges[0])
        weights = np.full(len(values), 1 / len(values))
        style = dict(histtype="stepfilled", edgecolor=COLOURS[where], linewidth=1)
        axes.hist(values, edges, weights=weights, fc=(COLOURS[where], _SHADE), **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain(axes)


def remarks(results: Results) -> str:
    """Whether losses are quantised, and how many starts learn."""
    rows = results.rows
    parts = [_remark(where, [row for row in rows if row["where"] == where]) for where in _WHERE]
    lowest = [f"{row['lowest']:.6f}" for row in rows if row["where"] == END and row["K"] > row["M"]]
    surplus = f" The lowest levels for K = M + 1 are {', '.join(lowest)}." if lowest else ""
    return (
        f"Of {rows[0]['starts']:,} starts, in the order of M. {'. '.join(parts)}.{surplus} The paper reports "
        "a continuum, and no learning: not so at the end of the paths."
    )


def _remark(where: str, rows: list[Row]) -> str:
    label = LABELS[where]
    counts = [row["distinct"] for row in rows]
    text = f"{label[0].upper() + label[1:]}: distinct losses {_between(counts)}"
    for more, words in ((0, "learn for K = M"), (1, "at the lowest level for K = M + 1")):
        shares = [
            f"{100 * row['below'] / row['starts']:.2f}"
            for row in rows
            if row["K"] - row["M"] == more
        ]
        text += f"; {', '.join(shares)} % {words}" if shares else ""
    return text


def _between(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
