"""How many anti-aligned students can a minimum have, and how few a hidden one?

At each width K = M the families with whole α are bisected for the largest stable one on the compensated
branch (and the smallest on the hidden one); from there the branch is followed in real α to where it ends as a
minimum: a Hessian eigenvalue passes 0, or the branch folds back. The limit of α/K is fitted in powers of
K^(−1/2); its uncertainty is how far it moves when the order of the fit or the narrowest width changes.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number

OPTIONS = {
    "widest": Option(1e6, 200.0, "widest network", "K"),
    "points": Option(25, 5, "number of widths"),
}
_WIDE = 300  # the limit is fitted to wider networks


class _Branch(NamedTuple):
    """Which α of a branch is searched for, and how it is drawn."""

    name: str
    extreme: str
    colour: str


_BRANCHES = (_Branch("compensated", "largest", BLUE), _Branch("hidden", "smallest", ORANGE))


def rows(options) -> Results:
    """Locate the ends of both branches at each width, and fit their limits."""
    found: list[Row] = []
    for K in np.unique(np.round(np.geomspace(10, options.widest, options.points)).astype(int)):
        some = _rows(int(K))
        found += some
        ends = ", ".join(f"{row['branch']} α = {row['anti_aligned']:.6f}" for row in some)
        print(f"K = {K}: {ends}", flush=True)
    return Results(found, {"limits": limits(found)})


def _rows(K: int) -> list[Row]:
    found = []
    for branch, good, bad in (("compensated", 1, K - 2), ("hidden", K - 2, 2)):
        if _minimum(K, good, branch) is None:
            continue
        place, whole = _edge(K, branch, good, bad)
        if place is not None:
            found.append(
                {
                    "K": K,
                    "branch": branch,
                    "last_whole": whole,
                    "anti_aligned": place.value,
                    "ends_by": place.event if place.event == "fold" else place.component,
                    "loss": place.loss,
                }
            )
    return found


def _minimum(K: int, alpha: int, branch: str) -> ol.FixedPoint | None:
    """The family, if it exists and is a minimum."""
    problem = ol.Problem(K, K)
    try:
        point = ol.fixed_point(problem, ol.family(problem, alpha, branch))
    except ValueError:
        return None
    return point if ol.spectrum(problem, point).verdict == "stable" else None


def _edge(K: int, branch: str, good: int, bad: int) -> tuple[ol.BranchPoint | None, int]:
    """Where the minima of a branch end in real α, between a stable α and one that is not; and the last
    whole α before."""
    while abs(bad - good) > 1:
        middle = (good + bad) // 2
        if _minimum(K, middle, branch) is None:
            bad = middle
        else:
            good = middle
    problem, point = ol.Problem(K, K), _minimum(K, good, branch)
    if point is None:
        raise ArithmeticError(f"K = {K}: the {branch} family with α = {good} is no minimum")
    # Families are followed from far away, which stops a little short of a fold: hence a little further.
    stop = good + (3.0 + 1e-4 * K) * np.sign(bad - good)
    for place in ol.continue_family(problem, point, "anti_aligned", float(stop), step=0.02):
        if place.event in ("stability", "fold"):
            return place, good
    return None, good


def limits(rows: list[Row]) -> dict[str, list[float]]:
    """The limit of α / K of each branch and its uncertainty, if there are wide networks enough."""
    found = {}
    for branch in _BRANCHES:
        part = [
            row
            for row in rows
            if row["branch"] == branch.name and row["ends_by"] == "fold" and row["K"] > _WIDE
        ]
        if len(part) > 4:
            K = np.array([row["K"] for row in part], float)
            share = np.array([_share(row) for row in part])
            found[branch.name] = list(_limit(K, share))
    return found


def _limit(K: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    """The constant of a polynomial in K^(−1/2), and its spread over orders and narrowest widths."""
    values = [
        np.polyfit(K[start:] ** -0.5, share[start:], order)[-1]
        for order in (2, 3)
        for start in range(max(len(K) - order - 1, 1))
    ]
    best = np.polyfit(K**-0.5, share, 3 if len(K) > 5 else 1)[-1]
    return float(best), float(np.ptp(values)) / 2


def _share(row: Row) -> float:
    return row["anti_aligned"] / row["K"]


def columns(results: Results) -> list[Column]:
    """Where the minima of each branch end."""
    return [
        number("K"),
        number("branch"),
        number("last whole α", "last_whole"),
        number("α", "anti_aligned"),
        Column("α / K", _share),
        number("ends by", "ends_by"),
        number("loss there", "loss"),
    ]


def remarks(results: Results) -> str:
    """The limits of α / K."""
    limits = results.facts["limits"]
    return "; ".join(
        f"{branch.name}: {branch.extreme} {_limit_text(limits[branch.name])} (K > {_WIDE}, by folds)"
        for branch in _BRANCHES
        if branch.name in limits
    )


def _limit_text(limit: list[float]) -> str:
    return f"α / K → {limit[0]:.5f} ± {limit[1]:.5f}"


def figure(results: Results) -> Figure:
    """Draw the last α / K of each branch against the width, with its limit."""
    drawn = Figure(figsize=(9, 4), layout="constrained")
    for axes, branch in zip(drawn.subplots(1, 2), _BRANCHES, strict=True):
        _panel(axes, [row for row in results.rows if row["branch"] == branch.name], branch.colour)
        title = f"{branch.name}: {branch.extreme} α of a minimum"
        limit = results.facts["limits"].get(branch.name)
        if limit is not None:
            value, error = limit
            axes.axhline(value, color="0.3", linestyle="--", linewidth=0.8)
            axes.axhspan(value - error, value + error, color=branch.colour, alpha=0.2)
            title += f"\n{_limit_text(limit)}"
        axes.set_title(title, fontsize=9)
    return drawn


def _panel(axes: Axes, rows: list[Row], colour: str) -> None:
    for by, marker in (("a fold", "o"), ("an eigenvalue", "^")):
        part = [row for row in rows if (row["ends_by"] == "fold") == (by == "a fold")]
        if part:
            x, y = [row["K"] for row in part], [_share(row) for row in part]
            axes.plot(x, y, marker, color=colour, label=f"ends by {by}")
    axes.set_xscale("log")
    axes.set_xlabel("width K = M")
    axes.set_ylabel("α / K")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
