r"""Does orthonormal gradient descent (onGD) learn?

The paper reports that it doesn't (Appendix F.4). The share of starts that reach the global minimum is
mapped against the dimension d of the inputs over M (with d = M the students' rows span the teacher, with
d ≫ M they begin almost orthogonal to it) for two projections of the gradient: the Euclidean one,
G − ½(GWᵀ + WGᵀ)W, and the canonical one, G − WGᵀW. Their fixed points are the same, the paths are not, but
for d = M. What the paper's statement holds for is asked by `orthonormal_endings`.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.summary import wilson

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, PINK
from ..shared.legacy import arguments, report

_METRICS = ("euclidean", "canonical")
_COLOURS = {4: GREEN, 6: BLUE, 10: ORANGE, 17: PINK}


def _row(width: int, d: int, metric: str, seeds: int) -> dict:
    problem = ol.Problem(width, width)
    runs = ol.sweep(problem, ol.OrthonormalFlow(metric), seeds, dimension=d, progress=False)
    learned = int((runs.outcome == "global_minimum").sum())
    low, high = wilson(learned, seeds)
    stuck = runs.loss[runs.outcome == "local_minimum"]
    return {
        "K = M": width,
        "d/M": d / width,
        "metric": metric,
        "starts": seeds,
        "global": learned / seeds,
        "95 % from": low,
        "to": high,
        "local minima": float((runs.outcome == "local_minimum").mean()),
        "not converged": float((runs.outcome == "not_converged").mean()),
        "their losses, median": float(np.median(stuck)) if len(stuck) else None,
        "median time to 1e-3": float(np.median(runs.time)),
    }


def _panel(axes: Axes, rows: list[dict], metric: str) -> None:
    for width, colour in _COLOURS.items():
        some = [r for r in rows if r["K = M"] == width and r["metric"] == metric]
        if not some:
            continue
        x = np.array([r["d/M"] for r in some])
        share = np.array([r["global"] for r in some])
        low, high = (np.array([r[name] for r in some]) for name in ("95 % from", "to"))
        axes.errorbar(
            x,
            share,
            [share - low, high - share],
            fmt="o-",
            markersize=9 if width == 4 else 5,  # K = 4 lies under K = 6
            color=colour,
            capsize=2,
            label=f"K = M = {width}",
        )
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("d / M")
    axes.set_title(f"{metric} projection", fontsize=10)
    axes.grid(axis="y", color=GREY, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "orthonormal",
        __doc__,
        argv,
        seeds=dict(type=int, default=300, metavar="N", help="starts of each (300)"),
    )
    widths, ratios, seeds = tuple(_COLOURS), (1, 1.25, 1.5, 2, 3, 5, 10, 30), args.seeds
    if args.quick:
        widths, ratios, seeds = (4,), (1, 3), 64
    rows = []
    for width in widths:
        for ratio in ratios:
            d = max(width, round(ratio * width))
            rows += [_row(width, d, metric, seeds) for metric in _METRICS]
        print(f"K = M = {width}: done", flush=True)
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric in zip(panels, _METRICS, strict=True):
        _panel(axes, rows, metric)
    panels[0].set_ylabel("share of starts that learn the teacher (95 %)")
    panels[0].legend(frameon=False, fontsize=8)
    converged = sum(r["starts"] * (1 - r["not converged"]) for r in rows)
    remarks = f"Of {sum(r['starts'] for r in rows):,} starts {converged:,.0f} converged."
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
