"""Figures of families of fixed points."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..landscape.fixed_points import FixedPoint
from ..landscape.spectrum import Spectrum
from ..model.alignment import alpha_text
from .style import MEDIUM, SMALL, VERDICT_COLOURS, overlap_image

_DRAWN = 6  # units that represent a block of more


def block_overlaps(axes: Axes, point: FixedPoint) -> AxesImage:
    """Draw R of a point of a block ansatz, of any size.

    Of each block at most six students or teachers are drawn, with lines between blocks and the blocks' sizes.
    """
    ansatz = point.ansatz
    _, R = point.ansatz_point.block_overlaps
    teacher_sizes, student_sizes = np.asarray(ansatz.sizes), np.asarray(ansatz.student_sizes)
    columns = np.minimum(np.ceil(teacher_sizes), _DRAWN).astype(int)
    rows = np.minimum(np.ceil(student_sizes), _DRAWN).astype(int)
    s, b = np.repeat(np.arange(len(rows)), rows), np.repeat(np.arange(len(columns)), columns)
    i, j = (np.concatenate([np.arange(n) for n in counts]) for counts in (rows, columns))
    same = np.asarray(R.same)[np.ix_(s, b)] * (i[:, None] == j[None, :])
    image = overlap_image(axes, np.asarray(R.const)[np.ix_(s, b)] + same)
    for edge in np.cumsum(rows)[:-1]:
        axes.axhline(edge - 0.5, color="0.2", linewidth=0.8)
    for edge in np.cumsum(columns)[:-1]:
        axes.axvline(edge - 0.5, color="0.2", linewidth=0.8)
    axes.set_xticks(np.cumsum(columns) - columns / 2 - 0.5, [f"{n:g}" for n in teacher_sizes])
    axes.set_yticks(np.cumsum(rows) - rows / 2 - 0.5, [f"{n:g}" for n in student_sizes])
    axes.tick_params(length=0, labelsize=SMALL)
    axes.set_xlabel("teachers in a block", fontsize=SMALL)
    axes.set_ylabel("students in a block", fontsize=SMALL)
    return image


def family_panel(axes: Axes, point: FixedPoint, spectrum: Spectrum) -> AxesImage:
    """Draw R of a family, with its name, its loss, and the verdict with the smallest eigenvalue."""
    image = block_overlaps(axes, point)
    axes.set_title(
        f"{point.branch}, α = {alpha_text(point.anti_aligned)}\nL = {float(point.loss):.6g}\n"
        f"{spectrum.verdict} ({spectrum.smallest:.2g})",
        fontsize=MEDIUM,
        color=VERDICT_COLOURS[spectrum.verdict],
    )
    return image


def families_figure(
    rows: Sequence[tuple[FixedPoint, Spectrum]], title: str, limit: int = 12
) -> Figure:
    """Return a figure of R of each family, in the order given, of at most `limit`."""
    shown = rows[:limit]
    across = max(1, min(4, len(shown)))
    down = max(1, -(-len(shown) // across))
    figure = Figure(figsize=(0.6 + 2.4 * across, 0.7 + 2.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    image = None
    for axes, (point, spectrum) in zip(panels.flat, shown, strict=False):
        image = family_panel(axes, point, spectrum)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=panels, label="overlap R", shrink=0.6)
    more = f" (the first {limit} are drawn)" if len(rows) > limit else ""
    figure.suptitle(title + more, fontsize=9)
    return figure
