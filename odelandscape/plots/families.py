"""Figures of families of fixed points."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..landscape.fixed_points import FixedPoint
from ..landscape.spectrum import Spectrum
from ..model.alignment import alpha_text
from .style import (
    PAGE,
    SMALL,
    VERDICT_COLOURS,
    overlap_image,
    overlap_scale,
    panels,
    set_title,
    title_height,
)

_TO_SCALE = 40  # units up to which each is drawn
_DRAWN = 6  # units that represent a block of more, where not all are drawn
_LABELS = 20  # cells up to which those of single units are labelled, too


def _drawn(sizes: np.ndarray) -> np.ndarray:
    """Return how many units of each block are drawn: all of them if they have room."""
    cells = np.ceil(sizes).astype(int)
    return cells if cells.sum() <= _TO_SCALE else np.minimum(cells, _DRAWN)


def _labels(sizes: np.ndarray, drawn: np.ndarray) -> list[str]:
    """Return the size of each block, and how many are drawn where that is another number."""
    crowded = drawn.sum() > _LABELS
    return [
        f"{size:g}\n({count})" if count != size else ("" if crowded and count == 1 else f"{size:g}")
        for size, count in zip(sizes, drawn, strict=True)
    ]


def _students(point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of each block of students, and how many of it are drawn."""
    sizes = np.asarray(point.ansatz.student_sizes)
    return sizes, _drawn(sizes)


def _teachers(point: FixedPoint) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of each block of teachers, and how many of it are drawn."""
    sizes = np.asarray(point.ansatz.sizes)
    return sizes, _drawn(sizes)


def _cells(point: FixedPoint) -> np.ndarray:
    """Return the overlaps R of the students and teachers that are drawn."""
    _, R = point.ansatz_point.block_overlaps
    rows, columns = _students(point)[1], _teachers(point)[1]
    s, b = np.repeat(np.arange(len(rows)), rows), np.repeat(np.arange(len(columns)), columns)
    i, j = (np.concatenate([np.arange(n) for n in counts]) for counts in (rows, columns))
    same = np.asarray(R.same)[np.ix_(s, b)] * (i[:, None] == j[None, :])
    return np.asarray(R.const)[np.ix_(s, b)] + same


def block_overlaps(axes: Axes, point: FixedPoint, scale: float = 1.0) -> AxesImage:
    """Draw R of a point of a block ansatz, of any size, with lines between blocks and the blocks' sizes.

    Each unit is drawn up to 40 students or teachers; of more, at most six of each block, and
    its label says so.
    """
    image = overlap_image(axes, _cells(point), scale)
    (students, rows), (teachers, columns) = _students(point), _teachers(point)
    for edge in np.cumsum(rows)[:-1]:
        axes.axhline(edge - 0.5, color="0.2", linewidth=0.8)
    for edge in np.cumsum(columns)[:-1]:
        axes.axvline(edge - 0.5, color="0.2", linewidth=0.8)
    axes.set_xticks(np.cumsum(columns) - columns / 2 - 0.5, _labels(teachers, columns))
    axes.set_yticks(np.cumsum(rows) - rows / 2 - 0.5, _labels(students, rows))
    axes.tick_params(length=0, labelsize=SMALL)
    axes.set_xlabel(_noun("teachers", teachers, columns), fontsize=SMALL, labelpad=2)
    axes.set_ylabel(_noun("students", students, rows), fontsize=SMALL, labelpad=2)
    return image


def _noun(noun: str, sizes: np.ndarray, drawn: np.ndarray) -> str:
    return f"{noun} in a block" if (sizes == drawn).all() else f"{noun} (drawn)"


def _caption(point: FixedPoint, spectrum: Spectrum) -> str:
    """Return the family's name, its loss, and the verdict with a bound of all eigenvalues λ."""
    decided = spectrum.verdict != "marginal"
    bound = f" (λ ≥ {spectrum.smallest:.2g})".replace("-", "−") if decided else ""
    name = f"{point.branch}, α = {alpha_text(point.anti_aligned)}"
    return f"{name}\nL = {point.loss_text()}\n{spectrum.verdict}{bound}"


def families_figure(
    rows: Sequence[tuple[FixedPoint, Spectrum]],
    title: str,
    limit: int = 12,
    width: float = PAGE,
) -> Figure:
    """Return a figure of R of each family, in the order given, of at most `limit`; `width` in inches."""
    shown = rows[:limit]
    labels = [label for point, _ in shown for label in _labels(*_students(point))]
    grid = panels([_caption(*row) for row in shown], width, 0.5, labels)
    more = f"\nthe first {limit} of {len(rows)} are drawn" if len(rows) > limit else ""
    figure = Figure(figsize=(width, grid.height + title_height(title + more, width)))
    top = set_title(figure, title + more)
    scale = overlap_scale(*(_cells(point) for point, _ in shown))
    image = None
    for axes, (point, spectrum) in zip(grid.axes(figure, top), shown, strict=True):
        image = block_overlaps(axes, point, scale)
        axes.title.set_color(VERDICT_COLOURS[spectrum.verdict])
    if image is not None:
        grid.colour_scale(figure, image, top)
    return figure
