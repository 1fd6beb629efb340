r"""Are Q and R of end states constant on blocks, at K = M and with one student more (paper, Figure 7)?

Q and R of starts that ended in a local minimum, for K = M = 17 with α = 1, 2, 3 and for K = 18 in the
commonest two, beside a global one. The starts are those of a sweep, which tells their fates; the numbers are
those of gradient flow itself at t = 10,000, polished by nothing. Students are sorted by alignment. The table
has the means of each block's diagonal and other entries, and how far the entries within a block differ.
"""

import jax
import numpy as np

import odelandscape as ol

from ..shared.draw import overlaps_figure, weights_of
from ..shared.legacy import arguments, report
from ..shared.matrices import parts
from ..shared.sweeps import family_counts, swept

_TIME = 10_000.0
_SHORT = 0.01


def _end(runs: ol.Sweep, family) -> ol.OrderParameters:
    """Where gradient flow is at `_TIME` from the first start that ends in a family."""
    key = jax.random.fold_in(jax.random.key(runs.seed), family.representative)
    start = ol.random_weights(key, runs.problem)
    path = ol.trajectory(runs.problem, ol.GradientFlow(), start, [_TIME])
    return jax.tree.map(lambda x: x[0], path.states)


def _rows(runs: ol.Sweep, family, state: ol.OrderParameters) -> list[dict]:
    structure = ol.block_structure(runs.problem, weights_of(runs, family.representative))
    i, n = structure.students, structure.teachers
    ordered = ol.OrderParameters(state.Q[np.ix_(i, i)], state.R[np.ix_(i, n)], state.v[i])
    rows = []
    for part in parts(structure.ansatz):
        row = {
            "K": runs.problem.students,
            "M": runs.problem.teachers,
            "α": family.anti_aligned,
            "loss": family.loss,
            "block": f"{part.matrix}: {part.name}",
        }
        names = (("diagonal", "its spread"), ("others", "their spread"))
        for (mean, spread), values in zip(names, part.of(ordered), strict=True):
            row[mean] = float(values.mean()) if values.size else None
            row[spread] = float(np.ptp(values)) if values.size else None
        rows.append(row)
    return rows


def _chosen(runs: ol.Sweep) -> list:
    """Minima with α = 1, 2, 3 where K = M; otherwise the global and the commonest two others."""
    found = runs.summary().families
    minima = [f for f in found if f.outcome == "local_minimum"]
    if runs.problem.students == runs.problem.teachers:
        return [f for f in minima if f.anti_aligned <= 3][:3]
    world = [f for f in found if f.outcome == "global_minimum"]
    return world + sorted(sorted(minima, key=lambda f: -f.count)[:2], key=lambda f: f.loss)


def _excess(runs: ol.Sweep, least: float) -> str:
    """What becomes of the excess student; `least`: length of the shortest in the local minima."""
    seeds = np.asarray(runs.seeds)[runs.outcome == "global_minimum"][:1000]
    W = runs.weights_of(seeds).W
    lengths = np.linalg.norm(W, axis=2)
    shortest = W[np.arange(len(W)), lengths.argmin(axis=1)]
    long = lengths.min(axis=1) >= _SHORT
    cosines = shortest[long].max(axis=1) / lengths.min(axis=1)[long]
    return (
        f" The paper says that excess students decay to length 0. Of {len(W):,} global minima at "
        f"K = {runs.problem.students} the shortest student is shorter than {_SHORT} in "
        f"{100 * (~long).mean():.0f} %; in the others it lies along a teacher, which another student shares "
        f"(cosine at least {cosines.min(initial=1.0):.6f}). In the local minima shown no student is "
        f"shorter than {least:.2f}."
    )


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure7",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts of each K (10,000)"),
    )
    M, widths = 17, (17, 18)
    if args.quick:
        M, widths, args.seeds = 8, (8,), 200
    rows, panels, found, excess = [], [], {}, ""
    for K in widths:
        runs, least = swept(args, K, M), np.inf
        found[f"K = {K}, M = {M}"] = family_counts(runs)
        for family in _chosen(runs):
            state = _end(runs, family)
            if family.outcome == "global_minimum":
                panels.append((f"K = {K}: global\nL = 0", state))
                continue
            caption = f"K = {K}: α = {family.anti_aligned}\nL = {family.loss:.6f}"
            panels.append((caption, state))
            rows += _rows(runs, family, state)
            least = min(least, float(np.sqrt(np.diagonal(state.Q)).min()))
        if K > M:
            excess = _excess(runs, least)
    spread = max(r[name] or 0.0 for r in rows for name in ("its spread", "their spread"))
    remarks = (
        f"Entries within a block differ by at most {spread:.1g} at t = {_TIME:,.0f}: end states have "
        f"the blocks of the ansatz.{excess}"
    )
    title = f"M = {M}: order parameters at the end of gradient flow"
    report(args, rows, overlaps_figure(panels, title), remarks, levels=found)


if __name__ == "__main__":
    main()
