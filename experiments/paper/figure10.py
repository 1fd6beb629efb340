r"""Do the blocks of R remain where teachers are random and of finite dimension (paper, Figure 10)?

For each d, ten random teachers (T ≠ I), and of the ends of gradient flow for each the first local minimum
with one anti-aligned student. Students are sorted by alignment, the anti-aligned one last. Reported are the
overlaps on the diagonal of R, and how much the others fluctuate about the mean of their block (standard
deviations), beside their values at the fixed point of T = I, where blocks are constant.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import arranged, matrix
from ..shared.networks import slope
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, fixed, number
from ..shared.teachers import ends, state, teacher

OPTIONS = {}
_WIDTH = 10
_DIMENSIONS = (50, 200, 1000)
_STATES = 10
_SEEDS = 24  # more, where none of these ends with one anti-aligned student
_ENTRIES = {  # of R, with its anti-aligned student last
    "aligned": "aligned",
    "anti_aligned": "anti-aligned",
    "among_aligned": "among aligned",
    "aligned_its_teacher": "aligned, its teacher",
    "it_other_teachers": "it, other teachers",
}


def rows(options) -> Results:
    """Find the states of each dimension, and the fixed point of T = I."""
    dimensions, states = ((50,), 3) if options.quick else (_DIMENSIONS, _STATES)
    found, data = [], {}
    for d in dimensions:
        many = np.array([_sorted(_first(_WIDTH, d, seed)) for seed in range(states)])
        found.append({"K": _WIDTH, "d": d, "states": states} | _numbers(many))
        data[f"R_{d}"] = many
        print(f"d = {d}: done", flush=True)
    if not options.quick:
        known = ol.Problem(_WIDTH, _WIDTH)
        point = _sorted(ol.fixed_point(known, ol.family(known, 1)).overlaps)
        found.append({"K": _WIDTH, "d": None, "states": None} | _numbers(point[None]))
    return Results(found, data=data)


def _first(width: int, d: int, seed: int) -> ol.OrderParameters:
    """Of the ends with one anti-aligned student that of the first start."""
    count = _SEEDS
    while True:
        runs = ends(teacher(width, d, seed), d, seed, count)
        found = (runs.outcome == "local_minimum") & (runs.anti_aligned == 1)
        if found.any():
            return state(runs, int(found.argmax()))
        count *= 4


def _sorted(found: ol.OrderParameters) -> np.ndarray:
    """R with the anti-aligned student last."""
    R = np.asarray(found.R)
    students, teachers, *_ = arranged(R, np.sqrt(np.diagonal(found.Q)))
    return R[np.ix_(students, teachers)]


def _numbers(many: np.ndarray) -> Row:
    """Means and standard deviations in each block of R (N, K, K), anti-aligned students last."""
    diagonal = np.diagonal(many, axis1=1, axis2=2)
    off_diagonal = ~np.eye(many.shape[1] - 1, dtype=bool)
    blocks = [many[:, :-1, :-1][:, off_diagonal], many[:, :-1, -1], many[:, -1, :-1]]
    several, row = len(many) > 1, {}
    for name, x in zip(_ENTRIES, [diagonal[:, :-1], diagonal[:, -1], *blocks], strict=True):
        row[name] = float(x.mean())
        row[f"{name}_std"] = float(x.std(ddof=1)) if several else None
    off = np.sqrt(np.mean(np.concatenate([(x - x.mean()).ravel() for x in blocks]) ** 2))
    row["off_diagonal_std"] = float(off) if several else None
    row["lowest_on_diagonal"] = int((many.min(axis=(1, 2)) == diagonal[:, -1]).sum())
    return row


def columns(results: Results) -> list[Column]:
    """Means and standard deviations of the entries of each block."""
    made = [number("K = M", "K"), number("d"), number("states")]
    for name, heading in _ENTRIES.items():
        made += [fixed(heading, name, 5), fixed(f"{heading}: SD", f"{name}_std", 5)]
    return [
        *made,
        fixed("off-diagonal SD", "off_diagonal_std", 5),
        Column("· √d", _scaled),
        number("lowest on the diagonal", "lowest_on_diagonal"),
    ]


def _scaled(row: Row) -> Cell:
    return None if row["d"] is None else f"{row['off_diagonal_std'] * np.sqrt(row['d']):.3f}"


def remarks(results: Results) -> str:
    """Whether the anti-aligned student keeps the lowest overlap, and how fluctuations fall."""
    rows = [row for row in results.rows if row["d"] is not None]
    text = (
        f"In {sum(row['lowest_on_diagonal'] for row in rows)} of {sum(row['states'] for row in rows)} states "
        "the lowest overlap of all is the anti-aligned student's with its own teacher."
    )
    if len(rows) > 2:
        d, off = (
            np.array([row[name] for row in rows], float) for name in ("d", "off_diagonal_std")
        )
        power, half = slope(d, off)
        text += (
            f" Fluctuations about the blocks fall as d^({power:.2f} ± {half:.2f}) (95 %): they grow as d "
            "decreases and the blocks remain, as the paper says. The last row is the fixed point of T = I."
        )
    return text


def figure(results: Results) -> Figure:
    """Draw R of each state, a line for each dimension."""
    rows = [row for row in results.rows if row["d"] is not None]
    states = rows[0]["states"]
    size = 0.8 + 1.05 * states, 0.5 + 1.15 * len(rows)
    drawn = Figure(figsize=size, layout="constrained")
    panels = drawn.subplots(len(rows), states, squeeze=False)
    for line, row in zip(panels, rows, strict=True):
        for axes, R in zip(line, results.arrays[f"R_{row['d']}"], strict=True):
            before_anti_aligned = [int((np.diagonal(R) >= 0).sum()) - 0.5]
            picture = matrix(axes, R, before_anti_aligned, before_anti_aligned)
        line[0].set_ylabel(f"d = {row['d']}")
    drawn.colorbar(picture, ax=panels, label="overlap", shrink=0.7)
    title = f"R of states with α = 1, K = M = {_WIDTH}, each of another random teacher"
    drawn.suptitle(title, fontsize=10)
    return drawn
