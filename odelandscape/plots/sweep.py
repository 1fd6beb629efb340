"""Pictures: functions from axes and data to axes, and the figures of the commands.

Colours are from the Okabe–Ito palette and the diverging map is purple–orange: both can be told apart
with any colour vision.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..model.alignment import align
from ..relaxation import outcomes
from ..sweeps.result import Sweep
from ..sweeps.summary import FamilyRow

COLOURS = {
    outcomes.GLOBAL_MINIMUM: "#0072B2",
    outcomes.LOCAL_MINIMUM: "#E69F00",
    outcomes.SADDLE: "#CC79A7",
    outcomes.NOT_CONVERGED: "#999999",
}


def loss_histogram(axes: Axes, runs: Sweep, bins: int = 60) -> Axes:
    """Final losses of all starts that have one, by outcome; each family's level is a dashed line
    with its number α of anti-aligned students."""
    top = 1e-3
    for _, outcome, loss in runs.parts("outcome", "loss"):
        top = max(top, float(loss[outcome != outcomes.FAILED].max(initial=0)))
    top *= 1.08
    edges = np.linspace(-top / bins, top, bins + 2)
    heights = {name: np.zeros(bins + 1) for name in COLOURS}
    for _, outcome, loss in runs.parts("outcome", "loss"):
        for name in COLOURS:
            heights[name] += np.histogram(loss[outcome == name], edges)[0]
    for name, colour in COLOURS.items():
        count = int(heights[name].sum())
        if count:
            label = f"{name.replace('_', ' ')} ({count:,})"
            axes.bar(
                edges[:-1], heights[name], np.diff(edges), align="edge", color=colour, label=label
            )
    axes.set_yscale("log")
    axes.set_ylim(0.7, 20 * len(runs))
    axes.set_xlabel("population loss of the end state")
    axes.set_ylabel("number of starts")
    for row in runs.summary().families:
        axes.axvline(row.loss, color="0.3", linestyle="--", linewidth=0.8, zorder=0)
        axes.annotate(
            f" α = {row.anti_aligned}",
            (row.loss, 1),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=8,
            verticalalignment="top",
        )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def order_parameters(axes: Axes, R: np.ndarray, norms: np.ndarray) -> AxesImage:
    """R of one end state: students beside the teachers they are assigned to, anti-aligned ones last,
    then the surplus of students or teachers."""
    order, teacher, _ = align(R, norms)
    pairs = min(R.shape)
    last = np.argsort(R[order, teacher][:pairs] < 0, kind="stable")
    rows = np.concatenate([order[:pairs][last], order[pairs:]])
    columns = teacher[:pairs][last]
    columns = np.concatenate([columns, np.setdiff1d(np.arange(R.shape[1]), columns)])
    picture = axes.imshow(
        R[np.ix_(rows, columns)], cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest"
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("teacher", fontsize=8)
    axes.set_ylabel("student", fontsize=8)
    return picture


def _caption(row: FamilyRow) -> str:
    loss = "L = 0" if row.outcome == outcomes.GLOBAL_MINIMUM else f"L = {row.loss:.6f}"
    low, high = (100 * x for x in row.ci95)
    return (
        f"{row.outcome.replace('_', ' ')}, {row.anti_aligned} anti-aligned\n"
        f"{loss}, {100 * row.fraction:.1f} % ({low:.1f} – {high:.1f})"
    )


def sweep_figure(runs: Sweep, most: int = 3) -> Figure:
    """The histogram of final losses, and above it R of the commonest families."""
    summary = runs.summary()
    commonest = sorted(summary.families, key=lambda row: -row.count)[:most]
    commonest.sort(key=lambda row: row.loss)
    figure = Figure(figsize=(8, 6.4 if commonest else 4), layout="constrained")
    grid = figure.add_gridspec(
        2, max(len(commonest), 1), height_ratios=(1 if commonest else 0.01, 1.25)
    )
    panels, picture = [], None
    for column, row in enumerate(commonest):
        W = np.asarray(runs.weights_of(np.array([row.representative])).W[0])
        teacher = np.asarray(runs.problem.teacher_weights(W.shape[1]))
        panels.append(figure.add_subplot(grid[0, column]))
        picture = order_parameters(panels[-1], W @ teacher.T, np.linalg.norm(W, axis=1))
        panels[-1].set_title(_caption(row), fontsize=8)
    if picture is not None:
        figure.colorbar(picture, ax=panels, label="overlap R", shrink=0.8)
    loss_histogram(figure.add_subplot(grid[1, :]), runs)
    figure.suptitle(summary.title.replace(": ", "\n", 1), fontsize=9)
    return figure
