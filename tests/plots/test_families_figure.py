"""Figures of families: a cell for each unit, or a label that says how many are drawn."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.pictures import COLUMN, PAGE, check_layout

import odelandscape as ol
from odelandscape.plots.families import block_overlaps, families_figure
from odelandscape.plots.style import VERDICT_COLOURS


@pytest.fixture(scope="module")
def rows():
    """Families of 8 students and of 150, with one spectrum: of it the figures take the verdict alone."""
    problem, wide = ol.Problem(8, 8), ol.Problem(150, 150)
    points = [ol.fixed_point(problem, ol.family(problem, alpha)) for alpha in (1, 2)]
    points.append(ol.fixed_point(wide, ol.family(wide, 20)))
    spectrum = ol.spectrum(problem, points[0])
    return [(point, spectrum) for point in points]


def _labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize("at", [0, 1])
def test_each_overlap_is_a_cell_where_all_have_room(rows, at):
    """Six cells for a block of eight are not the matrix; R is that of the weights written out."""
    point, _ = rows[at]
    image = block_overlaps(axes := Figure().subplots(), point)
    np.testing.assert_allclose(image.get_array(), np.asarray(point.overlaps.R), atol=1e-12)
    assert sum(int(label) for label in _labels(axes.xaxis)) == 8
    assert _labels(axes.xaxis) == _labels(axes.yaxis)
    assert axes.get_xlabel() == "teachers in a block"


def test_blocks_that_are_abbreviated_say_so(rows):
    image = block_overlaps(axes := Figure().subplots(), rows[2][0])
    assert image.get_array().shape == (12, 12)
    assert _labels(axes.xaxis) == ["130\n(6)", "20\n(6)"]
    assert axes.get_xlabel() == "teachers (drawn)"
    assert axes.get_ylabel() == "students (drawn)"
    R = np.asarray(rows[2][0].overlaps.R)
    np.testing.assert_allclose(np.diagonal(image.get_array())[[0, 6]], R[[0, 140], [0, 140]])


def test_a_block_of_no_whole_size_says_so(rows):
    point, _ = rows[1]
    blocks = point.ansatz.replace(sizes=jnp.array([3.5, 2.5]))
    point = replace(point, ansatz_point=ol.AnsatzPoint(blocks, point.z))
    image = block_overlaps(axes := Figure().subplots(), point)
    assert image.get_array().shape == (7, 7)
    assert _labels(axes.xaxis) == ["3.5\n(4)", "2.5\n(3)"]


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_all_is_inside_and_nothing_collides(rows, width, count):
    title = "K = 8 students, M = 8 teachers, LeakyReLU(slope 0.125), d = 8: 7 families found"
    shown = (rows * 3)[:count]
    figure = families_figure(shown, title, width=width)
    assert figure.get_figwidth() == width
    check_layout(figure)
    assert " ".join(figure.get_suptitle().split()) == title
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == count
    for axes, (point, spectrum) in zip(panels, shown, strict=True):
        caption = " ".join(axes.get_title().split())
        assert caption.startswith(f"{point.branch}, α = {point.anti_aligned} L = ")
        assert axes.title.get_color() == VERDICT_COLOURS[spectrum.verdict]


def test_the_title_says_how_many_are_drawn(rows):
    figure = families_figure(rows * 5, "title", limit=4)
    assert sum(bool(axes.get_title()) for axes in figure.axes) == 4
    assert figure.get_suptitle().endswith("the first 4 of 15 are drawn")


def test_overlaps_beyond_the_colour_scale_widen_it(rows):
    """A colour that stands for all that is larger would be a wrong number."""
    figure = families_figure(rows, "title")
    scales = {image.norm.vmax for axes in figure.axes for image in axes.images}
    largest = max(float(np.abs(image.get_array()).max()) for a in figure.axes for image in a.images)
    assert scales == {max(largest, 1.0)}


def test_no_family_is_a_figure_with_a_title():
    check_layout(families_figure([], "none was found", width=COLUMN))
