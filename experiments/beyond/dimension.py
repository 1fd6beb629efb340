r"""How fast do networks of finite dimension approach the ODE?

All networks have the same order parameters at the start, so that one trajectory is the theory of all
dimensions d. A network's loss is away from it by fluctuations, of the order of d^(−1/2), and on average by
a bias, of the order of 1/d. Both are measured as root mean squares over the times, relative to the loss, and
the power of d is fitted. Standard errors are those of the mean over networks, the power's is that of the fit.
"""

import numpy as np
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.legacy import arguments, report
from ..shared.networks import compare, slope, start

_PROBLEM = ol.Problem(3, 2)
_FLOW = ol.OnlineSGD(0.2)


def _row(d: int, networks: int, times: np.ndarray) -> dict:
    one = compare(_PROBLEM, _FLOW, start(_PROBLEM, d, at=8), times, networks, seed=d)
    away = (one.networks[:, 1:, 0] - one.theory[1:, 0]) / one.theory[1:, 0]
    gaps = np.sqrt((away**2).mean(axis=1))  # of each network
    # The square of a mean is too large by the mean's variance.
    bias = (away.mean(axis=0) ** 2 - away.var(axis=0, ddof=1) / networks).mean()
    worst = np.abs(one.z[:, 0]).max()
    return {
        "d": d,
        "networks": networks,
        "gap": float(np.sqrt((gaps**2).mean())),
        "standard error": float(gaps.std(ddof=1) / np.sqrt(networks)),
        "gap · √d": float(np.sqrt((gaps**2).mean() * d)),
        "bias² of the mean": float(bias),
        "mean's own error²": float((away.var(axis=0, ddof=1) / networks).mean()),
        "worst deviation of the mean / SE": round(float(worst), 2),
    }


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "dimension",
        __doc__,
        argv,
        networks=dict(type=int, default=128, metavar="N", help="of each dimension (128)"),
    )
    dimensions, networks = [25, 50, 100, 200, 400, 800, 1600], args.networks
    if args.quick:
        dimensions, networks = [25, 50, 100, 200], 16
    times = np.concatenate([[0], np.linspace(0.5, 5, 10)])
    rows = []
    for d in dimensions:
        rows.append(_row(d, networks, times))
        print(f"d = {d}: done", flush=True)
    d, gap = (np.array([row[name] for row in rows], float) for name in ("d", "gap"))
    error = np.array([row["standard error"] for row in rows])
    power, interval = slope(d[1:], gap[1:])
    figure = Figure(figsize=(5.6, 4), layout="constrained")
    axes = figure.subplots()
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
    told = (
        f"From d = {int(d[1])} on the gap falls as d^({power:.3f} ± {interval:.3f}) (95 %); −1/2 is "
        f"{'inside' if abs(power + 0.5) <= interval else 'outside'} of the interval. A bias² below its own "
        "error is none that could be seen."
    )
    report(args, rows, figure, told)


if __name__ == "__main__":
    main()
