r"""Where do nGD with a surplus student and onGD end (paper, Figure 13)?

(a) nGD for K = 18, M = 17: no loss is 0, a few levels lie below 0.1 and a crowd of others above.
(b) onGD for K = M = 17: at the end of the paths its losses are quantised as those of gradient flow; what is
seen at a stop at t = 10 or 100, or at rest under the horizontal projection, which never turns the students
within their span (`orthonormal_endings`), is a continuum and no start has learned.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import GREY, histogram
from ..shared.legacy import arguments, report, written
from ..shared.ongd import END, HORIZONTAL, LABELS, endings, loss_columns, loss_row
from ..shared.published import TABLE_4B, THRESHOLDS_4B
from ..shared.sweeps import family_counts, swept

_STOPS = (10.0, 100.0)


def _names(runs: ol.Sweep, gap: float) -> list[tuple[str, float]]:
    """The levels of a sweep, those closer than `gap` under one name."""
    near: list[list] = []
    for family in runs.summary().families:
        if near and family.loss - near[-1][0].loss < gap:
            near[-1].append(family)
        else:
            near.append([family])
    named = []
    for some in near:
        alphas = sorted({family.anti_aligned for family in some})
        name = f"α = {', '.join(map(str, alphas))}"
        more = f" ({len(some)} levels)" if len(some) > len(alphas) else ""
        named.append((name + more, some[0].loss))
    return named


def _panel(axes: Axes, losses: np.ndarray, named, left: float, right: float, title: str) -> None:
    histogram(axes, losses, named, right, bins=round(120 * right / (right - left)))
    axes.set_xlim(left, right)
    axes.set_ylim(top=60 if named else 3)  # room for the names
    axes.set_yticks([1e-2, 1])
    axes.set_ylabel("share of starts", fontsize=8)
    axes.set_title(title, fontsize=9)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure13",
        __doc__,
        argv,
        seeds=dict(type=int, default=1000, metavar="N", help="starts of each (1,000)"),
    )
    M, dimensions = 17, (1, 2)
    if args.quick:
        M, dimensions, args.seeds = 4, (1,), 32
    below = THRESHOLDS_4B.get(M, 0.1)
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    grid = figure.add_gridspec(4, 2)
    sweeps = [swept(args, M + 1, M, "ngd", dimension=times * M) for times in dimensions]
    nGD = [
        written(loss_columns(), loss_row(runs, "to the end", runs.loss, below)) for runs in sweeps
    ]
    low, high = (f([f(runs.loss) for runs in sweeps]) for f in (min, max))
    margin = 0.05 * (high - low) + 2e-3
    for at, runs in enumerate(sweeps):
        axes = figure.add_subplot(grid[2 * at : 2 * at + 2, 0])
        named = _names(runs, 0.03 * (high - low))
        title = f"(a) nGD, K = {M + 1}, M = {M}, d = {runs.dimension}"
        _panel(axes, runs.loss, named, low - 2 * margin, high + margin, title)
        axes.axvline(below, color=GREY, linestyle=":")
        axes.annotate(
            f"“global” in the paper: < {below:g} ",
            (below, 1),
            (3, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            fontsize=7,
            va="top",
            color="0.25",
        )
        axes.set_xlabel("population loss of the end state (no start comes near 0)")
    seen = endings(args, M, M, _STOPS)
    shown = (END, *(f"t = {stop:g}" for stop in reversed(_STOPS)), HORIZONTAL)
    onGD = [
        written(loss_columns(), loss_row(seen.runs, where, seen.loss[where])) for where in shown
    ]
    for at, where in enumerate(shown):
        axes = figure.add_subplot(grid[at, 1])
        top = 1.08 * seen.loss[where].max() + 1e-3
        named = _names(seen.runs, 0.03 * top) if where == END else []
        title = f"(b) onGD, K = M = {M}: {LABELS[where]}"
        _panel(axes, seen.loss[where], named, -0.05 * top, top, title)
    axes.set_xlabel("population loss (the scales differ)")
    share = "below it, % (95 %)"
    seen_below = " and ".join(f"{row[share]} % (d = {row['d']})" for row in nGD)
    early = ", ".join(row[share].split()[0] for row in onGD[1:])
    counts = ", ".join(f"{row['distinct losses']} ({row['where']})" for row in onGD)
    remarks = (
        f"Of nGD's starts {seen_below} end below {below}, of the paper's {TABLE_4B[M].global_share} %, and none "
        f"below {min(row['loss: lowest'] for row in nGD):.6f}. Of onGD's {onGD[0][share]} % learn if they "
        f"are followed to the end, but {early} % at the stops and under the horizontal projection; distinct "
        f"losses of {args.seeds:,} starts: {counts}. The paper reports high losses and no learning."
    )
    rows = [{"flow": flow, **row} for flow, some in (("nGD", nGD), ("onGD", onGD)) for row in some]
    found = {
        f"{type(runs.flow).__name__}, K = {runs.problem.students}, M = {M}, d = {runs.dimension}": family_counts(
            runs
        )
        for runs in (*sweeps, seen.runs)
    }
    report(args, rows, figure, remarks, levels=found)


if __name__ == "__main__":
    main()
