"""Orthonormal gradient descent (onGD): followed to its end, stopped early, and with a projection that never
turns the students within their span."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import odelandscape as ol
from odelandscape.relaxation.outcomes import LEVEL_WIDTH

from .draw import BLUE, GREEN, ORANGE, PINK
from .sweeps import swept
from .tables import Column, Row, number, share

END, HORIZONTAL = "to the end", "horizontal"
COLOURS = {END: BLUE, "t = 100": GREEN, "t = 30": GREEN, "t = 10": PINK, HORIZONTAL: ORANGE}
LABELS = {
    "t = 0": "random start",
    END: "Euclidean projection, to the end",
    "t = 100": "Euclidean, stopped at t = 100",
    "t = 30": "Euclidean, stopped at t = 30",
    "t = 10": "Euclidean, stopped at t = 10",
    HORIZONTAL: "horizontal projection, stationary",
}
_STATIONARY_BY = 100.0
"""By this time the rates of the horizontal projection are zero to rounding."""
_AT_ONCE = 128
LEARNED = 1e-4  # well below the lowest level above 0


class HorizontalFlow(ol.AbstractFlow):
    """Ẇ = −(G − GWᵀW): what is left of onGD without rotations of the rows within their span."""

    def mixing(self, state: ol.OrderParameters, problem: ol.Problem) -> ol.Mixing:
        X, Y, dv, _ = ol.GradientFlow().mixing(state, problem)
        return ol.Mixing(X - (X @ state.Q + Y @ state.R.T), Y, dv)

    def project_initial(self, weights: ol.Weights) -> ol.Weights:
        return ol.OrthonormalFlow().project_initial(weights)

    def retract(self, weights: ol.Weights) -> ol.Weights:
        return ol.OrthonormalFlow().retract(weights)

    def neutral_directions(self, weights: ol.Weights, problem: ol.Problem):
        raise NotImplementedError(
            "its fixed points are no critical points: only paths are followed"
        )


@eqx.filter_jit
def _some(problem: ol.Problem, flow: ol.AbstractFlow, dimension: int, times: tuple, seeds):
    def one(seed):
        key = jax.random.fold_in(jax.random.key(0), seed)
        weights = ol.random_weights(key, problem, dimension)
        return ol.trajectory(problem, flow, weights, times, rtol=1e-6)

    return jax.vmap(one)(seeds)


def paths(
    problem: ol.Problem, flow: ol.AbstractFlow, starts: int, times, dimension: int
) -> ol.Trajectory:
    """The starts of a sweep (seed 0) along the flow, N in front of the states and losses."""
    width = min(starts, _AT_ONCE)
    run = partial(_some, problem, flow, dimension, tuple(map(float, times)))
    parts = [
        jax.tree.map(np.asarray, run(jnp.minimum(jnp.arange(at, at + width), starts - 1)))
        for at in range(0, starts, width)
    ]
    return jax.tree.map(lambda *part: np.concatenate(part)[:starts], *parts)


class Endings(NamedTuple):
    """Losses and order parameters of the starts of a sweep: at stops, at their ends, and under the
    horizontal projection."""

    runs: ol.Sweep
    loss: dict[str, np.ndarray]
    states: dict[str, ol.OrderParameters]


def endings(options, students: int, teachers: int, stops) -> Endings:
    """The starts of a sweep in twice as many dimensions as teachers, where students can leave the
    teachers' span: at these stops, at their ends, and at those of the horizontal projection."""
    runs = swept(options, students, teachers, "ongd", dimension=2 * teachers)
    problem, starts, d = runs.problem, len(runs), runs.dimension
    early = paths(problem, runs.flow, starts, stops, d)
    beside = paths(problem, HorizontalFlow(), starts, (_STATIONARY_BY,), d)
    loss, states = {}, {}
    for at, stop in enumerate(stops):
        loss[f"t = {stop:g}"] = early.loss[:, at]
        states[f"t = {stop:g}"] = jax.tree.map(lambda x, at=at: x[:, at], early.states)
    loss[END] = runs.loss
    states[END] = jax.vmap(lambda weights: ol.overlaps(problem, weights))(runs.weights)
    loss[HORIZONTAL] = beside.loss[:, 0]
    states[HORIZONTAL] = jax.tree.map(lambda x: x[:, 0], beside.states)
    return Endings(runs, loss, states)


def distinct(losses: np.ndarray) -> int:
    """How many levels these losses lie on."""
    return 1 + int((np.diff(np.sort(losses)) > LEVEL_WIDTH).sum())


def loss_row(runs: ol.Sweep, where: str, losses: np.ndarray, below: float = LEARNED) -> Row:
    """Numbers of the losses that starts of a sweep have somewhere."""
    # Losses are below 0 by rounding only.
    lowest, low, median, high = np.maximum(np.quantile(losses, [0, 0.1, 0.5, 0.9]), 0)
    return {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "d": runs.dimension,
        "where": where,
        "starts": len(losses),
        "lowest": float(lowest),
        "quantile_10": float(low),
        "median": float(median),
        "quantile_90": float(high),
        "distinct": distinct(losses),
        "threshold": float(below),
        "below": int((losses < below).sum()),
    }


def loss_columns() -> list[Column]:
    """How a `loss_row` is written."""
    return [
        *(number(name) for name in ("K", "M", "d", "where", "starts")),
        number("loss: lowest", "lowest"),
        number("10 %", "quantile_10"),
        number("median"),
        number("90 %", "quantile_90"),
        number("distinct losses", "distinct"),
        number("threshold"),
        share("below it, % (95 %)", "below"),
    ]
