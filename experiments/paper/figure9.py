r"""What do random teachers of finite dimension change of the landscape (paper, Figure 9 and Appendix C)?

In d dimensions a random teacher is not orthonormal: T = I + O(d^(−1/2)). For each d a number of teachers
is drawn, and random students are relaxed by gradient flow for each, from the same starts in d dimensions with
T = I, too. Do the levels of the families broaden and shift, how fast, and do they remain apart?
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.networks import slope
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number
from ..shared.teachers import ends, teacher

OPTIONS = {
    "width": Option(8, 8, "K = M", "K"),
    "teachers": Option(24, 2, "teachers of each dimension"),
    "seeds": Option(128, 64, "starts for each teacher"),
}
_RANDOM, _IDENTITY = "random", "T = I"
_FATES = {  # outcome, and number of anti-aligned students if it matters
    "global": ("global_minimum", None),
    "one_anti_aligned": ("local_minimum", 1),
    "not_converged": ("not_converged", None),
}
_HEADINGS = {"global": "global", "one_anti_aligned": "α = 1", "not_converged": "not converged"}


def rows(options) -> Results:
    """Relax the starts of each dimension, with random teachers and with T = I."""
    dimensions, kinds = (50, 200, 1000), (_RANDOM, _IDENTITY)
    if options.quick:
        dimensions, kinds = (50,), (_RANDOM,)
    width, data = options.width, {}
    known = ol.Problem(width, width)
    found: list[Row] = []
    for d in dimensions:
        for kind in kinds:
            sweeps = []
            for seed in range(options.teachers):
                problem = teacher(width, d, seed) if kind == _RANDOM else known
                sweeps.append(ends(problem, d, seed, options.seeds))
            data[f"losses_{len(found)}"] = np.concatenate([runs.loss for runs in sweeps])
            found.append(_row(width, d, kind, sweeps))
            print(f"d = {d}, {kind}: done", flush=True)
    levels = [float(ol.fixed_point(known, ol.family(known, alpha)).loss) for alpha in (1, 2)]
    return Results(found, {"levels": levels}, data)


def _row(width: int, d: int, kind: str, sweeps: list[ol.Sweep]) -> Row:
    """Fates, and the level of α = 1, with standard errors over teachers."""
    losses = [r.loss[(r.outcome == "local_minimum") & (r.anti_aligned == 1)] for r in sweeps]
    pooled = np.concatenate(losses)
    means = np.array([of_teacher.mean() for of_teacher in losses if len(of_teacher)])
    row: Row = {"K": width, "d": d, "teachers": kind, "starts": sum(len(r) for r in sweeps)}
    for name, fate in _FATES.items():
        row[name], row[f"{name}_error"] = _count(sweeps, *fate)
    std = float(pooled.std(ddof=1))
    row["level"] = float(pooled.mean())
    row["level_error"] = float(means.std(ddof=1) / np.sqrt(len(means)))
    row["level_std"] = std
    row["level_std_error"] = float(std / np.sqrt(2 * (len(means) - 1)))
    return row


def _count(sweeps: list[ol.Sweep], outcome: str, alpha: int | None) -> tuple[int, float]:
    """Count the starts of a fate; and the standard error of their share, over teachers."""
    counts, shares = [], []
    for runs in sweeps:
        there = runs.outcome == outcome
        if alpha is not None:
            there &= runs.anti_aligned == alpha
        counts.append(int(there.sum()))
        shares.append(there.mean())
    return sum(counts), float(np.std(shares, ddof=1) / np.sqrt(len(shares)))


def columns(results: Results) -> list[Column]:
    """Shares of the fates, and the level of α = 1, with their errors."""
    made = [number("K = M", "K"), number("d"), number("teachers"), number("starts")]
    for name, heading in _HEADINGS.items():
        made += [_fraction(heading, name), number(f"SE of {heading}", f"{name}_error")]
    return [
        *made,
        number("level of α = 1", "level"),
        number("SE of the level", "level_error"),
        number("its standard deviation", "level_std"),
        number("SE of this", "level_std_error"),
    ]


def _fraction(heading: str, count: str) -> Column:
    def of(row: Row) -> Cell:
        return row[count] / row["starts"]

    return Column(heading, of)


def _of_random(results: Results) -> list[Row]:
    return [row for row in results.rows if row["teachers"] == _RANDOM]


def remarks(results: Results) -> str:
    """How far the level of α = 1 is shifted, and how its width falls."""
    rows, level = _of_random(results), results.facts["levels"][0]
    off = ", ".join(
        f"{row['level'] - level:+.5f} ± {row['level_error']:.5f} (d = {row['d']})" for row in rows
    )
    text = (
        f"Standard errors are over teachers. The mean level of α = 1 is off that of T = I by {off}."
    )
    if len(rows) > 2:
        d, std = (np.array([row[name] for row in rows], float) for name in ("d", "level_std"))
        power, half = slope(d, std)
        text += f" The level's standard deviation falls as d^({power:.2f} ± {half:.2f}) (95 %)."
    return text


def figure(results: Results) -> Figure:
    """Draw the losses of each dimension with random teachers, and those of the last with T = I."""
    rows, levels = results.rows, results.facts["levels"]
    last = [row for row in rows if row["teachers"] == _IDENTITY][-1:]
    shown = _of_random(results) + last
    drawn = Figure(figsize=(7, 0.5 + 1.5 * len(shown)), layout="constrained")
    panels = drawn.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, row in zip(panels, shown, strict=True):
        is_random = row["teachers"] == _RANDOM
        random = f"{results.options['teachers']} random teachers"
        axes.set_title(
            f"{random if is_random else 'T = I, the same starts'}, d = {row['d']}", fontsize=9
        )
        _panel(axes, results.arrays[f"losses_{rows.index(row)}"], levels)
    panels[-1].set_xlabel("population loss of the end state (global minima are left out)")
    return drawn


def _panel(axes: Axes, losses: np.ndarray, levels: list[float]) -> None:
    # Global minima are no part of the picture: they would be one bar at 0.
    edges = np.linspace(0, 1.8 * levels[-1], 121)
    counts, *_ = axes.hist(losses[losses > 1e-6], edges, color=BLUE)
    for alpha, level in enumerate(levels, 1):
        axes.axvline(level, color=ORANGE, linestyle="--", linewidth=0.9)
        axes.annotate(
            f" α = {alpha}", (level, 1), xycoords=("data", "axes fraction"), va="top", fontsize=7
        )
    axes.set_yscale("log")
    axes.set_ylim(0.7, 4 * max(3, np.max(counts)))
    axes.set_ylabel("starts")
    axes.spines[["top", "right"]].set_visible(False)
