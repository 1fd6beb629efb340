r"""Are the paper's shares those of runs that were stopped before they had ended (Tables 1, 2, 3a and 3b)?

Starts are followed along gradient flow to a grid of times, and sorted at each as the paper says (Appendix G):
global if the loss is below a threshold, else none if the rates of Q and R are above another, else local. The
share of global runs at a time is that of all starts at their ends, less those of the first `--stops` starts
that end there but are not there yet. This is done for students in the teachers' span (d = M) and for
d = 1,000, where they begin almost orthogonal to it (the paper gives no dimension).

Reported are the time T at which the share is the published one, and the threshold on the rates at which the
share of none is. That is a number for each number, so the question is whether one serves for all: T = τ K is
fitted, with one τ for all rows of Tables 3a and 3b, and each row is held against it in standard errors.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.options import Option, starts
from ..shared.published import TABLE_1, TABLE_2, TABLE_3A, TABLE_3B, THRESHOLD_4A
from ..shared.results import Results
from ..shared.stops import (
    StoppedShares,
    fit,
    fit_remark,
    slowness,
    stop_columns,
    stop_numbers,
    stopped_shares,
    z_scores,
)
from ..shared.sweeps import LARGE, dimension_name
from ..shared.tables import Cell, Column, Row, number

OPTIONS = {
    "seeds": starts(quick=256),
    "stops": Option(640, 64, "those that are stopped"),
}
_SLOWNESS = np.geomspace(12, 100, 60)  # T / K
_LOSS = THRESHOLD_4A  # of the tables it is printed for this one only


class _Published(NamedTuple):
    table: str
    K: int
    M: int
    global_share: float  # in percent
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


def rows(options) -> Results:
    """Compute the shares at each time, and compare them with the published ones."""
    wanted, dimensions = _wanted(), (None, LARGE)
    if options.quick:
        wanted, dimensions = [row for row in wanted if row[:2] == ("3b", 9)], (None,)
    found: list[Row] = []
    shares: dict[tuple[str, int, int, int], StoppedShares] = {}
    fits = []
    for dimension in dimensions:
        # 2L-GD takes long, and is followed for d = M alone.
        these = [row for row in wanted if dimension is None or row.flow == "gd"]
        at = {row: (row.flow, row.K, row.M, dimension or row.M) for row in these}
        for key in dict.fromkeys(at.values()):
            if key not in shares:
                shares[key] = stopped_shares(options, *key, below=_LOSS, slowness=_SLOWNESS)
        fitted = [row for row in these if row.table in ("3a", "3b")]
        z = np.array([z_scores(row.global_share, shares[at[row]]) for row in fitted])
        common, numbers = fit(z, _SLOWNESS)
        fits.append({"d": dimension} | numbers)
        found += [
            _row(row, at[row][-1], shares[at[row]], common if row in fitted else None)
            for row in these
        ]
    return Results(found, {"fits": fits}, _curves(shares))


def _row(row: _Published, d: int, shares: StoppedShares, common: int | None) -> Row:
    times = _SLOWNESS * row.K
    numbers = stop_numbers(row.global_share, shares, times, common)
    threshold = stopped_global = stopped_none = None
    if numbers["T"] is not None and row.none is not None:
        at = np.argmin(np.abs(times - numbers["T"]))
        left = shares.loss[:, at] >= _LOSS
        rates = np.sort(shares.rates[left, at])[::-1]
        count = round(row.none / 100 * len(left))  # so many of those that aren't global are none
        threshold = float(rates[min(count, len(rates) - 1)]) if len(rates) else 0.0
        stopped_none = float((rates > threshold).sum()) / len(left)
        stopped_global = float(shares.share[at])
    return {
        "table": row.table,
        "flow": row.flow,
        "K": row.K,
        "M": row.M,
        "d": d,
        **numbers,
        "rates_threshold": threshold,
        "stopped_global": stopped_global,
        "stopped_none": stopped_none,
    }


def _curves(shares: dict[tuple[str, int, int, int], StoppedShares]) -> dict[str, np.ndarray]:
    """Shares and their errors at each time of gradient flow at M = 17, d = M, where they were computed."""
    curves = {"slowness": _SLOWNESS}
    for K in (18, 19):
        if one := shares.get(("gd", K, 17, 17)):
            curves |= {f"share_{K}": one.share, f"error_{K}": one.error}
    return curves


def columns(results: Results) -> list[Column]:
    """The stop of each published share, and the fates there."""
    made = [number(name) for name in ("table", "flow", "K", "M", "d")]
    made += stop_columns()
    made.append(number("threshold on the rates", "rates_threshold"))
    return [*made, Column("local / global / none there, %", _fates)]


def _fates(row: Row) -> Cell:
    if row["stopped_global"] is None:
        return None
    share, none = 100 * row["stopped_global"], 100 * row["stopped_none"]
    return f"{100 - share - none:.1f} / {share:.1f} / {none:.1f}"


def remarks(results: Results) -> str:
    """How well one stop serves for all rows."""
    return " ".join(
        f"{dimension_name(one['d'])}: {fit_remark(one, 'Tables 3a and 3b')}"
        for one in results.facts["fits"]
    )


def figure(results: Results) -> Figure:
    """Draw T / K of each row, how far off all are at the common one, and the different shares at M = 17."""
    rows, arrays = results.rows, results.arrays
    drawn = Figure(figsize=(12.5, 4.3), layout="constrained")
    panels = drawn.subplots(1, 3 if "share_18" in arrays else 2)
    _marks(panels[0], rows, slowness)
    for one, colour in zip(results.facts["fits"], (ORANGE, BLUE), strict=False):
        panels[0].axhline(one["slowness"], color=colour, linestyle="--", linewidth=0.9)
    panels[0].set_title("T / K of the paper's shares; dashed: common", fontsize=10)
    panels[0].set_ylabel("T / K")
    panels[0].legend(frameon=False, fontsize=7)
    _marks(panels[1], rows, lambda row: row["common_z"])
    panels[1].axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
    panels[1].set_title("all stopped at the common T / K", fontsize=10)
    panels[1].set_ylabel("here − paper, standard errors")
    if len(panels) == 3:
        _different(panels[2], rows, arrays)
    for axes in panels:
        plain(axes)
    return drawn


def _name(row: Row) -> str:
    return dimension_name(None if row["d"] == row["M"] else row["d"])


def _marks(axes: Axes, rows: list[Row], value: Any) -> None:
    """A number of each row against K: squares Table 3a, dots Table 3b; a colour for each dimension."""
    for dimension, colour in zip(dict.fromkeys(map(_name, rows)), (ORANGE, BLUE), strict=False):
        for table, mark, filled in (("3a", "s", "none"), ("3b", "o", "full")):
            some = [r for r in rows if (r["table"], _name(r)) == (table, dimension)]
            axes.plot(
                [r["K"] for r in some],
                [np.nan if value(r) is None else value(r) for r in some],
                mark,
                color=colour,
                fillstyle=filled,
                markersize=5,
                label=f"Table {table}, {dimension}",
            )
    axes.set_xlabel("K")


def _different(axes: Axes, rows: list[Row], arrays: dict[str, np.ndarray]) -> None:
    """The paper's different shares at M = 17, on the curves for d = M."""
    for K, colour in ((18, BLUE), (19, GREEN)):
        times, share, error = arrays["slowness"] * K, arrays[f"share_{K}"], arrays[f"error_{K}"]
        axes.plot(times, 100 * share, color=colour, label=f"K = {K}, M = 17 (95 %)")
        low, high = (100 * share + sign * 196 * error for sign in (-1, 1))
        axes.fill_between(times, low, high, color=colour, alpha=0.2)
    for row in rows:
        if (row["flow"], row["M"], row["d"]) != ("gd", 17, 17) or row["K"] == 17 or not row["T"]:
            continue
        # The marks of Table 1 are named above themselves, the others below.
        above = row["table"] == "1"
        at = (row["T"], row["published_global"])
        axes.plot(*at, "x", color=ORANGE)
        axes.annotate(
            f"Table {row['table']}: {row['published_global']} %",
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
