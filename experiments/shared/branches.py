"""Branches of fixed points along a real width: where they begin, where they are minima, where they end."""

from matplotlib.axes import Axes

import odelandscape as ol

from .tables import Cell, Column, Row

_ZERO = 1e-6  # of an eigenvalue that is located where it passes 0


def branch_to(problem: ol.Problem, point: ol.FixedPoint, stop: float) -> list[ol.BranchPoint]:
    """The branch from a point to the width `stop`, or to the fold where it turns back."""
    path = []
    for place in ol.continue_family(problem, point, "teachers", stop, step=0.3):
        path.append(place)
        if place.event == "fold":
            break
    return path


def branch_between(
    problem: ol.Problem, point: ol.FixedPoint, low: float, high: float
) -> list[ol.BranchPoint]:
    """The branch through a point from the width `low` to `high`, or between the folds before them."""
    return [
        *reversed(branch_to(problem, point, low)),
        *branch_to(problem, point, high)[1:],
    ]


def crosses_zero(place: ol.BranchPoint) -> bool:
    """Whether the smallest eigenvalue passes 0 here."""
    # Where a block reaches a whole size new eigenvalues come in: a change that passes no 0.
    return place.event == "stability" and abs(place.smallest_eigenvalue) < _ZERO


def segments(path: list[ol.BranchPoint]) -> list[tuple[float, float, bool]]:
    """The branch as pieces (from, to, stable), cut where the smallest eigenvalue passes 0."""
    pieces, begin, stable = [], path[0].value, False
    for place in path:
        if crosses_zero(place):
            pieces.append((begin, place.value, stable))
            begin = place.value
        elif place.event not in ("stability", "fold"):
            stable = place.smallest_eigenvalue > 0
    return [*pieces, (begin, path[-1].value, stable)]


def branch_row(path: list[ol.BranchPoint]) -> Row:
    """Numbers of a branch: the folds that it begins and ends at (None if it doesn't), its segments, and
    the representations whose eigenvalues pass 0."""
    first, last = path[0], path[-1]
    return {
        "first_fold": first.value if first.event == "fold" else None,
        "last_fold": last.value if last.event == "fold" else None,
        "segments": [list(piece) for piece in segments(path)],
        "decided_by": [place.component for place in path if crosses_zero(place)],
    }


def branch_columns(width: str) -> list[Column]:
    """How a `branch_row` is written; `width` is the letter of the width."""

    def minimum(row: Row) -> Cell:
        stable = [
            f"{low:.8f} to {high:.8f}" for low, high, is_stable in row["segments"] if is_stable
        ]
        return ", ".join(stable) or "none"

    return [
        Column(f"from {width}", lambda row: _end(row["first_fold"], "smallest block")),
        Column(f"to {width}", lambda row: _end(row["last_fold"], "widest")),
        Column(f"a minimum for {width}", minimum),
        Column("decided by", lambda row: ", ".join(row["decided_by"]) or None),
    ]


def _end(fold: float | None, otherwise: str) -> str:
    return otherwise if fold is None else f"fold {fold:.8f}"


def draw_segments(axes: Axes, row: Row, height: float, colour: str) -> None:
    """Draw the branch of a row against the width: a thick line where it is a minimum."""
    for low, high, stable in row["segments"]:
        style = dict(linewidth=3.2) if stable else dict(linewidth=0.8, linestyle=":")
        axes.plot([low, high], [height, height], color=colour, **style)


def draw_legend(axes: Axes, minima: dict[str, str], fontsize: float | None = None) -> None:
    """A legend above the axes: of minima by label and colour, and of saddles."""
    for label, colour in minima.items():
        axes.plot([], [], color=colour, linewidth=3.2, label=f"{label}, a minimum")
    axes.plot([], [], color="0.3", linewidth=0.8, linestyle=":", label="a saddle")
    style = dict(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    axes.legend(fontsize=fontsize, **style)
