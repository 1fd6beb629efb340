r"""Which fixed points does the solver find for K = M + 1, and do starts end there (paper, Figure 8)?

K = 18, M = 17: nothing here comes from a trajectory but the last two columns of the table. A search in block
ansätze gives fixed points with the smallest eigenvalue of the whole Hessian; Q and R of the lowest minima are
drawn. The sweep's starts are then looked for at these losses. α counts students whose strongest overlap is
negative, so that an anti-aligned student in two parts counts twice.
"""

import numpy as np

import odelandscape as ol

from ..shared.draw import overlaps_figure
from ..shared.legacy import arguments, report
from ..shared.levels import Level, solved
from ..shared.shares import interval
from ..shared.sweeps import family_counts, swept

_LISTED, _DRAWN = 24, 6  # fixed points, minima
_ALIGNED = 0.5  # overlap with the own teacher


def _row(runs: ol.Sweep, level: Level) -> dict:
    there = level.reached(runs)
    return {
        "blocks": ol.describe(level.point.ansatz),
        "α": level.point.anti_aligned,
        "loss": level.loss,
        "residual": float(level.point.residual),
        "smallest eigenvalue": level.spectrum.smallest,
        "verdict": level.spectrum.verdict,
        "share of the starts % (95 %)": interval(int(there.sum()), len(runs)),
        "their loss − predicted": float(np.abs(runs.loss[there] - level.loss).max())
        if there.any()
        else None,
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure8",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts to compare with (10,000)"),
    )
    M = 17
    if args.quick:
        M, args.seeds = 11, 200
    problem = ol.Problem(M + 1, M)
    found = solved(problem, search=not args.quick)[:_LISTED]
    minima = [level for level in found if level.spectrum.verdict == "stable"]
    runs = swept(args, M + 1, M)
    rows = [_row(runs, level) for level in found]
    panels = [
        (f"{level.name}\nL = {level.loss:.6f}", level.point.overlaps) for level in minima[:_DRAWN]
    ]
    figure = overlaps_figure(panels, f"K = {M + 1}, M = {M}: minima from the fixed-point solver")
    ended = np.isin(runs.outcome, ["local_minimum", "saddle"])
    known = np.any([level.reached(runs) for level in found], axis=0)
    lowest = minima[0]
    alone = int((np.asarray(lowest.point.overlaps.R).max(axis=0) < _ALIGNED).sum())
    remarks = (
        f"{len(minima)} of these {len(found)} fixed points are minima. {int(known.sum()):,} of the sweep's "
        f"{int(ended.sum()):,} end states above loss 0 are among them. The lowest minimum, {lowest.loss:.8f} "
        f"(smallest eigenvalue {lowest.spectrum.smallest:.4f}), leaves {alone} teacher without an aligned "
        f"student, and {lowest.point.anti_aligned} students are anti-aligned; the paper finds no stable "
        "state with one anti-aligned student for K = M + 1."
    )
    report(args, rows, figure, remarks, levels={f"K = {M + 1}, M = {M}": family_counts(runs)})


if __name__ == "__main__":
    main()
