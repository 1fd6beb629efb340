"""At which real widths K = M does each family appear, become stable and disappear (the phase diagram)?

For α = 1, 2, … on the compensated (the paper's) and the hidden branch: the family is followed along the
real width K, down to where it ends and up to --widest, and every change of the smallest Hessian
eigenvalue's sign is located to 1e-8. The hidden family with α = K is a branch of its own in which all
students reflect; it is the last row.
"""

from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.branches import (
    branch_between,
    branch_columns,
    branch_row,
    draw_legend,
    draw_segments,
    segments,
)
from ..shared.draw import BLUE, ORANGE
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number

OPTIONS = {
    "most": Option(30, 4, "largest α", "α"),
    "widest": Option(1e4, 200.0, "widest network", "K"),
}
_BRANCHES = {"compensated": (1, 2.0), "hidden": (3, 1.001)}
"""Smallest α, and how much wider than α the narrowest network is."""
_COLOURS = {"compensated": BLUE, "hidden": ORANGE}


def rows(options) -> Results:
    """Follow the families of both branches, and that in which all students reflect."""
    found = []
    for branch, (first, aligned) in _BRANCHES.items():
        for alpha in range(first, options.most + 1):
            path = _path(alpha, branch, alpha + 12, alpha + aligned, options.widest)
            found.append(_row(branch, alpha, path))
            stable = [(low, high) for low, high, is_stable in segments(path) if is_stable]
            print(f"{branch} α = {alpha}: minimum for K in {stable}", flush=True)
    found.append(_row("hidden", None, _path(12, "hidden", 12, 2.001, options.widest)))
    return Results(found)


def _path(alpha: int, branch: str, width: int, low: float, high: float) -> list[ol.BranchPoint]:
    """The family along the real width, from low to high, through a whole width at which it exists."""
    problem = ol.Problem(width, width)
    point = ol.fixed_point(problem, ol.family(problem, alpha, branch))
    return branch_between(problem, point, low, high)


def _row(branch: str, alpha: int | None, path: list[ol.BranchPoint]) -> Row:
    """Numbers of a branch; α is None where it is K."""
    return {
        "branch": branch,
        "anti_aligned": alpha,
        **branch_row(path),
        "last_loss": path[-1].loss,
        "last_smallest_eigenvalue": path[-1].smallest_eigenvalue,
    }


def columns(results: Results) -> list[Column]:
    """Where each family begins, is a minimum, and ends."""
    return [
        number("branch"),
        Column("α", lambda row: "K" if row["anti_aligned"] is None else row["anti_aligned"]),
        *branch_columns("K"),
        number("last loss", "last_loss"),
        number("last smallest eigenvalue", "last_smallest_eigenvalue"),
    ]


def remarks(results: Results) -> str:
    """How to read the table."""
    return (
        "On the compensated branch the lowest K is α + 2: there its two aligned students have changed places "
        "and it is the hidden family α = K, the last row. A range that ends at the widest K was followed no "
        "further. Hidden families begin at K = α + 1 and are lost at a fold, or before it to a negative "
        "eigenvalue."
    )


def figure(results: Results) -> Figure:
    """Draw the ranges of widths in which families exist and are minima."""
    drawn = Figure(figsize=(7, 5.5), layout="constrained")
    axes = drawn.subplots()
    for row in results.rows:
        if row["anti_aligned"] is not None:
            shift = -0.17 if row["branch"] == "compensated" else 0.17
            draw_segments(axes, row, row["anti_aligned"] + shift, _COLOURS[row["branch"]])
    draw_legend(axes, _COLOURS)
    axes.set_xscale("log")
    axes.set_xlim(3, results.options["widest"])
    axes.set_ylim(0, results.options["most"] + 1)
    axes.set_xlabel("width K = M (real)")
    axes.set_ylabel("α, anti-aligned students")
    axes.spines[["top", "right"]].set_visible(False)
    drawn.suptitle("Which families are minima at which width", fontsize=10)
    return drawn
