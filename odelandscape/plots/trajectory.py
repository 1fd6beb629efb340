"""Figures of one start along a flow, with networks of finite dimension."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..dynamics.ensembles import Ensemble, Observables
from .style import DASHES, NETWORKS_COLOUR, STUDENT_COLOURS, open_frame

_MAX_LABELS = 12
_MAX_POINTS = 16  # of networks along a curve
_ROUNDING = 1e-16  # smaller losses are drawn as this


def _marker(ensemble: Ensemble) -> str:
    """Return a marker where there is only one time after 0, which makes no line."""
    return "." if ensemble.reached <= 2 else ""


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


def loss_curve(axes: Axes, ensemble: Ensemble) -> Axes:
    """Draw the loss against time: the theory as a line, networks as points with standard errors.

    The scale of the loss is logarithmic if any loss after time 0 is finite.
    """
    loss = np.maximum(ensemble.theory.loss[1:], _ROUNDING)
    axes.plot(ensemble.times[1:], loss, marker=_marker(ensemble), color="0.2", label="theory")
    if ensemble.networks is not None:
        count, d, mean, error = ensemble.networks
        label = f"mean of {count} networks, d = {d:,}"
        _draw_errors(axes, ensemble, mean.loss, error.loss, NETWORKS_COLOUR, label)
        axes.legend(frameon=False, loc="best")
    if np.isfinite(loss).any():
        axes.set_yscale("log")
    axes.set_ylabel("population loss")
    return axes


def _student_curves(
    axes: Axes, ensemble: Ensemble, of: Callable[[Observables], np.ndarray]
) -> Axes:
    for student, teacher in enumerate(ensemble.teacher):
        colour = STUDENT_COLOURS[student % len(STUDENT_COLOURS)]
        axes.plot(
            ensemble.times[1:],
            of(ensemble.theory)[1:, student],
            marker=_marker(ensemble),
            color=colour,
            linestyle=DASHES[student // len(STUDENT_COLOURS) % len(DASHES)],
            label=f"student {student + 1}, teacher {teacher + 1}",
        )
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


def trajectory_figure(ensemble: Ensemble, title: str) -> Figure:
    """Return a figure of loss, cosines and lengths against time, on one logarithmic axis."""
    figure = Figure(figsize=(8, 7.5), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.4, 1, 1))
    loss_curve(panels[0], ensemble)
    cosine_curves(panels[1], ensemble)
    length_curves(panels[2], ensemble)
    if len(ensemble.teacher) <= _MAX_LABELS:
        panels[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    # Time 0 is not on a logarithmic axis; times that were not reached are left out.
    last = max(1, min(ensemble.reached, len(ensemble.times) - 1))
    panels[2].set_xlim(ensemble.times[1] / 1.2, ensemble.times[last] * 1.2)
    panels[2].set_xscale("log")
    panels[2].set_xlabel("time t")
    for axes in panels:
        open_frame(axes)
    figure.suptitle(title if ensemble.remark is None else f"{title}\n{ensemble.remark}", fontsize=9)
    return figure
