r"""Which powers of K^(−1/2) do weights, levels and eigenvalues of wide families follow?

Arjevani and Field (2021, arXiv:2107.10370 and 'Symmetry & critical points for a model shallow neural
network') proved for a few symmetric types that critical points are power series in K^(−1/2): one loss falls
like 1/K (here: compensated), another tends to a constant (here: all students reflected, hidden α = K), and
the Hessian's eigenvalues approach those of the global minimum. Each quantity here is multiplied by the
power of K that makes it tend to a constant, found from its slope, and fitted by a polynomial in K^(−1/2).
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Cell, Column, Row, number, rounded

OPTIONS: dict[str, Option] = {}
_WIDTHS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000)
_PI = np.pi
# The eigenvalues of the Hessian at the teacher that don't grow with K, as K → ∞ (closed form there).
_TEACHER = {"1/4 − 1/2π": 1 / 4 - 1 / (2 * _PI), "1/4": 1 / 4, "1/4 + 1/2π": 1 / 4 + 1 / (2 * _PI)}
_KNOWN = {
    ("compensated", "K L / α"): ("1/2 − 2/π²", 1 / 2 - 2 / _PI**2),
    ("hidden, all", "L"): ("1/2 − 1/π", 1 / 2 - 1 / _PI),
}


def rows(options) -> Results:
    """Fit the quantities of each family, as functions of the width."""
    alphas: tuple[int | None, ...] = (1, None) if options.quick else (1, 2, None)
    widths = np.array(_WIDTHS, float)
    found: list[Row] = []
    data = {"widths": widths}
    for alpha in alphas:
        label = f"compensated α = {alpha}" if alpha else "hidden, all α = K"
        table = [_quantities(K, alpha) for K in _WIDTHS]
        for name in table[0]:
            values = np.array([quantities[name] for quantities in table])
            data[f"values_{len(found)}"] = values
            found.append({"family": label, "quantity": name, **_fit(widths, values)})
        print(f"{label}: {len(table[0])} quantities at {len(widths)} widths", flush=True)
    return Results(found, data=data)


def _quantities(K: int, alpha: int | None) -> dict[str, float]:
    """Loss, parameters (a diagonal near 1 less 1, one near −1 plus 1) and eigenvalues, by name."""
    problem = ol.Problem(K, K)
    branch = "compensated" if alpha else "hidden"
    point = ol.fixed_point(problem, ol.family(problem, alpha or K, branch))
    loss = float(point.loss)
    found = {"K L / α": K * loss / alpha} if alpha else {"L": loss}
    for name, value in point.parameters.items():
        value = float(value)
        near = round(value) if abs(value) > 0.5 else 0
        shown = name if near == 0 else f"{name} {'−' if near > 0 else '+'} 1"
        found[shown] = value - near
    spectrum = ol.spectrum(problem, point)
    for value, name in zip(spectrum.eigenvalues, spectrum.representations, strict=True):
        index = sum(key.startswith(f"eigenvalue, {name}") for key in found)
        found[f"eigenvalue, {name} #{index}"] = float(value)
    return found


def _fit(K: np.ndarray, values: np.ndarray) -> Row:
    """The power of K (rounded to halves), the constant, its uncertainty, and the next coefficient."""
    slope = np.polyfit(np.log(K[-4:]), np.log(np.abs(values[-4:])), 1)[0]
    power = round(2 * slope) / 2
    scaled, s = values / K**power, K**-0.5
    fits = [np.polyfit(s[start:], scaled[start:], order) for order in (2, 3, 4) for start in (0, 2)]
    constants = [fit[-1] for fit in fits]
    best = fits[2]
    return {
        "power": power,
        "constant": float(best[-1]),
        "error": float(np.ptp(constants)) / 2,
        "next_coefficient": float(best[-2]),
    }


def _closed_form(row: Row) -> tuple[str, float] | None:
    """The published constant of a quantity, if there is one."""
    return _KNOWN.get((row["family"].partition(" α")[0], row["quantity"]))


def columns(results: Results) -> list[Column]:
    """Powers and constants of each quantity."""

    def known(row: Row) -> Cell:
        form = _closed_form(row)
        return None if form is None else f"{form[0]} = {form[1]:.9f}"

    return [
        number("family"),
        number("quantity"),
        number("power of K", "power"),
        number("constant"),
        Column("±", lambda row: float(f"{row['error']:.1e}")),
        rounded("next, times K^(−1/2)", "next_coefficient", 4),
        Column("closed form", known),
    ]


def remarks(results: Results) -> str:
    """How the fits are to be read."""
    return (
        "The ± is the spread over orders 2 to 4 and narrowest widths 100 and 1000. To four digits the "
        "constants of α = 1 are 8/π, −4/π, 2 and 4/π, and the eigenvalues' those of the teacher: 1/4 − 1/2π, "
        "1/4, 1/4 + 1/2π, K/2π and K/4. Diagonals near ±1 are accurate to 1e-16, so what is left of them "
        "loses digits as K grows."
    )


def figure(results: Results) -> Figure:
    """Draw the distance of levels from their limits, and the bounded eigenvalues."""
    drawn = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    _draw_distances(left, results)
    _draw_eigenvalues(right, results)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    title = "Series in K^(−1/2); dashed on the right: the limits at the teacher"
    drawn.suptitle(title, fontsize=10)
    return drawn


def _draw_distances(axes: Axes, results: Results) -> None:
    widths, colours = results.arrays["widths"], iter((BLUE, GREEN, ORANGE))
    for at, row in enumerate(results.rows):
        known = _closed_form(row)
        if known is not None:
            gap = np.abs(results.arrays[f"values_{at}"] - known[1])
            label = f"{row['family']}: |{row['quantity']} − limit|"
            axes.loglog(widths, gap, "o-", color=next(colours), markersize=3, label=label)
    axes.loglog(widths, 0.3 * widths**-0.5, color="0.4", linestyle="--", label="slope −1/2")
    axes.set_xlabel("width K = M")
    axes.set_ylabel("distance from the limit")
    axes.legend(frameon=False, fontsize=7)


def _draw_eigenvalues(axes: Axes, results: Results) -> None:
    """Of the first family, those that don't grow with K."""
    family, s = results.rows[0]["family"], results.arrays["widths"] ** -0.5
    for at, row in enumerate(results.rows):
        values = results.arrays[f"values_{at}"]
        is_eigenvalue = row["quantity"].startswith("eigenvalue")
        if row["family"] == family and is_eigenvalue and values[-1] < 1:
            axes.plot(s, values, color=BLUE, linewidth=1)
    for formula, value in _TEACHER.items():
        axes.axhline(value, color=GREY, linestyle="--", linewidth=0.8)
        axes.annotate(f"{formula} ", (s[0], value), fontsize=7, ha="right", va="bottom")
    axes.set_xlabel("K^(−1/2)")
    axes.set_ylabel(f"bounded eigenvalues, {family}")
