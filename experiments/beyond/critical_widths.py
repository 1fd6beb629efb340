"""Where each family K = M is born, becomes stable and is lost, as real numbers: the phase diagram.

For α = 1, 2, … on the compensated (the paper's) and the hidden branch: the family is followed along the
real width K, down to where it ends and up to --widest, and every change of the smallest Hessian
eigenvalue's sign is located to 1e-8. The hidden family with α = K is a branch of its own in which all
students reflect; it is told in the last row.
"""

from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.legacy import arguments, report

_REMARKS = (
    "On the compensated branch the lowest K is α + 2: there its two aligned students have changed places "
    "and it is the hidden family α = K, the last row. A range that ends at the widest K goes on as far as "
    "was looked. Hidden families begin at K = α + 1 and are lost at a fold, or before it to a negative "
    "eigenvalue."
)


def way(problem: ol.Problem, point: ol.FixedPoint, stop: float) -> list[ol.BranchPoint]:
    """The branch from a point to a width, or to the fold where it turns back."""
    way = []
    for place in ol.continue_family(problem, point, "teachers", stop, step=0.3):
        way.append(place)
        if place.event == "fold":
            break
    return way


def _branch(alpha: int, branch: str, width: int, low: float, high: float) -> list[ol.BranchPoint]:
    """The family along the real width, from low to high, through a whole width where it is."""
    problem = ol.Problem(width, width)
    point = ol.fixed_point(problem, ol.family(problem, alpha, branch))
    return [*reversed(way(problem, point, low)), *way(problem, point, high)[1:]]


def is_cut(place: ol.BranchPoint) -> bool:
    """Whether the smallest eigenvalue passes 0 here."""
    # Where a block reaches a whole size new eigenvalues come in: a change that passes no 0.
    return place.event == "stability" and abs(place.smallest_eigenvalue) < 1e-6


def segments(path: list[ol.BranchPoint]) -> list[tuple[float, float, bool]]:
    """The branch as pieces (from K, to K, stable): cut where the smallest eigenvalue passes 0."""
    pieces, begin, stable = [], path[0].value, False
    for place in path:
        if is_cut(place):
            pieces.append((begin, place.value, stable))
            begin = place.value
        elif place.event not in ("stability", "fold"):
            stable = place.smallest_eigenvalue > 0
    return [*pieces, (begin, path[-1].value, stable)]


def _row(branch: str, alpha: int | str, path: list[ol.BranchPoint]) -> dict:
    stable = [(low, high) for low, high, is_stable in segments(path) if is_stable]
    first, last = path[0], path[-1]
    return {
        "branch": branch,
        "α": alpha,
        "from K": "smallest block" if first.event != "fold" else f"fold {first.value:.8f}",
        "to K": "widest" if last.event != "fold" else f"fold {last.value:.8f}",
        "a minimum for K": ", ".join(f"{a:.8f} to {b:.8f}" for a, b in stable) or "none",
        "decided by": ", ".join(place.component for place in path if is_cut(place)) or None,
        "last loss": last.loss,
        "last smallest eigenvalue": last.smallest_eigenvalue,
    }


def _figure(pieces: dict[tuple[str, int], list], most: int, widest: float) -> Figure:
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.subplots()
    for (branch, alpha), segments in pieces.items():
        colour, shift = (BLUE, -0.17) if branch == "compensated" else (ORANGE, 0.17)
        for low, high, stable in segments:
            style = dict(linewidth=3.2) if stable else dict(linewidth=0.8, linestyle=":")
            axes.plot([low, high], [alpha + shift] * 2, color=colour, **style)
    for branch, colour in (("compensated", BLUE), ("hidden", ORANGE)):
        axes.plot([], [], color=colour, linewidth=3.2, label=f"{branch}, a minimum")
    axes.plot([], [], color="0.3", linewidth=0.8, linestyle=":", label="a saddle")
    axes.set_xscale("log")
    axes.set_xlim(3, widest)
    axes.set_ylim(0, most + 1)
    axes.set_xlabel("width K = M (real)")
    axes.set_ylabel("α, anti-aligned students")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Which families are minima at which width", fontsize=10)
    return figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "critical_widths",
        __doc__,
        argv,
        most=dict(type=int, default=30, metavar="α", help="largest α (30)"),
        widest=dict(type=float, default=1e4, metavar="K", help="widest network (10000)"),
    )
    most = min(args.most, 4) if args.quick else args.most
    widest = min(args.widest, 200.0) if args.quick else args.widest
    rows, pieces = [], {}
    for branch, first, aligned in (("compensated", 1, 2.0), ("hidden", 3, 1.001)):
        for alpha in range(first, most + 1):
            path = _branch(alpha, branch, alpha + 12, alpha + aligned, widest)
            rows.append(_row(branch, alpha, path))
            pieces[branch, alpha] = segments(path)
            print(f"{branch} α = {alpha}: minimum for K {rows[-1]['a minimum for K']}", flush=True)
    rows.append(_row("hidden", "K", _branch(12, "hidden", 12, 2.001, widest)))
    report(args, rows, _figure(pieces, most, widest), _REMARKS)


if __name__ == "__main__":
    main()
