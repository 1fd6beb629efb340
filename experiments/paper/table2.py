r"""How often does each flow reach the global minimum at K = 17, 18 and 19, M = 17 (paper, Table 2)?

GD, 2L-GD (the second layer learns too), nGD (students of length 1) and onGD (orthonormal students). Of nGD
and onGD with K > M nothing has loss 0: told is the share that ends at the lowest level, and for nGD with K =
M + 1 the one below 0.1, which the paper calls global. Surplus students of 2L-GD come to loss 0 ever more
slowly: told is also the share below 0.01, at a minimum or not yet. Students have 1,000 dimensions, but those
of onGD have 2M, and those of 2L-GD with K > M, which takes longest, M.
"""

import numpy as np
from matplotlib.figure import Figure

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.published import TABLE_2, THRESHOLD_4A
from ..shared.legacy import arguments, report
from ..shared.sweeps import LARGE, family_counts, swept
from ..shared.shares import interval, percent
from ..shared.legacy import inside
from ..shared.shares import verdict

_DIMENSIONS = {
    "gd": (LARGE, LARGE, LARGE),
    "2l-gd": (LARGE, 17, 17),
    "ngd": (LARGE, LARGE, LARGE),
    "ongd": (34, 34, 34),
}
_LOW = {("ngd", 1): 0.1, ("2l-gd", 1): THRESHOLD_4A, ("2l-gd", 2): THRESHOLD_4A}
"""Below it the paper calls a run global, by flow and K − M."""


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "table2",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each (10,000)"),
    )
    M, surplus, flows = 17, (0, 1, 2), TABLE_2
    if args.quick:
        M, surplus, flows, args.seeds = 6, (0,), {"2l-gd": TABLE_2["2l-gd"]}, 100
    rows, found, shares = [], {}, []
    for flow, published in flows.items():
        for more in surplus:
            runs = swept(
                args, M + more, M, flow, dimension=None if args.quick else _DIMENSIONS[flow][more]
            )
            n, ended = len(runs), np.isin(runs.outcome, ["global_minimum", "local_minimum"])
            constrained = flow in ("ngd", "ongd") and more > 0
            lowest = runs.loss[ended].min(initial=np.inf)
            count = int((ended & (runs.loss < lowest + 1e-7)).sum())
            if not constrained:
                count = int((runs.outcome == "global_minimum").sum())
            low = None
            if (flow, more) in _LOW:
                counted = ended if flow == "ngd" else runs.outcome != "local_minimum"
                low = int((counted & (runs.loss < _LOW[flow, more])).sum())
            told = count if low is None else low
            shares.append(percent(told, n))
            theirs = published[more] if M == 17 else None
            rows.append(
                {
                    "flow": flow,
                    "K": M + more,
                    "M": M,
                    "d": runs.dimension,
                    "paper %": theirs,
                    "global or lowest, here % (95 %)": interval(count, n),
                    "below the threshold, here % (95 %)": None if low is None else interval(low, n),
                    "agreement": None if theirs is None else verdict(told, n, theirs),
                    "its loss": float(lowest) if constrained else 0.0,
                    "not converged or saddle %": interval(int((~ended).sum()), n),
                    "seeds": n,
                    "seconds": runs.seconds,
                }
            )
            found[f"{flow}, K = {M + more}, M = {M}, d = {runs.dimension}"] = family_counts(runs)
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(rows))
    colours = [(BLUE, GREEN, ORANGE)[row["K"] - M] for row in rows]
    drawn = np.array(shares)
    errors = np.abs(drawn[:, 1:] - drawn[:, :1]).T
    axes.bar(x, drawn[:, 0], yerr=errors, color=colours, capsize=2, label="here (95 %)")
    known = [i for i, row in enumerate(rows) if row["paper %"] is not None]
    axes.plot(known, [rows[i]["paper %"] for i in known], "kx", label="paper (none: not converged)")
    axes.set_xticks(x, [f"{row['flow']}\nK = {row['K']}" for row in rows], fontsize=8)
    axes.set_ylabel("% of the starts")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    plain(axes)
    report(args, rows, figure, inside(rows), levels=found)


if __name__ == "__main__":
    main()
