"""Levels that the fixed-point solver predicts, and the starts of a sweep that end at them."""

from typing import NamedTuple

import numpy as np

import odelandscape as ol
from odelandscape.relaxation.outcomes import LEVEL_WIDTH

from .tables import Column, Row, number, share

_TEACHER = 1e-10  # a loss below this is the teacher's
_CLOSE = 0.014  # of an axis: labels that are closer overlap


class Level(NamedTuple):
    """A fixed point, and its name in pictures."""

    name: str
    point: ol.FixedPoint
    spectrum: ol.Spectrum

    @property
    def loss(self) -> float:
        return float(self.point.loss)

    def reached(self, runs: ol.Sweep) -> np.ndarray:
        """Return which starts end at this level, certified as a fixed point (N,)."""
        ended = np.isin(runs.outcome, ["local_minimum", "saddle"])
        return ended & (np.abs(runs.loss - self.loss) < LEVEL_WIDTH)


def _name(problem: ol.Problem, point: ol.FixedPoint) -> str:
    alpha = f"α = {point.anti_aligned}"
    if problem.students == problem.teachers:
        return alpha if point.branch == "compensated" else f"{alpha}, {point.branch}"
    return f"{alpha}, {ol.describe(point.ansatz).split(':')[0]}"


def solved(problem: ol.Problem, search: bool = True) -> list[Level]:
    """Fixed points above the teacher's loss, lowest first, without any sweep: those of the named families,
    and where there are more students than teachers those of a `search` in up to two blocks, too."""
    wide = problem.students > problem.teachers
    points = ol.families(problem, blocks=2 if wide and search else 0)
    return [
        Level(_name(problem, point), point, ol.spectrum(problem, point))
        for point in points
        if float(point.loss) > _TEACHER
    ]


def minima(problem: ol.Problem, search: bool = True) -> list[Level]:
    """Those that are minima."""
    return [level for level in solved(problem, search) if level.spectrum.verdict == "stable"]


def marks(levels: list[tuple[str, float]], top: float) -> list[tuple[str, float]]:
    """Return names and losses of the levels below `top`, for a picture: a level so close to the one before
    that their names would overlap shares its label."""
    below = [(name, loss) for name, loss in levels if loss < top]
    names: list[str] = []
    labelled = 0  # where the last label stands
    for at, (name, loss) in enumerate(below):
        if at and loss - below[labelled][1] < _CLOSE * top:
            names[labelled] += f" / {name.removeprefix('α = ')}"
            names.append("")
        else:
            names.append(name)
            labelled = at
    return [(name, loss) for name, (_, loss) in zip(names, below, strict=True)]


def level_rows(runs: ol.Sweep, levels: list[Level]) -> list[Row]:
    """Count the starts that end at each predicted level, then what ends elsewhere."""
    n, left = len(runs), runs.outcome != "global_minimum"
    rows = [_row(runs, "global minimum", 0.0, None, ~left)]
    for level in levels:
        there = level.reached(runs)
        rows.append(_row(runs, level.name, level.loss, level.spectrum.smallest, there))
        left = left & ~there
    ended = np.isin(runs.outcome, ["local_minimum", "saddle"])
    rows.append(_row(runs, "other levels", None, None, left & ended))
    rows.append(_row(runs, "not converged", None, None, left & ~ended))
    if sum(row["count"] for row in rows) != n:
        raise ArithmeticError("predicted levels are so close that starts are counted twice")
    return rows


def _row(runs, name: str, loss: float | None, smallest: float | None, there: np.ndarray) -> Row:
    count = int(there.sum())
    far = float(np.abs(runs.loss[there] - loss).max()) if count and loss is not None else None
    return {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "end": name,
        "loss": loss,
        "smallest_eigenvalue": smallest,
        "count": count,
        "starts": len(runs),
        "farthest": far,
    }


def level_columns() -> list[Column]:
    """How `level_rows` are written."""
    return [
        *(number(name) for name in ("K", "M", "end")),
        number("predicted loss", "loss"),
        number("smallest eigenvalue", "smallest_eigenvalue"),
        number("starts", "count"),
        share("share % (95 %)", "count"),
        number("farthest from predicted", "farthest"),
    ]


def predicted(rows: list[Row]) -> list[Row]:
    """Of the rows of one K those of predicted levels above loss 0."""
    return [row for row in rows if row["loss"]]
