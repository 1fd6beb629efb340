"""Every minimum of K = M ≤ 12 in ansätze of up to three blocks, and how often gradient flow ends in it.

`ol.families` looks for fixed points in all block ansätze of one, two and three blocks; the stable ones
are the census. A sweep of random starts then gives each its share of endings, by the level of its loss.
Minima that no start has ended in have a share of 0 and an upper bound. Levels of the sweep that the
census lacks are told with the blocks of an end state.
"""

import jax
import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol
from odelandscape.summary import wilson

from ..shared.draw import BLUE, GREEN, GREY, ORANGE
from ..shared.legacy import arguments, report

COLOURS = {"compensated": BLUE, "hidden": ORANGE}


def _rows(K: int, seeds: int, starts: int) -> list[dict]:
    problem = ol.Problem(K, K)
    points = ol.families(problem, blocks=3, starts=starts)
    spectra = [ol.spectrum(problem, point) for point in points]
    runs = ol.sweep(problem, ol.GradientFlow(), seeds, progress=False)
    ended = runs.outcome == "local_minimum"
    left = ended.copy()
    rows = []
    for point, spectrum in zip(points, spectra, strict=True):
        if spectrum.verdict == "unstable":
            continue
        if float(point.loss) < 1e-12:
            here = runs.outcome == "global_minimum"
        else:
            here = ended & (np.abs(runs.loss - float(point.loss)) < 1e-8)
        left &= ~here
        rows.append(_row(K, point.branch, point.anti_aligned, point, spectrum.smallest, here))
    for index in np.flatnonzero(left):
        if left[index]:
            weights = jax.tree.map(lambda x: x[0], runs.weights_of(np.array([index])))
            here = left & (np.abs(runs.loss - runs.loss[index]) < 1e-8)
            name = ol.describe(ol.block_structure(problem, weights).ansatz)
            alpha = int(runs.anti_aligned[index])
            rows.append(_row(K, f"not in the census: {name}", alpha, None, None, here))
            left &= ~here
    return rows


def _row(K: int, branch: str, alpha: int, point, smallest: float | None, here: np.ndarray) -> dict:
    count, total = int(here.sum()), len(here)
    low, high = wilson(count, total)
    return {
        "K": K,
        "branch": branch,
        "α": alpha,
        "loss": None if point is None else abs(float(point.loss)),
        "smallest eigenvalue": smallest,
        "endings": count,
        "share %": round(100 * count / total, 3),
        "95 % from": round(100 * low, 3),
        "to": round(100 * high, 3),
    }


def _figure(rows: list[dict], total: int) -> Figure:
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        if row["loss"] is None:
            continue
        colour = GREEN if row["loss"] < 1e-12 else COLOURS.get(row["branch"], GREY)
        seen = row["endings"] > 0
        axes.scatter(
            row["K"],
            row["loss"],
            s=14 + 8 * row["share %"] if seen else 28,
            color=colour if seen else "none",
            edgecolors=colour,
            linewidths=1.2,
            alpha=0.85,
        )
        # Where a compensated and a hidden one are close, their numbers are on either side.
        side = -1 if row["branch"] == "hidden" else 1
        axes.annotate(
            f"{row['α']}",
            (row["K"], row["loss"]),
            fontsize=7,
            xytext=(side * (7 + row["share %"] ** 0.5), -2),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
        )
    for label, colour in (("global", GREEN), *COLOURS.items()):
        axes.scatter([], [], color=colour, label=label)
    axes.scatter([], [], color="none", edgecolors="0.3", label=f"no ending of {total:,}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("width K = M")
    axes.set_ylabel("population loss of the minimum")
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("All minima found, number α beside each; area: share of endings", fontsize=10)
    return figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "census",
        __doc__,
        argv,
        widest=dict(type=int, default=12, metavar="K", help="widest network (12)"),
        seeds=dict(type=int, default=10_000, metavar="N", help="starts at each width (10000)"),
        starts=dict(type=int, default=128, metavar="N", help="starts in each ansatz (128)"),
    )
    widths = [6] if args.quick else range(2, args.widest + 1)
    seeds, starts = (200, 24) if args.quick else (args.seeds, args.starts)
    rows = []
    for K in widths:
        rows += _rows(K, seeds, starts)
        print(f"K = {K}: {sum(row['K'] == K for row in rows)} minima", flush=True)
    report(args, rows, _figure(rows, seeds))


if __name__ == "__main__":
    main()
