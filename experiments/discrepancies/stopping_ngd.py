r"""Are the paper's shares of nGD with K = M + 1 those of runs that were stopped (paper, Table 4b)?

As in `stopping`, for students of length 1 in 1,000 dimensions: starts are followed to a grid of times, and a
run is global once its loss is below the paper's threshold for its M. Nothing has loss 0 here, and starts
come down to the lowest levels slowly. Reported are the time T of each published share, and how far all
shares are from the paper's in standard errors if all runs are stopped at one time over K, which is fitted.
(K = M = 2 and 3 of Table 4a, whose starts all learn when they are followed to their ends, and K = M = 17
stand beside it.)

K = 19, M = 17 does not converge, the paper says (Table 2). Reported is which share of starts is not yet at
the loss it ends at, at two times, and drawn against time for K = 17, 18 and 19.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.options import Option, starts
from ..shared.published import TABLE_4A, TABLE_4B, THRESHOLD_4A, THRESHOLDS_4B
from ..shared.results import Results
from ..shared.stops import (
    AWAY,
    StoppedShares,
    fit,
    fit_remark,
    slowness,
    stop_columns,
    stop_numbers,
    stopped_shares,
    z_scores,
)
from ..shared.sweeps import LARGE
from ..shared.tables import Column, Row, fixed, number

OPTIONS = {
    "seeds": starts(quick=256),
    "stops": Option(320, 64, "those that are stopped"),
}
_SLOWNESS = np.geomspace(20, 200, 60)  # T / K
_EARLY = 40  # T / K, about where the shares of gradient descent are stopped
AWAY_COLUMNS = {
    "away_early": f"off its end's loss at T = {_EARLY} K, %",
    "away_common": "off its end's loss at the common T / K, %",
}
"""Headings of the shares of starts that aren't at the loss they end at, by their keys."""


def rows(options) -> Results:
    """Compute the shares at each time, and compare them with the published ones."""
    cases = [("4b", M + 1, M, row, THRESHOLDS_4B.get(M, 0.1)) for M, row in TABLE_4B.items()]
    cases += [("4a", M, M, TABLE_4A[M], THRESHOLD_4A) for M in (2, 3, 17)]
    if options.quick:
        cases = cases[2:3]
    shares = [
        stopped_shares(options, "ngd", K, M, LARGE, below, _SLOWNESS) for _, K, M, _, below in cases
    ]
    z = np.array(
        [z_scores(case[3].global_share, one) for case, one in zip(cases, shares, strict=True)]
    )
    common, numbers = fit(z[[case[0] == "4b" for case in cases]], _SLOWNESS)
    found, away = [], {"slowness": _SLOWNESS}
    for (table, K, M, published, below), one in zip(cases, shares, strict=True):
        row = {"table": table, "K": K, "M": M, "d": LARGE, "threshold": below}
        row |= stop_numbers(published.global_share, one, _SLOWNESS * K, common)
        row["last_z"] = float(z_scores(published.global_share, one)[-1])
        found.append(row | _away(one, common))
        if M == 17:
            away[f"away_{K}"] = one.away
    if not options.quick:
        one = stopped_shares(options, "ngd", 19, 17, LARGE, 0.1, _SLOWNESS)
        size = {"table": "2", "K": 19, "M": 17, "d": LARGE}
        found.append(dict.fromkeys(found[0]) | size | _away(one, common))
        away["away_19"] = one.away
    return Results(found, {"fit": numbers}, away)


def _away(shares: StoppedShares, common: int) -> Row:
    """The share of starts that aren't at the loss they end at, at two times."""
    early = np.abs(_SLOWNESS - _EARLY).argmin()
    return {"away_early": float(shares.away[early]), "away_common": float(shares.away[common])}


def columns(results: Results) -> list[Column]:
    """The stop of each published share, and how many starts are not at the end of their paths."""
    made = [number(name) for name in ("table", "K", "M", "d")]
    made += [number("global if below", "threshold"), *stop_columns()]
    return made + [fixed(heading, key, 1, 100) for key, heading in AWAY_COLUMNS.items()]


def remarks(results: Results) -> str:
    """How well one stop serves for all rows."""
    text = fit_remark(results.facts["fit"], "Table 4b")
    return text[0].upper() + text[1:]


def figure(results: Results) -> Figure:
    """Draw T / K of each row, how far off all are at the common one, and the slow starts at M = 17."""
    rows, arrays = results.rows, results.arrays
    common, full = results.facts["fit"]["slowness"], "away_19" in arrays
    drawn = Figure(figsize=(14 if full else 10, 4), layout="constrained")
    left, right, *more = drawn.subplots(1, 3 if full else 2)
    of_4b = [row for row in rows if row["table"] == "4b"]
    K = [row["K"] for row in of_4b]
    slow = [slowness(row) for row in of_4b]
    left.plot(K, [np.nan if ratio is None else ratio for ratio in slow], "o", color=BLUE)
    left.axhline(common, color=BLUE, linestyle="--", linewidth=0.9)
    left.set_title("T / K of the paper's shares; dashed: common", fontsize=10)
    left.set_ylabel("T / K")
    last = [row["last_z"] for row in of_4b]
    right.plot(K, last, "o", color=ORANGE, fillstyle="none", label="followed to the last time")
    stopped = [row["common_z"] for row in of_4b]
    right.plot(K, stopped, "o", color=BLUE, label="all stopped at the common T / K")
    right.axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
    right.set_ylabel("here − paper, standard errors")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("K = M + 1")
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain(axes)
    for axes in more:
        _draw_away(axes, arrays, common)
    drawn.suptitle("nGD in 1,000 dimensions", fontsize=11)
    return drawn


def _draw_away(axes: Axes, arrays: dict[str, np.ndarray], common: float) -> None:
    """The share of starts that aren't at the loss they end at, against time."""
    for K, colour in zip((17, 18, 19), (ORANGE, BLUE, GREEN), strict=True):
        away = 100 * arrays[f"away_{K}"]
        axes.plot(arrays["slowness"], away, color=colour, label=f"K = {K}, M = 17")
    axes.axvline(common, color=BLUE, linestyle="--", linewidth=0.9)
    axes.set_title(f"more than {AWAY:g} from the loss they end at", fontsize=10)
    axes.set_xlabel("T / K; dashed: common")
    axes.set_ylabel("% of the starts")
    axes.legend(frameon=False, fontsize=8)
    plain(axes)
