r"""How ordered are the overlaps R that onGD comes to (paper, Figure 15)?

R of the first three starts for K = M = 17, sorted by alignment: as drawn, at stops at t = 10 and t = 100, at
the end of the path, and at rest under the horizontal projection. The measure of order is the mean over
teachers of the largest |R_in| of a student, 1 where every teacher has a student that is aligned, or
anti-aligned, with it; for random students it is what chance gives.
"""

import numpy as np
from matplotlib.figure import Figure

from ..shared.draw import arranged, matrix
from ..shared.legacy import arguments, report
from ..shared.ongd import END, HORIZONTAL, LABELS, Endings, endings

_STOPS = (0.0, 10.0, 100.0)


def _row(seen: Endings, where: str) -> dict:
    R, losses = np.abs(np.asarray(seen.states[where].R)), np.maximum(seen.loss[where], 0)
    best = R.max(axis=1)  # of all students, for each teacher
    order = best.mean(axis=1)
    low, median, high = np.quantile(losses, [0.1, 0.5, 0.9])
    return {
        "K = M": seen.runs.problem.students,
        "d": seen.runs.dimension,
        "seen": where,
        "starts": len(order),
        "order: mean": float(order.mean()),
        "SD over starts": float(order.std(ddof=1)),
        "least": float(order.min()),
        "most": float(order.max()),
        "teachers with |R| > 0.9, %": 100 * float((best > 0.9).mean()),
        "loss: median": float(median),
        "10 %": float(low),
        "90 %": float(high),
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure15",
        __doc__,
        argv,
        seeds=dict(type=int, default=1000, metavar="N", help="starts (1,000)"),
    )
    width, starts = 17, 3
    if args.quick:
        width, starts, args.seeds = 5, 2, 64
    seen = endings(args, width, width, _STOPS)
    shown = (*(f"t = {stop:g}" for stop in _STOPS), END, HORIZONTAL)
    rows = [_row(seen, where) for where in shown]
    figure = Figure(figsize=(10.6, 0.6 + 2.15 * starts), layout="constrained")
    panels = figure.subplots(starts, len(shown))
    picture = None
    for start in range(starts):
        for axes, where in zip(panels[start], shown, strict=True):
            R = np.asarray(seen.states[where].R[start])
            order, columns, across, down = arranged(R, np.ones(width))
            picture = matrix(axes, R[np.ix_(order, columns)], across, down)
            loss = f"L = {max(seen.loss[where][start], 0):.4f}"
            label = LABELS[where].replace(", ", "\n")
            axes.set_title(f"{label}\n{loss}" if start == 0 else loss, fontsize=8)
        panels[start, 0].set_ylabel(f"start {start}: students", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("teachers", fontsize=8)
    assert picture is not None  # there are starts
    figure.colorbar(picture, ax=panels, label="overlap R", shrink=0.6)
    told = {row["seen"]: f"{row['order: mean']:.3f} ± {row['SD over starts']:.3f}" for row in rows}
    remarks = (
        f"Order (mean ± SD over starts): random start {told['t = 0']}, t = 10 {told['t = 10']}, t = 100 "
        f"{told['t = 100']}, end {told[END]}, horizontal projection {told[HORIZONTAL]}. The paper finds R "
        "disordered: so it is at an early stop, and for good where students are never turned within their "
        f"span. At the end {rows[3]['teachers with |R| > 0.9, %']:.1f} % of the teachers have a student with "
        "|R| > 0.9, aligned or anti-aligned."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
