r"""Are the paper's shares for K > M those of runs that were stopped before they had ended (Tables 1, 2, 3b)?

Starts are followed along gradient flow to a grid of times, and sorted at each as the paper says (Appendix G):
global if the loss is below a threshold, else none if the rates of Q and R are above another, else local.
Told are the time T at which the share of global runs is the published one, and the threshold on the rates
at which the share of none is: two numbers for the two shares of a row; the question is whether they are
the same, and plausible, in all rows. (The paper prints neither for gradient flow, and says of nGD that
thresholds were chosen by eye, for each width.)
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ._draw import plain
from ._published import TABLE_1, TABLE_2, TABLE_3A, TABLE_3B, THRESHOLD_4A
from ._report import BLUE, GREEN, ORANGE, arguments, report
from ._stops import Stops, stopped

_TIMES = np.geomspace(100, 4000, 60)
_LOSS = THRESHOLD_4A  # of the tables it is printed for this one only


def _rows_wanted() -> list[tuple[str, int, int, float, float | None]]:
    """Of what table, K, M, share of global and of none in percent."""
    wanted = [("3a", M, M, TABLE_3A[M].world, TABLE_3A[M].none) for M in (8, 10, 12, 17)]
    wanted += [("3b", M + 1, M, row.world, row.none) for M, row in TABLE_3B.items()]
    for K, column in ((18, 1), (19, 2)):
        wanted.append(("1", K, 17, TABLE_1[K][0], None))
        wanted.append(("2", K, 17, TABLE_2["gd"][column], None))
    return wanted


def _time(share: np.ndarray, wanted: float) -> float | None:
    """When a share that grows reaches the wanted one, if it does."""
    above = np.flatnonzero(share >= wanted)
    if not len(above) or above[0] == 0:
        return None
    at = above[0]
    return float(np.interp(wanted, share[at - 1 : at + 1], _TIMES[at - 1 : at + 1]))


def _row(table: str, K: int, M: int, world: float, none: float | None, seen: Stops) -> dict:
    n = len(seen.loss)
    share = (seen.loss < _LOSS).mean(axis=0)
    error = np.sqrt(share * (1 - share) / n)
    stop = _time(share, world / 100)
    at = np.argmin(np.abs(_TIMES - stop)) if stop else None
    threshold = told = None
    if at is not None and none is not None:
        rates = np.sort(np.where(seen.loss[:, at] < _LOSS, 0.0, seen.rates[:, at]))[::-1]
        # So many of the runs that aren't global are none.
        threshold = float(rates[min(n - 1, round(none / 100 * n))])
        told = "{:.1f} / {:.1f} / {:.1f}".format(*100 * seen.shares(_LOSS, threshold)[:, at])
    return {
        "table": table,
        "K": K,
        "M": M,
        "starts": n,
        "global: paper %": world,
        "none: paper %": none,
        "global at t = 4,000, %": round(100 * float(share[-1]), 2),
        "T of the paper's share": stop and round(stop, 1),
        "from": _time(share + 1.96 * error, world / 100),
        "to": _time(share - 1.96 * error, world / 100),
        "threshold on the rates": threshold,
        "local / global / none there, %": told,
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "stopping",
        __doc__,
        argv,
        seeds=dict(type=int, default=1000, metavar="N", help="starts of each (1,000)"),
    )
    wanted = _rows_wanted()
    if args.quick:
        wanted, args.seeds = [row for row in wanted if row[:2] == ("3b", 9)], 128
    seen: dict[tuple[int, int], Stops] = {}
    for _, K, M, *_ in wanted:
        if (K, M) not in seen:
            seen[K, M] = stopped(ol.Problem(K, M), ol.GradientFlow(), args.seeds, _TIMES)
            print(f"K = {K}, M = {M}: done", flush=True)
    rows = [_row(table, K, M, world, none, seen[K, M]) for table, K, M, world, none in wanted]
    figure = Figure(figsize=(8.8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown = [(K, M) for K, M in seen if K == M + 1]
    for (K, M), shade in zip(shown, np.linspace(0.15, 1, len(shown)), strict=True):
        share = 100 * (seen[K, M].loss < _LOSS).mean(axis=0)
        left.plot(_TIMES, share, color=BLUE, alpha=shade, linewidth=1.2)
        if share[-1] < 99.5:  # the others lie on each other
            name = f" M = {M}"
            left.annotate(name, (_TIMES[-1], share[-1]), fontsize=7, color="0.3", va="center")
    found = [r for r in rows if r["table"] == "3b" and r["T of the paper's share"]]
    left.plot(
        [r["T of the paper's share"] for r in found],
        [r["global: paper %"] for r in found],
        "x",
        color=ORANGE,
        label="paper, Table 3b",
    )
    left.set_title("K = M + 1: global if stopped at T", fontsize=10)
    for K, colour in ((18, BLUE), (19, GREEN)):
        if (K, 17) not in seen:
            continue
        share = 100 * (seen[K, 17].loss < _LOSS).mean(axis=0)
        error = 196 * np.sqrt(share * (100 - share) / args.seeds) / 100
        right.plot(_TIMES, share, color=colour, label=f"K = {K}, M = 17 (95 %)")
        right.fill_between(_TIMES, share - error, share + error, color=colour, alpha=0.2)
    different = [r for r in rows if r["M"] == 17 and r["K"] > 17 and r["T of the paper's share"]]
    for row in different:
        # The marks of Table 1 are named above themselves, the others below.
        above = row["table"] == "1"
        at = (row["T of the paper's share"], row["global: paper %"])
        right.plot(*at, "x", color=ORANGE)
        right.annotate(
            f"Table {row['table']}: {row['global: paper %']} %",
            at,
            (-4 if above else 4, 4 if above else -4),
            textcoords="offset points",
            fontsize=7,
            ha="right" if above else "left",
            va="bottom" if above else "top",
        )
    right.set_title("M = 17: the paper's different shares", fontsize=10)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("time T of the stop")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, loc="lower right")
        plain(axes)
    left.set_ylabel(f"% of the starts with loss below {_LOSS:g}")
    times = [r["T of the paper's share"] for r in rows if r["T of the paper's share"]]
    remarks = (
        f"{len(times)} of {len(rows)} published global shares would be those of a stop, at T from "
        f"{min(times):.0f} to {max(times):.0f}. A time is fitted to each share: what it says is whether the "
        "times are alike."
        if times
        else "No published share is that of a stop."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
