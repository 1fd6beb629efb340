r"""Which onGD does not learn, and ends at losses that are not quantised, as the paper reports (Appendix F.4)?

Three ways to keep the students' rows orthonormal are followed to t = 1000 from the same starts: the Euclidean
projection of the gradient, G − ½(GWᵀ + WGᵀ)W, the canonical one, G − WGᵀW, and the horizontal one,
G − GWᵀW, which moves the span of the rows but never turns them within it (for d = M it doesn't move them at
all). The table has the losses' quantiles at t = 10, 100 and 1000, which a stop at these times would find, and
whether the loss still falls there.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, PINK
from ..shared.ongd import LEARNED, HorizontalFlow, paths
from ..shared.options import starts
from ..shared.results import Results
from ..shared.tables import Column, Row, fraction, number

OPTIONS = {"seeds": starts("each", default=48, quick=12)}
_TIMES = (10.0, 100.0, 900.0, 1000.0)
_WIDTHS, _RATIOS = (4, 6, 10, 17), (1, 2, 10)
_FLOWS = {
    "euclidean": ol.OrthonormalFlow(),
    "canonical": ol.OrthonormalFlow("canonical"),
    "horizontal": HorizontalFlow(),
}
_DRAWN_RATIO = 2
_CURVES = (  # projection, index of the time, colour, style
    ("euclidean", 0, GREEN, ":"),
    ("euclidean", 1, BLUE, "--"),
    ("euclidean", 3, BLUE, "-"),
    ("horizontal", 3, PINK, "-"),
)


def rows(options) -> Results:
    """Follow the starts of each width and dimension under the three projections."""
    widths, ratios = ((4,), (1, 2)) if options.quick else (_WIDTHS, _RATIOS)
    found: list[Row] = []
    data = {}
    for width in widths:
        for ratio in ratios:
            d = ratio * width
            for name, flow in _FLOWS.items():
                losses = paths(ol.Problem(width, width), flow, options.seeds, _TIMES, d).loss
                found.append({"K": width, "d": d, "projection": name, **_numbers(losses)})
                if ratio == _DRAWN_RATIO:
                    data[f"losses_{width}_{name}"] = losses
        print(f"K = M = {width}: done", flush=True)
    return Results(found, data=data)


def _numbers(losses: np.ndarray) -> Row:
    """Quantiles of the losses (N, T), and counts of those that have learned and that still fall."""
    early, middle, before, end = losses.T
    low, median, high = np.quantile(end, [0.1, 0.5, 0.9])
    return {
        "starts": len(losses),
        "median_10": float(np.median(early)),
        "median_100": float(np.median(middle)),
        "median_1000": float(median),
        "quantile_10": float(low),
        "quantile_90": float(high),
        "learned_100": int((middle < LEARNED).sum()),
        "learned_1000": int((end < LEARNED).sum()),
        "falling": int((before - end > LEARNED).sum()),
    }


def columns(results: Results) -> list[Column]:
    """Losses at the three times, and the shares of starts that have learned."""
    return [
        number("K = M", "K"),
        Column("d/M", lambda row: row["d"] / row["K"]),
        number("projection"),
        number("starts"),
        number("median at t = 10", "median_10"),
        number("at t = 100", "median_100"),
        number("at t = 1000", "median_1000"),
        number("10 %", "quantile_10"),
        number("90 %", "quantile_90"),
        fraction("learned at t = 100", "learned_100"),
        fraction("at t = 1,000", "learned_1000"),
        fraction("still falling", "falling"),
    ]


def remarks(results: Results) -> str:
    """What the columns mean, and why the horizontal projection does not learn."""
    return (
        f"Learned: loss below {LEARNED:g}. Still falling: by more than that between t = 900 and 1000. "
        "The horizontal projection is stationary wherever no move out of the rows' span reduces the loss: a "
        "continuum of losses."
    )


def figure(results: Results) -> Figure:
    """Draw the distributions of losses for d = 2M, a panel for each width."""
    widths = list(dict.fromkeys(row["K"] for row in results.rows))
    drawn = Figure(figsize=(3.0 * len(widths) + 0.6, 3.9), layout="constrained")
    panels = drawn.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, width in zip(panels, widths, strict=True):
        _panel(axes, width, results)
    panels[0].set_ylabel("share of the starts below")
    handles = panels[0].get_legend_handles_labels()
    place = dict(loc="outside lower center", ncols=min(4, 2 * len(widths)))
    drawn.legend(*handles, frameon=False, fontsize=8, **place)
    return drawn


def _panel(axes: Axes, width: int, results: Results) -> None:
    for name, at, colour, style in _CURVES:
        losses = np.sort(results.arrays[f"losses_{width}_{name}"][:, at])
        share = (np.arange(len(losses)) + 0.5) / len(losses)
        axes.plot(losses, share, style, color=colour, label=f"{name}, t = {_TIMES[at]:.0f}")
    axes.set_xlabel("loss")
    axes.set_title(f"K = M = {width}, d = {_DRAWN_RATIO}M", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xscale("symlog", linthresh=0.02)
