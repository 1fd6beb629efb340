"""Which families survive with one and two students too many, and from which width?

At K = M + 1 and M + 2 every minimum that `ol.families` finds at a width where many exist is followed in the
real width M, its blocks kept but the first that one block of students matches, which grows: down to where it
appears (a fold, or a block of one teacher) and up to --widest; changes of the smallest eigenvalue's sign are
located to 1e-8.
"""

from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.branches import (
    branch_between,
    branch_columns,
    branch_row,
    draw_legend,
    draw_segments,
)
from ..shared.draw import BLUE, ORANGE
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number

OPTIONS = {
    "teachers": Option(17, 9, "width of the search", "M"),
    "widest": Option(1000.0, 100.0, "widest network", "M"),
}
_TEACHER = 1e-10  # a loss below this is the teacher's


def rows(options) -> Results:
    """Follow all minima with one and two students too many."""
    found: list[Row] = []
    for surplus in (1,) if options.quick else (1, 2):
        problem = ol.Problem(options.teachers + surplus, options.teachers)
        for point in _minima(problem, blocks=2 if options.quick else 3):
            found.append(_row(problem, point, _path(problem, point, options.widest)))
        print(f"K = M + {surplus}: {len(found)} minima so far", flush=True)
    return Results(found)


def _minima(problem: ol.Problem, blocks: int) -> list[ol.FixedPoint]:
    """Stable and marginal families above the teacher's loss."""
    found = ol.families(problem, blocks=blocks)
    return [
        point
        for point in found
        if float(point.loss) > _TEACHER and ol.spectrum(problem, point).verdict != "unstable"
    ]


def _path(problem: ol.Problem, point: ol.FixedPoint, widest: float) -> list[ol.BranchPoint]:
    matched = point.ansatz.matched
    grows = next(block for block in matched if matched.count(block) == 1)
    least = problem.teachers - float(point.ansatz.sizes[grows]) + 1.001
    return branch_between(problem, point, least, widest)


def _row(problem: ol.Problem, point: ol.FixedPoint, path: list[ol.BranchPoint]) -> Row:
    return {
        "surplus": problem.students - problem.teachers,
        "blocks": ol.describe(point.ansatz),
        "anti_aligned": point.anti_aligned,
        "loss": float(point.loss),
        **branch_row(path),
    }


def columns(results: Results) -> list[Column]:
    """Where each family begins, is a minimum, and ends."""
    return [
        number("K − M", "surplus"),
        number(f"blocks at M = {results.options['teachers']}", "blocks"),
        number("α", "anti_aligned"),
        number("loss"),
        *branch_columns("M"),
    ]


def remarks(results: Results) -> str:
    """None: the table is all."""
    return ""


def figure(results: Results) -> Figure:
    """Draw the ranges of widths in which families exist and are minima."""
    drawn = Figure(figsize=(8, 1.4 + 0.2 * len(results.rows)), layout="constrained")
    axes = drawn.subplots()
    for height, row in enumerate(results.rows):
        draw_segments(axes, row, height, BLUE if row["surplus"] == 1 else ORANGE)
    labels = [f"{row['blocks']}, α = {row['anti_aligned']}" for row in results.rows]
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    draw_legend(axes, {"K = M + 1": BLUE, "K = M + 2": ORANGE}, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(3, results.options["widest"])
    axes.set_xlabel("width M (real)")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn
