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
from sklearn.mixture import GaussianMixture

import odelandscape as ol
from odelandscape.model.alignment import align

from ..shared.draw import BLUE, GREEN, ORANGE, plain
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number
from ..shared.teachers import ends, state, teacher

OPTIONS = {
    "teachers": Option(100, 4, "random teachers, T ≠ I"),
    "seeds": Option(32, 16, "starts for each teacher"),
}
_LEVELS = (1, 2, 3)  # α whose losses are distinguished
_ALPHAS = (1, 2)  # that are shown
_WIDTH, _DIMENSION = 10, 1000
_COMPONENTS = (1, 2, 3)


def rows(options) -> Results:
    """Pool the diagonals, and fit mixtures to each."""
    alphas = (1,) if options.quick else _ALPHAS
    pooled = _diagonals(_WIDTH, options.teachers, options.seeds, alphas)
    found, data = [], {}
    for name, parts in pooled.items():
        data[f"overlaps_{len(found)}"] = x = np.concatenate(parts)
        alpha = int(name[-1]) if name != "T" else 0
        found.append({"diagonal": name, "K": _WIDTH, "d": _DIMENSION} | _fits(x, alpha))
        found[-1]["matrices"] = len(parts)
    return Results(found, data=data)


def _diagonals(width: int, teachers: int, seeds: int, alphas) -> dict[str, list[np.ndarray]]:
    """Of R for each α, and of T, one for each teacher."""
    known = ol.Problem(width, width)
    points = [ol.fixed_point(known, ol.family(known, alpha)) for alpha in _LEVELS]
    losses = np.array([0.0, *(float(point.loss) for point in points)])
    found: dict[str, list] = {**{f"R, α = {alpha}": [] for alpha in alphas}, "T": []}
    for seed in range(teachers):
        problem = teacher(width, _DIMENSION, seed)
        runs = ends(problem, _DIMENSION, seed, seeds)
        nearest = np.abs(runs.loss[:, None] - losses).argmin(axis=1)
        for alpha in alphas:
            family = np.flatnonzero((nearest == alpha) & (runs.outcome == "local_minimum"))
            if len(family):
                found_state = state(runs, int(family[0]))
                R = np.asarray(found_state.R)
                order, mate, _ = align(R, np.sqrt(np.diagonal(found_state.Q)))
                found[f"R, α = {alpha}"].append(R[order, mate])
        found["T"].append(np.diagonal(problem.T))
    return found


def mixture(x: np.ndarray, components: int) -> tuple[dict[str, list[float]], float]:
    """Fit a mixture of Gaussians: weights, means and deviations in the order of the means, and its BIC."""
    fit = GaussianMixture(
        components,
        tol=1e-10,
        max_iter=1000,
        n_init=10,
        init_params="random_from_data",
        # One number alone would be infinitely likely under a component of no width.
        reg_covar=1e-6 * float(x.var()),
        random_state=0,
    ).fit(x[:, None])
    by = np.argsort(fit.means_[:, 0])
    deviations = np.sqrt(fit.covariances_[by, 0, 0])
    parts = {"weights": fit.weights_[by], "means": fit.means_[by, 0], "deviations": deviations}
    numbers = {name: [float(value) for value in values] for name, values in parts.items()}
    return numbers, float(fit.bic(x[:, None]))


def _fits(x: np.ndarray, alpha: int) -> Row:
    """The BIC of each number of components, and the mixture of as many as are expected."""
    fits = {n: mixture(x, n) for n in _COMPONENTS}
    expected = [alpha / _WIDTH, 1 - alpha / _WIDTH] if alpha else [1.0]
    row: Row = {f"bic_{n}": bic for n, (_, bic) in fits.items()}
    row["components"] = min(fits, key=lambda n: fits[n][1])
    return row | {"expected_weights": expected} | fits[len(expected)][0]


def columns(results: Results) -> list[Column]:
    """The information criteria, and the mixture of as many Gaussians as are expected."""

    def numbers(heading: str, key: str) -> Column:
        def of(row: Row) -> Cell:
            return ", ".join(f"{x:.4f}" for x in row[key])

        return Column(heading, of)

    return [
        number("diagonal of", "diagonal"),
        number("K = M", "K"),
        number("d"),
        number("matrices"),
        *(number(f"BIC of {n}", f"bic_{n}", digits=5) for n in _COMPONENTS),
        number("Gaussians", "components"),
        numbers("expected weights", "expected_weights"),
        numbers("weights", "weights"),
        numbers("means", "means"),
        numbers("standard deviations", "deviations"),
    ]


def remarks(results: Results) -> str:
    """Whether the BIC prefers as many Gaussians as are expected."""
    rows = results.rows
    clear = [row for row in rows if row["components"] == len(row["expected_weights"])]
    return (
        f"In {len(clear)} of {len(rows)} rows the BIC prefers as many Gaussians as expected; two for R and "
        "one for T is what the paper reports, with weights close to those expected. At T = I a family is one "
        "point up to permutations: the widths here, like that of T's diagonal, come from the random teachers."
    )


def figure(results: Results) -> Figure:
    """Draw each diagonal with its mixture."""
    rows = results.rows
    drawn = Figure(figsize=(3.6 * len(rows), 3.6), layout="constrained")
    panels = drawn.subplots(1, len(rows))
    for at, (axes, row) in enumerate(zip(panels, rows, strict=True)):
        _panel(axes, results.arrays[f"overlaps_{at}"], row)
        axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    panels[0].set_ylabel("density")
    return drawn


def _panel(axes: Axes, x: np.ndarray, row: Row) -> None:
    bins = np.arange(x.min() - 0.1, x.max() + 0.1, 0.015)
    axes.hist(x, bins, density=True, color=BLUE, alpha=0.6, label=f"{len(x):,} overlaps")
    fine = np.linspace(bins[0], bins[-1], 1000)
    parts = zip(row["weights"], row["means"], row["deviations"], strict=True)
    for (weight, mean, deviation), colour in zip(parts, (ORANGE, GREEN), strict=False):
        label = f"{weight:.3f} at {mean:.3f} ± {deviation:.3f}".replace("-", "−")
        density = weight * norm.pdf(fine, mean, deviation)
        axes.plot(fine, density, color=colour, linewidth=1.3, label=label)
    axes.set_title(f"diagonal of {row['diagonal']}", fontsize=9)
    axes.set_xlabel("overlap")
    plain(axes)
