"""Colours and axes that all figures share.

Colours are from the palette of Okabe and Ito, and the diverging map is purple–orange: both are
distinguishable with any colour vision.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from ..relaxation import outcomes

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILION, SKY, BLACK, GREY = "#D55E00", "#56B4E9", "#000000", "#999999"

OUTCOME_COLOURS = {
    outcomes.GLOBAL_MINIMUM: BLUE,
    outcomes.LOCAL_MINIMUM: ORANGE,
    outcomes.MARGINAL: GREEN,
    outcomes.SADDLE: PINK,
    outcomes.NOT_CONVERGED: GREY,
}
"""Of the outcomes that have a loss."""
VERDICT_COLOURS = {"stable": BLUE, "marginal": GREY, "unstable": VERMILION}
"""Of a Hessian's spectrum."""
STUDENT_COLOURS = (BLUE, ORANGE, GREEN, PINK, VERMILION, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
"""Of students beyond the number of colours."""
NETWORKS_COLOUR = VERMILION
SMALL, MEDIUM = 7, 8
"""Font sizes in panels with a matrix: of its labels, and of its title."""


def overlap_image(axes: Axes, R: np.ndarray) -> AxesImage:
    """Draw a matrix of overlaps, on one colour scale from −1 to 1 in all figures."""
    return axes.imshow(R, cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest")


def open_frame(axes: Axes) -> None:
    """Remove the top and the right side of the frame."""
    axes.spines[["top", "right"]].set_visible(False)
