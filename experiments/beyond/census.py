"""Which minima exist at K = M ≤ 12 in up to three blocks, and how often does gradient flow end in each?

`ol.families` searches for fixed points in all block ansätze of one, two and three blocks; the stable ones
are the census. A sweep of random starts then gives each its share of ends, by the level of its loss.
Minima that no start has ended in have a share of 0 and an upper bound. Levels of the sweep that the
census lacks are listed with the blocks of an end state.
"""

from collections.abc import Iterator

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE
from ..shared.options import Option, starts
from ..shared.results import Results
from ..shared.shares import percent
from ..shared.tables import Cell, Column, Row, number

OPTIONS = {
    "widest": Option(12, 6, "widest network", "K"),
    "seeds": starts("each width"),
    "starts": Option(128, 24, "starts of the search in each ansatz"),
}
_COLOURS = {"compensated": BLUE, "hidden": ORANGE}
_SAME, _TEACHER = 1e-8, 1e-12  # of losses: of one level; below it the teacher's


def rows(options) -> Results:
    """Search for the minima of each width and count the starts that end in them."""
    found: list[Row] = []
    for K in range(6 if options.quick else 2, options.widest + 1):
        problem = ol.Problem(K, K)
        points = ol.families(problem, blocks=3, starts=options.starts)
        spectra = [ol.spectrum(problem, point) for point in points]
        minima = [(p, s) for p, s in zip(points, spectra, strict=True) if s.verdict != "unstable"]
        runs = ol.sweep(problem, ol.GradientFlow(), options.seeds, progress=False)
        some = [*_of_the_census(runs, minima), *_others(runs, minima)]
        found += [{"K": K, **row, "starts": len(runs)} for row in some]
        print(f"K = {K}: {len(some)} minima", flush=True)
    return Results(found)


def _ends(runs: ol.Sweep, loss: float) -> np.ndarray:
    """Which starts end at the level of a minimum (N,)."""
    if loss < _TEACHER:
        return runs.outcome == "global_minimum"
    return (runs.outcome == "local_minimum") & (np.abs(runs.loss - loss) < _SAME)


def _of_the_census(
    runs: ol.Sweep, minima: list[tuple[ol.FixedPoint, ol.Spectrum]]
) -> Iterator[Row]:
    for point, spectrum in minima:
        yield {
            "branch": point.branch,
            "anti_aligned": point.anti_aligned,
            "loss": abs(float(point.loss)),
            "smallest_eigenvalue": spectrum.smallest,
            "count": int(_ends(runs, float(point.loss)).sum()),
        }


def _others(runs: ol.Sweep, minima: list[tuple[ol.FixedPoint, ol.Spectrum]]) -> Iterator[Row]:
    """Levels of the sweep that the census lacks: the blocks of an end state, without a loss."""
    left = runs.outcome == "local_minimum"
    for point, _ in minima:
        left &= ~_ends(runs, float(point.loss))
    while left.any():
        index = int(np.flatnonzero(left)[0])
        weights = jax.tree.map(lambda x: x[0], runs.weights_of(np.array([index])))
        same = left & (np.abs(runs.loss - runs.loss[index]) < _SAME)
        left &= ~same
        yield {
            "branch": ol.describe(ol.block_structure(runs.problem, weights).ansatz),
            "anti_aligned": int(runs.anti_aligned[index]),
            "loss": None,
            "smallest_eigenvalue": None,
            "count": int(same.sum()),
        }


def columns(results: Results) -> list[Column]:
    """The minima of each width, and the shares of starts that end in them."""

    def branch(row: Row) -> Cell:
        return row["branch"] if row["loss"] is not None else f"not in the census: {row['branch']}"

    return [
        number("K"),
        Column("branch", branch),
        number("α", "anti_aligned"),
        number("loss"),
        number("smallest eigenvalue", "smallest_eigenvalue"),
        number("endings", "count"),
        *(
            Column(heading, lambda row, at=at: round(_percent(row)[at], 3))
            for at, heading in enumerate(("share %", "95 % from", "to"))
        ),
    ]


def _percent(row: Row) -> tuple[float, float, float]:
    return percent(row["count"], row["starts"])


def remarks(results: Results) -> str:
    """None: the table is all."""
    return ""


def figure(results: Results) -> Figure:
    """Draw the losses of all minima against the width, with areas by the shares of ends."""
    drawn = Figure(figsize=(7.5, 5), layout="constrained")
    axes = drawn.subplots()
    for row in results.rows:
        if row["loss"] is not None:
            _draw_minimum(axes, row)
    for label, colour in (("global", GREEN), *_COLOURS.items()):
        axes.scatter([], [], color=colour, label=label)
    none = f"no ending of {results.options['seeds']:,}"
    axes.scatter([], [], color="none", edgecolors="0.3", label=none)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("width K = M")
    axes.set_ylabel("population loss of the minimum")
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    drawn.suptitle("All minima found, number α beside each; area: share of endings", fontsize=10)
    return drawn


def _draw_minimum(axes: Axes, row: Row) -> None:
    colour = GREEN if row["loss"] < _TEACHER else _COLOURS.get(row["branch"], GREY)
    reached, share = row["count"] > 0, _percent(row)[0]
    axes.scatter(
        row["K"],
        row["loss"],
        s=14 + 8 * share if reached else 28,
        color=colour if reached else "none",
        edgecolors=colour,
        linewidths=1.2,
        alpha=0.85,
    )
    # Where a compensated and a hidden one are close, their numbers are on either side.
    side = -1 if row["branch"] == "hidden" else 1
    axes.annotate(
        f"{row['anti_aligned']}",
        (row["K"], row["loss"]),
        fontsize=7,
        xytext=(side * (7 + share**0.5), -2),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
    )
