r"""Do the equations hold for readouts of either sign, trained or not, and for K ≠ M?

Students and teachers have readouts of both signs and differ in number, the teacher is correlated, and the
second layer is trained too (2L-GD) or is not. Networks are trained in two ways, on fresh inputs one at a time
(online SGD, means of many) and by full gradient descent on the population loss (one, with small steps, whose
error falls with the step), and compared with the ODE of each.
"""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import odelandscape as ol

from ..shared.draw import BLUE, ORANGE
from ..shared.networks import Comparison, compare, points
from ..shared.options import Option
from ..shared.results import Results
from ..shared.tables import Column, Row, number, rounded

OPTIONS = {
    "dimension": Option(1000, 200, "dimension of the networks", "d"),
    "networks": Option(48, 8, "networks for each mean"),
    "time": Option(20.0, 4.0, "time to which they are trained", "t"),
}
_CASES = (  # students' readouts, teachers' readouts
    ((0.5, -0.8, 0.6, -0.4), (1.0, -1.0)),
    ((0.6, -0.5), (1.0, 0.7, -0.8)),
)
_ACTIVATIONS = {"ReLU": ol.ReLU(), "erf": ol.Erf()}
_RATE = 0.3
_STEP, _DESCENT_END = 0.01, 10
_LABELS = {1: "second layer fixed", 2: "second layer trained"}
_COLOURS = {1: BLUE, 2: ORANGE}


def rows(options) -> Results:
    """Train networks of each case with the second layer fixed and trained, and solve the ODE."""
    cases, names = _CASES, tuple(_ACTIVATIONS)
    if options.quick:
        cases, names = cases[:1], names[:1]
    times = np.linspace(0, options.time, 11)
    found: list[Row] = []
    data: dict[str, np.ndarray] = {}
    for (v, readout), name in ((case, name) for case in cases for name in names):
        problem, weights = _setting(v, readout, _ACTIVATIONS[name], options.dimension)
        for layers in _LABELS:
            flow = ol.OnlineSGD(_RATE, train_readout=layers == 2)
            one = compare(problem, flow, weights, times, options.networks)
            limit = ol.TwoLayerFlow() if layers == 2 else ol.GradientFlow()
            gaps = _descent(problem, limit, weights, times[times <= _DESCENT_END])
            data |= _curves(len(found), one)
            found.append({**_size(problem), "activation": name, **_row(layers, one, gaps)})
        print(f"K = {problem.students}, M = {problem.teachers}, {name}: done", flush=True)
    return Results(found, data=data)


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


def _size(problem: ol.Problem) -> Row:
    return {"K": problem.students, "M": problem.teachers}


def _row(layers: int, one: Comparison, descent: tuple[float, float]) -> Row:
    worst = int(np.abs(one.z[:, 0]).argmax())
    return {
        "trained_layers": layers,
        "theory": float(one.theory[-1, 0]),
        "mean": float(one.mean[-1, 0]),
        "standard_error": float(one.error[-1, 0]),
        "worst_z": float(one.z[worst, 0]),
        "rms_z": float(np.sqrt((one.z**2).mean())),
        "descent_gap": descent[0],
        "descent_gap_quarter_step": descent[1],
    }


def _curves(number: int, one: Comparison) -> dict[str, np.ndarray]:
    """Losses of the networks of a row, and the ODE's."""
    return {
        f"times_{number}": one.times,
        f"theory_{number}": one.theory[:, 0],
        f"networks_{number}": one.networks[..., 0],
    }


def columns(results: Results) -> list[Column]:
    """Deviations of the networks from the ODE."""
    return [
        number("K"),
        number("M"),
        number("activation"),
        number("layers trained", "trained_layers"),
        number("last loss, theory", "theory"),
        number("last loss, networks", "mean"),
        number("standard error", "standard_error"),
        rounded("worst deviation of the loss / SE", "worst_z", 2),
        rounded("rms of all deviations / SE", "rms_z", 2),
        number(f"GD − ODE, step {_STEP}", "descent_gap"),
        number("step a quarter", "descent_gap_quarter_step"),
    ]


def remarks(results: Results) -> str:
    """The origin of the error of gradient descent."""
    return "The error of gradient descent falls with its step: it is the step's."


def figure(results: Results) -> Figure:
    """Draw the losses against time: a row of panels for each size, a column for each activation."""
    sizes = list(dict.fromkeys((row["K"], row["M"]) for row in results.rows))
    names = list(dict.fromkeys(row["activation"] for row in results.rows))
    drawn = Figure(figsize=(8.4, 6), layout="constrained")
    panels = drawn.subplots(len(sizes), len(names), squeeze=False)
    for line, size in zip(panels, sizes, strict=True):
        for axes, name in zip(line, names, strict=True):
            _panel(axes, size, name, results)
    panels[0, 0].legend(frameon=False)
    for axes in panels[:, 0]:
        axes.set_ylabel("population loss")
    options = results.options
    drawn.suptitle(
        f"Readouts of both signs, online SGD with η = {_RATE}: ODE (lines), means of {options['networks']} "
        f"networks with d = {options['dimension']}",
        fontsize=10,
    )
    return drawn


def _panel(axes: Axes, size: tuple[int, int], name: str, results: Results) -> None:
    arrays = results.arrays
    for at, row in enumerate(results.rows):
        if (row["K"], row["M"], row["activation"]) != (*size, name):
            continue
        layers = row["trained_layers"]
        times, theory = arrays[f"times_{at}"], arrays[f"theory_{at}"]
        axes.plot(times, theory, color=_COLOURS[layers], linewidth=1.2)
        one = Comparison(times, theory[:, None], arrays[f"networks_{at}"][..., None])
        points(axes, one, _COLOURS[layers], _LABELS[layers])
    axes.set_title(f"K = {size[0]}, M = {size[1]}, {name}", fontsize=9)
