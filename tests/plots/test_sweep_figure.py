"""Figures of sweeps: bars on their levels, as many families as have room, texts that do not collide."""

from functools import cache

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from plots.pictures import COLUMN, PAGE, check_layout, sweep_of

import odelandscape as ol
from odelandscape.plots.style import OUTCOME_COLOURS
from odelandscape.plots.sweep import aligned_overlaps, loss_histogram, sweep_figure
from odelandscape.relaxation import outcomes

PROBLEM = ol.Problem(5, 5, ol.LeakyReLU(0.1))
FEW = (
    (outcomes.GLOBAL_MINIMUM, 0, 0.0, 30),
    (outcomes.LOCAL_MINIMUM, 1, 0.0215, 12),
    (outcomes.LOCAL_MINIMUM, 1, 0.0531, 3),
)
MANY = (
    *FEW,
    (outcomes.NOT_CONVERGED, 0, 0.031, 7),
    (outcomes.FAILED, 0, 0.0, 2),
    (outcomes.MARGINAL, 2, 0.05, 3),
    (outcomes.SADDLE, 2, 0.05001, 3),
    *((outcomes.LOCAL_MINIMUM, n % 4, 0.02 + 0.0007 * n, 1 + n) for n in range(20)),
)


@cache
def _made(families=MANY):
    """Return a sweep, whose families are named once."""
    return sweep_of(PROBLEM, *families)


def _histogram(figure: Figure):
    return next(axes for axes in figure.axes if axes.get_ylabel() == "number of starts")


def _panels(figure: Figure):
    return [axes for axes in figure.axes if axes.get_ylabel() == "student"]


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("families", [FEW, MANY, FEW[:1], ((outcomes.FAILED, 0, 0.0, 4),)])
def test_all_is_inside_and_nothing_collides(families, width):
    figure = sweep_figure(_made(families), width=width)
    assert figure.get_figwidth() == width
    check_layout(figure)


@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_bars_stand_on_their_levels(scale):
    """A bar beside its level's line names another loss; levels may be of any size."""
    problem = ol.Problem(5, 5, teacher_overlaps=scale * np.eye(5))
    families = [(name, alpha, scale * loss, count) for name, alpha, loss, count in MANY[:10]]
    runs = sweep_of(problem, *families)
    axes = Figure(layout="constrained").subplots()
    loss_histogram(axes, runs)
    bars = [
        (round(bar.get_x() + bar.get_width() / 2, 20), bar.get_height())
        for container in axes.containers
        if isinstance(container, BarContainer) and "not converged" not in container.get_label()
        for bar in container
    ]
    expected = [(row.loss, row.count) for row in runs.summary().families]
    np.testing.assert_allclose(sorted(bars), sorted(expected), atol=1e-12 * scale)
    lines = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata())]
    assert set(lines) <= {row.loss for row in runs.summary().families}
    counted = sum(b.get_height() for c in axes.containers if "not conv" in c.get_label() for b in c)
    assert counted == 7


def test_bars_on_one_level_are_all_visible():
    """A bar hides no other: in front are those of fewer starts, and they are narrower."""
    axes = Figure().subplots()
    loss_histogram(axes, _made())
    bars = {c.get_label().partition(" (")[0]: list(c) for c in axes.containers}
    (marginal,), (saddle,) = bars["marginal"], bars["saddle"]
    behind, front = sorted((marginal, saddle), key=lambda bar: bar.get_zorder())
    assert front.get_width() < behind.get_width()
    assert front.get_zorder() > behind.get_zorder()


def test_the_legend_names_the_outcomes_that_occur_and_their_counts():
    axes = Figure().subplots()
    loss_histogram(axes, _made())
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "global minimum (30)",
        "local minimum (225)",
        "marginal (3)",
        "saddle (3)",
        "not converged (7)",
        "failed (2): no loss",
    ]
    loss_histogram(few := Figure().subplots(), _made(FEW))
    labels = [text.get_text() for text in few.get_legend().get_texts()]
    assert labels == ["global minimum (30)", "local minimum (15)"]


def test_levels_of_one_alpha_are_told_apart():
    """The branch is in the name of a level."""
    problem = ol.Problem(8, 8)
    runs = sweep_of(problem, (outcomes.LOCAL_MINIMUM, 1, 0.0215, 2))
    axes = Figure().subplots()
    loss_histogram(axes, runs)
    (name,) = (text.get_text() for text in axes.texts)
    (row,) = runs.summary().families
    assert row.branch
    assert name == f"{row.branch}, α = 1"


def test_alpha_is_a_dash_where_it_is_not_defined():
    axes = Figure().subplots()
    loss_histogram(axes, sweep_of(ol.Problem(2, 2), (outcomes.SADDLE, -1, 0.02, 2)))
    assert axes.texts[0].get_text().endswith("α = –")


@pytest.mark.parametrize(("limit", "drawn"), [(8, 8), (3, 3), (100, 25)])
def test_families_are_drawn_up_to_a_limit_and_the_title_says_of_how_many(limit, drawn):
    figure = sweep_figure(_made(), limit=limit)
    assert len(_panels(figure)) == drawn
    title = " ".join(figure.get_suptitle().split())
    of = "each family" if drawn == 25 else f"the {drawn} commonest of 25 families"
    assert f"overlaps R in {of}" in title


@pytest.mark.parametrize("width", [COLUMN, PAGE])
def test_the_title_names_the_problem_and_not_the_seconds(width):
    problem = ol.Problem(
        5, 4, ol.LeakyReLU(0.125), 0.8 * np.eye(4) + 0.2, np.array([1.0, 1, 1, -2])
    )
    runs = sweep_of(problem, (outcomes.LOCAL_MINIMUM, 1, 0.0215, 2))
    assert "in 12.3 s" in runs.summary().title
    title = " ".join(sweep_figure(runs, width=width).get_suptitle().split())
    for part in ("K = 5", "M = 4", "overlap 0.2", "(1, 1, 1, -2)", "slope 0.125", "GradientFlow"):
        assert part in title
    assert " s," not in title
    assert "12.3" not in title


def test_losses_of_a_small_teacher_are_readable():
    """Neither 0.000000 in captions nor numbers on the axis that are all 0."""
    problem = ol.Problem(5, 5, teacher_overlaps=1e-12 * np.eye(5))
    families = [(name, alpha, 1e-12 * loss, count) for name, alpha, loss, count in FEW]
    figure = sweep_figure(sweep_of(problem, *families), width=COLUMN)
    check_layout(figure)
    captions = [" ".join(axes.get_title().split()) for axes in _panels(figure)]
    assert ["L = 2.15e-14" in caption for caption in captions] == [False, True, False]
    axis = _histogram(figure).xaxis
    assert len({label.get_text() for label in axis.get_ticklabels()}) >= 3
    assert "−14" in axis.get_offset_text().get_text()
    (image,) = _panels(figure)[0].images
    assert np.abs(image.get_array()).max() == pytest.approx(image.norm.vmax)


def test_inactive_students_have_one_row_and_their_teachers_one_column():
    R = np.diag([1.0, 0.9, 0.0])
    image = aligned_overlaps(Figure().subplots(), R)
    assert image.get_array().shape == (3, 3)
    np.testing.assert_array_equal(np.sort(image.get_array().ravel()), np.sort(R.ravel()))


def test_anti_aligned_pairs_are_last_also_where_signs_of_readouts_count():
    R = np.diag([-1.0, 0.5, -0.7])
    image = aligned_overlaps(Figure().subplots(), R)
    np.testing.assert_array_equal(np.diagonal(image.get_array()), [0.5, -1.0, -0.7])
    image = aligned_overlaps(Figure().subplots(), R, np.array([[-1.0], [1.0], [1.0]]))
    np.testing.assert_array_equal(np.diagonal(image.get_array()), [-1.0, 0.5, -0.7])


# Machado, Oliveira and Fernandes (2009), severity 1: what protanopes, deuteranopes and tritanopes see.
SEEN = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", SEEN)
def test_outcomes_differ_for_any_colour_vision(vision):
    """Distances in CIE Lab of 2.3 are just noticeable."""
    hexes = [colour[1:] for colour in OUTCOME_COLOURS.values()]
    rgb = np.array([[int(h[i : i + 2], 16) / 255 for i in (0, 2, 4)] for h in hexes])
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    seen = np.clip(linear @ np.array(SEEN[vision]).T, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    f = np.cbrt(seen @ to_xyz.T / to_xyz.sum(axis=1))
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 10
