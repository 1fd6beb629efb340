"""Colours, sizes, and what all figures do with axes, texts and legends.

Colours are from the palette of Okabe and Ito, and the diverging map is purple–orange: both are
distinguishable with any colour vision. Widths are in inches and font sizes in points, as they are printed:
a figure of a width of 7 fills a page, one of 3.4 a column.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.textpath import TextPath
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from ..relaxation import outcomes

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILION, SKY, BLACK, GREY = "#D55E00", "#56B4E9", "#000000", "#999999"

OUTCOME_COLOURS = {
    outcomes.GLOBAL_MINIMUM: BLUE,
    outcomes.LOCAL_MINIMUM: ORANGE,
    outcomes.MARGINAL: GREEN,
    outcomes.SADDLE: VERMILION,
    outcomes.NOT_CONVERGED: GREY,
}
"""Of the outcomes that have a loss."""
VERDICT_COLOURS = {"stable": BLUE, "marginal": GREEN, "unstable": VERMILION}
"""Of a Hessian's spectrum."""
STUDENT_COLOURS = (BLUE, ORANGE, GREEN, PINK, VERMILION, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
"""Of students beyond the number of colours."""
NETWORKS_COLOUR = VERMILION
SMALL, MEDIUM = 7.0, 8.0
"""Font sizes: of ticks, captions and legends, and of labels and titles."""
PAGE = 7.0
"""The default width of a figure, in inches."""
_PANEL, _SIDE = 1.6, 2.2  # inches: the least width of a panel with a matrix; the largest matrix
_RIGHT = 0.1  # inches at the right of a matrix
_COLOUR_SCALE = 0.5  # inches that it takes
_BELOW_LABELS = 0.42  # inches below axes, where the label of their x axis has ended
_HANDLE = 2.8  # a legend's handle and the space beside it, in font sizes
_UNBROKEN = re.compile(" ([=≥≤]) ")
_HINTING = 1.05  # drawn texts are longer than their outlines
_LIKE_UNIT = 0.1  # largest overlaps from here to 1 are drawn on the scale from −1 to 1


def wrapped(text: str, inches: float, size: float = MEDIUM) -> str:
    """Return a text in lines that are no longer than `inches` at this font size, if their words are not;
    numbers stay with what they are the values of."""
    lines = []
    for paragraph in _UNBROKEN.sub("\u00a0\\1\u00a0", text).splitlines():
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_inches(longer, size) > inches:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


def text_inches(text: str, size: float) -> float:
    """Return the length of a text in one line, in inches."""
    return _HINTING * TextPath((0, 0), text, size=size).get_extents().width / 72


def size_of(axes: Axes) -> tuple[float, float]:
    """Return width and height of axes in inches (before a constrained layout moves them)."""
    box = axes.get_window_extent()
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def set_title(figure: Figure, title: str) -> float:
    """Give a figure a title, wrapped to its width, and return the height that it takes in inches."""
    width, height = figure.get_size_inches()
    text = wrapped(title, width - 0.1)
    figure.suptitle(text, y=1 - 0.06 / height, verticalalignment="top", fontsize=MEDIUM)
    return title_height(title, width)


def title_height(title: str, width: float) -> float:
    """Return the height in inches that a title takes in a figure of this width."""
    return _height(wrapped(title, width - 0.1), MEDIUM) + 0.12


def _height(text: str, size: float) -> float:
    return (text.count("\n") + 1) * 1.25 * size / 72


class Panels(NamedTuple):
    """Matrices with captions in rows, and one colour scale below them. All sizes are in inches."""

    width: float
    columns: int
    side: float
    left: float  # of a matrix, with its labels
    below: float
    captions: list[str]

    @property
    def _pitch(self) -> tuple[float, float]:
        """The distances of columns and of rows."""
        lines = max((_height(caption, SMALL) for caption in self.captions), default=0)
        return self.left + self.side + _RIGHT, lines + self.side + self.below

    @property
    def height(self) -> float:
        """The height that the panels take, with the colour scale."""
        rows = -(-len(self.captions) // self.columns)
        return rows * self._pitch[1] + _COLOUR_SCALE if rows else 0.0

    def axes(self, figure: Figure, top: float) -> list[Axes]:
        """Add the axes of each panel, with its caption, and `top` inches above the first row."""
        across, down = self._pitch
        margin = (self.width - self.columns * across) / 2 + self.left
        found = []
        for at, caption in enumerate(self.captions):
            row, column = divmod(at, self.columns)
            bottom = top + (row + 1) * down - self.below
            axes = _axes_at(figure, margin + column * across, bottom, self.side, self.side)
            axes.set_title(caption, fontsize=SMALL, pad=3)
            found.append(axes)
        return found

    def colour_scale(self, figure: Figure, image: ScalarMappable, top: float) -> Colorbar:
        """Draw the colour scale of overlaps below panels that are `top` inches from the top."""
        long = min(2.5, self.width - 0.6)
        bottom = top + self.height - _COLOUR_SCALE + 0.1
        axes = _axes_at(figure, (self.width - long) / 2, bottom, long, 0.08)
        bar = figure.colorbar(image, cax=axes, orientation="horizontal")
        bar.set_label("overlap R", fontsize=SMALL, labelpad=1)
        axes.tick_params(labelsize=SMALL)
        axes.locator_params(axis="x", nbins=5)
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useMathText=True)
        axes.xaxis.get_offset_text().set_fontsize(SMALL)
        return bar


def _axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes of this size; `bottom` is measured from the top."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - bottom / down, width / across, height / down))


def panels(
    captions: Sequence[str], width: float, below: float, labels: Sequence[str] = ()
) -> Panels:
    """Return panels with these captions for a figure of this width.

    - `below`: inches below matrices, for their labels; `labels`: those at their left.
    """
    left = 0.26 + max(
        (text_inches(text, SMALL) for label in labels for text in label.split("\n")), default=0
    )
    columns = max(1, min(int(width / _PANEL), len(captions)))
    side = min(width / columns - left - _RIGHT, _SIDE)
    lines = [wrapped(caption, side + 2 * _RIGHT - 0.04, SMALL) for caption in captions]
    return Panels(width, columns, side, left, below, lines)


def legend_columns(labels: Iterable[str], inches: float) -> int:
    """Return how many columns of a legend with these labels fit into a width."""
    longest = max((text_inches(label, SMALL) for label in labels), default=0)
    return max(1, int(inches / (longest + (_HANDLE + 1) * SMALL / 72)))


def legend_rows(labels: int, columns: int) -> float:
    """Return the height in inches of a legend with a title."""
    return (1 + -(-labels // columns)) * 1.55 * SMALL / 72


def legend_below(axes: Axes, handles: Sequence) -> Legend:
    """Put a legend below the labels of axes, in as many columns as the figure has room for."""
    figure = axes.figure
    lines = axes.get_xlabel().count("\n")
    down = ScaledTranslation(0, -_BELOW_LABELS - lines * 1.25 * MEDIUM / 72, figure.dpi_scale_trans)
    return axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=blended_transform_factory(figure.transSubfigure, axes.transAxes + down),
        ncols=legend_columns(
            [handle.get_label() for handle in handles], figure.bbox.width / figure.dpi - 0.1
        ),
        **LEGEND,
    )


LEGEND = {
    "frameon": False,
    "fontsize": SMALL,
    "handlelength": _HANDLE - 0.8,
    "handletextpad": 0.8,
    "columnspacing": 1.0,
    "borderaxespad": 0.0,
}
"""How every legend looks."""


def overlap_scale(*R: np.ndarray) -> float:
    """Return the end of a colour scale for these overlaps: 1, unless some are larger or all much smaller."""
    largest = max((float(np.abs(one).max(initial=0)) for one in R), default=0.0)
    return largest if largest > 1 or 0 < largest < _LIKE_UNIT else 1.0


def overlap_image(axes: Axes, R: np.ndarray, scale: float = 1.0) -> AxesImage:
    """Draw a matrix of overlaps on a colour scale from −`scale` to `scale`."""
    return axes.imshow(R, cmap="PuOr_r", vmin=-scale, vmax=scale, interpolation="nearest")


def open_frame(axes: Axes) -> None:
    """Remove the top and the right side of the frame, and set the sizes of ticks and labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=SMALL)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(MEDIUM)
        axis.get_offset_text().set_fontsize(SMALL)
