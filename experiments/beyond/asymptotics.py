r"""Weights, levels and eigenvalues of wide families as power series in K^(−1/2).

Arjevani and Field (2021, arXiv:2107.10370 and 'Symmetry & critical points for a model shallow neural
network') proved for a few symmetric types that critical points are power series in K^(−1/2): one loss falls
like 1/K (here: compensated), another tends to a constant (here: all students reflected, hidden α = K), and
the Hessian's eigenvalues approach those of the global minimum. Each quantity here is multiplied by the
power of K that makes it tend to a constant, found from its slope, and fitted by a polynomial in K^(−1/2).
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE
from ..shared.legacy import arguments, report

_PI = np.pi
# The eigenvalues of the Hessian at the teacher that don't grow with K, as K → ∞ (closed form there).
_TEACHER = {"1/4 − 1/2π": 1 / 4 - 1 / (2 * _PI), "1/4": 1 / 4, "1/4 + 1/2π": 1 / 4 + 1 / (2 * _PI)}
_KNOWN = {
    ("compensated", "K L / α"): ("1/2 − 2/π²", 1 / 2 - 2 / _PI**2),
    ("hidden, all", "L"): ("1/2 − 1/π", 1 / 2 - 1 / _PI),
}


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


def _fit(K: np.ndarray, values: np.ndarray) -> tuple[float, float, float, float]:
    """(power of K rounded to halves, constant, its uncertainty, next coefficient)."""
    slope = np.polyfit(np.log(K[-4:]), np.log(np.abs(values[-4:])), 1)[0]
    power = round(2 * slope) / 2
    scaled, s = values / K**power, K**-0.5
    fits = [np.polyfit(s[start:], scaled[start:], order) for order in (2, 3, 4) for start in (0, 2)]
    constants = [fit[-1] for fit in fits]
    best = fits[2]
    return power, float(best[-1]), float(np.ptp(constants)) / 2, float(best[-2])


def _rows(label: str, widths: np.ndarray, table: list[dict[str, float]]) -> list[dict]:
    rows = []
    for name in table[0]:
        values = np.array([found[name] for found in table])
        power, constant, error, after = _fit(widths, values)
        known = _KNOWN.get((label.partition(" α")[0], name))
        rows.append(
            {
                "family": label,
                "quantity": name,
                "power of K": power,
                "constant": constant,
                "±": float(f"{error:.1e}"),
                "next, times K^(−1/2)": round(after, 4),
                "closed form": None if known is None else f"{known[0]} = {known[1]:.9f}",
            }
        )
    return rows


def _figure(widths: np.ndarray, tables: dict[str, list[dict[str, float]]]) -> Figure:
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (label, table), colour in zip(tables.items(), (BLUE, GREEN, ORANGE), strict=False):
        name = next(iter(table[0]))
        _, limit = _KNOWN[label.partition(" α")[0], name]
        gap = np.abs(np.array([found[name] for found in table]) - limit)
        left.loglog(
            widths, gap, "o-", color=colour, markersize=3, label=f"{label}: |{name} − limit|"
        )
    left.loglog(widths, 0.3 * widths**-0.5, color="0.4", linestyle="--", label="slope −1/2")
    left.set_xlabel("width K = M")
    left.set_ylabel("distance from the limit")
    left.legend(frameon=False, fontsize=7)
    label, table = next(iter(tables.items()))
    for name in table[0]:
        values = np.array([found[name] for found in table])
        if name.startswith("eigenvalue") and values[-1] < 1:
            right.plot(widths**-0.5, values, color=BLUE, linewidth=1)
    for told, value in _TEACHER.items():
        right.axhline(value, color=GREY, linestyle="--", linewidth=0.8)
        right.annotate(f"{told} ", (widths[0] ** -0.5, value), fontsize=7, ha="right", va="bottom")
    right.set_xlabel("K^(−1/2)")
    right.set_ylabel(f"bounded eigenvalues, {label}")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        "Series in K^(−1/2); dashed on the right: the limits at the teacher", fontsize=10
    )
    return figure


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments("asymptotics", __doc__, argv)
    widths = np.array([100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000])
    alphas: tuple[int | None, ...] = (1, None) if args.quick else (1, 2, None)
    rows, tables = [], {}
    for alpha in alphas:
        label = f"compensated α = {alpha}" if alpha else "hidden, all α = K"
        tables[label] = [_quantities(int(K), alpha) for K in widths]
        rows += _rows(label, widths.astype(float), tables[label])
        print(f"{label}: {len(tables[label][0])} quantities at {len(widths)} widths", flush=True)
    remarks = (
        "The ± is the spread over orders 2 to 4 and narrowest widths 100 and 1000. To four digits the "
        "constants of α = 1 are 8/π, −4/π, 2 and 4/π, and the eigenvalues' those of the teacher: 1/4 − 1/2π, "
        "1/4, 1/4 + 1/2π, K/2π and K/4. Diagonals near ±1 are known to 1e-16, so what is left of them "
        "loses digits as K grows."
    )
    report(args, rows, _figure(widths.astype(float), tables), remarks)


if __name__ == "__main__":
    main()
