r"""Does online SGD in 1,000 dimensions follow the order-parameter ODE?

Networks with three students are trained on fresh inputs, one at a time, for ReLU, leaky ReLU and erf at three
learning rates, all from one start; the ODE has no free number. The table reports how far their mean is from
it, in standard errors: at the worst of the times for the loss, and as the root mean square over times and all
order parameters, which is 1 if nothing but chance is at work. Beside it stands the largest stable learning
rate, above which no student stays at its teacher.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, ORANGE
from ..shared.networks import Comparison, compare, points, start
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number, rounded

OPTIONS = {
    "dimension": Option(1000, 200, "dimension of the networks", "d"),
    "networks": Option(32, 8, "networks for each mean"),
    "time": Option(20.0, 3.0, "time to which they are trained", "t"),
}
_WIDTH = 3
_RATES = (0.05, 0.2, 0.5)
_ACTIVATIONS = {"ReLU": ol.ReLU(), "leaky ReLU": ol.LeakyReLU(0.1), "erf": ol.Erf()}
_POINTS, _FAR = 12, 3  # times after 0; standard errors from which on a deviation is repeated


def rows(options) -> Results:
    """Train the networks at each learning rate, and solve the ODE."""
    end = options.time
    times = np.concatenate([[0], np.geomspace(end / 30, end, _POINTS)])
    names, rates = (("erf",), _RATES[:2]) if options.quick else (tuple(_ACTIVATIONS), _RATES)
    found: list[Row] = []
    data: dict[str, np.ndarray] = {}
    for name in names:
        problem = ol.Problem(_WIDTH, _WIDTH, _ACTIVATIONS[name])
        weights = start(problem, options.dimension, at=12)
        for rate in rates:
            one = compare(problem, ol.OnlineSGD(rate), weights, times, options.networks)
            data |= _curves(len(found), problem, rate, weights, one)
            found.append(_row(name, rate, problem, weights, one))
            print(f"{name}, η = {rate}: done", flush=True)
    return Results(found, {"times": _POINTS}, data)


def _curves(
    number: int, problem: ol.Problem, rate: float, weights: ol.Weights, one: Comparison
) -> dict[str, np.ndarray]:
    """Losses of the networks of a row, and the ODE's at these times and on a finer grid."""
    times = np.geomspace(0.05, one.times[-1], 200)
    line = ol.trajectory(problem, ol.OnlineSGD(rate), ol.overlaps(problem, weights), times)
    return {
        f"times_{number}": one.times,
        f"theory_{number}": one.theory[:, 0],
        f"networks_{number}": one.networks[..., 0],
        f"line_times_{number}": times,
        f"line_{number}": np.asarray(line.loss),
    }


def _row(name: str, rate: float, problem: ol.Problem, weights: ol.Weights, one: Comparison) -> Row:
    worst = int(np.abs(one.z[:, 0]).argmax())
    row: Row = {
        "activation": name,
        "rate": rate,
        "largest_stable_rate": float(ol.largest_learning_rate(problem)),
        "d": weights.W.shape[1],
        "networks": len(one.networks),
        "theory": float(one.theory[-1, 0]),
        "mean": float(one.mean[-1, 0]),
        "standard_error": float(one.error[-1, 0]),
        "worst_z": float(one.z[worst, 0]),
        "worst_time": float(one.times[worst + 1]),
        "rms_z": float(np.sqrt((one.z**2).mean())),
        "repeated_z": None,
    }
    if abs(row["worst_z"]) > _FAR:
        # At this one time, with other inputs, and four times as many networks.
        times, more = [0.0, row["worst_time"]], 4 * len(one.networks)
        again = compare(problem, ol.OnlineSGD(rate), weights, times, more, seed=2)
        row["repeated_z"] = float(again.z[0, 0])
    return row


def columns(results: Results) -> list[Column]:
    """Deviations of the networks from the ODE."""
    return [
        number("activation"),
        number("η", "rate"),
        rounded("largest stable η", "largest_stable_rate", 5),
        number("d"),
        number("networks"),
        number("last loss, theory", "theory"),
        number("last loss, networks", "mean"),
        number("standard error", "standard_error"),
        rounded("worst deviation of the loss / SE", "worst_z", 2),
        rounded("at time", "worst_time", 3),
        rounded("rms of all deviations / SE", "rms_z", 2),
        rounded("repeated / SE", "repeated_z", 2),
    ]


def remarks(results: Results) -> str:
    """How many large deviations chance alone gives."""
    rows, times = results.rows, results.facts["times"]
    repeated = sum(row["repeated_z"] is not None for row in rows)
    counted = len(rows) * times
    return (
        f"Of {counted} losses ({len(rows)} curves at {times} times) a normal number is beyond three "
        f"standard errors {0.0027 * counted:.1f} times, and one whose error is estimated from "
        f"{rows[0]['networks']} more often. Curves with such a time: {repeated}; that time is repeated with "
        "other inputs and four times as many networks."
    )


def figure(results: Results) -> Figure:
    """Draw the losses against time: the ODE's as lines, the networks' as points."""
    names = list(dict.fromkeys(row["activation"] for row in results.rows))
    drawn = Figure(figsize=(10, 3.6), layout="constrained")
    panels = drawn.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, name, results)
    panels[0].set_ylabel("population loss")
    panels[0].legend(frameon=False)
    first = results.rows[0]
    drawn.suptitle(
        f"Online SGD, K = M = {_WIDTH}: ODE (lines), means of {first['networks']} networks with "
        f"d = {first['d']} (points, ± 2 standard errors)",
        fontsize=10,
    )
    return drawn


def _panel(axes: Axes, name: str, results: Results) -> None:
    arrays, colours = results.arrays, iter((BLUE, ORANGE, GREEN))
    for at, row in enumerate(results.rows):
        if row["activation"] != name:
            continue
        colour = next(colours)
        axes.plot(arrays[f"line_times_{at}"], arrays[f"line_{at}"], color=colour, linewidth=1.2)
        losses = arrays[f"theory_{at}"][:, None], arrays[f"networks_{at}"][..., None]
        one = Comparison(arrays[f"times_{at}"], *losses)
        points(axes, one, colour, f"η = {row['rate']:g}")
    axes.set_xscale("log")
    axes.set_title(name, fontsize=10)
