r"""Are the overlaps of students with their teachers a mixture of two Gaussians (paper, Figure 6)?

Teachers are random and of finite dimension, so T ≠ I, and end states of gradient flow are spread about the
family they belong to. Of each teacher the first local minimum is taken whose loss is closest to that of
the family α at T = I; students are then assigned to teachers, and the diagonal of R is pooled. Mixtures of
one, two and three Gaussians are fitted, and the Bayesian information criterion (BIC, lower is better) says
how many there are. The diagonal of T is the control. Weights are expected to be α/K and (K − α)/K: the family
is chosen by its loss and not by the signs of overlaps, so this might turn out otherwise.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

import odelandscape as ol
from odelandscape.classify import align

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.mixture import Mixture, fit
from ..shared.legacy import arguments, report
from ..shared.teachers import ends, state, teacher

_LEVELS = (1, 2, 3)  # whose losses are told apart
_ALPHAS = (1, 2)  # that are shown
_WIDTH, _DIMENSION = 10, 1000


def _diagonals(width: int, teachers: int, seeds: int, alphas) -> dict[str, list[np.ndarray]]:
    """Of R for each α, and of T, one for each teacher."""
    known = ol.Problem(width, width)
    points = [ol.fixed_point(known, ol.family(known, alpha)) for alpha in _LEVELS]
    losses = np.array([0.0, *(float(point.loss) for point in points)])
    found: dict[str, list] = {**{f"R, α = {alpha}": [] for alpha in alphas}, "T": []}
    for number in range(teachers):
        problem = teacher(width, _DIMENSION, number)
        runs = ends(problem, _DIMENSION, number, seeds)
        nearest = np.abs(runs.loss[:, None] - losses).argmin(axis=1)
        for alpha in alphas:
            family = np.flatnonzero((nearest == alpha) & (runs.outcome == "local_minimum"))
            if len(family):
                seen = state(runs, int(family[0]))
                R = np.asarray(seen.R)
                order, mate, _ = align(R, np.sqrt(np.diagonal(seen.Q)))
                found[f"R, α = {alpha}"].append(R[order, mate])
        found["T"].append(np.diagonal(problem.T))
    return found


def _row(name: str, parts: list, width: int, alpha: int, fits: list[Mixture]) -> dict:
    best = min(fits, key=lambda mixture: mixture.bic)
    expected = [alpha / width, 1 - alpha / width] if alpha else [1.0]
    row: dict = {"diagonal of": name, "K = M": width, "d": _DIMENSION, "matrices": len(parts)}
    row |= {f"BIC of {n}": round(fit.bic, 1) for n, fit in enumerate(fits, 1)}
    row |= {"Gaussians": len(best.weight), "expected weights": _told(expected)}
    shown = fits[len(expected) - 1]
    row |= {"weights": _told(shown.weight), "means": _told(shown.mean)}
    return row | {"standard deviations": _told(shown.deviation)}


def _told(numbers) -> str:
    return ", ".join(f"{x:.4f}" for x in numbers)


def _panel(axes: Axes, x: np.ndarray, mixture: Mixture, title: str) -> None:
    bins = np.arange(x.min() - 0.1, x.max() + 0.1, 0.015)
    axes.hist(x, bins, density=True, color=BLUE, alpha=0.6, label=f"{len(x):,} overlaps")
    fine = np.linspace(bins[0], bins[-1], 1000)
    for weight, mean, deviation, colour in zip(*mixture[:3], (ORANGE, GREEN), strict=False):
        label = f"{weight:.3f} at {mean:.3f} ± {deviation:.3f}".replace("-", "−")
        axes.plot(
            fine, weight * norm.pdf(fine, mean, deviation), color=colour, linewidth=1.3, label=label
        )
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("overlap")
    plain(axes)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure6",
        __doc__,
        argv,
        teachers=dict(type=int, default=100, metavar="N", help="of T ≠ I (100)"),
        seeds=dict(type=int, default=32, metavar="N", help="starts for each teacher (32)"),
    )
    width, teachers, seeds, alphas = _WIDTH, args.teachers, args.seeds, _ALPHAS
    if args.quick:
        teachers, seeds, alphas = 4, 16, (1,)
    rows = []
    pooled = _diagonals(width, teachers, seeds, alphas)
    figure = Figure(figsize=(3.6 * len(pooled), 3.6), layout="constrained")
    panels = figure.subplots(1, len(pooled))
    for axes, (name, parts) in zip(panels, pooled.items(), strict=True):
        x = np.concatenate(parts)
        fits = [fit(x, n) for n in (1, 2, 3)]
        alpha = int(name[-1]) if name != "T" else 0
        rows.append(_row(name, parts, width, alpha, fits))
        _panel(axes, x, fits[1 if alpha else 0], f"diagonal of {name}")
        axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    panels[0].set_ylabel("density")
    clear = [row for row in rows if row["Gaussians"] == len(row["expected weights"].split(", "))]
    remarks = (
        f"In {len(clear)} of {len(rows)} rows the BIC prefers as many Gaussians as expected; two for R and "
        "one for T is what the paper reports, with weights close to those expected. At T = I a family is one "
        "point up to permutations: the widths here, like that of T's diagonal, come from the random teachers."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
