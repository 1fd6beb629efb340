"""End states that nobody has relaxed, as a sweep; and where the texts of a figure are."""

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import odelandscape as ol
from odelandscape.relaxation import outcomes
from odelandscape.relaxation.outcomes import blank
from odelandscape.sweeps.result import InMemory, Sweep

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches."""


def sweep_of(problem: ol.Problem, *families: tuple[str, int, float, int]) -> Sweep:
    """Return a sweep whose end states are these: outcome, α, loss and count of each family."""
    counts = [count for *_, count in families]
    K, M = problem.students, problem.teachers
    ends = blank(sum(counts), K, M)
    at = np.repeat(np.arange(len(families)), counts)
    ends.outcome[:] = np.array([name for name, *_ in families])[at]
    ends.anti_aligned[:] = np.array([alpha for _, alpha, *_ in families])[at]
    ends.loss[:] = np.array([loss for *_, loss, _ in families])[at]
    ends.loss[ends.outcome == outcomes.FAILED] = np.inf
    ends.gradient_norm[:], ends.smallest_eigenvalue[:] = 1e-9, 0.05
    scale = np.sqrt(float(np.asarray(problem.T)[0, 0]))
    ends.weights[:] = scale * (np.eye(K, M) + 0.1 * np.sin(np.arange(K * M)).reshape(K, M))
    ends.readout[:] = 1.0
    source = InMemory(ends)
    source.put(0, ends)
    return Sweep(
        problem=problem,
        flow=ol.GradientFlow(),
        seed=0,
        dimension=M,
        time_limit=20_000.0,
        transient="float64",
        seeds=range(len(at)),
        seconds=12.3,
        seconds_compiling=1.2,
        _source=source,
    )


def check_layout(figure: Figure) -> None:
    """Assert that all that is drawn is inside of the figure, and that no text or legend lies on another one
    or on axes."""
    FigureCanvasAgg(figure).draw()
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
    boxes = _boxes(figure)
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        common = Bbox.intersection(a, b)
        assert common is None or min(common.width, common.height) <= 1, (one, other)


def _boxes(figure: Figure) -> dict[object, Bbox]:
    """Return the boxes, in pixels, of axes, titles, labels, names of levels, legends and numbers on axes."""
    found: dict[object, Bbox] = {}

    def add(artist) -> None:
        if not isinstance(artist, Text) or artist.get_text().strip():
            found[artist] = artist.get_window_extent()

    for legend in figure.legends:
        add(legend)
    for axes in figure.axes:
        found[axes] = axes.get_window_extent()
        if axes.get_legend() is not None:
            add(axes.get_legend())
        for axis in (axes.xaxis, axes.yaxis):
            add(axis.label)
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks(len(axis.get_majorticklocs())):
                if low <= tick.get_loc() <= high and tick.label1.get_visible():
                    add(tick.label1)
        for text in (axes.title, *axes.texts):
            if text.get_text():
                # An annotation's box would have its line, too.
                found[text] = Text.get_window_extent(text)
    title = figure.get_suptitle()
    assert title
    return found
