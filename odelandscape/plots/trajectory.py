"""Figures of one start along a flow, with networks of finite dimension."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from ..dynamics.ensembles import Ensemble, Observables
from .style import (
    DASHES,
    LEGEND,
    NETWORKS_COLOUR,
    PAGE,
    SMALL,
    STUDENT_COLOURS,
    legend_columns,
    legend_rows,
    open_frame,
    set_title,
    title_height,
)

_MAX_LABELS = len(STUDENT_COLOURS) * len(DASHES)  # students whose lines differ
_FEW = 20  # times of output that are marked, each
_MAX_POINTS = 16  # of networks along a curve
_ROUNDING = 1e-16  # smaller losses, as a part of the largest, are rounding
_LINEAR = 0.6  # the length of the part of the time axis that is linear, in decades


def _marker(ensemble: Ensemble) -> str:
    """Return a marker where so few times were reached that lines between them may mislead."""
    return "." if ensemble.reached <= _FEW else ""


def _points(ensemble: Ensemble) -> np.ndarray:
    """Return indices of times, evenly among those after 0 that were reached, if there are any."""
    last = ensemble.reached - 1
    return np.unique(np.linspace(1, last, _MAX_POINTS).round().astype(int))[:last]


def _draw_errors(
    axes: Axes,
    ensemble: Ensemble,
    y: np.ndarray,
    error: np.ndarray,
    colour: str,
    label: str | None = None,
) -> None:
    at = _points(ensemble)
    axes.errorbar(
        ensemble.times[at],
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


def _draw_start(
    axes: Axes, ensemble: Ensemble, y: np.ndarray, colour: str, label: str = ""
) -> None:
    if ensemble.times[0] == 0:
        axes.plot(0, y[0], "s", markersize=4, color=colour, label=label, clip_on=False, zorder=4)


def loss_floor(ensemble: Ensemble) -> float:
    """Return the power of ten below which losses are rounding: they are drawn as this."""
    loss = ensemble.theory.loss
    largest = loss[np.isfinite(loss)].max(initial=0) or 1.0
    return 10.0 ** np.ceil(np.log10(_ROUNDING * largest))


def loss_curve(axes: Axes, ensemble: Ensemble) -> Axes:
    """Draw the loss against time: the theory as a line, networks as points with standard errors.

    The scale of the loss is logarithmic. Losses that are rounding lie on a dotted line that says so.
    """
    floor, loss = loss_floor(ensemble), ensemble.theory.loss
    drawn = np.maximum(loss, floor)
    axes.plot(ensemble.times, drawn, marker=_marker(ensemble), color="0.2", label="theory")
    _draw_start(axes, ensemble, drawn, "0.2", "start, t = 0")
    if ensemble.networks is not None:
        count, d, mean, error = ensemble.networks
        label = f"mean of {count} networks, d = {d:,}"
        _draw_errors(axes, ensemble, mean.loss, error.loss, NETWORKS_COLOUR, label)
    if (loss < floor).any():
        label = f"loss ≤ {floor:.0e} (rounding)"
        axes.axhline(floor, color="0.6", linestyle=":", linewidth=1.2, label=label, zorder=0)
    axes.set_yscale("log")
    axes.set_ylabel("population loss")
    labels = axes.get_legend_handles_labels()[1]
    columns = legend_columns(labels, axes.figure.bbox.width / axes.figure.dpi - 0.8)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=columns, **LEGEND)
    return axes


def _label(student: int, teacher: int) -> str:
    return f"{student + 1} → {teacher + 1}"


def _student_curves(
    axes: Axes, ensemble: Ensemble, of: Callable[[Observables], np.ndarray]
) -> Axes:
    for student, teacher in enumerate(ensemble.teacher.tolist()):
        colour = STUDENT_COLOURS[student % len(STUDENT_COLOURS)]
        y = of(ensemble.theory)[:, student]
        axes.plot(
            ensemble.times,
            y,
            marker=_marker(ensemble),
            color=colour,
            linestyle=DASHES[student // len(STUDENT_COLOURS) % len(DASHES)],
            label=_label(student, teacher),
        )
        _draw_start(axes, ensemble, y, colour)
        if ensemble.networks is not None:
            y, error = (
                of(x)[:, student] for x in (ensemble.networks.mean, ensemble.networks.error)
            )
            _draw_errors(axes, ensemble, y, error, colour)
    return axes


def cosine_curves(axes: Axes, ensemble: Ensemble) -> Axes:
    """Draw the cosine of each student with its nearest teacher at the end, against time."""
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    _student_curves(axes, ensemble, lambda observables: observables.cosine)
    cosine = ensemble.theory.cosine
    axes.set_ylim(cosine[np.isfinite(cosine)].min(initial=0) - 0.05, 1.05)
    axes.set_ylabel("cosine with\nnearest teacher")
    return axes


def length_curves(axes: Axes, ensemble: Ensemble) -> Axes:
    """Draw the length of each student against time."""
    _student_curves(axes, ensemble, lambda observables: observables.length)
    axes.set_ylabel("length of student")
    length = ensemble.theory.length
    axes.set_ylim(0, 1.1 * length[np.isfinite(length)].max(initial=0) or 1)
    return axes


def time_axis(axes: Axes, ensemble: Ensemble) -> None:
    """Make the time axis logarithmic, and linear from a start at 0 up to the first time after it.

    Times that were not reached are left out.
    """
    times = ensemble.times
    positive = times[times > 0]
    first = float(positive[0]) if len(positive) else 1.0
    last = max(times[ensemble.reached - 1], first)
    axes.set_xscale("symlog", linthresh=first, linscale=_LINEAR)
    axes.set_xlim(times[0], 1.2 * last)
    decades = np.arange(np.ceil(np.log10(first) - 1e-9), np.floor(np.log10(1.2 * last)) + 1)
    axes.set_xticks([*times[:1], *10.0**decades] if times[0] == 0 else 10.0**decades)
    axes.xaxis.set_minor_locator(NullLocator())
    linear = f" (linear up to {first:.3g})" if times[0] == 0 else ""
    axes.set_xlabel(f"time t{linear}")


def trajectory_figure(ensemble: Ensemble, title: str, width: float = PAGE) -> Figure:
    """Return a figure of loss, cosines and lengths against time, on one logarithmic axis that begins at the
    start; `width` in inches."""
    if ensemble.remark is not None:
        title += "\n" + " ".join(ensemble.remark.split())
    labels = [_label(student, n) for student, n in enumerate(ensemble.teacher.tolist())][
        :_MAX_LABELS
    ]
    columns = legend_columns(labels, width - 0.2)
    height = 5.5 + legend_rows(len(labels), columns)
    below_title = height / (height + title_height(title, width))
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, below_title))
    figure = Figure(figsize=(width, height / below_title), layout=layout)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.4, 1, 1))
    loss_curve(panels[0], ensemble)
    cosine_curves(panels[1], ensemble)
    length_curves(panels[2], ensemble)
    time_axis(panels[2], ensemble)
    for axes in panels:
        open_frame(axes)
    some = f", the first {len(labels)}" if len(labels) < len(ensemble.teacher) else ""
    figure.legend(
        panels[1].get_legend_handles_labels()[0][: len(labels)],
        labels,
        title=f"student → its nearest teacher at the end{some}",
        title_fontsize=SMALL,
        loc="outside lower center",
        ncols=columns,
        **LEGEND,
    )
    set_title(figure, title)
    return figure
