"""One and two students too many: which families survive, and from which width.

At K = M + 1 and M + 2 every minimum that `ol.families` finds at a width where many exist is followed in the
real width M, its blocks kept but the first that one block of students matches, which grows: down to where it
is born (a fold, or a block of one teacher) and up to --widest; changes of the smallest eigenvalue's sign are
located to 1e-8.
"""

from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.legacy import arguments, report
from .critical_widths import is_cut, segments, way


def _minima(problem: ol.Problem, blocks: int) -> list[ol.FixedPoint]:
    """Stable and marginal families above the teacher's loss."""
    found = ol.families(problem, blocks=blocks)
    return [
        point
        for point in found
        if float(point.loss) > 1e-10 and ol.spectrum(problem, point).verdict != "unstable"
    ]


def _path(problem: ol.Problem, point: ol.FixedPoint, widest: float) -> list[ol.BranchPoint]:
    matched = point.ansatz.matched
    grows = next(block for block in matched if matched.count(block) == 1)
    least = problem.teachers - float(point.ansatz.sizes[grows]) + 1.001
    return [*reversed(way(problem, point, least)), *way(problem, point, widest)[1:]]


def _row(problem: ol.Problem, point: ol.FixedPoint, path: list[ol.BranchPoint]) -> dict:
    stable = [(low, high) for low, high, is_stable in segments(path) if is_stable]
    first, last = path[0], path[-1]
    return {
        "K − M": problem.students - problem.teachers,
        f"blocks at M = {problem.teachers}": point.branch,
        "α": point.anti_aligned,
        "loss": float(point.loss),
        "from M": f"fold {first.value:.8f}" if first.event == "fold" else "smallest block",
        "to M": f"fold {last.value:.8f}" if last.event == "fold" else "widest",
        "a minimum for M": ", ".join(f"{a:.8f} to {b:.8f}" for a, b in stable) or "none",
        "decided by": ", ".join(place.component for place in path if is_cut(place)) or None,
    }


def _figure(paths: list[tuple[dict, list[ol.BranchPoint]]], widest: float) -> Figure:
    figure = Figure(figsize=(8, 1.4 + 0.2 * len(paths)), layout="constrained")
    axes = figure.subplots()
    for height, (row, path) in enumerate(paths):
        colour = BLUE if row["K − M"] == 1 else ORANGE
        for low, high, stable in segments(path):
            style = dict(linewidth=3.2) if stable else dict(linewidth=0.8, linestyle=":")
            axes.plot([low, high], [height, height], color=colour, **style)
    axes.set_yticks(
        range(len(paths)),
        [f"{path[0].point.branch}, α = {row['α']}" for row, path in paths],
        fontsize=6,
    )
    for label, colour in (("K = M + 1, a minimum", BLUE), ("K = M + 2, a minimum", ORANGE)):
        axes.plot([], [], color=colour, linewidth=3.2, label=label)
    axes.plot([], [], color="0.3", linewidth=0.8, linestyle=":", label="a saddle")
    axes.set_xscale("log")
    axes.set_xlim(3, widest)
    axes.set_xlabel("width M (real)")
    axes.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "surplus",
        __doc__,
        argv,
        teachers=dict(type=int, default=17, metavar="M", help="width of the search (17)"),
        widest=dict(type=float, default=1000.0, metavar="M", help="widest network (1000)"),
    )
    teachers, blocks = (9, 2) if args.quick else (args.teachers, 3)
    widest = min(args.widest, 100.0) if args.quick else args.widest
    paths = []
    for surplus in (1,) if args.quick else (1, 2):
        problem = ol.Problem(teachers + surplus, teachers)
        for point in _minima(problem, blocks):
            path = _path(problem, point, widest)
            paths.append((_row(problem, point, path), path))
        print(f"K = M + {surplus}: {len(paths)} minima so far", flush=True)
    report(args, [row for row, _ in paths], _figure(paths, widest))


if __name__ == "__main__":
    main()
