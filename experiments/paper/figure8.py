r"""Which fixed points does the solver find for K = M + 1, and do starts end there (paper, Figure 8)?

K = 18, M = 17: only the last two columns of the table come from trajectories. A search in block ansätze gives
fixed points with the smallest eigenvalue of the whole Hessian; Q and R of the lowest minima are drawn. The
starts of a sweep that end at these losses are then counted. α counts students whose strongest overlap is
negative, so that an anti-aligned student in two parts counts twice.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import state_arrays, states_figure
from ..shared.levels import Level, solved
from ..shared.options import Option
from ..shared.results import Results
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Column, Row, number, share

OPTIONS = {"seeds": Option(10_000, 200, "starts to compare with")}
_LISTED, _DRAWN = 24, 6  # fixed points, minima
_ALIGNED = 0.5  # overlap with the own teacher


def rows(options) -> Results:
    """Solve for the fixed points, and count the starts that end at each."""
    M = 11 if options.quick else 17
    levels = solved(ol.Problem(M + 1, M), search=not options.quick)[:_LISTED]
    runs = swept(options, M + 1, M)
    minima = [level for level in levels if _is_minimum(level)]
    lowest = np.asarray(minima[0].point.overlaps.R)
    sweep = {"K": M + 1, "M": M, "d": runs.dimension, "families": family_counts(runs)}
    facts = {
        "ended": int(np.isin(runs.outcome, ["local_minimum", "saddle"]).sum()),
        "listed": int(np.any([level.reached(runs) for level in levels], axis=0).sum()),
        "without_aligned": int((lowest.max(axis=0) < _ALIGNED).sum()),
        "panels": [{"name": level.name, "loss": level.loss} for level in minima[:_DRAWN]],
        "sweeps": [sweep],
    }
    arrays = state_arrays([level.point.overlaps for level in minima[:_DRAWN]])
    return Results([_row(runs, level) for level in levels], facts, arrays)


def _is_minimum(level: Level) -> bool:
    return level.spectrum.verdict == "stable"


def _row(runs: ol.Sweep, level: Level) -> Row:
    there = level.reached(runs)
    far = float(np.abs(runs.loss[there] - level.loss).max()) if there.any() else None
    return {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "blocks": ol.describe(level.point.ansatz),
        "anti_aligned": level.point.anti_aligned,
        "loss": level.loss,
        "residual": float(level.point.residual),
        "smallest_eigenvalue": level.spectrum.smallest,
        "verdict": level.spectrum.verdict,
        "count": int(there.sum()),
        "starts": len(runs),
        "farthest": far,
    }


def columns(results: Results) -> list[Column]:
    """The fixed points, and the starts that end there."""
    return [
        number("blocks"),
        number("α", "anti_aligned"),
        number("loss"),
        number("residual"),
        number("smallest eigenvalue", "smallest_eigenvalue"),
        number("verdict"),
        share("share of the starts % (95 %)", "count"),
        number("their loss − predicted", "farthest"),
    ]


def remarks(results: Results) -> str:
    """How many of the fixed points are minima, whether starts end at others, and what the lowest is like."""
    rows, facts = results.rows, results.facts
    minima = [row for row in rows if row["verdict"] == "stable"]
    lowest = minima[0]
    return (
        f"{len(minima)} of these {len(rows)} fixed points are minima. {facts['listed']:,} of the sweep's "
        f"{facts['ended']:,} end states above loss 0 are among them. The lowest minimum, "
        f"{lowest['loss']:.8f} (smallest eigenvalue {lowest['smallest_eigenvalue']:.4f}), leaves "
        f"{facts['without_aligned']} teacher without an aligned student, and {lowest['anti_aligned']} "
        "students are anti-aligned; the paper finds no stable state with one anti-aligned student for "
        "K = M + 1."
    )


def figure(results: Results) -> Figure:
    """Draw Q and R of the lowest minima."""
    first = results.rows[0]
    captions = [f"{panel['name']}\nL = {panel['loss']:.6f}" for panel in results.facts["panels"]]
    title = f"K = {first['K']}, M = {first['M']}: minima from the fixed-point solver"
    return states_figure(results.arrays, captions, title)
