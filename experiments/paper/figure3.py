r"""Are spurious minima stable under noise on the weights, and with one student more, too (paper, Figure 3)?

The fixed points with α = 1, 2, 3 anti-aligned students at K = M are perturbed by Gaussian noise of standard
deviation σ on each weight and relaxed by gradient flow to a certified end; reported is the loss there less
that of the point. Once as they are, and twice embedded in K = M + 1, which changes neither the network nor
its loss: by a student of length 0, and by splitting the most anti-aligned student into halves. Where the loss
falls, it may fall to a lower minimum instead of to 0, so both are counted.
"""

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.classify import LEVEL_WIDTH

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number, share

OPTIONS = {"seeds": Option(100, 16, "repeats of each noise")}
_EMBEDDINGS = {
    "none": "K = M",
    "zero": "K = M + 1, a student of length 0",
    "split": "K = M + 1, a student split",
}
_ALPHAS = {1: BLUE, 2: ORANGE, 3: GREEN}
_SIGMA = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3)
_SMALL = 0.01  # noise that leads out of no basin
_ENDS = {"returned": "return", "lower": "end lower", "global": "at 0"}


def rows(options) -> Results:
    """Perturb each fixed point, as it is and embedded, with each noise."""
    widths, alphas, sigma, embeddings = (10, 17), tuple(_ALPHAS), _SIGMA, tuple(_EMBEDDINGS)
    if options.quick:
        widths, alphas, sigma, embeddings = (6,), (1,), (0.001, 0.1), ("zero", "split")
    found = []
    for width in widths:
        problem = ol.Problem(width, width)
        points = {alpha: ol.fixed_point(problem, ol.family(problem, alpha)) for alpha in alphas}
        for name in embeddings:
            embedding = None if name == "none" else name
            for alpha, point in points.items():
                noise = sigma, options.seeds, jax.random.key(alpha)
                perturbed = ol.perturb(
                    problem, ol.GradientFlow(), point, *noise, embedding=embedding
                )
                size = {"M": width, "K": width + (embedding is not None), "embedding": name}
                found += _of_point(size | {"anti_aligned": alpha}, perturbed)
            print(f"M = {width}, {_EMBEDDINGS[name]}: done", flush=True)
    return Results(found)


def _of_point(point: Row, perturbed: ol.Perturbation) -> list[Row]:
    """A row for each noise: the gaps of its repeats to the point's loss, and where they end."""
    rows = []
    for at, sigma in enumerate(perturbed.sigma):
        gaps, outcomes = perturbed.gaps[at], perturbed.outcomes[at]
        is_global = outcomes == "global_minimum"
        row = point | {"loss": perturbed.loss, "sigma": float(sigma), "repeats": len(gaps)}
        row |= {"mean_gap": float(perturbed.mean[at]), "std_gap": float(perturbed.spread[at])}
        row["returned"] = int((np.abs(gaps) <= LEVEL_WIDTH).sum())
        row["lower"] = int(((gaps < -LEVEL_WIDTH) & ~is_global).sum())
        row["global"] = int(is_global.sum())
        row["not_minima"] = int((~is_global & (outcomes != "local_minimum")).sum())
        rows.append(row)
    return rows


def columns(results: Results) -> list[Column]:
    """The change of the loss under each noise, and the shares of its ends."""
    return [
        *(number(name) for name in ("M", "K", "embedding")),
        number("α", "anti_aligned"),
        number("loss"),
        number("σ", "sigma"),
        number("repeats"),
        number("mean gap", "mean_gap"),
        number("standard deviation", "std_gap"),
        *(share(f"{end} % (95 %)", end, "repeats") for end in _ENDS),
        number("not minima", "not_minima"),
    ]


def remarks(results: Results) -> str:
    """Where starts end after small noise, for each embedding."""
    rows = results.rows
    parts = []
    for embedding, name in _EMBEDDINGS.items():
        some = [r for r in rows if r["embedding"] == embedding and r["sigma"] <= _SMALL]
        if some:
            repeats = sum(row["repeats"] for row in some)
            shares = (
                f"{100 * sum(row[end] for row in some) / repeats:.1f} % {words}"
                for end, words in _ENDS.items()
            )
            parts.append(f"{name}: {', '.join(shares)}")
    return (
        f"After noise up to σ = {_SMALL:g}, over all points: {'; '.join(parts)}. That minima of K = M become "
        "points that the flow leaves is what the paper reports. It need not lead to loss 0: there are "
        f"lower spurious minima. Of all {sum(row['repeats'] for row in rows):,} ends "
        f"{sum(row['not_minima'] for row in rows)} aren't certified as minima."
    )


def figure(results: Results) -> Figure:
    """Draw the change of the loss against the noise: a panel for each width and embedding."""
    rows = results.rows
    widths, embeddings = (
        list(dict.fromkeys(row[key] for row in rows)) for key in ("M", "embedding")
    )
    drawn = Figure(figsize=(9.6, 0.9 + 2.4 * len(widths)), layout="constrained")
    panels = drawn.subplots(len(widths), len(embeddings), squeeze=False, sharex=True, sharey="row")
    for line, width in zip(panels, widths, strict=True):
        for axes, embedding in zip(line, embeddings, strict=True):
            _panel(axes, [r for r in rows if (r["M"], r["embedding"]) == (width, embedding)])
            axes.set_title(f"M = {width}, {_EMBEDDINGS[embedding]}", fontsize=9)
        line[0].set_ylabel("loss after − loss before")
    for axes in panels[-1]:
        axes.set_xlabel("noise σ on each weight")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    drawn.suptitle(
        "Change of the loss, mean and standard deviation; dotted: down to loss 0", fontsize=10
    )
    return drawn


def _panel(axes: Axes, rows: list[Row]) -> None:
    for alpha, colour in _ALPHAS.items():
        some = [row for row in rows if row["anti_aligned"] == alpha]
        if not some:
            continue
        # Lines of different α would hide each other's error bars.
        x = np.array([row["sigma"] for row in some]) * 1.12 ** (alpha - 2)
        mean, std = (np.array([row[name] for row in some]) for name in ("mean_gap", "std_gap"))
        axes.errorbar(
            x, mean, std, fmt="o-", color=colour, markersize=4, capsize=2, label=f"α = {alpha}"
        )
        axes.axhline(-some[0]["loss"], color=colour, linestyle=":", linewidth=1)
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    plain(axes)
