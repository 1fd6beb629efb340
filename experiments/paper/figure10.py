r"""Do the blocks of R remain where teachers are random and of finite dimension (paper, Figure 10)?

For each d, ten random teachers (T ≠ I), and of the ends of gradient flow for each the first local minimum
with one anti-aligned student. Students are sorted by alignment, the anti-aligned one last. Told are the
overlaps on the diagonal of R, and how much the others fluctuate about the mean of their block, against their
values at the fixed point of T = I, where blocks are constant.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import arranged, matrix
from ..shared.legacy import arguments, report
from ..shared.networks import slope
from ..shared.teachers import ends, state, teacher

_WIDTH = 10
_DIMENSIONS = (50, 200, 1000)
_STATES = 10
_SEEDS = 24  # more, where none of these ends with one anti-aligned student


def _first(width: int, d: int, number: int) -> ol.OrderParameters:
    """Of the ends with one anti-aligned student that of the first seed."""
    seeds = _SEEDS
    while True:
        runs = ends(teacher(width, d, number), d, number, seeds)
        found = (runs.outcome == "local_minimum") & (runs.anti_aligned == 1)
        if found.any():
            return state(runs, int(found.argmax()))
        seeds *= 4


def _sorted(seen: ol.OrderParameters) -> tuple[np.ndarray, list[float], list[float]]:
    """R with the anti-aligned student last, and where its block lines are."""
    R = np.asarray(seen.R)
    rows, columns, across, down = arranged(R, np.sqrt(np.diagonal(seen.Q)))
    return R[np.ix_(rows, columns)], across, down


def _row(d: int | None, many: np.ndarray) -> dict:
    """Of R (N, K, K), anti-aligned students last."""
    width = many.shape[1]
    diagonal = np.diagonal(many, axis1=1, axis2=2)
    aligned = ~np.eye(width - 1, dtype=bool)
    blocks = {
        "among aligned": many[:, :-1, :-1][:, aligned],
        "aligned, its teacher": many[:, :-1, -1],
        "it, other teachers": many[:, -1, :-1],
    }
    row = {"K = M": width, "d": d, "states": len(many) if d else None}
    for name, x in {"aligned": diagonal[:, :-1], "anti-aligned": diagonal[:, -1], **blocks}.items():
        row[name] = round(float(x.mean()), 5)
        row[f"{name}: spread"] = round(float(x.std(ddof=1)), 5) if d else None
    off = np.sqrt(np.mean(np.concatenate([(x - x.mean()).ravel() for x in blocks.values()]) ** 2))
    row["off-diagonal spread"] = round(float(off), 5) if d else None
    row["· √d"] = round(float(off * np.sqrt(d)), 3) if d else None
    row["lowest on the diagonal"] = int((many.min(axis=(1, 2)) == diagonal[:, -1]).sum())
    return row


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments("figure10", __doc__, argv)
    dimensions, states = _DIMENSIONS, _STATES
    if args.quick:
        dimensions, states = (50,), 3
    figure = Figure(
        figsize=(0.8 + 1.05 * states, 0.5 + 1.15 * len(dimensions)), layout="constrained"
    )
    panels = figure.subplots(len(dimensions), states, squeeze=False)
    rows, picture = [], None
    for line, d in zip(panels, dimensions, strict=True):
        found = [_sorted(_first(_WIDTH, d, number)) for number in range(states)]
        for axes, (R, across, down) in zip(line, found, strict=True):
            picture = matrix(axes, R, across, down)
        line[0].set_ylabel(f"d = {d}")
        rows.append(_row(d, np.array([R for R, *_ in found])))
        print(f"d = {d}: done", flush=True)
    clear = sum(row["lowest on the diagonal"] for row in rows)
    remarks = (
        f"In {clear} of {states * len(dimensions)} states the lowest overlap of all is the anti-aligned "
        "student's with its own teacher."
    )
    if not args.quick:
        off = np.array([row["off-diagonal spread"] for row in rows])
        power, half = slope(np.array(dimensions, float), off)
        remarks += (
            f" Fluctuations about the blocks fall as d^({power:.2f} ± {half:.2f}) (95 %): they grow as d "
            "decreases and the blocks remain, as the paper says. The last row is the fixed point of T = I."
        )
        known = ol.Problem(_WIDTH, _WIDTH)
        point = ol.fixed_point(known, ol.family(known, 1))
        rows.append(_row(None, _sorted(point.overlaps)[0][None]))
    assert picture is not None
    figure.colorbar(picture, ax=panels, label="overlap", shrink=0.7)
    figure.suptitle(
        f"R of states with α = 1, K = M = {_WIDTH}, each of another random teacher", fontsize=10
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
