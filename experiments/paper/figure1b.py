r"""At which losses does gradient flow end at K = M, and what do these states look like (paper, Figure 1b)?

Below, the final losses of random starts at K = M = 17. Dashed lines are levels that the fixed-point solver
predicts without any start: of the paper's families with α anti-aligned students as far as they are minima,
and of hidden ones, in which α students are reflected against their teachers almost by themselves. Above, the
order parameters of a start that ended with α = 0, 1, 2, 3.
"""

from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import histogram, overlaps, representative
from ..shared.levels import level_rows, marks, minima
from ..shared.legacy import arguments, report
from ..shared.sweeps import family_counts, swept


def _shown(runs: ol.Sweep) -> list:
    """The commonest family of the summary with α = 0, 1, 2, 3."""
    found = [f for f in runs.summary().families if f.outcome != "saddle"]
    of_alpha = [[f for f in found if f.anti_aligned == alpha] for alpha in range(4)]
    return [max(some, key=lambda f: f.count) for some in of_alpha if some]


def _figure(runs: ol.Sweep, predicted: list) -> Figure:
    shown = _shown(runs)
    figure = Figure(figsize=(8.6, 7), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1.3, 1))
    insets, main_part = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    panels, picture = insets.subplots(2, len(shown), squeeze=False), None
    for (above, below), family in zip(panels.T, shown, strict=True):
        picture = overlaps(above, below, representative(runs, family))
        level = "L = 0" if family.outcome == "global_minimum" else f"L = {family.loss:.6f}"
        above.set_title(f"α = {family.anti_aligned}, {level}", fontsize=9)
    assert picture is not None
    insets.colorbar(picture, ax=panels, label="overlap", shrink=0.7)
    axes = main_part.subplots()
    top = 1.05 * max(float(runs.loss.max()), predicted[0].loss)
    histogram(axes, runs.loss, marks(predicted, top), top)
    axes.set_xlabel("population loss of the end state")
    K, M = runs.problem.students, runs.problem.teachers
    figure.suptitle(f"K = {K}, M = {M}: {len(runs):,} starts of gradient flow", fontsize=10)
    return figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure1b",
        __doc__,
        argv,
        seeds=dict(type=int, default=10_000, metavar="N", help="starts (10,000)"),
    )
    M = 17
    if args.quick:
        M, args.seeds = 8, 200
    runs = swept(args, M, M)
    predicted = minima(runs.problem)
    rows = level_rows(runs, predicted)
    there = sum(row["starts"] for row in rows[1:-2])
    stuck = int((runs.outcome != "global_minimum").sum())
    farthest = max((row["farthest from predicted"] or 0.0 for row in rows[1:-2]), default=0.0)
    hidden = sum(row["starts"] for row in rows if "hidden" in row["end"])
    remarks = (
        f"Of {stuck:,} starts that miss the global minimum {there:,} end at a predicted level, none more "
        f"than {farthest:.1g} away: peaks and predicted levels agree, as in the paper, here to rounding. "
        f"{hidden:,} of them end in hidden families, whose levels are none of the compensated ones'."
    )
    named = {f"K = {M}, M = {M}": family_counts(runs)}
    report(args, rows, _figure(runs, predicted), remarks, levels=named)


if __name__ == "__main__":
    main()
