r"""The ansatz written out for K = M and K = M + 1, with the numbers of each block (paper, Eqs. 32–33).

Q and R of a compensated family at K = M = 17 with α = 2, and of one at K = 18, M = 17 with α = 4 and an extra
student that overlaps their teachers, by the fixed-point solver alone. A block has one number on its diagonal
and one elsewhere. The table says how far they are from the overlaps WWᵀ and WW*ᵀ of the written-out weights;
below it stand the largest rates of the written-out Q and R under gradient flow, and how well the reduced
equations in the unknowns of Q and R hold (paper, Eqs. 34–44).
"""

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

import odelandscape as ol

from ..shared.draw import matrix
from ..shared.matrices import parts, student_names
from ..shared.legacy import arguments, report

_DRAWN = 4  # units that stand for a block in the picture


def _rows(problem: ol.Problem, point: ol.FixedPoint) -> tuple[list[dict], float, int, float]:
    """The blocks; then the largest rate of the full equations, and number and largest of the reduced."""
    written, lifted = point.overlaps, ol.overlaps(problem, point.weights)
    rows = []
    for part in parts(point.ansatz):
        diagonal, rest = part.of(written)
        away = [np.abs(a - b) for a, b in zip((diagonal, rest), part.of(lifted), strict=True)]
        rows.append(
            {
                "K": problem.students,
                "M": problem.teachers,
                "α": point.anti_aligned,
                "block": f"{part.matrix}: {part.name}",
                "diagonal": float(diagonal[0]) if diagonal.size else None,
                "others": float(rest[0]) if rest.size else None,
                "from the weights'": max(float(values.max(initial=0)) for values in away),
            }
        )
    rates = ol.GradientFlow()(0.0, written, problem)
    full = max(float(jnp.abs(rates.Q).max()), float(jnp.abs(rates.R).max()))
    reduced = ol.OverlapAnsatz(point.ansatz)
    y = reduced.parameters(*point.ansatz.overlaps(point.z))
    return rows, full, reduced.count, float(jnp.abs(reduced.field(y)).max())


def _write(axes: Axes, block: np.ndarray, corner: tuple[int, int], on_diagonal: bool) -> None:
    """The numbers of a block: that of the diagonal in its first cell, the other in the middle of the
    block, or of what is above the diagonal."""
    (height, width), (i, j) = block.shape, corner
    middle = ((height - 1) / 2, (width - 1) / 2)
    places = [(0.0, 0.0, block[0, 0])] if on_diagonal else [(*middle, block[0, 0])]
    if on_diagonal and block.size > 1:
        places.append((middle[0] / 2 - 0.25, 3 * middle[1] / 2 + 0.25, block[0, -1]))
    for down, across, value in places:
        colour = "white" if abs(value) > 0.6 else "black"
        text = f"{value:.3f}".replace("-", "−")
        axes.text(j + across, i + down, text, ha="center", va="center", fontsize=6.5, color=colour)


def _picture(axes: Axes, which: str, point: ol.FixedPoint) -> AxesImage:
    """Q or R with at most `_DRAWN` units of each block."""
    ansatz = point.ansatz
    students, teachers = (
        np.minimum(np.round(np.asarray(sizes)), _DRAWN).astype(int)
        for sizes in (ansatz.student_sizes, ansatz.sizes)
    )
    across = students if which == "Q" else teachers
    top, left = np.cumsum(students) - students, np.cumsum(across) - across
    values = np.zeros((students.sum(), across.sum()))
    for part in parts(ansatz):
        if part.matrix != which:
            continue
        diagonal, rest = part.of(point.overlaps)
        block = np.full((students[part.row], across[part.column]), [*rest, *diagonal][0])
        if diagonal.size:
            np.fill_diagonal(block, diagonal[0])
        mirrored = which == "Q" and part.row != part.column
        for r, c in [(part.row, part.column), (part.column, part.row)][: 1 + mirrored]:
            shown, i, j = block if r == part.row else block.T, top[r], left[c]
            values[i : i + shown.shape[0], j : j + shown.shape[1]] = shown
            _write(axes, shown, (i, j), diagonal.size > 0)
    lines = [list(np.cumsum(sizes)[:-1] - 0.5) for sizes in (students, across)]
    picture = matrix(axes, values, *lines)
    names = student_names(ansatz)
    axes.set_yticks(np.cumsum(students) - students / 2 - 0.5, names, fontsize=7)
    below = names if which == "Q" else [f"{n:g}" for n in np.asarray(ansatz.sizes)]
    axes.set_xticks(np.cumsum(across) - across / 2 - 0.5, below, fontsize=7)
    axes.set_xlabel("students" if which == "Q" else "teachers", fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(
        f"{which} for K = {sum(ansatz.student_sizes):g}, α = {point.anti_aligned}", fontsize=9
    )
    return picture


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments("equations", __doc__, argv)
    chosen = ((17, 17, 2), (18, 17, 4))
    if args.quick:
        chosen = ((17, 17, 2),)
    rows, told = [], []
    figure = Figure(figsize=(9, 0.3 + 3.7 * len(chosen)), layout="constrained")
    panels, picture = figure.subplots(len(chosen), 2, squeeze=False), None
    for line, (K, M, alpha) in zip(panels, chosen, strict=True):
        problem = ol.Problem(K, M)
        point = ol.fixed_point(problem, ol.family(problem, alpha))
        more, full, count, reduced = _rows(problem, point)
        rows += more
        told.append(
            f"K = {K}: {count} equations in as many unknowns hold to {reduced:.1g}, all rates of the "
            f"{K} × {K} and {K} × {M} matrices are below {full:.1g}, loss {float(point.loss):.10f}"
        )
        for axes, which in zip(line, "QR", strict=True):
            picture = _picture(axes, which, point)
    assert picture is not None
    figure.colorbar(picture, ax=panels, label="overlap", shrink=0.6)
    figure.suptitle(f"Blocks of the ansatz (at most {_DRAWN} units of each are drawn)", fontsize=10)
    remarks = ". ".join(told) + ". The paper's Eqs. 34–44 for K = M are eleven, too."
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
