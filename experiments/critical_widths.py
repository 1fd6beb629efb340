"""Where each family K = M is born, becomes stable and is lost, as real numbers: the phase diagram.

For α = 1, 2, … on the compensated (the paper's) and the hidden branch: the family is followed along the
real width K, down to where it ends and up to --widest, and every change of the smallest Hessian
eigenvalue's sign is located to 1e-8. The hidden family with α = K is a branch of its own in which all
students reflect; it is told in the last row.
"""

from matplotlib.figure import Figure

import odelandscape as ol

from ._report import BLUE, ORANGE, arguments, report


def _walk(problem: ol.Problem, point: ol.FixedPoint, stop: float) -> list[ol.BranchPoint]:
    return list(ol.continue_family(problem, point, "teachers", stop, step=0.3))


def _row(branch: str, alpha: int | str, problem: ol.Problem, widest: float, least: float) -> dict:
    point = ol.fixed_point(
        problem, ol.family(problem, problem.teachers if alpha == "K" else int(alpha), branch)
    )
    down, up = _walk(problem, point, least), _walk(problem, point, widest)
    changes = {p.value: p for p in (*down, *up) if p.event == "stability"}
    widths = sorted(changes)
    folds = sorted(p.value for p in (*down, *up) if p.event == "fold")
    # Stable above the last change if it is stable at the widest.
    return {
        "branch": branch,
        "α": alpha,
        "lowest K": down[-1].value,
        "ends by": down[-1].event,
        "folds": " ".join(f"{k:.8f}" for k in folds) or None,
        "K_c": f"{widths[0]:.8f}" if widths else None,
        "further changes": " ".join(f"{k:.8f}" for k in widths[1:]) or None,
        "unstable below in": changes[widths[0]].component if widths else None,
        "at widest": "stable" if up[-1].smallest_eigenvalue > 0 else "unstable",
        "smallest eigenvalue there": up[-1].smallest_eigenvalue,
    }


def _figure(rows: list[dict], most: int) -> Figure:
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for branch, colour, shift in (("compensated", BLUE, -0.15), ("hidden", ORANGE, 0.15)):
        label = f"{branch}: stable"
        for row in rows:
            if row["branch"] != branch or row["α"] == "K":
                continue
            edges = [float(k) for k in f"{row['K_c'] or ''} {row['further changes'] or ''}".split()]
            stable = row["at widest"] == "stable"
            edges = sorted(edges) + [_top(rows)]
            # From the widest down, stability changes at each edge.
            spans = []
            for low, high in zip(
                reversed([row["lowest K"], *edges[:-1]]), reversed(edges), strict=True
            ):
                spans.append((low, high, stable))
                stable = not stable
            for low, high, is_stable in spans:
                axes.plot(
                    [low, high],
                    [row["α"] + shift] * 2,
                    color=colour,
                    linewidth=3 if is_stable else 0.7,
                    linestyle="-" if is_stable else ":",
                    label=label if is_stable else None,
                )
                label = None if is_stable else label
    axes.plot([], [], color="0.3", linewidth=0.7, linestyle=":", label="there, but a saddle")
    axes.set_xscale("log")
    axes.set_xlim(3, _top(rows))
    axes.set_xlabel("width K = M (real)")
    axes.set_ylabel("α, anti-aligned students")
    axes.set_ylim(0, most + 1)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Which families are stable at which width", fontsize=10)
    return figure


def _top(rows: list[dict]) -> float:
    return rows[0]["widest"]


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
    rows = []
    for branch, first in (("compensated", 1), ("hidden", 3)):
        for alpha in range(first, most + 1):
            width = 4 * alpha + 12  # every family is there
            least = alpha + 1.001  # of an aligned block of one
            row = _row(branch, alpha, ol.Problem(width, width), widest, least)
            rows.append({**row, "widest": widest})
            print(f"{branch} α = {alpha}: K_c = {row['K_c']}", flush=True)
    whole = _row("hidden", "K", ol.Problem(12, 12), widest, 1.001)
    rows.append({**whole, "widest": widest})
    report(args, rows, _figure(rows, most))


if __name__ == "__main__":
    main()
