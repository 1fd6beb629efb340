r"""The leak at which the last spurious family disappears.

Every family K = M that is a minimum for ReLU is followed in the slope a of leaky ReLU, up towards the
linear network (a = 1) and down towards |x| (a = −1); changes of the smallest Hessian eigenvalue's sign and
folds are located to 1e-8. Near a = 1 all losses vanish like (1−a)², so losses and eigenvalues are told over
(1−a)². By linearity of the Gaussian integrals the loss is, exactly,

    L(a) = (1−a)² [ B(W) + κ |Σ w_i − Σ w*_n|² ],   κ = (1+a)² / 8(1−a)²,

with B that of ReLU less its linear part: a leak does nothing but to raise κ, from 1/8 at a = 0 to ∞.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ._report import BLUE, ORANGE, arguments, report

_ENDS = (-0.99, 0.99)


def _stable(width: int) -> list[tuple[ol.Problem, ol.FixedPoint]]:
    problem = ol.Problem(width, width)
    found = []
    for branch, alphas in (
        ("compensated", range(1, width - 2)),
        ("hidden", range(3, width + 1)),
    ):
        for alpha in alphas:
            point = ol.fixed_point(problem, ol.family(problem, alpha, branch))
            if ol.spectrum(problem, point).verdict == "stable":
                found.append((problem, point))
    return found


def _path(problem: ol.Problem, point: ol.FixedPoint) -> list[ol.BranchPoint]:
    """The branch from a = −0.99, or a fold, to a = 0.99, or a fold."""
    ways = []
    for stop in _ENDS:
        way = []
        for place in ol.continue_family(problem, point, "slope", stop, step=0.05):
            way.append(place)
            if place.event == "fold":
                break
        ways.append(way)
    return [*reversed(ways[0]), *ways[1][1:]]


def _row(problem: ol.Problem, point: ol.FixedPoint, path: list[ol.BranchPoint]) -> dict:
    changes = [place for place in path if place.event in ("stability", "fold")]
    last = path[-1]
    scale = (1 - last.value) ** 2
    return {
        "K": problem.students,
        "branch": point.branch,
        "α": point.anti_aligned,
        "loss at a = 0": float(point.loss),
        "changes at a": ", ".join(f"{p.value:.8f} ({p.component})" for p in changes) or "none",
        "followed to a": last.value,
        "loss / (1−a)² there": last.loss / scale,
        "smallest eigenvalue / (1−a)² there": last.smallest_eigenvalue / scale,
    }


def _figure(paths: list[tuple[ol.FixedPoint, list[ol.BranchPoint]]], width: int) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for point, path in paths:
        a = np.array([place.value for place in path])
        smallest = np.array([place.smallest_eigenvalue for place in path]) / (1 - a) ** 2
        colour = BLUE if point.branch == "compensated" else ORANGE
        axes.plot(a, smallest, color=colour, linewidth=1.2)
        axes.annotate(f" {point.anti_aligned}", (a[-1], smallest[-1]), fontsize=7, va="center")
    for label, colour in (("compensated", BLUE), ("hidden", ORANGE)):
        axes.plot([], [], color=colour, label=label)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("slope a of leaky ReLU (0: ReLU, 1: linear)")
    axes.set_ylabel("smallest eigenvalue / (1−a)²")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Stability of the minima of K = M = {width} under a leak; α at each line", fontsize=10
    )
    return figure


def _remarks(rows: list[dict], widths: list[int]) -> str:
    told = []
    for a in (0.0, 0.5, 0.9, 0.99):
        problem = ol.Problem(10, 10, ol.LeakyReLU(a))
        point = ol.fixed_point(problem, ol.family(problem, 1))
        told.append(f"{ol.critical_value(problem, point, 'teachers', 4.0):.6f} at a = {a:g}")
    lost = [row for row in rows if row["smallest eigenvalue / (1−a)² there"] <= 0]
    which = "; ".join(f"K = {row['K']}, {row['branch']} α = {row['α']}" for row in lost) or "none"
    return (
        f"Of the {len(rows)} minima of K = M in {widths}, lost on the way to a = 0.99: {which}. The critical "
        f"width of α = 1 is {', '.join(told)}. So no leak below 1 makes the last family disappear: what "
        "a leak changes is κ, and every family left at a = 0.99 lives on where Σ w = Σ w* is forced. "
        "Towards |x| hidden families are lost, and compensated ones become the teacher (there a student "
        "and its negative are one)."
    )


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "leak",
        __doc__,
        argv,
        widths=dict(type=int, nargs="+", default=[6, 8, 11, 17], metavar="K", help="(6 8 11 17)"),
    )
    widths = [6] if args.quick else args.widths
    rows, paths = [], []
    for width in widths:
        paths = []
        for problem, point in _stable(width):
            paths.append((point, _path(problem, point)))
            rows.append(_row(problem, point, paths[-1][1]))
        print(f"K = {width}: {len(paths)} minima followed", flush=True)
    report(args, rows, _figure(paths, widths[-1]), _remarks(rows, widths))


if __name__ == "__main__":
    main()
