"""Pictures: functions from axes and data to axes, and the figures of the commands.

Colours are from the Okabe–Ito palette and the diverging map is purple–orange: both can be told apart
with any colour vision.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from . import results
from .classify import align
from .fixed_points import FixedPoint
from .stability import Spectrum
from .summary import FamilyRow
from .sweep import Sweep

COLOURS = {
    results.GLOBAL_MINIMUM: "#0072B2",
    results.LOCAL_MINIMUM: "#E69F00",
    results.SADDLE: "#CC79A7",
    results.NOT_CONVERGED: "#999999",
}


def loss_histogram(axes: Axes, runs: Sweep, bins: int = 60) -> Axes:
    """Final losses of all starts that have one, by outcome; each family's level is a dashed line
    with its number α of anti-aligned students."""
    top = 1e-3
    for _, outcome, loss in runs.parts("outcome", "loss"):
        top = max(top, float(loss[outcome != results.FAILED].max(initial=0)))
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
    loss = "L = 0" if row.outcome == results.GLOBAL_MINIMUM else f"L = {row.loss:.6f}"
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


# --- families -----------------------------------------------------------------------------------

VERDICTS = {"stable": "#0072B2", "marginal": "#999999", "unstable": "#D55E00"}
_WIDEST_BLOCK = 6  # units that stand for a block in a picture


def block_overlaps(axes: Axes, point: FixedPoint) -> AxesImage:
    """R of a point of a block ansatz, whatever its size: of each block at most six students or teachers
    are drawn, with the block lines and the blocks' sizes."""
    ansatz = point.ansatz
    _, R = ansatz.overlaps(point.z)
    sizes = np.asarray(ansatz.sizes)
    of_students = np.asarray(ansatz.student_sizes)
    columns = np.minimum(np.ceil(sizes), _WIDEST_BLOCK).astype(int)
    rows = np.minimum(np.ceil(of_students), _WIDEST_BLOCK).astype(int)
    s, b = np.repeat(np.arange(len(rows)), rows), np.repeat(np.arange(len(columns)), columns)
    i, j = (np.concatenate([np.arange(n) for n in counts]) for counts in (rows, columns))
    same = np.asarray(R.same)[np.ix_(s, b)] * (i[:, None] == j[None, :])
    picture = axes.imshow(
        np.asarray(R.const)[np.ix_(s, b)] + same,
        cmap="PuOr_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
    )
    for edge in np.cumsum(rows)[:-1]:
        axes.axhline(edge - 0.5, color="0.2", linewidth=0.8)
    for edge in np.cumsum(columns)[:-1]:
        axes.axvline(edge - 0.5, color="0.2", linewidth=0.8)
    axes.set_xticks(np.cumsum(columns) - columns / 2 - 0.5, [f"{size:g}" for size in sizes])
    axes.set_yticks(np.cumsum(rows) - rows / 2 - 0.5, [f"{size:g}" for size in of_students])
    axes.tick_params(length=0, labelsize=7)
    axes.set_xlabel("teachers in a block", fontsize=7)
    axes.set_ylabel("students in a block", fontsize=7)
    return picture


def families_figure(
    rows: Sequence[tuple[FixedPoint, Spectrum]], title: str, most: int = 12
) -> Figure:
    """R of each family, in the order given, with its name, loss and stability."""
    shown = rows[:most]
    across = min(4, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(0.6 + 2.4 * across, 0.7 + 2.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    picture = None
    for axes, (point, spectrum) in zip(panels.flat, shown, strict=False):
        picture = block_overlaps(axes, point)
        axes.set_title(
            f"{point.branch}, α = {point.anti_aligned}\nL = {float(point.loss):.6g}\n"
            f"{spectrum.verdict} ({spectrum.smallest:.2g})",
            fontsize=8,
            color=VERDICTS[spectrum.verdict],
        )
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    if picture is not None:
        figure.colorbar(picture, ax=panels, label="overlap R", shrink=0.6)
    more = f" (the first {most} are drawn)" if len(rows) > most else ""
    figure.suptitle(title + more, fontsize=9)
    return figure
