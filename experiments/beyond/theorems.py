r"""Which families are minima, as theorems?

Every row is proved in ball arithmetic (`ol.prove`): fixed points exist, their Hessians' eigenvalues are
enclosed and have their signs. First all families that `ol.families` knows at each width K = M: the teacher,
the named branches (compensated and hidden), and those that a search finds, in ansätze of three blocks up to
K = 24 and of two up to 100. Then those found with one student too many. Last, for α = 1 … 10, two widths
between which the family becomes a minimum: it is proved to be a saddle at the lower and a minimum at the
upper one, and one branch to join the two, so that the deciding eigenvalue is 0 between them.
"""

import math
from collections.abc import Iterable

from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREY, ORANGE
from ..shared.legacy import arguments, report
from .critical_widths import is_cut, way

_WIDE = (1_000, 10_000, 1_000_000)
_DIGITS = 6  # of a critical width


def _runs(numbers: Iterable[int]) -> str:
    """1, 2, 3, 5 as 1 – 3, 5."""
    found: list[list[int]] = []
    for n in sorted(set(numbers)):
        if found and n == found[-1][1] + 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a} – {b}" for a, b in found) or "none"


def _in_a_line(one: ol.Certificate) -> str:
    if one.index is None:
        return f"{one.verdict}: {one.reason}"
    low, high = one.index
    index = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    smallest = one.eigenvalues[0].value.short()
    return (
        f"{one.verdict} of index {index}, loss {one.loss.short()}, smallest eigenvalue {smallest}"
    )


def _families(K: int, M: int, points: list[ol.FixedPoint]) -> tuple[dict, list[dict]]:
    certificates = [ol.prove(point) for point in points]
    told = [
        {
            "K": K,
            "M": M,
            "branch": point.branch,
            "anti_aligned": point.anti_aligned,
            "verdict": one.verdict,
            "proved": _in_a_line(one),
        }
        for point, one in zip(points, certificates, strict=True)
    ]
    minima = [one for one in certificates if one.verdict == "local minimum"]
    closest = min((c.eigenvalues[0].value for c in minima), key=lambda x: x.low, default=None)
    row = {
        "what": "families",
        "K": K,
        "M": M,
        "proved": f"{sum(one.proved for one in certificates)} of {len(points)}",
        "minima": sum(one.verdict.endswith("minimum") for one in certificates),
        "saddles": sum(one.verdict == "saddle" for one in certificates),
        "compensated, minima for α =": _alphas(told, "compensated"),
        "hidden, minima for α =": _alphas(told, "hidden"),
        "smallest eigenvalue of a minimum": closest and closest.short(),
    }
    return row, told


def _alphas(told: list[dict], branch: str) -> str:
    return _runs(
        one["anti_aligned"]
        for one in told
        if one["branch"] == branch and one["verdict"] == "local minimum"
    )


def _turns(problem: ol.Problem, point: ol.FixedPoint, stop: float) -> ol.BranchPoint | None:
    """Where the smallest eigenvalue passes 0 on the way to a width."""
    return next(filter(is_cut, way(problem, point, stop)), None)


def _critical(alpha: int) -> dict:
    width = alpha + 12
    problem = ol.Problem(width, width)
    point = ol.fixed_point(problem, ol.family(problem, alpha))
    # At this width it may be a minimum already, or not yet.
    turn = _turns(problem, point, alpha + 2.0) or _turns(problem, point, 1000.0)
    assert turn is not None
    unit = 10.0 ** (math.floor(math.log10(turn.value)) + 1 - _DIGITS)
    low = math.floor(turn.value / unit) * unit
    ends = []
    for value in (low, low + unit):
        ends.append(way(problem, turn.point, value)[-1].point)
    below, above = (ol.prove(end) for end in ends)
    joined = ol.prove_between(*ends)
    signs = (below.verdict, above.verdict) == ("saddle", "local minimum")
    first, second = (one.eigenvalues[0] for one in (below, above))
    digits = _DIGITS - 1 - math.floor(math.log10(turn.value))
    return {
        "what": f"α = {alpha} becomes a minimum",
        "K": f"{low:.{digits}f} – {low + unit:.{digits}f}",
        "M": "= K",
        "proved": "yes" if joined and signs else "no",
        "minima": int(above.verdict == "local minimum"),
        "saddles": int(below.verdict == "saddle"),
        "compensated, minima for α =": None,
        "hidden, minima for α =": None,
        "smallest eigenvalue of a minimum": f"from {first.value.short()} to {second.value.short()}, "
        f"{second.representation}",
    }


def _figure(told: list[dict], critical: dict[int, float]) -> Figure:
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for axes, branch in zip(
        figure.subplots(1, 2, sharey=True), ("compensated", "hidden"), strict=True
    ):
        for verdict, colour in (
            ("local minimum", BLUE),
            ("saddle", ORANGE),
            ("undecided", "black"),
        ):
            some = [x for x in told if (x["branch"], x["verdict"]) == (branch, verdict)]
            if not some:
                continue
            axes.plot(
                [x["K"] for x in some],
                [x["anti_aligned"] for x in some],
                "s",
                color=colour,
                markersize=2,
                label=f"proved: {verdict}" if verdict != "undecided" else verdict,
            )
        if branch == "compensated":
            axes.plot(
                list(critical.values()),
                list(critical),
                "|",
                color=GREY,
                markersize=9,
                label="it becomes one, to 6 digits",
            )
        axes.set_title(f"{branch} branch", fontsize=10)
        axes.set_xlabel("K = M")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("α, anti-aligned students")
    figure.suptitle("Named families; where it is white none was found", fontsize=11)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        frameon=False,
        fontsize=8,
        loc="outside lower center",
        ncols=4,
        markerscale=2,
    )
    return figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "theorems",
        __doc__,
        argv,
        widest=dict(type=int, default=100, metavar="K", help="all widths from 6 to this (100)"),
        surplus=dict(type=int, default=14, metavar="M", help="K = M + 1 from M = 6 to this (14)"),
        alphas=dict(type=int, default=10, metavar="α", help="widths of which α = 1, 2, … (10)"),
    )
    widths, surplus, alphas = (
        (*range(6, args.widest + 1), *_WIDE),
        range(6, args.surplus + 1),
        args.alphas,
    )
    if args.quick:
        widths, surplus, alphas = (6, 17, 1_000_000), (), 1
    rows, told = [], []
    blocks = 0 if args.quick else None  # 0: the named families only
    for K in widths:
        row, some = _families(K, K, ol.families(ol.Problem(K, K), blocks=blocks))
        rows.append(row)
        told += some
        print(f"K = M = {K}: {row['proved']}", flush=True)
    for M in surplus:
        row, some = _families(M + 1, M, ol.families(ol.Problem(M + 1, M), blocks=2))
        rows.append(row)
        told += some
        print(f"K = {M + 1}, M = {M}: {row['proved']}", flush=True)
    critical = {}
    for alpha in range(1, alphas + 1):
        rows.append(_critical(alpha))
        critical[alpha] = float(rows[-1]["K"].split(" – ")[0])
        print(f"α = {alpha}: {rows[-1]['K']}", flush=True)
    verdicts = ("local minimum", "saddle", "global minimum")
    count = {x: sum(one["verdict"] == x for one in told) for x in verdicts}
    open_ = len(told) - sum(count.values())
    remarks = (
        f"{len(told)} certificates: {count['local minimum']} local minima, {count['saddle']} saddles, "
        f"{count['global minimum']} global minima of K > M, whose surplus students can be exchanged, {open_} "
        "undecided. The JSON has all."
    )
    drawn = [x for x in told if x["K"] == x["M"] <= args.widest]
    kept = [
        f"K = {x['K']}, M = {x['M']}, {x['branch']}, α = {x['anti_aligned']}: {x['proved']}"
        for x in told
    ]
    report(args, rows, _figure(drawn, critical), remarks, levels={"certificates": kept})


if __name__ == "__main__":
    main()
