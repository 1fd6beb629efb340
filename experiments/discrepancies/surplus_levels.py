r"""Which minima does gradient flow reach at K = 18, M = 17, and how are they to be named (paper, Table 1)?

The paper finds no stable state with α = 1 for K = M + 1, and counts α by rules that its text does not give.
Each level of a sweep is solved for as a fixed point in its blocks, with the smallest eigenvalue of its whole
Hessian, and three counts beside it: students whose overlap with their teacher is negative (`anti-aligned`;
surplus students with the teacher they overlap most with), students with a strongly negative overlap with
any teacher, and teachers that no student is aligned with. Last, the share of starts whose loss is within 2 %
of the level at a stop at t = 800, near which the share of the global minimum is the paper's (`stopping`).
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import representative, state_arrays, states_figure, weights_of
from ..shared.options import Option, starts
from ..shared.published import TABLE_1
from ..shared.results import Results
from ..shared.shares import interval
from ..shared.stops import stopped
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Column, Row, number, share

OPTIONS = {
    "seeds": starts("the sweep", quick=500),
    "teachers": Option(17, 13, "teachers, one less than students", "M"),
}
_STOP, _NEAR, _STOPPED = 800.0, 0.02, 2000  # time, part of a level, starts
_NEGATIVE, _ALIGNED = -0.3, 0.5  # overlaps: of anti-aligned and of aligned students, well apart
_SHOWN = 6  # of the commonest that are drawn


def rows(options) -> Results:
    """Solve for each level of the sweep, and count the starts that end at it and are near it at the stop."""
    M = options.teachers
    runs = swept(options, M + 1, M)
    levels = [f for f in runs.summary().families if f.outcome != "global_minimum"]
    count = min(options.seeds, _STOPPED)
    losses = stopped(runs.problem, ol.GradientFlow(), count, [_STOP]).loss[:, 0]
    states = [representative(runs, family) for family in levels]
    found = [
        _row(runs, family, np.asarray(state.R), losses)
        for family, state in zip(levels, states, strict=True)
    ]
    data = state_arrays([states[at] for at in _shown(found)])
    sweep = {"K": M + 1, "M": M, "d": runs.dimension, "families": family_counts(runs)}
    return Results(found, {"sweeps": [sweep]}, data)


def _row(runs: ol.Sweep, family, R: np.ndarray, losses: np.ndarray) -> Row:
    """Numbers of a level; R (K, M) is that of one of its end states, losses (N,) are those at the stop."""
    structure = ol.block_structure(runs.problem, weights_of(runs, family.representative))
    point = ol.fixed_point(structure.problem, structure.point)
    spectrum = ol.spectrum(structure.problem, point)
    return {
        "outcome": family.outcome,
        "loss": family.loss,
        "count": family.count,
        "starts": len(runs),
        "blocks": ol.describe(structure.ansatz),
        "residual": float(point.residual),
        "smallest_eigenvalue": spectrum.smallest,
        "verdict": spectrum.verdict,
        "anti_aligned": family.anti_aligned,
        "negative_students": int((R.min(axis=1) < _NEGATIVE).sum()),
        "lone_teachers": int((R.max(axis=0) < _ALIGNED).sum()),
        "near": int((np.abs(losses - family.loss) < _NEAR * family.loss).sum()),
        "stopped": len(losses),
    }


def _shown(rows: list[Row]) -> list[int]:
    """Which rows are drawn: the commonest, lowest loss first."""
    commonest = sorted(range(len(rows)), key=lambda at: -rows[at]["count"])[:_SHOWN]
    return sorted(commonest, key=lambda at: rows[at]["loss"])


def columns(results: Results) -> list[Column]:
    """The levels, their counts of students, and the starts that end at them and are near at the stop."""
    return [
        Column("outcome", lambda row: row["outcome"].replace("_", " ")),
        number("loss"),
        share("share % (95 %)", "count"),
        number("blocks"),
        number("residual"),
        number("smallest eigenvalue", "smallest_eigenvalue"),
        number("verdict"),
        number("anti-aligned", "anti_aligned"),
        number("strongly negative students", "negative_students"),
        number("teachers without aligned student", "lone_teachers"),
        share(f"near it at t = {_STOP:g}, % (95 %)", "near", "stopped"),
    ]


def remarks(results: Results) -> str:
    """The stable levels with α = 1, and the paper's shares."""
    lone = [r for r in results.rows if r["lone_teachers"] == 1 and r["verdict"] == "stable"]
    text = f"Stable levels with one teacher without an aligned student (α = 1): {len(lone)}"
    if lone:
        reached = interval(lone[0]["count"], lone[0]["starts"])
        text += f", reached by {reached} % of the starts"
    if results.options["teachers"] == 17:
        published = ", ".join(map(str, TABLE_1[18][1:]))
        text += f". The paper's shares with α = 1, 2, 3, 4: {published} %"
    return f"{text}."


def figure(results: Results) -> Figure:
    """Draw Q and R of the commonest levels."""
    M = results.options["teachers"]
    rows = [results.rows[at] for at in _shown(results.rows)]
    captions = [
        f"L = {row['loss']:.6f}\n{row['anti_aligned']} anti-aligned\n"
        f"{100 * row['count'] / row['starts']:.2f} %"
        for row in rows
    ]
    title = f"K = {M + 1}, M = {M}: end states"
    return states_figure(results.arrays, captions, title) if rows else Figure()
