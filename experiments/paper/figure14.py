r"""What becomes of a surplus student whose length is fixed, at the minima of nGD (paper, Figure 14)?

Random students of unit length are relaxed by normalised gradient flow for K = 18, M = 17, and the order
parameters of the commonest levels are drawn: of the lowest ones, which the paper's threshold calls global,
and of those above. For each level the table has the groups that the students form. Where there are few
students, those of the best minima leave the teachers' span if the dimension lets them: K = 3, M = 2 and
K = 4, M = 3 are in the table with d = M and d = 2M, too.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.model.alignment import align
from odelandscape.sweeps.summary import FamilyRow

from ..shared.draw import state_arrays, states_figure
from ..shared.matrices import grouped
from ..shared.options import starts
from ..shared.published import TABLE_4B, THRESHOLDS_4B
from ..shared.results import Results
from ..shared.shares import interval
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Cell, Column, Row, fixed, number, share

OPTIONS = {"seeds": starts(default=1000, quick=128)}
_SIZES = ((17, 1), (17, 2), (3, 1), (3, 2), (2, 1), (2, 2))  # M, d / M
_LOWEST, _HIGHER = 2, 4  # panels


def rows(options) -> Results:
    """Describe the levels of each sweep, and take a state of the commonest ones of the first."""
    sizes = ((5, 1),) if options.quick else _SIZES
    sweeps = [swept(options, M + 1, M, "ngd", dimension=times * M) for M, times in sizes]
    shown = _shown(sweeps[0])
    facts = {
        "panels": [_panel(sweeps[0], family) for family in shown],
        "sweeps": [_sweep(runs) for runs in sweeps],
    }
    found = [_level(runs, family) for runs in sweeps for family in runs.summary().families]
    return Results(found, facts, state_arrays([grouped(sweeps[0], one)[0] for one in shown]))


def _threshold(runs: ol.Sweep) -> float:
    """The loss below which the paper calls an end global."""
    return THRESHOLDS_4B.get(runs.problem.teachers, 0.1)


def _size(runs: ol.Sweep) -> dict[str, int]:
    return {"K": runs.problem.students, "M": runs.problem.teachers, "d": runs.dimension}


def _sweep(runs: ol.Sweep) -> dict[str, Any]:
    below = _threshold(runs)
    counts = {"starts": len(runs), "threshold": below, "below": int((runs.loss < below).sum())}
    return _size(runs) | counts | {"families": family_counts(runs)}


def _level(runs: ol.Sweep, family: FamilyRow) -> Row:
    state, ansatz = grouped(runs, family)
    Q, R = np.asarray(state.Q), np.asarray(state.R)
    surplus = align(R, np.sqrt(np.diagonal(Q))).order[-1]
    outside = np.diagonal(Q - R @ R.T)  # squared lengths, as T is the identity
    return _size(runs) | {
        "loss": family.loss,
        "outcome": family.outcome,
        "count": family.count,
        "starts": len(runs),
        "anti_aligned": family.anti_aligned,
        "reversed_pairs": _reversed_pairs(state),
        "groups": None if ansatz is None else ol.describe(ansatz),
        "surplus_length": float(np.sqrt(Q[surplus, surplus])),
        "surplus_largest": float(R[surplus].max()),
        "surplus_smallest": float(R[surplus].min()),
        "outside": float(np.sqrt(max(outside.max(), 0))),
    }


def _reversed_pairs(state: ol.OrderParameters) -> int:
    """Count the students that are anti-aligned with the teacher that is theirs alone: the surplus student,
    which has none, is not counted."""
    R = np.asarray(state.R)
    order, teacher, _ = align(R, np.sqrt(np.diagonal(state.Q)))
    pairs = R.shape[1]
    return int((R[order[:pairs], teacher[:pairs]] < 0).sum())


def _shown(runs: ol.Sweep) -> list[FamilyRow]:
    """The commonest levels below and above the threshold, in the order of their losses."""
    below = _threshold(runs)
    common = sorted(runs.summary().families, key=lambda family: -family.count)
    lowest = [family for family in common if family.loss < below][:_LOWEST]
    higher = [family for family in common if family.loss >= below][:_HIGHER]
    return sorted(lowest + higher, key=lambda family: family.loss)


def _panel(runs: ol.Sweep, family: FamilyRow) -> dict[str, Any]:
    level = _level(runs, family)
    kept = ("K", "M", "d", "loss", "count", "starts", "groups", "reversed_pairs")
    return {key: level[key] for key in kept}


def columns(results: Results) -> list[Column]:
    """The levels, their groups, and the surplus student."""
    return [
        *(number(name) for name in ("K", "M", "d")),
        number("level", "loss"),
        Column("outcome", _outcome),
        share("share, % (95 %)", "count"),
        number("anti-aligned", "anti_aligned"),
        number("of these in pairs", "reversed_pairs"),
        number("teachers in groups: students", "groups"),
        fixed("surplus student: length", "surplus_length", 6),
        fixed("largest overlap", "surplus_largest", 4),
        fixed("smallest", "surplus_smallest", 4),
        fixed("outside the span", "outside", 4),
    ]


def _outcome(row: Row) -> Cell:
    return row["outcome"].replace("_", " ")


def remarks(results: Results) -> str:
    """Shares below the threshold, the surplus student at the lowest level, and the groups above."""
    sweeps = results.facts["sweeps"]
    shares = (
        f"{interval(s['below'], s['starts'])} % below {s['threshold']:g} at K = {s['K']}, d = {s['d']} "
        f"(paper: {TABLE_4B[s['M']].global_share} %)"
        for s in sweeps
    )
    first = sweeps[0]
    best, *others = [
        row for row in results.rows if (row["M"], row["d"]) == (first["M"], first["d"])
    ]
    text = (
        f"{'; '.join(shares)}. At the lowest level of K = {best['K']} {best['reversed_pairs']} pairs are "
        f"reversed, and the surplus student, of length {best['surplus_length']:g}, has overlaps of "
        f"{best['surplus_smallest']:.4f} to {best['surplus_largest']:.4f}: it is not inactive, and no loss "
        "is 0."
    )
    above = [row for row in others if row["loss"] >= first["threshold"]]
    if not above:
        return text
    alike = [row for row in above if f"+{row['reversed_pairs']}:" in (row["groups"] or "")]
    return (
        f"{text} In {len(alike)} of the {len(above)} levels above {first['threshold']:g} the second group is "
        f"the reversed pairs: {', '.join(str(row['reversed_pairs']) for row in alike)}."
    )


def figure(results: Results) -> Figure:
    """Draw Q and R of the commonest levels."""
    panels = results.facts["panels"]
    size = ", ".join(f"{key} = {panels[0][key]}" for key in ("K", "M", "d"))
    return states_figure(results.arrays, [_caption(panel) for panel in panels], f"nGD, {size}")


def _caption(panel: dict[str, Any]) -> str:
    return (
        f"L = {panel['loss']:.6f}\n{100 * panel['count'] / panel['starts']:.1f} % of starts\n"
        f"groups of {(panel['groups'] or '?').split(':')[0]}\n{panel['reversed_pairs']} pairs reversed"
    )
