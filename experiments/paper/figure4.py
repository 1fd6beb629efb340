r"""Where do the losses of single starts rest on their way, and where in the end (paper, Figure 4)?

The loss against time of random starts of gradient flow for M = 17 and K = 17 and 18, in the colour of the
family that a sweep tells as their end (grey: the global minimum; black: not converged). Levels are those of
the fixed-point solver alone: dashed for minima, dotted for saddles that a start rests at. A start rests at a
level, on its way, where two times in a row (which differ by a factor of 1.15) find it within 0.5 %.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.levels import Level, solved
from ..shared.legacy import arguments, report
from ..shared.draw import BLUE, GREEN, GREY, ORANGE, PINK
from ..shared.stops import stopped
from ..shared.sweeps import swept

_TIMES = np.geomspace(1, 3000, 60)
_COLOURS = (ORANGE, GREEN, PINK, BLUE)  # of neighbouring levels
_NEAR = 0.005  # of a level
_LOWEST = 6e-3  # loss in the picture


def _resting(paths: np.ndarray, found: list[Level]) -> np.ndarray:
    """Which starts rest at each level at some time (n', N)."""
    losses = np.array([level.loss for level in found])
    nearest = np.abs(paths[..., None] - losses).argmin(axis=-1)
    near = np.abs(paths - losses[nearest]) < _NEAR * losses[nearest]
    at = np.where(near, nearest, -1)
    same = np.where(at[:, 1:] == at[:, :-1], at[:, 1:], -1)
    return np.array([(same == number).any(axis=1) for number in range(len(found))])


def _row(runs: ol.Sweep, name: str, level: float | None, paths: np.ndarray, passing: int) -> dict:
    """How the starts of one fate (n', T) come to their level, and how many others pass by."""
    near = np.abs(paths - (np.nan if level is None else level)) < (_NEAR * (level or 0) or 1e-4)
    # When a path comes near its level for good, if it is there at the last time.
    arrived = [_TIMES[len(p) - int(np.argmin([*p[::-1], False]))] for p in near if p[-1]]
    row = {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "level": name,
        "predicted loss": level,
        "others rest there": passing,
        "end there": len(paths),
        "arrived by t = 3000": len(arrived),
        "median time of arrival": float(np.median(arrived)) if arrived else None,
        "last": float(max(arrived)) if arrived else None,
    }
    for time in (10, 100, 1000):
        losses = paths[:, np.argmin(abs(_TIMES - time))]
        row[f"median loss at t = {time}"] = float(np.median(losses)) if len(losses) else None
    return row


def _panel(axes: Axes, runs: ol.Sweep, found: list[Level]) -> tuple[list[dict], str]:
    problem, n = runs.problem, len(runs)
    paths = stopped(problem, ol.GradientFlow(), n, _TIMES).loss
    world = runs.outcome == "global_minimum"
    rested, left = _resting(paths, found), ~world
    rows = [_row(runs, "global minimum", 0.0, paths[world], 0)]
    axes.plot(_TIMES, paths[world].T, color=GREY, linewidth=0.5, alpha=0.5)
    colours = 0
    for level, rests in zip(found, rested, strict=True):
        there, minimum = level.reached(runs), level.spectrum.verdict == "stable"
        passing, left = int((rests & ~there).sum()), left & ~there
        if not there.any() and not passing:
            if minimum:
                axes.axhline(level.loss, color=GREY, linestyle="--", linewidth=0.4, alpha=0.5)
            continue
        colour = _COLOURS[colours % len(_COLOURS)] if there.any() else "0.3"
        colours += int(there.any())
        axes.plot(_TIMES, paths[there].T, color=colour, linewidth=0.8)
        axes.axhline(level.loss, color=colour, linestyle="--" if minimum else ":", linewidth=0.9)
        axes.annotate(
            f" {level.name}",
            (1, level.loss),
            xycoords=("axes fraction", "data"),
            annotation_clip=False,
            fontsize=7,
            va="center",
            color=colour,
        )
        name = level.name if minimum else f"{level.name} (saddle)"
        rows.append(_row(runs, name, level.loss, paths[there], passing))
    if left.any():
        axes.plot(_TIMES, paths[left].T, color="black", linewidth=0.8)
        rows.append(_row(runs, "not converged", None, paths[left], 0))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(_TIMES[0], _TIMES[-1])
    axes.set_ylim(_LOWEST, 1.1 * float(paths.max()))
    axes.set_xlabel("time t")
    title = (
        f"K = {problem.students}, M = {problem.teachers}: {n} starts, {int(world.sum())} to loss 0"
    )
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    rest = int(rested[:, world].any(axis=0).sum())
    return rows, f"{rest} of {int(world.sum())} at K = {problem.students}"


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure4",
        __doc__,
        argv,
        seeds=dict(type=int, default=60, metavar="N", help="starts of each K (60)"),
    )
    M, widths = 17, (17, 18)
    if args.quick:
        M, widths, args.seeds = 8, (8,), 24
    figure = Figure(figsize=(1 + 4.4 * len(widths), 4.4), layout="constrained")
    panels = figure.subplots(1, len(widths), squeeze=False)[0]
    rows, told = [], []
    for axes, K in zip(panels, widths, strict=True):
        runs = swept(args, K, M)
        more, rest = _panel(axes, runs, solved(runs.problem))
        rows += more
        told.append(rest)
    panels[0].set_ylabel("population loss")
    local = [row for row in rows if row["predicted loss"]]
    ended, arrived = (
        sum(row[name] for row in local) for name in ("end there", "arrived by t = 3000")
    )
    remarks = (
        f"{arrived} of the {ended} starts that converge above loss 0 are within {100 * _NEAR:.1f} % of a "
        "predicted level by t = 3,000 and stay there: losses settle into bands at these levels, as the paper "
        f"says. Of those that reach loss 0, {' and '.join(told)} rest at a predicted level on their way."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
