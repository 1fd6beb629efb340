"""Figures of trajectories: they begin at the start, and losses that are rounding are marked."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.pictures import COLUMN, PAGE, check_layout

import odelandscape as ol
from odelandscape.dynamics.ensembles import (
    Ensemble,
    NetworkStatistics,
    Observables,
    times_until,
)
from odelandscape.plots.trajectory import loss_curve, trajectory_figure

TITLE = (
    "K = 9 students, M = 9 teachers with readouts (1, 1, −1), ReLU, OnlineSGD(learning rate 0.5)"
)


def _ensemble(K: int, rate: float = 1.0, networks: bool = False, reached: int = 40) -> Ensemble:
    """Return losses exp(−rate · t) and cosines and lengths that grow, made up."""
    times = times_until(100.0, 40)
    there = np.where(np.arange(40) < reached, 1.0, np.nan)
    loss = np.exp(-rate * times) * there
    cosine = (1 - np.exp(-times))[:, None] * np.linspace(0.5, 1, K) * there[:, None]
    theory = Observables(loss, cosine, 1 + cosine)
    statistics = NetworkStatistics(10, 1000, theory, Observables(*(0.1 * x for x in theory)))
    states = ol.OrderParameters(jnp.eye(K), jnp.eye(K), jnp.ones(K))  # which no figure draws
    return Ensemble(
        times,
        states,
        theory,
        np.arange(K),
        reached,
        reached < 40,
        statistics if networks else None,
    )


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize(
    "ensemble",
    [
        _ensemble(1),
        _ensemble(9, networks=True),
        _ensemble(40, rate=1e-3),
        _ensemble(3, networks=True, reached=20),
        _ensemble(3, networks=True, reached=1),
    ],
    ids=["one", "networks", "forty", "stopped", "at once"],
)
def test_all_is_inside_and_nothing_collides(ensemble, width):
    figure = trajectory_figure(ensemble, TITLE, width=width)
    assert figure.get_figwidth() == width
    check_layout(figure)
    assert " ".join(figure.get_suptitle().split()).startswith(TITLE)


def test_the_time_axis_begins_at_the_start():
    ensemble = _ensemble(4)
    figure = trajectory_figure(ensemble, TITLE)
    for axes in figure.axes:
        starts = [line for line in axes.lines if line.get_marker() == "s"]
        assert starts
        assert all(list(line.get_xdata()) == [0] for line in starts)
        left, right = axes.get_xlim()
        assert left == 0
        assert right > 100
        pixel = axes.transData.transform([(x, 0.5) for x in (0.0, 0.1, 1.0, 10.0)])[:, 0]
        assert (np.diff(pixel) > 10).all()  # where a logarithm would be infinite, too
    assert 0 in figure.axes[-1].get_xticks()
    assert "linear up to 0.1" in figure.axes[-1].get_xlabel()


def test_losses_of_rounding_are_marked():
    """A line that ends on a floor looks like a loss of 1e-16 that stays."""
    loss_curve(axes := Figure().subplots(), _ensemble(2))
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "loss ≤ 1e-16 (rounding)" in texts
    assert axes.lines[0].get_ydata().min() == pytest.approx(1e-16, rel=1e-12)
    loss_curve(axes := Figure().subplots(), _ensemble(2, rate=0.01))
    assert not any("rounding" in text.get_text() for text in axes.get_legend().get_texts())


def test_the_floor_is_that_of_the_teacher():
    """Losses of a teacher of length 1e-6 are 1e-12 of another's and not rounding."""
    ensemble = _ensemble(2)
    small = ensemble._replace(theory=ensemble.theory._replace(loss=1e-12 * ensemble.theory.loss))
    loss_curve(axes := Figure().subplots(), small)
    assert axes.lines[0].get_ydata().min() == pytest.approx(1e-28, rel=1e-12)


@pytest.mark.parametrize(("K", "named"), [(1, 1), (13, 13), (28, 28), (40, 28)])
def test_the_legend_names_every_student_whose_line_differs(K, named):
    figure = trajectory_figure(_ensemble(K), TITLE, width=COLUMN)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == named
    assert ("the first 28" in legend.get_title().get_text()) == (K > named)
    styles = {(h.get_color(), h.get_linestyle()) for h in legend.legend_handles}
    assert len(styles) == named
