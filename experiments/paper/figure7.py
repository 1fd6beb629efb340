r"""Are Q and R of end states constant on blocks, at K = M and with one student more (paper, Figure 7)?

Q and R of starts that ended in a local minimum, for K = M = 17 with α = 1, 2, 3 and for K = 18 in the
commonest two, beside a global one. The starts are those of a sweep, which classifies them; the numbers are
those of gradient flow itself at t = 10,000, not refined by any Newton step. Students are sorted by alignment.
The table has the means of each block's diagonal and other entries, and the range of the entries of a block.
"""

from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.sweeps.summary import FamilyRow

from ..shared.draw import state_arrays, states_figure, weights_of
from ..shared.matrices import ordered, parts
from ..shared.options import starts
from ..shared.results import Results
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Column, Row, number

OPTIONS = {"seeds": starts("each K")}
_TIME = 10_000.0
_SHORT = 0.01
_EXAMINED = 1000  # global minima with an excess student


def rows(options) -> Results:
    """Follow a start to each chosen family, and take its Q and R apart block by block."""
    M, widths = (8, (8,)) if options.quick else (17, (17, 18))
    found, states = [], []
    facts: dict[str, Any] = {"panels": [], "sweeps": []}
    for K in widths:
        runs = swept(options, K, M)
        size = {"K": K, "M": M, "d": runs.dimension}
        facts["sweeps"].append(size | {"families": family_counts(runs)})
        local = []
        for family in _chosen(runs):
            states.append(_end(runs, family))
            facts["panels"].append(_panel(runs, family))
            if family.outcome != "global_minimum":
                found += _blocks(runs, family, states[-1])
                local.append(states[-1])
        if K > M:
            facts["excess"] = _excess(runs, local)
    return Results(found, facts, state_arrays(states))


def _chosen(runs: ol.Sweep) -> list[FamilyRow]:
    """Minima with α = 1, 2, 3 where K = M; otherwise the global and the commonest two others."""
    found = runs.summary().families
    minima = [f for f in found if f.outcome == "local_minimum"]
    if runs.problem.students == runs.problem.teachers:
        return [f for f in minima if f.anti_aligned <= 3][:3]
    at_zero = [f for f in found if f.outcome == "global_minimum"]
    return at_zero + sorted(sorted(minima, key=lambda f: -f.count)[:2], key=lambda f: f.loss)


def _end(runs: ol.Sweep, family: FamilyRow) -> ol.OrderParameters:
    """Where gradient flow is at `_TIME` from the first start that ends in a family."""
    key = jax.random.fold_in(jax.random.key(runs.seed), family.representative)
    start = ol.random_weights(key, runs.problem)
    path = ol.trajectory(runs.problem, ol.GradientFlow(), start, [_TIME])
    return jax.tree.map(lambda x: x[0], path.states)


def _panel(runs: ol.Sweep, family: FamilyRow) -> dict[str, Any]:
    is_global = family.outcome == "global_minimum"
    return {
        "K": runs.problem.students,
        "anti_aligned": family.anti_aligned,
        "loss": 0.0 if is_global else family.loss,
    }


def _blocks(runs: ol.Sweep, family: FamilyRow, state: ol.OrderParameters) -> list[Row]:
    """A row for each block of a state: means and ranges of its diagonal and of its other entries."""
    structure = ol.block_structure(runs.problem, weights_of(runs, family.representative))
    in_order = ordered(state, structure)
    size = {"K": runs.problem.students, "M": runs.problem.teachers}
    found = []
    for part in parts(structure.point):
        row = size | {"anti_aligned": family.anti_aligned, "loss": family.loss}
        row |= {"matrix": part.matrix, "block": part.name}
        for name, values in zip(("diagonal", "others"), part.of(in_order), strict=True):
            row[name] = float(values.mean()) if values.size else None
            row[f"{name}_range"] = float(np.ptp(values)) if values.size else None
        found.append(row)
    return found


def _excess(runs: ol.Sweep, local: list[ol.OrderParameters]) -> dict[str, Any]:
    """What becomes of the excess student, in global minima and in the local ones shown."""
    seeds = np.asarray(runs.seeds)[runs.outcome == "global_minimum"][:_EXAMINED]
    W = runs.weights_of(seeds).W
    lengths = np.linalg.norm(W, axis=2)
    shortest = W[np.arange(len(W)), lengths.argmin(axis=1)]
    long = lengths.min(axis=1) >= _SHORT
    cosines = shortest[long].max(axis=1) / lengths.min(axis=1)[long]
    squares = [np.diagonal(state.Q).min() for state in local]
    return {
        "K": runs.problem.students,
        "minima": len(W),
        "short_share": float((~long).mean()),
        "least_cosine": float(cosines.min(initial=1.0)),
        "least_length": float(np.sqrt(min(squares))),
    }


def columns(results: Results) -> list[Column]:
    """The numbers of each block."""
    return [
        *(number(name) for name in ("K", "M")),
        number("α", "anti_aligned"),
        number("loss"),
        Column("block", lambda row: f"{row['matrix']}: {row['block']}"),
        number("diagonal"),
        number("its range", "diagonal_range"),
        number("others"),
        number("their range", "others_range"),
    ]


def remarks(results: Results) -> str:
    """How constant blocks are, and what becomes of an excess student."""
    ranges = (row[f"{name}_range"] for row in results.rows for name in ("diagonal", "others"))
    return (
        f"Entries within a block differ by at most {max(x or 0.0 for x in ranges):.1g} at t = {_TIME:,.0f}: "
        f"end states have the blocks of the ansatz.{_excess_remark(results.facts.get('excess'))}"
    )


def _excess_remark(excess: dict[str, Any] | None) -> str:
    if excess is None:
        return ""
    return (
        f" The paper says that excess students decay to length 0. Of {excess['minima']:,} global minima at "
        f"K = {excess['K']} the shortest student is shorter than {_SHORT} in "
        f"{100 * excess['short_share']:.0f} %; in the others it lies along a teacher, which another student "
        f"shares (cosine at least {excess['least_cosine']:.6f}). In the local minima shown no student is "
        f"shorter than {excess['least_length']:.2f}."
    )


def figure(results: Results) -> Figure:
    """Draw Q and R of each state."""
    M = results.rows[0]["M"]
    captions = [_caption(panel) for panel in results.facts["panels"]]
    title = f"M = {M}: order parameters at the end of gradient flow"
    return states_figure(results.arrays, captions, title)


def _caption(panel: dict[str, Any]) -> str:
    if panel["loss"] == 0:
        return f"K = {panel['K']}: global\nL = 0"
    return f"K = {panel['K']}: α = {panel['anti_aligned']}\nL = {panel['loss']:.6f}"
