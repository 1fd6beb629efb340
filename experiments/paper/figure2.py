r"""How do the final losses change with one and two students more than teachers (paper, Figure 2)?

Final losses of random starts of gradient flow at M = 17 and K = 17, 18 and 19, each with the levels of
minima that the fixed-point solver predicts (dashed): of the named families at K = M, above of all that a
search in up to two blocks finds. Minima are named by α and, for K > M, by the sizes of their blocks.
"""

import numpy as np
from matplotlib.figure import Figure

from ..shared.draw import histogram
from ..shared.levels import level_columns, level_rows, marks, minima, predicted
from ..shared.options import starts
from ..shared.published import TABLE_1, TABLE_2, TABLE_3B
from ..shared.results import Results
from ..shared.shares import interval
from ..shared.sweeps import family_counts, swept
from ..shared.tables import Column, Row

OPTIONS = {"seeds": starts("each K")}


def rows(options) -> Results:
    """Count the starts that end at each predicted level, for each K."""
    M, widths = (8, (8,)) if options.quick else (17, (17, 18, 19))
    found, sweeps, losses = [], [], {}
    for K in widths:
        runs = swept(options, K, M)
        found += level_rows(runs, minima(runs.problem))
        size = {"K": K, "M": M, "d": runs.dimension}
        sweeps.append(size | {"families": family_counts(runs)})
        losses[f"losses_{K}"] = runs.loss
    return Results(found, {"sweeps": sweeps}, losses)


def columns(results: Results) -> list[Column]:
    """The predicted levels and the starts that end there."""
    return level_columns()


def _of_each_width(results: Results) -> dict[int, list[Row]]:
    widths = dict.fromkeys(row["K"] for row in results.rows)
    return {K: [row for row in results.rows if row["K"] == K] for K in widths}


def remarks(results: Results) -> str:
    """Our global shares beside the published ones."""
    parts, M = _of_each_width(results), results.rows[0]["M"]
    shares = [
        f"{interval(rows[0]['count'], rows[0]['starts'])} % (K = {K})" for K, rows in parts.items()
    ]
    text = f"Global, with 95 % intervals: {', '.join(shares)}."
    if M == 17:
        published = [f"{TABLE_1[K][0]} and {TABLE_2['gd'][K - M]}" for K in parts]
        text += (
            f" The paper's Tables 1 and 2 give {', '.join(published)} (and Table 3b "
            f"{TABLE_3B[M].global_share} for K = 18), its text that with one student more nearly all starts "
            "reach zero loss."
        )
    other = sum(row["count"] for row in results.rows if row["end"] == "other levels")
    return f"{text} {other:,} starts end at levels that were not predicted."


def figure(results: Results) -> Figure:
    """Draw the final losses of each K with the predicted levels."""
    parts = _of_each_width(results)
    losses = {K: results.arrays[f"losses_{K}"] for K in parts}
    top = 1.05 * max(float(np.max(values)) for values in losses.values())
    drawn = Figure(figsize=(8.6, 0.6 + 2.5 * len(parts)), layout="constrained")
    panels = drawn.subplots(len(parts), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (K, rows) in zip(panels, parts.items(), strict=True):
        levels = [(row["end"], row["loss"]) for row in predicted(rows)]
        histogram(axes, losses[K], marks(levels, top), top)
        if not levels:
            none = "the search in two blocks finds no minimum above loss 0"
            axes.text(0.5, 0.5, none, transform=axes.transAxes, ha="center", fontsize=8)
        first = rows[0]
        share = interval(first["count"], first["starts"])
        axes.set_title(
            f"K = {K}, M = {first['M']}: {share} % of {first['starts']:,} starts reach the global minimum",
            fontsize=9,
        )
    panels[-1].set_xlabel("population loss of the end state")
    return drawn
