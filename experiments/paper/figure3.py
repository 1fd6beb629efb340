r"""Do spurious minima withstand noise on the weights, and with one student more, too (paper, Figure 3)?

The fixed points with α = 1, 2, 3 anti-aligned students at K = M are pushed by Gaussian noise of standard
deviation σ on each weight and relaxed by gradient flow to a certified end; told is the loss there less that
of the point. Once as they are, and twice embedded in K = M + 1, which changes neither the network nor its
loss: by a student of length 0, and by splitting the most anti-aligned student into halves. Where the loss
falls, it may fall to a lower minimum instead of to 0, so both are counted.
"""

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.classify import LEVEL_WIDTH

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.legacy import arguments, report
from ..shared.shares import interval

_EMBEDDINGS = {
    None: "K = M",
    "zero": "K = M + 1, a student of length 0",
    "split": "K = M + 1, a student split",
}
_ALPHAS = {1: BLUE, 2: ORANGE, 3: GREEN}
_SIGMA = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3)
_SMALL = 0.01  # noise that leads out of no basin


def _rows(width: int, alpha: int, embedding: str | None, seen: ol.Perturbation) -> list[dict]:
    rows = []
    for at, sigma in enumerate(seen.sigma):
        gaps, outcomes, repeats = seen.gaps[at], seen.outcomes[at], seen.gaps.shape[1]
        learned = outcomes == "global_minimum"
        lower = (gaps < -LEVEL_WIDTH) & ~learned
        counts = {"returned": np.abs(gaps) <= LEVEL_WIDTH, "lower": lower, "global": learned}
        rows.append(
            {
                "M": width,
                "K": width + (embedding is not None),
                "embedding": embedding or "none",
                "α": alpha,
                "loss": seen.loss,
                "σ": float(sigma),
                "repeats": repeats,
                "mean gap": float(seen.mean[at]),
                "spread": float(seen.spread[at]),
                **{f"{k} % (95 %)": interval(int(v.sum()), repeats) for k, v in counts.items()},
                "not minima": int((~learned & (outcomes != "local_minimum")).sum()),
            }
        )
    return rows


def _panel(axes: Axes, rows: list[dict]) -> None:
    for alpha, colour in _ALPHAS.items():
        some = [row for row in rows if row["α"] == alpha]
        if not some:
            continue
        # Lines of different α would hide each other's spread.
        x = np.array([row["σ"] for row in some]) * 1.12 ** (alpha - 2)
        mean, spread = (np.array([row[name] for row in some]) for name in ("mean gap", "spread"))
        axes.errorbar(
            x, mean, spread, fmt="o-", color=colour, markersize=4, capsize=2, label=f"α = {alpha}"
        )
        axes.axhline(-some[0]["loss"], color=colour, linestyle=":", linewidth=1)
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    plain(axes)


def _remarks(rows: list[dict]) -> str:
    told = []
    for embedding, name in _EMBEDDINGS.items():
        some = [r for r in rows if r["embedding"] == (embedding or "none") and r["σ"] <= _SMALL]
        if some:
            back, lower, learned = (
                np.mean([float(r[f"{what} % (95 %)"].split()[0]) for r in some])
                for what in ("returned", "lower", "global")
            )
            told.append(
                f"{name}: {back:.1f} % return, {lower:.1f} % end lower, {learned:.1f} % at 0"
            )
    return (
        f"After noise up to σ = {_SMALL:g}, over all points: {'; '.join(told)}. That minima of K = M become "
        "points that the flow leaves is what the paper reports. It need not lead to loss 0: there are "
        f"lower spurious minima. Of all {sum(r['repeats'] for r in rows):,} ends "
        f"{sum(r['not minima'] for r in rows)} aren't certified as minima."
    )


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure3",
        __doc__,
        argv,
        seeds=dict(type=int, default=100, metavar="N", help="repeats of each noise (100)"),
    )
    widths, alphas, sigma, seeds = (10, 17), tuple(_ALPHAS), _SIGMA, args.seeds
    embeddings = tuple(_EMBEDDINGS)
    if args.quick:
        widths, alphas, sigma, seeds, embeddings = (6,), (1,), (0.001, 0.1), 16, ("zero", "split")
    figure = Figure(figsize=(9.6, 0.9 + 2.4 * len(widths)), layout="constrained")
    panels = figure.subplots(len(widths), len(embeddings), squeeze=False, sharex=True, sharey="row")
    rows = []
    for line, width in zip(panels, widths, strict=True):
        problem = ol.Problem(width, width)
        points = {a: ol.fixed_point(problem, ol.family(problem, a)) for a in alphas}
        for axes, embedding in zip(line, embeddings, strict=True):
            some = []
            for alpha, point in points.items():
                key = jax.random.key(alpha)
                seen = ol.perturb(
                    problem, ol.GradientFlow(), point, sigma, seeds, key, embedding=embedding
                )
                some += _rows(width, alpha, embedding, seen)
            _panel(axes, some)
            axes.set_title(f"M = {width}, {_EMBEDDINGS[embedding]}", fontsize=9)
            rows += some
            print(f"M = {width}, {_EMBEDDINGS[embedding]}: done", flush=True)
        line[0].set_ylabel("loss after − loss before")
    for axes in panels[-1]:
        axes.set_xlabel("noise σ on each weight")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(
        "Change of the loss, mean and standard deviation; dotted: down to loss 0", fontsize=10
    )
    report(args, rows, figure, _remarks(rows))


if __name__ == "__main__":
    main()
