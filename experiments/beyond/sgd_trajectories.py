r"""Does online SGD in 1,000 dimensions follow the order-parameter ODE?

Networks with three students are trained on fresh inputs, one at a time, for ReLU, leaky ReLU and erf at three
learning rates, all from one start; the ODE has no free number. Told is how far their mean is from it, in
standard errors: at the worst of the times for the loss, and as the root mean square over times and all order
parameters, which is 1 if nothing but chance is at work. Beside it stands the largest stable learning
rate, above which no student stays at its teacher.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, GREEN, ORANGE
from ..shared.legacy import arguments, report
from ..shared.networks import Comparison, compare, points, start

_WIDTH = 3
_RATES = (0.05, 0.2, 0.5)
_ACTIVATIONS = {"ReLU": ol.ReLU(), "leaky ReLU": ol.LeakyReLU(0.1), "erf": ol.Erf()}


def _panel(
    axes: Axes, name: str, problem: ol.Problem, weights: ol.Weights, found: dict[float, Comparison]
) -> None:
    for (rate, one), colour in zip(found.items(), (BLUE, ORANGE, GREEN), strict=False):
        times = np.geomspace(0.05, one.times[-1], 200)
        state = ol.overlaps(problem, weights)
        line = ol.trajectory(problem, ol.OnlineSGD(rate), state, times)
        axes.plot(times, line.loss, color=colour, linewidth=1.2)
        points(axes, one, colour, f"η = {rate:g}")
    axes.set_xscale("log")
    axes.set_title(name, fontsize=10)


def _row(name: str, rate: float, problem: ol.Problem, weights: ol.Weights, one: Comparison) -> dict:
    worst = int(np.abs(one.z[:, 0]).argmax())
    row = {
        "activation": name,
        "η": rate,
        "largest stable η": round(ol.largest_learning_rate(problem), 5),
        "d": weights.W.shape[1],
        "networks": len(one.networks),
        "last loss, theory": float(one.theory[-1, 0]),
        "last loss, networks": float(one.mean[-1, 0]),
        "standard error": float(one.error[-1, 0]),
        "worst deviation of the loss / SE": round(float(one.z[worst, 0]), 2),
        "at time": round(float(one.times[worst + 1]), 3),
        "rms of all deviations / SE": round(float(np.sqrt((one.z**2).mean())), 2),
        "seen again / SE": None,
    }
    if abs(one.z[worst, 0]) > 3:
        # At this one time, with other inputs, and four times as many networks.
        times = [0.0, one.times[worst + 1]]
        more = 4 * len(one.networks)
        again = compare(problem, ol.OnlineSGD(rate), weights, times, more, seed=2)
        row["seen again / SE"] = round(float(again.z[0, 0]), 2)
    return row


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "sgd_trajectories",
        __doc__,
        argv,
        dimension=dict(type=int, default=1000, metavar="d", help="of the networks (1000)"),
        networks=dict(type=int, default=32, metavar="N", help="for each mean (32)"),
        time=dict(type=float, default=20.0, metavar="t", help="to which they are trained (20)"),
    )
    d, networks, end = args.dimension, args.networks, args.time
    activations, rates = _ACTIVATIONS, _RATES
    if args.quick:
        d, networks, end = 200, 8, 3.0
        activations, rates = {"erf": ol.Erf()}, _RATES[:2]
    times = np.concatenate([[0], np.geomspace(end / 30, end, 12)])
    rows = []
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, len(activations), squeeze=False)[0]
    for axes, (name, activation) in zip(panels, activations.items(), strict=True):
        problem = ol.Problem(_WIDTH, _WIDTH, activation)
        weights = start(problem, d, at=12)
        found = {}
        for rate in rates:
            found[rate] = compare(problem, ol.OnlineSGD(rate), weights, times, networks)
            rows.append(_row(name, rate, problem, weights, found[rate]))
            print(f"{name}, η = {rate}: done", flush=True)
        _panel(axes, name, problem, weights, found)
    panels[0].set_ylabel("population loss")
    panels[0].legend(frameon=False)
    figure.suptitle(
        f"Online SGD, K = M = {_WIDTH}: ODE (lines), means of {networks} networks with d = {d} "
        "(points, ± 2 standard errors)",
        fontsize=10,
    )
    beyond = [row for row in rows if row["seen again / SE"] is not None]
    counted = len(rows) * (len(times) - 1)
    remarks = (
        f"Of {counted} losses ({len(rows)} curves at {len(times) - 1} times) a normal number is beyond three "
        f"standard errors {0.0027 * counted:.1f} times, and one whose error is estimated from {networks} "
        f"more often. Curves with such a time: {len(beyond)}; that time is seen again with other inputs and "
        "four times as many networks."
    )
    report(args, rows, figure, remarks)


if __name__ == "__main__":
    main()
