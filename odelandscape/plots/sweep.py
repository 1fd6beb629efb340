"""Figures of the end states of a sweep."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..model.alignment import align, alpha_text
from ..relaxation import outcomes
from ..sweeps.result import Sweep
from ..sweeps.summary import FamilyRow, percent
from .style import MEDIUM, OUTCOME_COLOURS, open_frame, overlap_image


def _histograms(runs: Sweep, bins: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the edges of the bins, and for each outcome with a loss the number of starts in each bin."""
    top = 1e-3
    for _, outcome, loss in runs.parts("outcome", "loss"):
        top = max(top, float(loss[outcome != outcomes.FAILED].max(initial=0)))
    top *= 1.08
    edges = np.linspace(-top / bins, top, bins + 2)
    heights = {name: np.zeros(bins + 1) for name in OUTCOME_COLOURS}
    for _, outcome, loss in runs.parts("outcome", "loss"):
        for name in OUTCOME_COLOURS:
            heights[name] += np.histogram(loss[outcome == name], edges)[0]
    return edges, heights


def loss_histogram(axes: Axes, runs: Sweep, bins: int = 60) -> Axes:
    """Draw the final losses of all starts that have one, by outcome.

    The level of each family is a dashed line with its number α of anti-aligned students.
    """
    edges, heights = _histograms(runs, bins)
    for name, colour in OUTCOME_COLOURS.items():
        count = int(heights[name].sum())
        if count:
            axes.bar(
                edges[:-1],
                heights[name],
                np.diff(edges),
                align="edge",
                color=colour,
                label=f"{name.replace('_', ' ')} ({count:,})",
            )
    axes.set_yscale("log")
    axes.set_ylim(0.7, 20 * len(runs))
    axes.locator_params(axis="x", nbins=5)  # their labels have room in a column, too
    axes.set_xlabel("population loss of the end state")
    axes.set_ylabel("number of starts")
    for row in runs.summary().families:
        axes.axvline(row.loss, color="0.3", linestyle="--", linewidth=0.8, zorder=0)
        axes.annotate(
            f" α = {alpha_text(row.anti_aligned)}",
            (row.loss, 1),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=MEDIUM,
            verticalalignment="top",
        )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
    open_frame(axes)
    return axes


def aligned_overlaps(axes: Axes, R: np.ndarray, norms: np.ndarray) -> AxesImage:
    """Draw R (K, M) of one end state, whose students have lengths `norms` (K,).

    Row and column n are a student and the teacher that it is assigned to, anti-aligned pairs last; the
    surplus of students or teachers follows.
    """
    order, teacher, _ = align(R, norms)
    pairs = min(R.shape)
    last = np.argsort(R[order, teacher][:pairs] < 0, kind="stable")
    rows = np.concatenate([order[:pairs][last], order[pairs:]])
    columns = teacher[:pairs][last]
    columns = np.concatenate([columns, np.setdiff1d(np.arange(R.shape[1]), columns)])
    image = overlap_image(axes, R[np.ix_(rows, columns)])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("teacher", fontsize=MEDIUM)
    axes.set_ylabel("student", fontsize=MEDIUM)
    return image


def representative_overlaps(axes: Axes, runs: Sweep, row: FamilyRow) -> AxesImage:
    """Draw R of the representative of a family of a sweep, with its loss and its frequency."""
    W = np.asarray(runs.weights_of(np.array([row.representative])).W[0])
    teacher = np.asarray(runs.problem.teacher_weights(W.shape[1]))
    image = aligned_overlaps(axes, W @ teacher.T, np.linalg.norm(W, axis=1))
    axes.set_title(_caption(row), fontsize=MEDIUM)
    return image


def _caption(row: FamilyRow) -> str:
    loss = "L = 0" if row.outcome == outcomes.GLOBAL_MINIMUM else f"L = {row.loss:.6f}"
    low, high = (percent(x).removesuffix(" %") for x in row.ci95)
    kind = f"{row.outcome.replace('_', ' ')}, {alpha_text(row.anti_aligned)} anti-aligned"
    return f"{kind}\n{loss}, {percent(row.fraction)} ({low} – {high})"


def sweep_figure(runs: Sweep, limit: int = 3) -> Figure:
    """Return a figure: the histogram of final losses, above it R of the `limit` most frequent families."""
    summary = runs.summary()
    frequent = sorted(summary.families, key=lambda row: -row.count)[:limit]
    frequent.sort(key=lambda row: row.loss)
    figure = Figure(figsize=(8, 6.4 if frequent else 4), layout="constrained")
    heights = (1 if frequent else 0.01, 1.25)
    grid = figure.add_gridspec(2, max(len(frequent), 1), height_ratios=heights)
    panels = [figure.add_subplot(grid[0, column]) for column in range(len(frequent))]
    image = None
    for axes, row in zip(panels, frequent, strict=True):
        image = representative_overlaps(axes, runs, row)
    if image is not None:
        figure.colorbar(image, ax=panels, label="overlap R", shrink=0.8)
    loss_histogram(figure.add_subplot(grid[1, :]), runs)
    figure.suptitle(summary.title.replace(": ", "\n", 1), fontsize=9)
    return figure
