r"""Are the paper's shares those of runs that were stopped before they had ended (Tables 1, 2, 3a and 3b)?

Starts are followed along gradient flow to a grid of times, and sorted at each as the paper says (Appendix G):
global if the loss is below a threshold, else none if the rates of Q and R are above another, else local. The
share of global runs at a time is that of all starts at their ends, less those of the first `--stops` starts
that end there but are not there yet. This is done for students in the teachers' span (d = M) and for
d = 1,000, where they begin almost orthogonal to it (the paper gives no dimension).

Told are the time T at which the share is the published one, and the threshold on the rates at which the
share of none is. That is a number for each number, so the question is whether one serves for all: T = τ K is
fitted, with one τ for all rows of Tables 3a and 3b, and each row is held against it in standard errors.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.published import TABLE_1, TABLE_2, TABLE_3A, TABLE_3B, THRESHOLD_4A
from ..shared.legacy import arguments, report
from ..shared.stops import Seen, apart, reached, see, told
from ..shared.sweeps import LARGE, dimension_name

_SLOWNESS = np.geomspace(12, 100, 60)  # T / K
_LOSS = THRESHOLD_4A  # of the tables it is printed for this one only


class _Published(NamedTuple):
    table: str
    K: int
    M: int
    world: float  # global, in percent
    none: float | None
    flow: str = "gd"


def _wanted() -> list[_Published]:
    rows = [_Published("3a", M, M, row.global_share, row.none) for M, row in TABLE_3A.items()]
    rows += [_Published("3b", M + 1, M, row.global_share, row.none) for M, row in TABLE_3B.items()]
    for K, column in ((18, 1), (19, 2)):
        rows.append(_Published("1", K, 17, TABLE_1[K][0], None))
        rows.append(_Published("2", K, 17, TABLE_2["gd"][column], None))
        rows.append(_Published("2", K, 17, TABLE_2["2l-gd"][column], None, "2l-gd"))
    return rows


def _row(row: _Published, d: int, seen: Seen, common: int | None) -> dict:
    times, p = _SLOWNESS * row.K, row.global_share / 100
    T = reached(seen.share, p, times)
    threshold = fates = None
    if T is not None and row.none is not None:
        at = np.argmin(np.abs(times - T))
        left = seen.loss[:, at] >= _LOSS
        rates = np.sort(seen.rates[left, at])[::-1]
        count = round(row.none / 100 * len(left))  # so many of those that aren't global are none
        threshold = float(rates[min(count, len(rates) - 1)]) if len(rates) else 0.0
        none = 100 * float((rates > threshold).sum()) / len(left)
        world = 100 * float(seen.share[at])
        fates = f"{100 - world - none:.1f} / {world:.1f} / {none:.1f}"
    return {
        "table": row.table,
        "flow": row.flow,
        "K": row.K,
        "M": row.M,
        "d": d,
        **told(row.global_share, seen, times, row.K, common),
        "threshold on the rates": threshold,
        "local / global / none there, %": fates,
    }


def _marks(axes: Axes, rows: list[dict], column: str) -> None:
    """A column against K: squares Table 3a, dots Table 3b; a colour for each dimension."""
    for dimension, colour in zip(dict.fromkeys(map(_name, rows)), (ORANGE, BLUE), strict=False):
        for table, mark, filled in (("3a", "s", "none"), ("3b", "o", "full")):
            some = [r for r in rows if (r["table"], _name(r)) == (table, dimension)]
            axes.plot(
                [r["K"] for r in some],
                [np.nan if r[column] is None else r[column] for r in some],
                mark,
                color=colour,
                fillstyle=filled,
                markersize=5,
                label=f"Table {table}, {dimension}",
            )
    axes.set_xlabel("K")


def _different(axes: Axes, rows: list[dict], seen: dict[tuple, Seen]) -> None:
    """The paper's different shares at M = 17, on the curves for d = M."""
    for K, colour in ((18, BLUE), (19, GREEN)):
        one, times = seen["gd", K, 17, 17], _SLOWNESS * K
        axes.plot(times, 100 * one.share, color=colour, label=f"K = {K}, M = 17 (95 %)")
        low, high = (100 * one.share + sign * 196 * one.error for sign in (-1, 1))
        axes.fill_between(times, low, high, color=colour, alpha=0.2)
    for row in rows:
        if (row["flow"], row["M"], row["d"]) != ("gd", 17, 17) or row["K"] == 17:
            continue
        if not row["T of the paper's share"]:
            continue
        # The marks of Table 1 are named above themselves, the others below.
        above = row["table"] == "1"
        at = (row["T of the paper's share"], row["global: paper %"])
        axes.plot(*at, "x", color=ORANGE)
        axes.annotate(
            f"Table {row['table']}: {row['global: paper %']} %",
            at,
            (-4 if above else 4, 4 if above else -4),
            textcoords="offset points",
            fontsize=7,
            ha="right" if above else "left",
            va="bottom" if above else "top",
        )
    axes.legend(frameon=False, fontsize=7, loc="lower right")
    axes.set_xscale("log")
    axes.set_xticks([250, 500, 1000, 2000], ["250", "500", "1,000", "2,000"])
    axes.minorticks_off()
    axes.set_title("M = 17: the paper's different shares", fontsize=10)
    axes.set_xlabel("time T of the stop (d = M)")
    axes.set_ylabel(f"% of the starts with loss below {_LOSS:g}")


def _name(row: dict) -> str:
    return dimension_name(None if row["d"] == row["M"] else row["d"])


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "stopping",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each (10,000)"),
        stops=dict(type=int, default=640, metavar="N", help="those that are stopped (640)"),
    )
    wanted, dimensions = _wanted(), (None, LARGE)
    if args.quick:
        wanted, dimensions = [row for row in wanted if row[:2] == ("3b", 9)], (None,)
        args.seeds, args.stops = 256, 64
    rows: list[dict] = []
    seen: dict[tuple[str, int, int, int], Seen] = {}
    fits: dict[str, float] = {}
    remarks = []
    for dimension in dimensions:
        # 2L-GD takes long, and is followed for d = M alone.
        these = [row for row in wanted if dimension is None or row.flow == "gd"]
        at = {row: (row.flow, row.K, row.M, dimension or row.M) for row in these}
        for key in dict.fromkeys(at.values()):
            if key not in seen:
                seen[key] = see(args, *key, below=_LOSS, slowness=_SLOWNESS)
        fitted = [row for row in these if row.table in ("3a", "3b")]
        off = np.array([apart(row.global_share, seen[at[row]]) for row in fitted])
        misfit = (off**2).mean(axis=0)
        common = int(np.argmin(misfit))
        some = [
            _row(row, at[row][-1], seen[at[row]], common if row in fitted else None)
            for row in these
        ]
        rows += some
        name = _name(some[0])
        fits[name] = float(_SLOWNESS[common])
        good = int((np.abs(off[:, common]) <= 2).sum())
        remarks.append(
            f"{name}: stopped at T = {fits[name]:.0f} K, all of them, {good} of {len(fitted)} shares of "
            f"Tables 3a and 3b are within 2 standard errors (mean square {misfit[common]:.1f}); followed to "
            f"the last time {int((np.abs(off[:, -1]) <= 2).sum())} (mean square {misfit[-1]:.0f})."
        )
    figure = Figure(figsize=(12.5, 4.3), layout="constrained")
    panels = figure.subplots(1, 2 if args.quick else 3)
    _marks(panels[0], rows, "T / K")
    for common_time, colour in zip(fits.values(), (ORANGE, BLUE), strict=False):
        panels[0].axhline(common_time, color=colour, linestyle="--", linewidth=0.9)
    panels[0].set_title("T / K of the paper's shares; dashed: common", fontsize=10)
    panels[0].set_ylabel("T / K")
    panels[0].legend(frameon=False, fontsize=7)
    _marks(panels[1], rows, "off, SE")
    panels[1].axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
    panels[1].set_title("all stopped at the common T / K", fontsize=10)
    panels[1].set_ylabel("here − paper, standard errors")
    if not args.quick:
        _different(panels[2], rows, seen)
    for axes in panels:
        plain(axes)
    report(args, rows, figure, " ".join(remarks))


if __name__ == "__main__":
    main()
