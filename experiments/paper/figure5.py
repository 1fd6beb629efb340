r"""Do networks of finite dimension follow the order-parameter ODE in training (paper, Figure 5)?

Students are trained in d dimensions, all weights of them, in two ways. Above, by gradient descent on the
population loss with steps of finite length, against gradient flow: two starts at K = M, one of which learns
while the other is trapped (of the first starts some are), and one at K = M + 1. Only the steps differ from
the flow, so the distance should fall with them. Below, the same starts by online SGD with one fresh input at
a time, against the ODE of that learning rate: there inputs are random, and distances are given in standard
errors of the mean over networks.
"""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.networks import Comparison, compare, start
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number

OPTIONS = {
    "dimension": Option(1000, 200, "of the networks", "d"),
    "networks": Option(16, 8, "trained by online SGD"),
    "time": Option(20.0, 2.0, "to which SGD is followed", "t"),
}
_CASES = {  # students, teachers, seed of the start
    "K = M = 8, learns": (8, 8, 0),
    "K = M = 8, trapped": (8, 8, 2),
    "K = 9, M = 8": (9, 8, 0),
}
_QUICK_CASES = {"K = M = 3": (3, 3, 0)}
_COLOURS = (BLUE, ORANGE, GREEN)
_DESCENT, _ONLINE = "gradient descent", "online SGD"
_RATE = 0.05
_STEP = 0.1
_STEPS = (_STEP, _STEP / 4, _STEP / 16)
_FROM = 20  # dimensions of the random start
_SHOWN = 4  # of so many times of online SGD one is in the table


def rows(options) -> Results:
    """Train the networks of each case in both ways, beside their ODEs."""
    cases, last = (_QUICK_CASES, 100.0) if options.quick else (_CASES, 1000.0)
    # Whole steps of every length.
    descent_times = np.unique(np.round(np.geomspace(0.2, last, 150) / _STEP)) * _STEP
    online_times = np.concatenate([[0], np.geomspace(options.time / 100, options.time, 40)])
    found, squares, data = [], [], {"descent_times": descent_times}
    for case, (name, (K, M, seed)) in enumerate(cases.items(), 1):
        problem = ol.Problem(K, M)
        weights = start(problem, options.dimension, _FROM, seed)
        theory, losses = _descent(problem, weights, descent_times)
        found += _descent_rows(name, descent_times, theory, losses)
        data |= {f"descent_theory_{case}": theory, f"descent_{case}": losses[-1]}
        flow = ol.OnlineSGD(_RATE)
        one = compare(problem, flow, weights, online_times, options.networks, case)
        found += _online_rows(name, one)
        data |= {f"online_times_{case}": one.times[1:]}
        data |= {f"online_theory_{case}": one.theory[1:, 0]}
        squares.append((one.z**2).mean())
        print(f"{name}: done", flush=True)
    return Results(found, {"root_mean_square": float(np.sqrt(np.mean(squares)))}, data)


def _descent(
    problem: ol.Problem, weights: ol.Weights, times: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses of gradient flow, and of gradient descent with each of the steps."""
    flow = ol.GradientFlow()
    line = ol.trajectory(problem, flow, ol.overlaps(problem, weights), times)
    losses = [ol.train_network(problem, flow, weights, times, step=step).loss for step in _STEPS]
    return np.asarray(line.loss), [np.asarray(loss) for loss in losses]


def _descent_rows(name: str, times, theory, losses: list[np.ndarray]) -> list[Row]:
    """A row for each step, at the time of its largest distance."""
    found = []
    for step, loss in zip(_STEPS, losses, strict=True):
        at = np.abs(loss - theory).argmax()
        found.append(_row(name, _DESCENT, step, times[at], theory[at], loss[at]))
    return found


def _online_rows(name: str, one: Comparison) -> list[Row]:
    """A row for every fourth time after 0."""
    some = np.arange(len(one.times))[::_SHOWN][1:]
    mean, error = one.mean[:, 0], one.error[:, 0]
    return [
        _row(name, _ONLINE, _RATE, one.times[at], one.theory[at, 0], mean[at], float(error[at]))
        for at in some
    ]


def _row(name: str, training: str, step: float, time, theory, networks, error=None) -> Row:
    row = {"case": name, "training": training, "step": step, "time": float(time)}
    return row | {"theory": float(theory), "networks": float(networks), "error": error}


def columns(results: Results) -> list[Column]:
    """Losses of networks and ODE, and how far apart they are."""
    return [
        number("case"),
        number("trained by", "training"),
        *(number(name) for name in ("step", "time", "theory", "networks")),
        number("standard error", "error"),
        Column("deviation", _deviation),
        Column("deviation / SE", lambda row: None if row["error"] is None else _z(row)),
    ]


def _deviation(row: Row) -> float:
    return row["networks"] - row["theory"]


def _z(row: Row) -> float:
    return round(_deviation(row) / row["error"], 2)


def _by_case(results: Results, training: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in results.rows:
        if row["training"] == training:
            found.setdefault(row["case"], []).append(row)
    return found


def remarks(results: Results) -> str:
    """How the distance falls with the step, and how far SGD is off in standard errors."""
    descent, online = (_by_case(results, training) for training in (_DESCENT, _ONLINE))
    fall = [_deviation(a) / _deviation(b) for some in descent.values() for a, b in pairwise(some)]
    z = [abs(_z(row)) for some in online.values() for row in some]
    beyond = sum(one > 2 for one in z)
    networks = results.options["networks"]
    chance = np.sqrt((networks - 1) / (networks - 3))
    return (
        f"With a quarter of the step gradient descent is {min(fall):.1f} to {max(fall):.1f} times nearer to "
        f"gradient flow. Of SGD's {len(z)} mean losses {beyond} are beyond two standard errors, the "
        f"farthest at {max(z):.1f}; the root mean square over all order parameters and times is "
        f"{results.facts['root_mean_square']:.2f} (chance alone gives {chance:.2f} for so few networks). The "
        "paper, too, finds that the ODE describes the loss of networks."
    )


def figure(results: Results) -> Figure:
    """Draw the losses of both trainings over their ODEs, and the deviations of SGD below."""
    drawn = Figure(figsize=(7.2, 7.6), layout="constrained")
    above, below, away = drawn.subplots(3, 1, height_ratios=(3, 3, 1.4))
    online = _by_case(results, _ONLINE)
    for case, (name, some) in enumerate(online.items(), 1):
        colour = _COLOURS[case - 1]
        _draw_descent(above, results.arrays, case, name, colour)
        theory = (results.arrays[f"online_{key}_{case}"] for key in ("times", "theory"))
        below.plot(*theory, color=colour, linewidth=1.2)
        times, mean, error = (
            np.array([row[key] for row in some]) for key in ("time", "networks", "error")
        )
        below.errorbar(times, mean, 2 * error, fmt="o", markersize=3, color=colour)
        z = [_deviation(row) / row["error"] for row in some]
        away.plot(times, z, "o-", markersize=3, linewidth=0.8, color=colour)
    d, networks = results.options["dimension"], results.options["networks"]
    above.set_title(f"Gradient descent, step {_STEPS[-1]:g}, one network with d = {d}", fontsize=10)
    title = (
        f"Online SGD, η = {_RATE}, means of {networks} networks with d = {d}, ± 2 standard errors"
    )
    below.set_title(title, fontsize=10)
    _finish(above, below, away)
    return drawn


def _draw_descent(
    axes: Axes, arrays: dict[str, np.ndarray], case: int, name: str, colour: str
) -> None:
    times, least = arrays["descent_times"], 1e-12
    theory, loss = (
        np.maximum(arrays[f"{key}_{case}"], least) for key in ("descent_theory", "descent")
    )
    axes.plot(times, theory, color=colour, linewidth=1.2)
    axes.plot(times[::5], loss[::5], "o", markersize=3, color=colour, label=name)


def _finish(above: Axes, below: Axes, away: Axes) -> None:
    """Labels, scales and limits."""
    above.set_xlabel("time = steps · step")
    away.set_xlabel("time = steps · η / d")
    away.axhspan(-2, 2, color=GREY, alpha=0.15, linewidth=0)
    for axes in (above, below, away):
        axes.set_xscale("log")
        plain(axes)
    for axes in (above, below):
        axes.set_yscale("log")
        axes.set_ylabel("population loss")
    above.legend(frameon=False, fontsize=8, loc="lower left")
    above.set_ylim(bottom=1e-7)
    away.set_ylabel("(mean − ODE) / SE")
    away.sharex(below)
