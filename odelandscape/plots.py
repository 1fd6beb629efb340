"""Pictures: functions from axes and data to axes, and the figures of the commands.

Colours are from the Okabe–Ito palette and the diverging map is purple–orange: both can be told apart
with any colour vision.
"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from . import results
from .classify import align
from .cli_trajectory import Course, Observables
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


# --- one start along a flow ---------------------------------------------------------------------

STUDENTS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")  # students beyond the palette
_MOST_LABELS = 12
_MOST_POINTS = 16  # of networks along a curve
_ROUNDING = 1e-16  # losses below it are drawn there


def _marker(course: Course) -> str:
    """A single time after 0 makes no line."""
    return "." if course.reached <= 2 else ""


def _points(course: Course) -> np.ndarray:
    """Indices of times, evenly among those after 0 that were reached, if there are any."""
    last = course.reached - 1
    return np.unique(np.linspace(1, last, _MOST_POINTS).round().astype(int))[:last]


def _bars(axes: Axes, course: Course, y: np.ndarray, error: np.ndarray, colour: str, label=None):
    at = _points(course)
    axes.errorbar(
        course.times[at],
        y[at],
        error[at],
        fmt="o",
        markersize=3.5,
        capsize=2,
        linewidth=1,
        color=colour,
        markerfacecolor="white",
        label=label,
        zorder=3,
    )


def loss_curve(axes: Axes, course: Course) -> Axes:
    """Loss against time, both logarithmic: the theory a line, networks points with standard errors."""
    loss = np.maximum(course.theory.loss[1:], _ROUNDING)
    axes.plot(course.times[1:], loss, marker=_marker(course), color="0.2", label="theory")
    if course.networks is not None:
        count, d, mean, error = course.networks
        label = f"mean of {count} networks, d = {d:,}"
        _bars(axes, course, mean.loss, error.loss, STUDENTS[4], label)
        axes.legend(frameon=False, loc="best")
    if np.isfinite(loss).any():
        axes.set_yscale("log")
    axes.set_ylabel("population loss")
    return axes


def _student_curves(axes: Axes, course: Course, of: Callable[[Observables], np.ndarray]) -> Axes:
    for student, teacher in enumerate(course.teacher):
        axes.plot(
            course.times[1:],
            of(course.theory)[1:, student],
            marker=_marker(course),
            color=STUDENTS[student % len(STUDENTS)],
            linestyle=_DASHES[student // len(STUDENTS) % len(_DASHES)],
            label=f"student {student + 1}, teacher {teacher + 1}",
        )
        if course.networks is not None:
            y, error = (of(x)[:, student] for x in (course.networks.mean, course.networks.error))
            _bars(axes, course, y, error, STUDENTS[student % len(STUDENTS)])
    return axes


def cosine_curves(axes: Axes, course: Course) -> Axes:
    """The cosine of each student with the teacher that it is nearest to at the end, against time."""
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    _student_curves(axes, course, lambda seen: seen.cosine)
    axes.set_ylim(min(-0.05, np.nanmin(course.theory.cosine) - 0.05), 1.05)
    axes.set_ylabel("cosine with\nnearest teacher")
    return axes


def length_curves(axes: Axes, course: Course) -> Axes:
    """The length of each student against time."""
    _student_curves(axes, course, lambda seen: seen.length)
    axes.set_ylabel("length of student")
    axes.set_ylim(0, 1.1 * np.nanmax(course.theory.length))
    return axes


def trajectory_figure(course: Course, title: str) -> Figure:
    """Loss, alignment and lengths against time."""
    figure = Figure(figsize=(8, 7.5), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.4, 1, 1))
    loss_curve(panels[0], course)
    cosine_curves(panels[1], course)
    length_curves(panels[2], course)
    if len(course.teacher) <= _MOST_LABELS:
        panels[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    # Time 0 has no place on a logarithmic axis, and times that were not reached need none.
    last = min(course.reached, len(course.times) - 1)
    panels[2].set_xlim(course.times[1] / 1.2, course.times[last] * 1.2)
    panels[2].set_xscale("log")
    panels[2].set_xlabel("time t")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title if course.remark is None else f"{title}\n{course.remark}", fontsize=9)
    return figure
