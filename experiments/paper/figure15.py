r"""How ordered are the overlaps R at which onGD arrives (paper, Figure 15)?

R of the first three starts for K = M = 17, sorted by alignment: as drawn, at stops at t = 10 and t = 100, at
the end of the path, and at the end of the horizontal projection. The measure of order is the mean over
teachers of the largest |R_in| of a student, 1 where every teacher has a student that is aligned, or
anti-aligned, with it; for random students it is the mean largest overlap of random vectors.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..shared.draw import arranged, matrix
from ..shared.ongd import END, HORIZONTAL, LABELS, Endings, endings
from ..shared.options import starts
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number

OPTIONS = {"seeds": starts(default=1000, quick=64)}
_STOPS = (0.0, 10.0, 100.0)
_WHERE = (*(f"t = {stop:g}" for stop in _STOPS), END, HORIZONTAL)
_ALIGNED = 0.9  # |R|


def rows(options) -> Results:
    """Measure the order of R in five places."""
    width, drawn = (5, 2) if options.quick else (17, 3)
    some = endings(options, width, width, _STOPS)
    data = {}
    for at, where in enumerate(_WHERE):
        data[f"R_{at}"] = np.asarray(some.states[where].R[:drawn])
        data[f"loss_{at}"] = np.asarray(some.loss[where][:drawn])
    return Results([_row(some, where) for where in _WHERE], data=data)


def _row(some: Endings, where: str) -> Row:
    R, losses = np.abs(np.asarray(some.states[where].R)), np.maximum(some.loss[where], 0)
    best = R.max(axis=1)  # of all students, for each teacher
    order = best.mean(axis=1)
    low, median, high = np.quantile(losses, [0.1, 0.5, 0.9])
    return {
        "K": some.runs.problem.students,
        "d": some.runs.dimension,
        "where": where,
        "starts": len(order),
        "order_mean": float(order.mean()),
        "order_std": float(order.std(ddof=1)),
        "order_least": float(order.min()),
        "order_most": float(order.max()),
        "teachers": best.size,
        "teachers_aligned": int((best > _ALIGNED).sum()),
        "median": float(median),
        "quantile_10": float(low),
        "quantile_90": float(high),
    }


def columns(results: Results) -> list[Column]:
    """The order of R, and the losses."""
    return [
        number("K = M", "K"),
        *(number(name) for name in ("d", "where", "starts")),
        number("order: mean", "order_mean"),
        number("SD over starts", "order_std"),
        number("least", "order_least"),
        number("most", "order_most"),
        Column(f"teachers with R beyond ± {_ALIGNED}, %", _aligned),
        number("loss: median", "median"),
        number("10 %", "quantile_10"),
        number("90 %", "quantile_90"),
    ]


def _aligned(row: Row) -> Cell:
    return 100 * (row["teachers_aligned"] / row["teachers"])


def remarks(results: Results) -> str:
    """The order in each place."""
    order = {r["where"]: f"{r['order_mean']:.3f} ± {r['order_std']:.3f}" for r in results.rows}
    (end,) = (row for row in results.rows if row["where"] == END)
    return (
        f"Order (mean ± SD over starts): random start {order['t = 0']}, t = 10 {order['t = 10']}, t = 100 "
        f"{order['t = 100']}, end {order[END]}, horizontal projection {order[HORIZONTAL]}. The paper finds R "
        "disordered: so it is at an early stop, and for good where students are never turned within their "
        f"span. At the end {_aligned(end):.1f} % of the teachers have a student with |R| > {_ALIGNED}, "
        "aligned or anti-aligned."
    )


def figure(results: Results) -> Figure:
    """Draw R of the first starts, a line for each."""
    arrays = results.arrays
    count = len(arrays["R_0"])
    drawn = Figure(figsize=(10.6, 0.6 + 2.15 * count), layout="constrained")
    panels = drawn.subplots(count, len(_WHERE), squeeze=False)
    for start, line in enumerate(panels):
        for at, (axes, where) in enumerate(zip(line, _WHERE, strict=True)):
            picture = _picture(axes, arrays[f"R_{at}"][start])
            label = LABELS[where].replace(", ", "\n") + "\n" if start == 0 else ""
            axes.set_title(f"{label}L = {max(arrays[f'loss_{at}'][start], 0):.4f}", fontsize=8)
        line[0].set_ylabel(f"start {start}: students", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("teachers", fontsize=8)
    drawn.colorbar(picture, ax=panels, label="overlap R", shrink=0.6)
    return drawn


def _picture(axes: Axes, R: np.ndarray) -> AxesImage:
    """R of students of length 1."""
    students, teachers, across, down = arranged(R, np.ones(len(R)))
    return matrix(axes, R[np.ix_(students, teachers)], across, down)
