r"""How does orthonormal gradient descent (onGD) learn with few hidden units (paper, Figure 16)?

Losses of eight starts for K = M = 2, 3, 4 in d = 2M dimensions, and all overlaps R of the first of them,
along the flow with the Euclidean projection. The table has the time to a loss of 1e-3 up to K = M = 10, of
the starts that reach it.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.model.alignment import align

from ..shared.draw import BLUE, GREY, plain
from ..shared.networks import slope
from ..shared.ongd import paths
from ..shared.options import starts
from ..shared.results import Results
from ..shared.shares import interval
from ..shared.tables import Column, Row, number, share

OPTIONS = {"seeds": starts(default=256, quick=32)}
_TIMES = np.concatenate([[0.0], np.geomspace(0.1, 2000, 200)])
_LOSS = 1e-3
_SHOWN = 8


def rows(options) -> Results:
    """Measure the times at which the starts of each width reach a small loss."""
    shown, widths = ((2, 3), (2, 3)) if options.quick else ((2, 3, 4), range(2, 11))
    found, data = [], {}
    for width in widths:
        problem = ol.Problem(width, width)
        path = paths(problem, ol.OrthonormalFlow(), options.seeds, _TIMES, 2 * width)
        found.append(_row(width, np.asarray(path.loss)))
        if width in shown:
            data[f"losses_{width}"] = np.asarray(path.loss[:_SHOWN])
            data[f"R_{width}"] = np.asarray(path.states.R[0])
        print(f"K = M = {width}: done", flush=True)
    return Results(found, {"drawn": list(shown)}, data)


def _row(width: int, losses: np.ndarray) -> Row:
    when = _when(losses)
    low, median, high = np.quantile(when, [0.25, 0.5, 0.75])
    return {
        "K": width,
        "d": 2 * width,
        "starts": len(losses),
        "reached": len(when),
        "quantile_25": float(low),
        "median": float(median),
        "quantile_75": float(high),
        "latest": float(when.max()),
    }


def _when(losses: np.ndarray) -> np.ndarray:
    """Times at which each start's loss (N, T) falls below the threshold; those that reach it only."""
    first = np.argmax(losses < _LOSS, axis=1)
    some = np.flatnonzero(first)
    at = first[some]
    above, below = np.log(losses[some, at - 1]), np.log(np.maximum(losses[some, at], 1e-30))
    between = (above - np.log(_LOSS)) / (above - below)
    return _TIMES[at - 1] + between * (_TIMES[at] - _TIMES[at - 1])


def columns(results: Results) -> list[Column]:
    """How many starts reach the small loss, and when."""
    return [
        number("K = M", "K"),
        *(number(name) for name in ("d", "starts")),
        share("reach 1e-3, % (95 %)", "reached"),
        number("time to it: 25 %", "quantile_25"),
        number("median"),
        number("75 %", "quantile_75"),
        number("latest"),
    ]


def remarks(results: Results) -> str:
    """How the times grow with the width."""
    rows = results.rows
    first, last = rows[0], rows[-1]
    shares = " % and ".join(interval(row["reached"], row["starts"]) for row in (first, last))
    text = (
        f"The median time is {first['median']:.0f} at K = M = {first['K']} and {last['median']:.0f} at "
        f"{last['K']}; {shares} % of the starts reach this loss."
    )
    if len(rows) > 2:
        widths, medians = (np.array([row[key] for row in rows], float) for key in ("K", "median"))
        power, half = slope(widths, medians)
        text += (
            f" Median times grow as K^({power:.2f} ± {half:.2f}) (95 %). The paper has few hidden units "
            "learn and 17 not; what grows with K here is the time, and the share of local minima."
        )
    return text


def figure(results: Results) -> Figure:
    """Draw the losses of some starts above, and the overlaps of one below, a column for each width."""
    shown = results.facts["drawn"]
    drawn = Figure(figsize=(1.2 + 2.9 * len(shown), 5.4), layout="constrained")
    panels = drawn.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
    for (above, below), width in zip(panels.T, shown, strict=True):
        _draw_losses(above, results.arrays[f"losses_{width}"])
        above.set_title(f"K = M = {width}", fontsize=10)
        _draw_overlaps(below, results.arrays[f"R_{width}"])
        plain(above)
        plain(below)
    panels[0, 0].set_ylabel(f"loss of {_SHOWN} starts")
    first = panels[1, 0]
    first.set_ylabel("overlaps R of one start")
    first.plot([], [], color=BLUE, label="with its own teacher")
    first.plot([], [], color=GREY, label="with another")
    handles, labels = first.get_legend_handles_labels()
    drawn.legend(handles, labels, frameon=False, ncols=2, loc="outside lower center")
    return drawn


def _draw_losses(axes: Axes, losses: np.ndarray) -> None:
    axes.plot(_TIMES, np.maximum(losses, 1e-12).T, color=BLUE, linewidth=0.9)
    axes.axhline(_LOSS, color=GREY, linestyle="--", linewidth=0.9)
    axes.set_yscale("log")
    axes.set_ylim(1e-8, 3)


def _draw_overlaps(axes: Axes, R: np.ndarray) -> None:
    """R (T, K, K): those of the pairs at the end, and the others."""
    order, teacher, _ = align(R[-1], np.ones(R.shape[1]))
    own = np.zeros(R.shape[1:], bool)
    own[order, teacher] = True
    axes.plot(_TIMES, R[:, ~own], color=GREY, linewidth=0.8, alpha=0.8)
    axes.plot(_TIMES, R[:, own], color=BLUE, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_xlim(_TIMES[1], 600)
    axes.set_xlabel("time t")
