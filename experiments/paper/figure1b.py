r"""At which losses does gradient flow end at K = M, and what do these states look like (paper, Figure 1b)?

Below, the final losses of random starts at K = M = 17. Dashed lines are levels that the fixed-point solver
predicts without any start: of the paper's families with α anti-aligned students as far as they are minima,
and of hidden ones, in which α students are reflected against their teachers almost by themselves. Above, the
order parameters of a start that ended with α = 0, 1, 2, 3.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import histogram, overlaps, representative
from ..shared.levels import level_columns, level_rows, marks, minima, predicted
from ..shared.options import starts
from ..shared.results import Results
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Column

OPTIONS = {"seeds": starts("the flow")}


def rows(options) -> Results:
    """Count the starts that end at each predicted level."""
    M = 8 if options.quick else 17
    runs = swept(options, M, M)
    shown, data = [], {"losses": runs.loss}
    for number, family in enumerate(_commonest(runs)):
        state = representative(runs, family)
        data |= {f"Q_{number}": np.asarray(state.Q), f"R_{number}": np.asarray(state.R)}
        is_global = family.outcome == "global_minimum"
        shown.append(
            {"anti_aligned": family.anti_aligned, "loss": 0.0 if is_global else family.loss}
        )
    sweep = {"K": M, "M": M, "d": runs.dimension, "families": family_counts(runs)}
    found = level_rows(runs, minima(runs.problem))
    return Results(found, {"sweeps": [sweep], "shown": shown}, data)


def _commonest(runs: ol.Sweep) -> list:
    """The commonest family of the summary with α = 0, 1, 2, 3."""
    found = [f for f in runs.summary().families if f.outcome != "saddle"]
    of_alpha = [[f for f in found if f.anti_aligned == alpha] for alpha in range(4)]
    return [max(some, key=lambda f: f.count) for some in of_alpha if some]


def columns(results: Results) -> list[Column]:
    """The predicted levels and the starts that end there."""
    return level_columns()


def remarks(results: Results) -> str:
    """How well peaks and predicted levels agree."""
    levels = predicted(results.rows)
    first = results.rows[0]
    there = sum(row["count"] for row in levels)
    farthest = max((row["farthest"] or 0.0 for row in levels), default=0.0)
    hidden = sum(row["count"] for row in levels if "hidden" in row["end"])
    return (
        f"Of {first['starts'] - first['count']:,} starts that miss the global minimum {there:,} end at a "
        f"predicted level, none more than {farthest:.1g} away: peaks and predicted levels agree, as in the "
        f"paper, here to rounding. {hidden:,} of them end in hidden families, whose levels are none of the "
        "compensated ones'."
    )


def figure(results: Results) -> Figure:
    """Draw the final losses with the predicted levels, and Q and R of the commonest ends above."""
    shown, losses = results.facts["shown"], results.arrays["losses"]
    drawn = Figure(figsize=(8.6, 7), layout="constrained")
    grid = drawn.add_gridspec(2, 1, height_ratios=(1.3, 1))
    insets, main_part = drawn.add_subfigure(grid[0]), drawn.add_subfigure(grid[1])
    panels = insets.subplots(2, len(shown), squeeze=False)
    for number, ((above, below), one) in enumerate(zip(panels.T, shown, strict=True)):
        Q, R = results.arrays[f"Q_{number}"], results.arrays[f"R_{number}"]
        picture = overlaps(above, below, Q, R)
        level = f"L = {one['loss']:.6f}" if one["loss"] else "L = 0"
        above.set_title(f"α = {one['anti_aligned']}, {level}", fontsize=9)
    insets.colorbar(picture, ax=panels, label="overlap", shrink=0.7)
    axes = main_part.subplots()
    levels = [(row["end"], row["loss"]) for row in predicted(results.rows)]
    top = 1.05 * max(float(losses.max()), levels[0][1])
    histogram(axes, losses, marks(levels, top), top)
    axes.set_xlabel("population loss of the end state")
    first = results.rows[0]
    title = f"K = {first['K']}, M = {first['M']}: {len(losses):,} starts of gradient flow"
    drawn.suptitle(title, fontsize=10)
    return drawn
