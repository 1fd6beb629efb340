r"""The ansatz written out for K = M and K = M + 1, with the numbers of each block (paper, Eqs. 32–33).

Q and R of a compensated family at K = M = 17 with α = 2, and of one at K = 18, M = 17 with α = 4 and an extra
student that overlaps their teachers, by the fixed-point solver alone. A block has one number on its diagonal
and one elsewhere. The table says how far they are from the overlaps WWᵀ and WW*ᵀ of the written-out weights;
below it stand the largest rates of the written-out Q and R under gradient flow, and how well the reduced
equations in the unknowns of Q and R hold (paper, Eqs. 34–44).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

import odelandscape as ol

from ..shared.draw import matrix
from ..shared.matrices import parts, student_names
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number

OPTIONS = {}
_DRAWN = 4  # units that stand for a block in the picture


def rows(options) -> Results:
    """Write the ansatz of each chosen family out, block by block."""
    chosen = ((17, 17, 2),) if options.quick else ((17, 17, 2), (18, 17, 4))
    found, points = [], []
    for K, M, alpha in chosen:
        problem = ol.Problem(K, M)
        point = ol.fixed_point(problem, ol.family(problem, alpha))
        found += _blocks(problem, point)
        points.append(_point(problem, point))
    return Results(found, {"points": points})


def _blocks(problem: ol.Problem, point: ol.FixedPoint) -> list[Row]:
    written, lifted = point.overlaps, ol.overlaps(problem, point.weights)
    rows = []
    for part in parts(point.ansatz_point):
        diagonal, rest = part.of(written)
        away = [np.abs(a - b) for a, b in zip((diagonal, rest), part.of(lifted), strict=True)]
        rows.append(
            {
                "K": problem.students,
                "M": problem.teachers,
                "anti_aligned": point.anti_aligned,
                "matrix": part.matrix,
                "row": part.row,
                "column": part.column,
                "block": part.name,
                "diagonal": float(diagonal[0]) if diagonal.size else None,
                "others": float(rest[0]) if rest.size else None,
                "from_weights": max(float(values.max(initial=0)) for values in away),
            }
        )
    return rows


def _point(problem: ol.Problem, point: ol.FixedPoint) -> dict[str, Any]:
    """Of a family: sizes of its blocks, its loss, and how well all equations hold."""
    rates = ol.GradientFlow()(0.0, point.overlaps, problem)
    reduced = ol.OverlapAnsatz(point.ansatz)
    y = reduced.parameters(*point.ansatz_point.block_overlaps)
    sizes = point.ansatz.student_sizes, point.ansatz.sizes
    students, teachers = (np.round(np.asarray(some)).astype(int) for some in sizes)
    return {
        "K": problem.students,
        "M": problem.teachers,
        "anti_aligned": point.anti_aligned,
        "loss": float(point.loss),
        "student_sizes": students,
        "student_names": student_names(point.ansatz_point),
        "teacher_sizes": teachers,
        "largest_rate": max(float(jnp.abs(rates.Q).max()), float(jnp.abs(rates.R).max())),
        "equations": reduced.count,
        "largest_reduced_rate": float(jnp.abs(reduced.field(y)).max()),
    }


def columns(results: Results) -> list[Column]:
    """The numbers of each block."""
    return [
        *(number(name) for name in ("K", "M")),
        number("α", "anti_aligned"),
        Column("block", _block),
        *(number(name) for name in ("diagonal", "others")),
        number("from the weights'", "from_weights"),
    ]


def _block(row: Row) -> Cell:
    return f"{row['matrix']}: {row['block']}"


def remarks(results: Results) -> str:
    """How well the equations hold."""
    points = [
        f"K = {p['K']}: {p['equations']} equations in as many unknowns hold to "
        f"{p['largest_reduced_rate']:.1g}, all rates of the {p['K']} × {p['K']} and {p['K']} × {p['M']} "
        f"matrices are below {p['largest_rate']:.1g}, loss {p['loss']:.10f}"
        for p in results.facts["points"]
    ]
    return ". ".join(points) + ". The paper's Eqs. 34–44 for K = M are eleven, too."


def figure(results: Results) -> Figure:
    """Draw Q and R of each family with the numbers of their blocks."""
    points = results.facts["points"]
    drawn = Figure(figsize=(9, 0.3 + 3.7 * len(points)), layout="constrained")
    panels = drawn.subplots(len(points), 2, squeeze=False)
    for line, point in zip(panels, points, strict=True):
        for axes, which in zip(line, "QR", strict=True):
            blocks = [
                row for row in results.rows if (row["K"], row["matrix"]) == (point["K"], which)
            ]
            picture = _picture(axes, which, point, blocks)
    drawn.colorbar(picture, ax=panels, label="overlap", shrink=0.6)
    drawn.suptitle(f"Blocks of the ansatz (at most {_DRAWN} units of each are drawn)", fontsize=10)
    return drawn


def _picture(axes: Axes, which: str, point: dict[str, Any], blocks: list[Row]) -> AxesImage:
    """Q or R with at most `_DRAWN` units of each block."""
    students, teachers = (
        np.minimum(point[key], _DRAWN) for key in ("student_sizes", "teacher_sizes")
    )
    across = students if which == "Q" else teachers
    top, left = np.cumsum(students) - students, np.cumsum(across) - across
    values = np.zeros((students.sum(), across.sum()))
    for row in blocks:
        others = row["diagonal"] if row["others"] is None else row["others"]
        block = np.full((students[row["row"]], across[row["column"]]), others)
        on_diagonal = row["diagonal"] is not None
        if on_diagonal:
            np.fill_diagonal(block, row["diagonal"])
        mirrored = which == "Q" and row["row"] != row["column"]
        for r, c in [(row["row"], row["column"]), (row["column"], row["row"])][: 1 + mirrored]:
            shown, i, j = block if r == row["row"] else block.T, top[r], left[c]
            values[i : i + shown.shape[0], j : j + shown.shape[1]] = shown
            _write(axes, shown, (i, j), on_diagonal)
    lines = [list(np.cumsum(sizes)[:-1] - 0.5) for sizes in (students, across)]
    picture = matrix(axes, values, *lines)
    names = point["student_names"]
    axes.set_yticks(np.cumsum(students) - students / 2 - 0.5, names, fontsize=7)
    below = names if which == "Q" else [str(n) for n in point["teacher_sizes"]]
    axes.set_xticks(np.cumsum(across) - across / 2 - 0.5, below, fontsize=7)
    axes.set_xlabel("students" if which == "Q" else "teachers", fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(f"{which} for K = {point['K']}, α = {point['anti_aligned']}", fontsize=9)
    return picture


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
