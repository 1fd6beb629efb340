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
from ..shared.legacy import arguments, report
from ..shared.networks import slope
from ..shared.teachers import ends, teacher


def _fraction(sweeps: list[ol.Sweep], outcome: str, alpha: int | None) -> tuple[float, float]:
    """Of the starts, and its standard error over teachers."""
    shares = []
    for runs in sweeps:
        there = runs.outcome == outcome
        if alpha is not None:
            there &= runs.anti_aligned == alpha
        shares.append(there.mean())
    return float(np.mean(shares)), float(np.std(shares, ddof=1) / np.sqrt(len(shares)))


def _row(width: int, d: int, teachers: str, sweeps: list[ol.Sweep]) -> dict:
    local = [r.loss[(r.outcome == "local_minimum") & (r.anti_aligned == 1)] for r in sweeps]
    levels = np.concatenate(local)
    means = np.array([level.mean() for level in local if len(level)])
    row = {"K = M": width, "d": d, "teachers": teachers, "starts": sum(len(r) for r in sweeps)}
    for name, outcome, alpha in (
        ("global", "global_minimum", None),
        ("α = 1", "local_minimum", 1),
        ("not converged", "not_converged", None),
    ):
        row[name], row[f"SE of {name}"] = _fraction(sweeps, outcome, alpha)
    row["level of α = 1"] = float(levels.mean())
    row["SE of the level"] = float(means.std(ddof=1) / np.sqrt(len(means)))
    row["its spread"] = float(levels.std(ddof=1))
    row["SE of the spread"] = float(levels.std(ddof=1) / np.sqrt(2 * (len(means) - 1)))
    return row


def _panel(axes: Axes, title: str, losses: np.ndarray, levels: list[float], top: float) -> None:
    # Global minima are no part of the picture: they would be one bar at 0.
    counts, *_ = axes.hist(losses[losses > 1e-6], np.linspace(0, top, 121), color=BLUE)
    for alpha, level in enumerate(levels, 1):
        axes.axvline(level, color=ORANGE, linestyle="--", linewidth=0.9)
        axes.annotate(
            f" α = {alpha}", (level, 1), xycoords=("data", "axes fraction"), va="top", fontsize=7
        )
    axes.set_title(title, fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 4 * max(3, np.max(counts)))
    axes.set_ylabel("starts")
    axes.spines[["top", "right"]].set_visible(False)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure9",
        __doc__,
        argv,
        width=dict(type=int, default=8, metavar="K", help="K = M (8)"),
        teachers=dict(type=int, default=24, metavar="N", help="of each dimension (24)"),
        seeds=dict(type=int, default=128, metavar="N", help="starts for each teacher (128)"),
    )
    width, teachers, seeds, dimensions = args.width, args.teachers, args.seeds, (50, 200, 1000)
    kinds = ("random", "T = I")
    if args.quick:
        width, teachers, seeds, dimensions, kinds = 8, 2, 64, (50,), ("random",)
    rows, losses = [], {}
    for d in dimensions:
        for name in kinds:
            sweeps = []
            for number in range(teachers):
                problem = teacher(width, d, number)
                if name == "T = I":
                    problem = ol.Problem(width, width)
                sweeps.append(ends(problem, d, number, seeds))
            rows.append(_row(width, d, name, sweeps))
            losses[d, name] = np.concatenate([runs.loss for runs in sweeps])
            print(f"d = {d}, {name}: done", flush=True)
    known = ol.Problem(width, width)
    levels = [float(ol.fixed_point(known, ol.family(known, alpha)).loss) for alpha in (1, 2)]
    shown = [(d, "random") for d in dimensions] + [(dimensions[-1], name) for name in kinds[1:]]
    figure = Figure(figsize=(7, 0.5 + 1.5 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (d, name) in zip(panels, shown, strict=True):
        title = f"{teachers} random teachers" if name == "random" else "T = I, the same starts"
        _panel(axes, f"{title}, d = {d}", losses[d, name], levels, 1.8 * levels[-1])
    panels[-1].set_xlabel("population loss of the end state (global minima are left out)")
    random = [row for row in rows if row["teachers"] == "random"]
    d, spread = (np.array([row[name] for row in random], float) for name in ("d", "its spread"))
    off = ", ".join(
        f"{row['level of α = 1'] - levels[0]:+.5f} ± {row['SE of the level']:.5f} (d = {row['d']})"
        for row in random
    )
    remarks = (
        f"Standard errors are over teachers. The mean level of α = 1 is off that of T = I by {off}."
    )
    if len(d) > 2:
        power, interval = slope(d, spread)
        remarks += f" The level's spread falls as d^({power:.2f} ± {interval:.2f}) (95 %)."
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
