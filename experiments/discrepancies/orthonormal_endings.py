r"""Which onGD does not learn, and ends at losses that are not quantised, as the paper says (Appendix F.4)?

Three ways to keep the students' rows orthonormal are followed to t = 1000 from the same starts: the Euclidean
projection of the gradient, G − ½(GWᵀ + WGᵀ)W, the canonical one, G − WGᵀW, and the horizontal one,
G − GWᵀW, which moves the span of the rows but never turns them within it (for d = M it doesn't move them at
all). Told are the losses' quantiles at t = 10, 100 and 1000, as a stop at these times would see them, and
whether the path rested there.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, PINK
from ..shared.legacy import arguments, report
from ..shared.ongd import LEARNED, HorizontalFlow, paths

_TIMES = (10.0, 100.0, 900.0, 1000.0)


_FLOWS = {
    "euclidean": ol.OrthonormalFlow(),
    "canonical": ol.OrthonormalFlow("canonical"),
    "horizontal": HorizontalFlow(),
}


def _row(width: int, ratio: float, name: str, losses: np.ndarray) -> dict:
    early, middle, before, end = losses.T
    low, median, high = np.quantile(end, [0.1, 0.5, 0.9])
    return {
        "K = M": width,
        "d/M": ratio,
        "projection": name,
        "starts": len(losses),
        "median at t = 10": float(np.median(early)),
        "at t = 100": float(np.median(middle)),
        "at t = 1000": float(median),
        "10 %": float(low),
        "90 %": float(high),
        "learned at t = 100": float((middle < LEARNED).mean()),
        "at t = 1,000": float((end < LEARNED).mean()),
        "still falling": float((before - end > LEARNED).mean()),
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "orthonormal_endings",
        __doc__,
        argv,
        seeds=dict(type=int, default=48, metavar="N", help="starts of each (48)"),
    )
    widths, ratios, starts = (4, 6, 10, 17), (1, 2, 10), args.seeds
    if args.quick:
        widths, ratios, starts = (4,), (1, 2), 12
    rows, shown = [], {}
    for width in widths:
        for ratio in ratios:
            for name, flow in _FLOWS.items():
                losses = paths(ol.Problem(width, width), flow, starts, _TIMES, ratio * width).loss
                rows.append(_row(width, ratio, name, losses))
                shown[width, ratio, name] = losses
        print(f"K = M = {width}: done", flush=True)
    figure = Figure(figsize=(3.0 * len(widths) + 0.6, 3.9), layout="constrained")
    share = (np.arange(starts) + 0.5) / starts
    panels = figure.subplots(1, len(widths), sharey=True, squeeze=False)[0]
    for axes, width in zip(panels, widths, strict=True):
        for name, at, colour, style in (
            ("euclidean", 0, GREEN, ":"),
            ("euclidean", 1, BLUE, "--"),
            ("euclidean", 3, BLUE, "-"),
            ("horizontal", 3, PINK, "-"),
        ):
            losses = np.sort(shown[width, 2, name][:, at])
            label = f"{name}, t = {_TIMES[at]:.0f}"
            axes.plot(
                losses, share, style, color=colour, label=label if width == widths[0] else None
            )
        axes.set_xlabel("loss")
        axes.set_title(f"K = M = {width}, d = 2M", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xscale("symlog", linthresh=0.02)
    figure.axes[0].set_ylabel("share of the starts below")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    remarks = (
        f"Learned: loss below {LEARNED:g}. Still falling: by more than that between t = 900 and 1000. "
        "The horizontal projection rests wherever no move out of the rows' span helps: a continuum of losses."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
