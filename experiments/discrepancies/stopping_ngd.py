r"""Are the paper's shares of nGD with K = M + 1 those of runs that were stopped (paper, Table 4b)?

As in `stopping`, for students of length 1 in 1,000 dimensions: starts are followed to a grid of times, and a
run is global once its loss is below the paper's threshold for its M. Nothing has loss 0 here, and starts
come down to the lowest levels slowly. Told are the time T of each published share, and how far all shares
are from the paper's in standard errors if all runs are stopped at one time over K, which is fitted. (K = M =
2 and 3 of Table 4a, whose starts all learn when they are followed to their ends, and K = M = 17 are told
beside it.)

K = 19, M = 17 does not converge, the paper says (Table 2). Told is which share of starts is not yet at the
loss it ends at, at two times, and drawn against time for K = 17, 18 and 19.
"""

import numpy as np
from matplotlib.figure import Figure

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.published import TABLE_4A, TABLE_4B, THRESHOLD_4A, THRESHOLDS_4B
from ..shared.legacy import arguments, report
from ..shared.stops import AWAY, Seen, apart, see, told
from ..shared.sweeps import LARGE

_SLOWNESS = np.geomspace(20, 200, 60)  # T / K
_EARLY = 40  # T / K, about where the shares of gradient descent are stopped


def _away(seen: Seen, common: int) -> dict:
    """The share of starts that aren't at the loss they end at, at two times."""
    at = {f"T = {_EARLY} K": np.abs(_SLOWNESS - _EARLY).argmin(), "the common T / K": common}
    return {
        f"off its end's loss at {name}, %": round(100 * float(seen.away[i]), 1)
        for name, i in at.items()
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "stopping_ngd",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each (10,000)"),
        stops=dict(type=int, default=320, metavar="N", help="those that are stopped (320)"),
    )
    cases = [("4b", M + 1, M, row, THRESHOLDS_4B.get(M, 0.1)) for M, row in TABLE_4B.items()]
    cases += [("4a", M, M, TABLE_4A[M], THRESHOLD_4A) for M in (2, 3, 17)]
    if args.quick:
        cases, args.seeds, args.stops = cases[2:3], 256, 64
    seen = [see(args, "ngd", K, M, LARGE, below, _SLOWNESS) for _, K, M, _, below in cases]
    off = np.array(
        [apart(row.global_share, one) for (_, _, _, row, _), one in zip(cases, seen, strict=True)]
    )
    fitted = np.array([table == "4b" for table, *_ in cases])
    misfit = (off[fitted] ** 2).mean(axis=0)
    common = int(np.argmin(misfit))
    rows = []
    for (table, K, M, row, below), one in zip(cases, seen, strict=True):
        what = {"table": table, "K": K, "M": M, "d": LARGE, "global if below": below}
        rows.append(what | told(row.global_share, one, _SLOWNESS * K, K, common) | _away(one, common))
    of_17 = {}
    if not args.quick:
        of_17 = {K: one for (_, K, M, _, _), one in zip(cases, seen, strict=True) if M == 17}
        of_17[19] = see(args, "ngd", 19, 17, LARGE, 0.1, _SLOWNESS)
        what = {"table": "2", "K": 19, "M": 17, "d": LARGE}
        rows.append(dict.fromkeys(rows[0]) | what | _away(of_17[19], common))
    good = int((np.abs(off[fitted, common]) <= 2).sum())
    remarks = (
        f"Stopped at T = {_SLOWNESS[common]:.0f} K, all of them, {good} of {fitted.sum()} shares of Table 4b "
        f"are within 2 standard errors (mean square {misfit[common]:.1f}); followed to the last time "
        f"{int((np.abs(off[fitted, -1]) <= 2).sum())} (mean square {misfit[-1]:.0f})."
    )
    figure = Figure(figsize=(14 if of_17 else 10, 4), layout="constrained")
    left, right, *more = figure.subplots(1, 3 if of_17 else 2)
    of_4b = [row for row in rows if row["table"] == "4b"]
    K = [row["K"] for row in of_4b]
    left.plot(
        K, [np.nan if row["T / K"] is None else row["T / K"] for row in of_4b], "o", color=BLUE
    )
    left.axhline(_SLOWNESS[common], color=BLUE, linestyle="--", linewidth=0.9)
    left.set_title("T / K of the paper's shares; dashed: common", fontsize=10)
    left.set_ylabel("T / K")
    ends = off[fitted, -1]
    right.plot(K, ends, "o", color=ORANGE, fillstyle="none", label="followed to the last time")
    right.plot(K, off[fitted, common], "o", color=BLUE, label="all stopped at the common T / K")
    right.axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
    right.set_ylabel("here − paper, standard errors")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("K = M + 1")
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain(axes)
    for axes in more:
        for K, colour in zip((17, 18, 19), (ORANGE, BLUE, GREEN), strict=True):
            axes.plot(_SLOWNESS, 100 * of_17[K].away, color=colour, label=f"K = {K}, M = 17")
        axes.axvline(_SLOWNESS[common], color=BLUE, linestyle="--", linewidth=0.9)
        axes.set_title(f"more than {AWAY:g} from the loss they end at", fontsize=10)
        axes.set_xlabel("T / K; dashed: common")
        axes.set_ylabel("% of the starts")
        axes.legend(frameon=False, fontsize=8)
        plain(axes)
    figure.suptitle("nGD in 1,000 dimensions", fontsize=11)
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
