r"""Do networks of finite dimension follow the order-parameter ODE in training (paper, Figure 5)?

Students are trained in d dimensions, all weights of them, in two ways. Above, by gradient descent on the
population loss with steps of finite length, against gradient flow: two starts at K = M, one of which learns
while the other is trapped (of the first starts some are), and one at K = M + 1. Only the steps differ from
the flow, so the distance should fall with them. Below, the same starts by online SGD with one fresh input at
a time, against the ODE of that learning rate: there inputs are chance, and distances are told in standard
errors of the mean over networks.
"""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, GREY, ORANGE, plain
from ..shared.legacy import arguments, report
from ..shared.networks import Comparison, compare, points, start

_CASES = {  # students, teachers, seed of the start
    "K = M = 8, learns": (8, 8, 0),
    "K = M = 8, trapped": (8, 8, 2),
    "K = 9, M = 8": (9, 8, 0),
}
_COLOURS = (BLUE, ORANGE, GREEN)
_RATE = 0.05
_STEP = 0.1  # and a quarter of it, and a quarter of that
_FROM = 20  # dimensions of the random start


def _row(name: str, trained: str, step: float, time, theory, networks, error=None) -> dict:
    row = {"case": name, "trained by": trained, "step": step, "time": float(time)}
    row |= {"theory": float(theory), "networks": float(networks), "standard error": error}
    row["deviation"] = float(networks - theory)
    row["deviation / SE"] = None if error is None else round(float((networks - theory) / error), 2)
    return row


def _descent(axes: Axes, name: str, colour: str, problem, weights, end: float) -> list[dict]:
    """Gradient descent with three steps; a row for each, at the time of its largest distance."""
    flow = ol.GradientFlow()
    # Whole steps of every length.
    times = np.unique(np.round(np.geomspace(0.2, end, 150) / _STEP)) * _STEP
    line = ol.trajectory(problem, flow, ol.overlaps(problem, weights), times)
    theory, rows = np.asarray(line.loss), []
    for step in (_STEP, _STEP / 4, _STEP / 16):
        loss = np.asarray(ol.train_network(problem, flow, weights, times, step=step).loss)
        at = np.abs(loss - theory).argmax()
        rows.append(_row(name, "gradient descent", step, times[at], theory[at], loss[at]))
    axes.plot(times, np.maximum(theory, 1e-12), color=colour, linewidth=1.2)
    axes.plot(times[::5], np.maximum(loss[::5], 1e-12), "o", markersize=3, color=colour, label=name)
    return rows


def _online(axes: Axes, away: Axes, name: str, colour: str, one: Comparison) -> list[dict]:
    axes.plot(one.times[1:], one.theory[1:, 0], color=colour, linewidth=1.2)
    few = Comparison(one.times[::4], one.theory[::4], one.networks[:, ::4])
    points(axes, few, colour, name)
    away.plot(few.times[1:], few.z[:, 0], "o-", markersize=3, linewidth=0.8, color=colour)
    columns = (few.times[1:], few.theory[1:, 0], few.mean[1:, 0], few.error[1:, 0])
    return [
        _row(name, "online SGD", _RATE, time, theory, mean, float(error))
        for time, theory, mean, error in zip(*columns, strict=True)
    ]


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "figure5",
        __doc__,
        argv,
        dimension=dict(type=int, default=1000, metavar="d", help="of the networks (1000)"),
        networks=dict(type=int, default=16, metavar="N", help="trained by online SGD (16)"),
        time=dict(type=float, default=20.0, metavar="t", help="to which SGD is followed (20)"),
    )
    cases, d, networks, end, last = _CASES, args.dimension, args.networks, args.time, 1000.0
    if args.quick:
        cases, d, networks, end, last = {"K = M = 3": (3, 3, 0)}, 200, 8, 2.0, 100.0
    rows, squares, fall = [], [], []
    figure = Figure(figsize=(7.2, 7.6), layout="constrained")
    above, below, away = figure.subplots(3, 1, height_ratios=(3, 3, 1.4))
    for number, (name, (K, M, seed)) in enumerate(cases.items(), 1):
        colour = _COLOURS[number - 1]
        problem = ol.Problem(K, M)
        weights = start(problem, d, _FROM, seed)
        descent = _descent(above, name, colour, problem, weights, last)
        fall += [a["deviation"] / b["deviation"] for a, b in pairwise(descent)]
        rows += descent
        times = np.concatenate([[0], np.geomspace(end / 100, end, 40)])
        one = compare(problem, ol.OnlineSGD(_RATE), weights, times, networks, number)
        rows += _online(below, away, name, colour, one)
        squares.append((one.z**2).mean())
        print(f"{name}: done", flush=True)
    above.set_title(f"Gradient descent, step {_STEP / 16:g}, one network with d = {d}", fontsize=10)
    below.set_title(
        f"Online SGD, η = {_RATE}, means of {networks} networks with d = {d}, ± 2 standard errors",
        fontsize=10,
    )
    above.set_xlabel("time = steps · step")
    below.set_xlabel("")
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
    online = [abs(row["deviation / SE"]) for row in rows if row["trained by"] == "online SGD"]
    beyond = sum(z > 2 for z in online)
    rms, chance = np.sqrt(np.mean(squares)), np.sqrt((networks - 1) / (networks - 3))
    remarks = (
        f"With a quarter of the step gradient descent is {min(fall):.1f} to {max(fall):.1f} times nearer to "
        f"gradient flow. Of SGD's {len(online)} mean losses {beyond} are beyond two standard errors, the "
        f"farthest at {max(online):.1f}; the root mean square over all order parameters and times is "
        f"{rms:.2f} (chance alone gives {chance:.2f} for so few networks). The paper, too, finds that the "
        "ODE describes the loss of networks."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
