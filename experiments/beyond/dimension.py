r"""How fast do networks of finite dimension approach the ODE?

All networks have the same order parameters at the start, so that one trajectory is the theory of all
dimensions d. A network's loss differs from it by fluctuations, of the order of d^(−1/2), and on average by
a bias, of the order of 1/d. Both are measured as root mean squares over the times, relative to the loss, and
the power of d is fitted. Standard errors are those of the mean over networks, the power's is that of the fit.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.networks import compare, slope, start
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number, rounded

OPTIONS = {"networks": Option(128, 16, "networks of each dimension")}
_DIMENSIONS = (25, 50, 100, 200, 400, 800, 1600)
_PROBLEM = ol.Problem(3, 2)
_FLOW = ol.OnlineSGD(0.2)


def rows(options) -> Results:
    """Measure how far the losses of networks are from the ODE, and fit the power of d."""
    times = np.concatenate([[0], np.linspace(0.5, 5, 10)])
    found: list[Row] = []
    for d in _DIMENSIONS[:4] if options.quick else _DIMENSIONS:
        found.append(_row(d, options.networks, times))
        print(f"d = {d}: done", flush=True)
    return Results(found, {"power": list(power(found))})


def _row(d: int, networks: int, times: np.ndarray) -> Row:
    one = compare(_PROBLEM, _FLOW, start(_PROBLEM, d, at=8), times, networks, seed=d)
    deviation = (one.networks[:, 1:, 0] - one.theory[1:, 0]) / one.theory[1:, 0]
    gaps = np.sqrt((deviation**2).mean(axis=1))  # of each network
    # The square of a mean is too large by the mean's variance.
    variance = deviation.var(axis=0, ddof=1) / networks
    return {
        "d": d,
        "networks": networks,
        "gap": float(np.sqrt((gaps**2).mean())),
        "standard_error": float(gaps.std(ddof=1) / np.sqrt(networks)),
        "squared_bias": float((deviation.mean(axis=0) ** 2 - variance).mean()),
        "squared_error": float(variance.mean()),
        "worst_z": float(np.abs(one.z[:, 0]).max()),
    }


def power(rows: list[Row]) -> tuple[float, float]:
    """The power with which the gap falls in d and the half width of its 95 % interval, without the
    smallest d."""
    d, gap = (np.array([row[key] for row in rows[1:]], float) for key in ("d", "gap"))
    return slope(d, gap)


def columns(results: Results) -> list[Column]:
    """Fluctuations and bias of each dimension."""
    return [
        number("d"),
        number("networks"),
        number("gap"),
        number("standard error", "standard_error"),
        Column("gap · √d", lambda row: row["gap"] * row["d"] ** 0.5),
        number("bias² of the mean", "squared_bias"),
        number("mean's own error²", "squared_error"),
        rounded("worst deviation of the mean / SE", "worst_z", 2),
    ]


def remarks(results: Results) -> str:
    """The power of d, and whether −1/2 agrees with it."""
    value, half_width = results.facts["power"]
    inside = "inside" if abs(value + 0.5) <= half_width else "outside"
    return (
        f"From d = {results.rows[1]['d']} on the gap falls as d^({value:.3f} ± {half_width:.3f}) (95 %); "
        f"−1/2 is {inside} of the interval. A bias² below its own error cannot be detected."
    )


def figure(results: Results) -> Figure:
    """Draw the gap against the dimension."""
    d, gap, error = (
        np.array([row[key] for row in results.rows], float)
        for key in ("d", "gap", "standard_error")
    )
    drawn = Figure(figsize=(5.6, 4), layout="constrained")
    axes = drawn.subplots()
    axes.errorbar(d, gap, 2 * error, fmt="o", color=BLUE, label="networks, ± 2 standard errors")
    line = gap[-1] * (d / d[-1]) ** -0.5
    axes.plot(d, line, color=ORANGE, label="$d^{-1/2}$ through the last")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("input dimension d")
    axes.set_ylabel("rms distance of the loss from the ODE, relative")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Online SGD, K = 3, M = 2, η = 0.2, up to t = 5", fontsize=10)
    return drawn
