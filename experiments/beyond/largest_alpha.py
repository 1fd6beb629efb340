"""How many anti-aligned students can a minimum have, and how few a hidden one?

At each width K = M the families with whole α are bisected for the largest stable one on the compensated
branch (and the smallest on the hidden one); from there the branch is followed in real α to where it ends as a
minimum: a Hessian eigenvalue passes 0, or the branch folds back. The limit of α/K is fitted in powers of
K^(−1/2); its uncertainty is how far it moves when the order of the fit or the narrowest width changes.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.legacy import arguments, report


def _minimum(K: int, alpha: int, branch: str) -> ol.FixedPoint | None:
    """The family, if it is there and a minimum."""
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
    assert point is not None
    # Families are followed from afar, which stops a little short of a fold: so look a little further.
    stop = good + (3.0 + 1e-4 * K) * np.sign(bad - good)
    for place in ol.continue_family(problem, point, "anti_aligned", float(stop), step=0.02):
        if place.event in ("stability", "fold"):
            return place, good
    return None, good


def _rows(K: int) -> list[dict]:
    found = []
    for branch, good, bad in (("compensated", 1, K - 2), ("hidden", K - 2, 2)):
        if _minimum(K, good, branch) is None:
            continue
        place, whole = _edge(K, branch, good, bad)
        if place is None:
            continue
        found.append(
            {
                "K": K,
                "branch": branch,
                "last whole α": whole,
                "α": place.value,
                "α / K": place.value / K,
                "ends by": place.event if place.event == "fold" else place.component,
                "loss there": place.loss,
            }
        )
    return found


def _limit(K: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    """The constant of a polynomial in K^(−1/2), and the spread of it over orders and narrowest widths."""
    values = [
        np.polyfit(K[start:] ** -0.5, share[start:], order)[-1]
        for order in (2, 3)
        for start in range(max(len(K) - order - 1, 1))
    ]
    best = np.polyfit(K**-0.5, share, 3 if len(K) > 5 else 1)[-1]
    return float(best), float(np.ptp(values)) / 2


def _panel(axes: Axes, rows: list[dict], branch: str, colour: str) -> None:
    for by, marker in (("fold", "o"), ("eigenvalue", "^")):
        part = [
            r for r in rows if r["branch"] == branch and (r["ends by"] == "fold") == (by == "fold")
        ]
        if part:
            axes.plot(
                [r["K"] for r in part],
                [r["α / K"] for r in part],
                marker,
                color=colour,
                label="ends by a fold" if by == "fold" else "ends by an eigenvalue",
            )
    axes.set_xscale("log")
    axes.set_xlabel("width K = M")
    axes.set_ylabel("α / K")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "largest_alpha",
        __doc__,
        argv,
        widest=dict(type=float, default=1e6, metavar="K", help="widest network (1000000)"),
        points=dict(type=int, default=25, metavar="N", help="widths (25)"),
    )
    widest, points = (200.0, 5) if args.quick else (args.widest, args.points)
    rows = []
    for K in np.unique(np.round(np.geomspace(10, widest, points)).astype(int)).tolist():
        rows += _rows(K)
        told = ", ".join(f"{r['branch']} α = {r['α']:.6f}" for r in rows if r["K"] == K)
        print(f"K = {K}: {told}", flush=True)
    figure = Figure(figsize=(9, 4), layout="constrained")
    remarks = []
    for axes, branch, colour, name in zip(
        figure.subplots(1, 2),
        ("compensated", "hidden"),
        (BLUE, ORANGE),
        ("largest", "smallest"),
        strict=True,
    ):
        _panel(axes, rows, branch, colour)
        part = [
            r for r in rows if r["branch"] == branch and r["ends by"] == "fold" and r["K"] > 300
        ]
        title = f"{branch}: {name} α of a minimum"
        if len(part) > 4:
            K, share = (np.array([r[key] for r in part], float) for key in ("K", "α / K"))
            limit, error = _limit(K, share)
            axes.axhline(limit, color="0.3", linestyle="--", linewidth=0.8)
            axes.axhspan(limit - error, limit + error, color=colour, alpha=0.2)
            remarks.append(
                f"{branch}: {name} α / K → {limit:.5f} ± {error:.5f} (K > 300, by folds)"
            )
            title += f"\nα / K → {limit:.5f} ± {error:.5f}"
        axes.set_title(title, fontsize=9)
    report(args, rows, figure, "; ".join(remarks))


if __name__ == "__main__":
    main()
