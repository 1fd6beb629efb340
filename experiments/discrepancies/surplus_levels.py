r"""Which minima does gradient flow reach at K = 18, M = 17, and how are they to be named (paper, Table 1)?

The paper finds no stable state with α = 1 for K = M + 1, and counts α by rules that its text does not give.
Each level of a sweep is solved for as a fixed point in its blocks, with the smallest eigenvalue of its whole
Hessian, and three counts beside it: students whose overlap with their teacher is negative (`anti-aligned`;
surplus students with the teacher they overlap most with), students with a strongly negative overlap with
any teacher, and teachers that no student is aligned with. Last, the share of starts whose loss is within 2 %
of the level at a stop at t = 800, at about which the paper's share of the global minimum is had (`stopping`).
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import overlaps_figure, representative, weights_of
from ..shared.legacy import arguments, report
from ..shared.published import TABLE_1
from ..shared.shares import interval
from ..shared.stops import stopped
from ..shared.sweeps import family_counts, swept

_STOP, _NEAR, _STOPPED = 800.0, 0.02, 2000  # time, part of a level, starts
_NEGATIVE, _ALIGNED = -0.3, 0.5  # overlaps: of anti-aligned and of aligned students, well apart


def _row(runs: ol.Sweep, family, stopped_at: np.ndarray) -> dict:
    problem = runs.problem
    state = representative(runs, family)
    R = np.asarray(state.R)
    structure = ol.block_structure(problem, weights_of(runs, family.representative))
    point = ol.fixed_point(structure.problem, structure.ansatz)
    spectrum = ol.spectrum(structure.problem, point)
    near = int((np.abs(stopped_at - family.loss) < _NEAR * family.loss).sum())
    return {
        "outcome": family.outcome.replace("_", " "),
        "loss": family.loss,
        "share % (95 %)": interval(family.count, len(runs)),
        "blocks": ol.describe(structure.ansatz),
        "residual": float(point.residual),
        "smallest eigenvalue": spectrum.smallest,
        "verdict": spectrum.verdict,
        "anti-aligned": family.anti_aligned,
        "strongly negative students": int((R.min(axis=1) < _NEGATIVE).sum()),
        "teachers without aligned student": int((R.max(axis=0) < _ALIGNED).sum()),
        "near it at t = 800, % (95 %)": interval(near, len(stopped_at)),
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "surplus_levels",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts (10,000)"),
    )
    M = 17
    if args.quick:
        M, args.seeds = 13, 500
    runs = swept(args, M + 1, M)
    found = [f for f in runs.summary().families if f.outcome != "global_minimum"]
    flow = ol.GradientFlow()
    losses = stopped(runs.problem, flow, min(args.seeds, _STOPPED), [_STOP]).loss[:, 0]
    rows = [_row(runs, family, losses) for family in found]
    shown = sorted(sorted(found, key=lambda f: -f.count)[:6], key=lambda f: f.loss)
    states = [
        (
            f"L = {f.loss:.6f}\n{f.anti_aligned} anti-aligned\n{100 * f.fraction:.2f} %",
            representative(runs, f),
        )
        for f in shown
    ]
    figure = overlaps_figure(states, f"K = {M + 1}, M = {M}: end states") if states else Figure()
    lone = [
        r for r in rows if r["teachers without aligned student"] == 1 and r["verdict"] == "stable"
    ]
    remarks = (
        f"Stable levels with one teacher without an aligned student (α = 1): {len(lone)}"
        + (f", reached by {lone[0]['share % (95 %)']} % of the starts" if lone else "")
        + (
            f". The paper's shares with α = 1, 2, 3, 4: {', '.join(map(str, TABLE_1[18][1:]))} %."
            if M == 17
            else "."
        )
    )
    report(args, rows, figure, remarks, levels={f"K = {M + 1}, M = {M}": family_counts(runs)})


if __name__ == "__main__":
    main()
