"""Pictures of one start along a flow."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..dynamics.ensembles import Course, Observables

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
