r"""How does orthonormal gradient descent (onGD) learn with few hidden units (paper, Figure 16)?

Losses of eight starts for K = M = 2, 3, 4 in d = 2M dimensions, and all overlaps R of the first of them,
along the flow with the Euclidean projection. The table has the time to a loss of 1e-3 up to K = M = 10, of
the starts that get there.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.classify import align

from ..shared.draw import BLUE, GREY, plain
from ..shared.legacy import arguments, report
from ..shared.networks import slope
from ..shared.ongd import paths
from ..shared.shares import interval

_TIMES = np.concatenate([[0.0], np.geomspace(0.1, 2000, 200)])
_LOSS = 1e-3
_SHOWN = 8


def _when(losses: np.ndarray) -> np.ndarray:
    """Times at which each start's loss (N, T) falls below the threshold; those that reach it only."""
    first = np.argmax(losses < _LOSS, axis=1)
    some = np.flatnonzero(first)
    at = first[some]
    above, below = np.log(losses[some, at - 1]), np.log(np.maximum(losses[some, at], 1e-30))
    between = (above - np.log(_LOSS)) / (above - below)
    return _TIMES[at - 1] + between * (_TIMES[at] - _TIMES[at - 1])


def _row(width: int, losses: np.ndarray) -> dict:
    when = _when(losses)
    low, median, high = np.quantile(when, [0.25, 0.5, 0.75])
    return {
        "K = M": width,
        "d": 2 * width,
        "starts": len(losses),
        "reach 1e-3, % (95 %)": interval(len(when), len(losses)),
        "time to it: 25 %": float(low),
        "median": float(median),
        "75 %": float(high),
        "latest": float(when.max()),
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure16",
        __doc__,
        argv,
        seeds=dict(type=int, default=256, metavar="N", help="starts of each (256)"),
    )
    shown, widths = (2, 3, 4), tuple(range(2, 11))
    if args.quick:
        shown, widths, args.seeds = (2, 3), (2, 3), 32
    rows = []
    figure = Figure(figsize=(1.2 + 2.9 * len(shown), 5.4), layout="constrained")
    panels = figure.subplots(2, len(shown), sharex=True, sharey="row")
    for width in widths:
        path = paths(ol.Problem(width, width), ol.OrthonormalFlow(), args.seeds, _TIMES, 2 * width)
        rows.append(_row(width, np.asarray(path.loss)))
        print(f"K = M = {width}: done", flush=True)
        if width not in shown:
            continue
        above, below = panels[:, shown.index(width)]
        above.plot(_TIMES, np.maximum(path.loss[:_SHOWN], 1e-12).T, color=BLUE, linewidth=0.9)
        above.axhline(_LOSS, color=GREY, linestyle="--", linewidth=0.9)
        above.set_yscale("log")
        above.set_ylim(1e-8, 3)
        above.set_title(f"K = M = {width}", fontsize=10)
        R = np.asarray(path.states.R[0])
        order, teacher, _ = align(R[-1], np.ones(width))
        own = np.zeros((width, width), bool)
        own[order, teacher] = True
        below.plot(_TIMES, R[:, ~own], color=GREY, linewidth=0.8, alpha=0.8)
        below.plot(_TIMES, R[:, own], color=BLUE, linewidth=1.4)
        below.set_xscale("log")
        below.set_xlim(_TIMES[1], 600)
        below.set_xlabel("time t")
        plain(above)
        plain(below)
    panels[0, 0].set_ylabel(f"loss of {_SHOWN} starts")
    panels[1, 0].set_ylabel("overlaps R of one start")
    panels[1, 0].plot([], [], color=BLUE, label="with its own teacher")
    panels[1, 0].plot([], [], color=GREY, label="with another")
    figure.legend(
        *panels[1, 0].get_legend_handles_labels(),
        frameon=False,
        ncols=2,
        loc="outside lower center",
    )
    share = "reach 1e-3, % (95 %)"
    first, last = rows[0], rows[-1]
    remarks = (
        f"The median time is {first['median']:.0f} at K = M = {widths[0]} and {last['median']:.0f} at "
        f"{widths[-1]}; {first[share]} % and {last[share]} % of the starts get there."
    )
    if len(rows) > 2:
        power, half = slope(np.array(widths, float), np.array([row["median"] for row in rows]))
        remarks += (
            f" Median times grow as K^({power:.2f} ± {half:.2f}) (95 %). The paper has few hidden units "
            "learn and 17 not; what grows with K here is the time, and the share of local minima."
        )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
