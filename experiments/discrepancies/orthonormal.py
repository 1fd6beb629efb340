r"""Does orthonormal gradient descent (onGD) learn?

The paper reports that it doesn't (Appendix F.4). The share of starts that reach the global minimum is
mapped against the dimension d of the inputs over M (with d = M the students' rows span the teacher, with
d ≫ M they begin almost orthogonal to it) for two projections of the gradient: the Euclidean one,
G − ½(GWᵀ + WGᵀ)W, and the canonical one, G − WGᵀW. Their fixed points are the same, the paths are not, but
for d = M. Which version of onGD the paper's statement holds for is the question of `orthonormal_endings`.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.sweeps.summary import wilson_interval

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, PINK
from ..shared.options import starts
from ..shared.results import Results
from ..shared.tables import Column, Row, bounds, fraction, number

OPTIONS = {"seeds": starts("each", default=300, quick=64)}
_METRICS = ("euclidean", "canonical")
_COLOURS = {4: GREEN, 6: BLUE, 10: ORANGE, 17: PINK}
_RATIOS = (1, 1.25, 1.5, 2, 3, 5, 10, 30)


def rows(options) -> Results:
    """Count the outcomes of each width, dimension and projection."""
    widths, ratios = ((4,), (1, 3)) if options.quick else (tuple(_COLOURS), _RATIOS)
    found: list[Row] = []
    for width in widths:
        for ratio in ratios:
            d = max(width, round(ratio * width))
            found += [_row(width, d, metric, options.seeds) for metric in _METRICS]
        print(f"K = M = {width}: done", flush=True)
    return Results(found)


def _row(width: int, d: int, metric: str, seeds: int) -> Row:
    problem = ol.Problem(width, width)
    runs = ol.sweep(problem, ol.OrthonormalFlow(metric), seeds, dimension=d, progress=False)
    local = runs.outcome == "local_minimum"
    return {
        "K": width,
        "d": d,
        "metric": metric,
        "starts": seeds,
        "global": int((runs.outcome == "global_minimum").sum()),
        "local": int(local.sum()),
        "not_converged": int((runs.outcome == "not_converged").sum()),
        "median_local_loss": float(np.median(runs.loss[local])) if local.any() else None,
        "median_time": float(np.median(runs.time)),
    }


def columns(results: Results) -> list[Column]:
    """Shares of the outcomes, and how long the starts take."""
    return [
        number("K = M", "K"),
        Column("d/M", lambda row: row["d"] / row["K"]),
        number("metric"),
        number("starts"),
        fraction("global", "global"),
        *bounds("95 % from", "to", "global"),
        fraction("local minima", "local"),
        fraction("not converged", "not_converged"),
        number("their losses, median", "median_local_loss"),
        number("median time to 1e-3", "median_time"),
    ]


def remarks(results: Results) -> str:
    """How many starts converged."""
    total = sum(row["starts"] for row in results.rows)
    converged = total - sum(row["not_converged"] for row in results.rows)
    return f"Of {total:,} starts {converged:,} converged."


def figure(results: Results) -> Figure:
    """Draw the share of starts that learn against d / M, a panel for each projection."""
    drawn = Figure(figsize=(8.6, 3.8), layout="constrained")
    panels = drawn.subplots(1, 2, sharey=True)
    for axes, metric in zip(panels, _METRICS, strict=True):
        _panel(axes, [row for row in results.rows if row["metric"] == metric])
        axes.set_title(f"{metric} projection", fontsize=10)
    panels[0].set_ylabel("share of starts that learn the teacher (95 %)")
    panels[0].legend(frameon=False, fontsize=8)
    return drawn


def _panel(axes: Axes, rows: list[Row]) -> None:
    for width, colour in _COLOURS.items():
        some = [row for row in rows if row["K"] == width]
        if not some:
            continue
        x = [row["d"] / width for row in some]
        share = np.array([row["global"] / row["starts"] for row in some])
        low, high = np.array([wilson_interval(row["global"], row["starts"]) for row in some]).T
        size = 9 if width == 4 else 5  # K = 4 lies under K = 6
        style = dict(fmt="o-", markersize=size, color=colour, capsize=2)
        axes.errorbar(x, share, [share - low, high - share], label=f"K = M = {width}", **style)
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("d / M")
    axes.grid(axis="y", color=GREY, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
