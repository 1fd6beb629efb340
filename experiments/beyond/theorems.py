r"""Which families are minima, as theorems?

Every row is proved in ball arithmetic (`ol.prove`): fixed points exist, their Hessians' eigenvalues are
enclosed and have their signs. First all families that `ol.families` finds at each width K = M: the teacher,
the named branches (compensated and hidden), and those that a search finds, in ansätze of three blocks up to
K = 24 and of two up to 100. Then those found with one student too many. Last, for α = 1 … 10, two widths
between which the family becomes a minimum: it is proved to be a saddle at the lower and a minimum at the
upper one, and one branch to join the two, so that the deciding eigenvalue is 0 between them.
"""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.branches import branch_to, crosses_zero
from ..shared.draw import BLUE, GREY, ORANGE
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number

OPTIONS = {
    "widest": Option(100, 17, "all widths from 6 to this (with --quick each eleventh)", "K"),
    "surplus": Option(14, 5, "K = M + 1 from M = 6 to this", "M"),
    "alphas": Option(10, 1, "α = 1 to this of which the width is enclosed", "α"),
}
_WIDE = (1_000, 10_000, 1_000_000)
_DIGITS = 6  # of a critical width
_MINIMUM, _SADDLE, _GLOBAL = "local minimum", "saddle", "global minimum"
_COLOURS = {_MINIMUM: BLUE, _SADDLE: ORANGE, "undecided": "black"}
_FAMILIES, _CRITICAL = "families", "critical width"
_NOTHING = (math.nan, math.nan)


def rows(options) -> Results:
    """Prove all families of each width, and enclose the critical widths."""
    narrow = range(6, options.widest + 1)
    widths = (*narrow[::11], _WIDE[-1]) if options.quick else (*narrow, *_WIDE)
    blocks = 0 if options.quick else None  # 0: the named families only
    sizes = [(K, K, blocks) for K in widths]
    sizes += [(M + 1, M, 2) for M in range(6, options.surplus + 1)]
    found: list[Row] = []
    certificates: list[Row] = []
    for K, M, searched in sizes:
        some = _certificates(ol.families(ol.Problem(K, M), blocks=searched), K, M)
        found.append(_families_row(K, M, some))
        certificates += some
        print(f"K = {K}, M = {M}: {found[-1]['proved']} of {len(some)} proved", flush=True)
    for alpha in range(1, options.alphas + 1):
        found.append(_critical_row(alpha))
        print(f"α = {alpha}: from K = {found[-1]['saddle_at']}", flush=True)
    verdicts = [one["verdict"] for one in certificates]
    counts = {verdict: verdicts.count(verdict) for verdict in (_MINIMUM, _SADDLE, _GLOBAL)}
    facts = {"certificates": len(certificates), "verdicts": counts}
    return Results(found, facts, _arrays(certificates))


def _certificates(points: list[ol.FixedPoint], K: int, M: int) -> list[Row]:
    """What is proved of each fixed point."""
    return [
        {
            "K": K,
            "M": M,
            "branch": point.branch,
            "anti_aligned": point.anti_aligned,
            "proved": one.proved,
            "verdict": one.verdict,
            "reason": one.reason,
            "index": one.index or _NOTHING,
            "loss": _ends(one.loss),
            "smallest_eigenvalue": _ends(one.eigenvalues[0].value if one.eigenvalues else None),
        }
        for point, one in zip(points, map(ol.prove, points), strict=True)
    ]


def _ends(enclosure) -> tuple[float, float]:
    return _NOTHING if enclosure is None else (enclosure.low, enclosure.high)


def _families_row(K: int, M: int, certificates: list[Row]) -> Row:
    """Counts of what is proved of the families of one width."""
    verdicts = [one["verdict"] for one in certificates]
    minima = [one for one in certificates if one["verdict"] == _MINIMUM]
    smallest = min((one["smallest_eigenvalue"] for one in minima), default=None)
    alphas = {
        branch: [one["anti_aligned"] for one in minima if one["branch"] == branch]
        for branch in ("compensated", "hidden")
    }
    return {
        "what": _FAMILIES,
        "K": K,
        "M": M,
        "families": len(certificates),
        "proved": sum(one["proved"] for one in certificates),
        "minima": verdicts.count(_MINIMUM) + verdicts.count(_GLOBAL),
        "saddles": verdicts.count(_SADDLE),
        **alphas,
        "smallest_eigenvalue": smallest and list(smallest),
    }


def _critical_row(alpha: int) -> Row:
    """Two widths between which a compensated family becomes a minimum, and what is proved at them."""
    width = alpha + 12
    problem = ol.Problem(width, width)
    point = ol.fixed_point(problem, ol.family(problem, alpha))
    # At this width it may be a minimum already, or not yet.
    turn = _crossing(problem, point, alpha + 2.0) or _crossing(problem, point, 1000.0)
    if turn is None:
        raise ArithmeticError(f"α = {alpha}: no eigenvalue passes 0 up to K = 1000")
    unit = 10.0 ** (math.floor(math.log10(turn.value)) + 1 - _DIGITS)
    low = math.floor(turn.value / unit) * unit
    ends = [branch_to(problem, turn.point, value)[-1].point for value in (low, low + unit)]
    below, above = (ol.prove(end) for end in ends)
    joined = ol.prove_between(ends[0], ends[1])
    deciding = above.eigenvalues[0]
    return {
        "what": _CRITICAL,
        "anti_aligned": alpha,
        "saddle_at": low,
        "minimum_at": low + unit,
        "joined": joined,
        "minima": int(above.verdict == _MINIMUM),
        "saddles": int(below.verdict == _SADDLE),
        "eigenvalue_below": list(_ends(below.eigenvalues[0].value)),
        "eigenvalue_above": list(_ends(deciding.value)),
        "representation": deciding.representation,
    }


def _crossing(problem: ol.Problem, point: ol.FixedPoint, stop: float) -> ol.BranchPoint | None:
    """Where the smallest eigenvalue passes 0 between a point and a width."""
    return next(filter(crosses_zero, branch_to(problem, point, stop)), None)


def _arrays(certificates: list[Row]) -> dict[str, np.ndarray]:
    """All certificates, an array for each of their numbers and names."""
    return {key: np.array([one[key] for one in certificates]) for key in certificates[0]}


def columns(results: Results) -> list[Column]:
    """How many families are proved to be minima and saddles, and the eigenvalue that decides."""
    return [
        Column("what", _what),
        Column("K", _width),
        Column("M", lambda row: row.get("M", "= K")),
        Column("proved", _proved),
        number("minima"),
        number("saddles"),
        Column("compensated, minima for α =", lambda row: _ranges(row.get("compensated"))),
        Column("hidden, minima for α =", lambda row: _ranges(row.get("hidden"))),
        Column("smallest eigenvalue of a minimum", _eigenvalue),
    ]


def _what(row: Row) -> Cell:
    is_critical = row["what"] == _CRITICAL
    return f"α = {row['anti_aligned']} becomes a minimum" if is_critical else row["what"]


def _width(row: Row) -> Cell:
    if row["what"] == _FAMILIES:
        return row["K"]
    digits = _DIGITS - 1 - math.floor(math.log10(row["saddle_at"]))
    return f"{row['saddle_at']:.{digits}f} – {row['minimum_at']:.{digits}f}"


def _proved(row: Row) -> Cell:
    if row["what"] == _FAMILIES:
        return f"{row['proved']} of {row['families']}"
    return "yes" if row["joined"] and row["minima"] and row["saddles"] else "no"


def _ranges(numbers: Iterable[int] | None) -> Cell:
    """1, 2, 3, 5 as 1 – 3, 5."""
    if numbers is None:
        return None
    found: list[list[int]] = []
    for n in sorted(set(numbers)):
        if found and n == found[-1][1] + 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a} – {b}" for a, b in found) or "none"


def _eigenvalue(row: Row) -> Cell:
    if row["what"] == _FAMILIES:
        return row["smallest_eigenvalue"] and _interval(row["smallest_eigenvalue"])
    below, above = _interval(row["eigenvalue_below"]), _interval(row["eigenvalue_above"])
    return f"from {below} to {above}, {row['representation']}"


def _interval(ends: list[float]) -> str:
    """The enclosure with all digits: rounded ones would hold less than what is proved."""
    return f"[{ends[0]!r}, {ends[1]!r}]"


def remarks(results: Results) -> str:
    """How many certificates there are of each kind."""
    total, counts = results.facts["certificates"], results.facts["verdicts"]
    return (
        f"{total} certificates: {counts[_MINIMUM]} local minima, {counts[_SADDLE]} saddles, "
        f"{counts[_GLOBAL]} global minima, where the loss is 0, "
        f"{total - sum(counts.values())} undecided. The NPZ file holds all."
    )


def figure(results: Results) -> Figure:
    """Draw what the named families are proved to be, against the width."""
    drawn = Figure(figsize=(9, 4.6), layout="constrained")
    panels = drawn.subplots(1, 2, sharey=True)
    for axes, branch in zip(panels, ("compensated", "hidden"), strict=True):
        _draw_verdicts(axes, results, branch)
        axes.set_title(f"{branch} branch", fontsize=10)
        axes.set_xlabel("K = M")
        axes.spines[["top", "right"]].set_visible(False)
    critical = [row for row in results.rows if row["what"] == _CRITICAL]
    panels[0].plot(
        [row["saddle_at"] for row in critical],
        [row["anti_aligned"] for row in critical],
        "|",
        color=GREY,
        markersize=9,
        label="it becomes one, to 6 digits",
    )
    panels[0].set_ylabel("α, anti-aligned students")
    drawn.suptitle("Named families; where it is white none was found", fontsize=11)
    handles = panels[0].get_legend_handles_labels()
    place = dict(loc="outside lower center", ncols=4, markerscale=2)
    drawn.legend(*handles, frameon=False, fontsize=8, **place)
    return drawn


def _draw_verdicts(axes: Axes, results: Results, branch: str) -> None:
    arrays, widest = results.arrays, results.options["widest"]
    drawn = (arrays["K"] == arrays["M"]) & (arrays["K"] <= widest) & (arrays["branch"] == branch)
    for verdict, colour in _COLOURS.items():
        some = drawn & (arrays["verdict"] == verdict)
        if some.any():
            label = verdict if verdict == "undecided" else f"proved: {verdict}"
            style = dict(color=colour, markersize=2, label=label)
            axes.plot(arrays["K"][some], arrays["anti_aligned"][some], "s", **style)
