r"""At which losses do single starts stay for a while, and at which in the end (paper, Figure 4)?

The loss against time of random starts of gradient flow for M = 17 and K = 17 and 18, in the colour of the
family that a sweep finds at their end (grey: the global minimum; black: not converged). Levels are those of
the fixed-point solver alone: dashed for minima, dotted for saddles that a start stays at. A start stays at a
level for a while where two times in a row (which differ by a factor of 1.15) find it within 0.5 %.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, PINK
from ..shared.levels import Level, solved
from ..shared.options import starts
from ..shared.results import Results
from ..shared.stops import stopped
from ..shared.sweeps import swept
from ..shared.tables import Column, Row, number

OPTIONS = {"seeds": starts("each K", default=60, quick=24)}
_TIMES = np.geomspace(1, 3000, 60)
_COLOURS = (ORANGE, GREEN, PINK, BLUE)  # of neighbouring levels
_NEAR = 0.005  # of a level
_LOWEST = 6e-3  # loss in the picture
_MEDIANS = (10, 100, 1000)  # times


def rows(options) -> Results:
    """Follow the starts of each K, and count those that stay and end at each level."""
    M, widths = (8, (8,)) if options.quick else (17, (17, 18))
    found, panels, data = [], [], {"times": _TIMES}
    for K in widths:
        runs = swept(options, K, M)
        some, panel, arrays = _paths(runs, solved(runs.problem))
        found += some
        panels.append(panel)
        data |= {f"{key}_{K}": values for key, values in arrays.items()}
    return Results(found, {"panels": panels}, data)


def _paths(
    runs: ol.Sweep, levels: list[Level]
) -> tuple[list[Row], dict[str, Any], dict[str, np.ndarray]]:
    """Rows of one K, then what the figure needs: levels that starts stay at, and losses and fates."""
    paths = stopped(runs.problem, ol.GradientFlow(), len(runs), _TIMES).loss
    is_global = runs.outcome == "global_minimum"
    stays, left = _staying(paths, levels), ~is_global
    rows = [_row(runs, "global minimum", 0.0, paths[is_global], 0)]
    drawn, reached = [], []
    for level, stay in zip(levels, stays, strict=True):
        there, minimum = level.reached(runs), level.spectrum.verdict == "stable"
        passing, left = int((stay & ~there).sum()), left & ~there
        drawn.append(
            {"name": level.name, "loss": level.loss, "minimum": minimum, "passing": passing}
        )
        reached.append(there)
        if there.any() or passing:
            name = level.name if minimum else f"{level.name} (saddle)"
            rows.append(_row(runs, name, level.loss, paths[there], passing))
    if left.any():
        rows.append(_row(runs, "not converged", None, paths[left], 0))
    panel = {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "starts": len(runs),
        "global": int(is_global.sum()),
        "global_that_stay": int(stays[:, is_global].any(axis=0).sum()),
        "levels": drawn,
    }
    fates = {"global": is_global, "reached": np.array(reached), "unconverged": left}
    return rows, panel, {"loss": paths, **fates}


def _staying(paths: np.ndarray, levels: list[Level]) -> np.ndarray:
    """Which starts stay at each level for a while (n', N)."""
    losses = np.array([level.loss for level in levels])
    nearest = np.abs(paths[..., None] - losses).argmin(axis=-1)
    near = np.abs(paths - losses[nearest]) < _NEAR * losses[nearest]
    at = np.where(near, nearest, -1)
    same = np.where(at[:, 1:] == at[:, :-1], at[:, 1:], -1)
    return np.array([(same == number).any(axis=1) for number in range(len(levels))])


def _row(runs: ol.Sweep, name: str, level: float | None, paths: np.ndarray, passing: int) -> Row:
    """How the starts of one fate (n', T) come to their level, and how many others pass by."""
    near = np.abs(paths - (np.nan if level is None else level)) < (_NEAR * (level or 0) or 1e-4)
    # When a path comes near its level for good, if it is there at the last time.
    arrived = [_TIMES[len(p) - int(np.argmin([*p[::-1], False]))] for p in near if p[-1]]
    row: Row = {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "level": name,
        "loss": level,
        "passing": passing,
        "ended": len(paths),
        "arrived": len(arrived),
        "median_arrival": float(np.median(arrived)) if arrived else None,
        "last_arrival": float(max(arrived)) if arrived else None,
    }
    for time in _MEDIANS:
        losses = paths[:, np.argmin(abs(_TIMES - time))]
        row[f"median_loss_{time}"] = float(np.median(losses)) if len(losses) else None
    return row


def columns(results: Results) -> list[Column]:
    """When the starts of each end come to it, and how many others stay there for a while."""
    return [
        *(number(name) for name in ("K", "M", "level")),
        number("predicted loss", "loss"),
        number("others stay there", "passing"),
        number("end there", "ended"),
        number("arrived by t = 3000", "arrived"),
        number("median time of arrival", "median_arrival"),
        number("last", "last_arrival"),
        *(number(f"median loss at t = {time}", f"median_loss_{time}") for time in _MEDIANS),
    ]


def remarks(results: Results) -> str:
    """Whether losses settle into bands at the predicted levels."""
    local = [row for row in results.rows if row["loss"]]
    ended, arrived = (sum(row[key] for row in local) for key in ("ended", "arrived"))
    staying = " and ".join(
        f"{panel['global_that_stay']} of {panel['global']} at K = {panel['K']}"
        for panel in results.facts["panels"]
    )
    return (
        f"{arrived} of the {ended} starts that converge above loss 0 are within {100 * _NEAR:.1f} % of a "
        "predicted level by t = 3,000 and stay there: losses settle into bands at these levels, as the paper "
        f"says. Of those that reach loss 0, {staying} stay at a predicted level for a while."
    )


def figure(results: Results) -> Figure:
    """Draw the losses against time, a panel for each K."""
    panels = results.facts["panels"]
    drawn = Figure(figsize=(1 + 4.4 * len(panels), 4.4), layout="constrained")
    line = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(line, panels, strict=True):
        arrays = {
            key: results.arrays[f"{key}_{panel['K']}"]
            for key in ("loss", "global", "reached", "unconverged")
        }
        _panel(axes, panel, results.arrays["times"], arrays)
    line[0].set_ylabel("population loss")
    return drawn


def _panel(axes: Axes, panel: dict, times: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    paths = arrays["loss"]
    axes.plot(times, paths[arrays["global"]].T, color=GREY, linewidth=0.5, alpha=0.5)
    colours = 0
    for level, there in zip(panel["levels"], arrays["reached"], strict=True):
        if not there.any() and not level["passing"]:
            if level["minimum"]:
                axes.axhline(level["loss"], color=GREY, linestyle="--", linewidth=0.4, alpha=0.5)
            continue
        colour = _COLOURS[colours % len(_COLOURS)] if there.any() else "0.3"
        colours += int(there.any())
        axes.plot(times, paths[there].T, color=colour, linewidth=0.8)
        style = "--" if level["minimum"] else ":"
        axes.axhline(level["loss"], color=colour, linestyle=style, linewidth=0.9)
        axes.annotate(
            f" {level['name']}",
            (1, level["loss"]),
            xycoords=("axes fraction", "data"),
            annotation_clip=False,
            fontsize=7,
            va="center",
            color=colour,
        )
    if arrays["unconverged"].any():
        axes.plot(times, paths[arrays["unconverged"]].T, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(times[0], times[-1])
    axes.set_ylim(_LOWEST, 1.1 * float(paths.max()))
    axes.set_xlabel("time t")
    title = (
        f"K = {panel['K']}, M = {panel['M']}: {panel['starts']} starts, {panel['global']} to loss 0"
    )
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
