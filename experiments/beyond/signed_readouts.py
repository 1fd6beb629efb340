r"""Do the equations hold for readouts of either sign, trained or not, and for K ≠ M?

Students and teachers have readouts of both signs and differ in number, the teacher is correlated, and the
second layer learns too (2L-GD) or does not. Networks are trained in two ways, on fresh inputs one at a time
(online SGD, means of many) and by full gradient descent on the population loss (one, with small steps, whose
error falls with the step), and held against the ODE of each.
"""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.legacy import arguments, report
from ..shared.networks import Comparison, compare, points

_CASES = (  # students' readouts, teachers' readouts
    ((0.5, -0.8, 0.6, -0.4), (1.0, -1.0)),
    ((0.6, -0.5), (1.0, 0.7, -0.8)),
)
_ACTIVATIONS = {"ReLU": ol.ReLU(), "erf": ol.Erf()}
_RATE = 0.3
_STEP = 0.01


def _setting(v, readout, activation, d: int) -> tuple[ol.Problem, ol.Weights]:
    """A random teacher of 12 dimensions, and students in d of them."""
    K, M = len(v), len(readout)
    T = ol.random_teacher(jax.random.key(5), M, 12).T
    problem = ol.Problem(K, M, activation, T, np.array(readout))
    W = ol.random_weights(jax.random.key(2), problem, d).W
    return problem, ol.Weights(W, jnp.array(v))


def _descent(problem, flow, weights, times) -> tuple[float, float]:
    """The largest distance in the loss of gradient descent from the ODE, with two steps."""
    small = ol.weights_of(problem, ol.overlaps(problem, weights))
    theory = ol.trajectory(problem, flow, small, times).loss
    runs = [ol.train_network(problem, flow, small, times, step=s).loss for s in (_STEP, _STEP / 4)]
    first, second = (float(jnp.abs(loss - theory).max()) for loss in runs)
    return first, second


def _panel(axes: Axes, title: str, pair: dict[str, Comparison]) -> None:
    for (label, one), colour in zip(pair.items(), (BLUE, ORANGE), strict=True):
        axes.plot(one.times, one.theory[:, 0], color=colour, linewidth=1.2)
        points(axes, one, colour, label)
    axes.set_title(title, fontsize=9)


def main(argv=None) -> None:
    """Runs the experiment."""
    args = arguments(
        "signed_readouts",
        __doc__,
        argv,
        dimension=dict(type=int, default=1000, metavar="d", help="of the networks (1000)"),
        networks=dict(type=int, default=48, metavar="N", help="for each mean (48)"),
    )
    d, networks, end = args.dimension, args.networks, 20.0
    cases, names = _CASES, tuple(_ACTIVATIONS)
    if args.quick:
        d, networks, end = 200, 8, 4.0
        cases, names = cases[:1], names[:1]
    times = np.linspace(0, end, 11)
    rows = []
    figure = Figure(figsize=(8.4, 6), layout="constrained")
    panels = figure.subplots(len(cases), len(names), squeeze=False)
    settings = [(case, name) for case in cases for name in names]
    for axes, ((v, readout), name) in zip(panels.flat, settings, strict=True):
        problem, weights = _setting(v, readout, _ACTIVATIONS[name], d)
        pair = {}
        for label, trained in (("second layer fixed", False), ("second layer trained", True)):
            flow = ol.OnlineSGD(_RATE, train_readout=trained)
            one = pair[label] = compare(problem, flow, weights, times, networks)
            limit = ol.TwoLayerFlow() if trained else ol.GradientFlow()
            coarse, fine = _descent(problem, limit, weights, times[times <= 10])
            rows.append(
                {
                    "K": problem.students,
                    "M": problem.teachers,
                    "activation": name,
                    "layers trained": 1 + trained,
                    "last loss, theory": float(one.theory[-1, 0]),
                    "last loss, networks": float(one.mean[-1, 0]),
                    "standard error": float(one.error[-1, 0]),
                    "worst deviation of the loss / SE": round(
                        float(one.z[np.abs(one.z[:, 0]).argmax(), 0]), 2
                    ),
                    "rms of all deviations / SE": round(float(np.sqrt((one.z**2).mean())), 2),
                    f"GD − ODE, step {_STEP}": coarse,
                    "step a quarter": fine,
                }
            )
        _panel(axes, f"K = {problem.students}, M = {problem.teachers}, {name}", pair)
        print(f"K = {problem.students}, M = {problem.teachers}, {name}: done", flush=True)
    panels[0, 0].legend(frameon=False)
    for axes in panels[:, 0]:
        axes.set_ylabel("population loss")
    figure.suptitle(
        f"Readouts of both signs, online SGD with η = {_RATE}: ODE (lines), means of {networks} networks "
        f"with d = {d}",
        fontsize=10,
    )
    report(
        args, rows, figure, "The error of gradient descent falls with its step: it is the step's."
    )


if __name__ == "__main__":
    main()
