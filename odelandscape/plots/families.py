"""Pictures of families of fixed points."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..landscape.fixed_points import FixedPoint
from ..landscape.spectrum import Spectrum

VERDICTS = {"stable": "#0072B2", "marginal": "#999999", "unstable": "#D55E00"}
_WIDEST_BLOCK = 6  # units that stand for a block in a picture


def block_overlaps(axes: Axes, point: FixedPoint) -> AxesImage:
    """R of a point of a block ansatz, whatever its size: of each block at most six students or teachers
    are drawn, with the block lines and the blocks' sizes."""
    ansatz = point.ansatz
    _, R = point.ansatz_point.block_overlaps
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
