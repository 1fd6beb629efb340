r"""Whether the flow leaves a point by lengthening an inactive student.

Where σ has a kink at 0 the loss has one, too, at a student of length 0: in the direction u its one-sided
derivative is $D(u) = v_i E[\Delta\,\sigma(u \cdot x)]$, a function on the sphere that is no sum of a linear
and a quadratic form. The point is left if −D is positive anywhere, so its largest value decides. It is found
by ascent on the sphere from the directions of all units, their mean and some others, along the flow's own
rates: of gradient flow these are the gradient of −D, and −D is what they are in the direction of u.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..flows.base import AbstractFlow
from ..model.alignment import INACTIVE_NORM
from ..model.problem import Problem
from ..model.state import Weights

ESCAPE_RATE_TOLERANCE = 1e-5
"""An escape rate between minus this and this decides nothing: it is taken at students of length 1e-6."""
_ASCENT_STEPS = 100
_RANDOM_DIRECTIONS = 16
_CONE = 0.99  # cosine within which an inactive student shares the place of an active one


def escape_rate(
    flow: AbstractFlow, problem: Problem, weights: Weights, inactive: Bool[np.ndarray, " K"]
) -> float:
    """Return the fastest rate at which the flow would lengthen an inactive student, over all directions.

    An inactive student beside an active one of the same readout's sign takes over a part of it, which changes
    no network: such directions do not count. Where the flow trains readouts and an inactive student's is 0,
    that student is given a readout of 1 or −1: both then grow at a rate as fast as the one returned.

    - `inactive` (K,): which students have length 0, one at least.
    """
    return float(_escape_rate(flow, problem, weights, jnp.asarray(inactive)))


def _starting_directions(
    problem: Problem, weights: Weights, inactive: Bool[Array, " K"]
) -> Float[Array, "S d"]:
    """Unit vectors, either way: along each unit, along what the network misses (random where there is no such
    direction), and random ones."""
    d = weights.W.shape[1]
    teachers = problem.teacher_weights(d)
    missing = problem.readout @ teachers - jnp.where(inactive, 0, weights.v) @ weights.W
    noise = np.random.default_rng(0).normal(
        size=(len(weights.W) + problem.teachers + 1 + _RANDOM_DIRECTIONS, d)
    )
    units = jnp.concatenate([weights.W, teachers, missing[None]])
    directions = jnp.concatenate([units, jnp.zeros((_RANDOM_DIRECTIONS, d))])
    size = jnp.linalg.norm(directions, axis=1, keepdims=True)
    directions = jnp.where(size > INACTIVE_NORM, directions, noise)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    return jnp.concatenate([directions, -directions])


@eqx.filter_jit
def _escape_rate(
    flow: AbstractFlow, problem: Problem, weights: Weights, inactive: Bool[Array, " K"]
) -> Float[Array, ""]:
    starts = _starting_directions(problem, weights, inactive)
    idle = inactive & (jnp.abs(weights.v) < INACTIVE_NORM) & flow.trains_readout

    def outwards(direction, sign):
        """The fastest rate along a direction, and the rates of the student that has it."""
        W = weights.W + jnp.where(inactive[:, None], INACTIVE_NORM * direction[None, :], 0)
        v = jnp.where(idle, sign, weights.v)
        rates = flow(0.0, Weights(W, v), problem).W
        out = jnp.where(inactive, rates @ direction, -jnp.inf)
        fastest = jnp.argmax(out)
        return out[fastest], rates[fastest], fastest

    def ascend(start, sign):
        def step(_, carry):
            direction, value, rates, length = carry
            tangent = rates - value * direction
            trial = direction + length * tangent / jnp.maximum(jnp.linalg.norm(rates), 1e-300)
            trial /= jnp.linalg.norm(trial)
            new_value, new_rates, _ = outwards(trial, sign)
            better = new_value > value
            return (
                jnp.where(better, trial, direction),
                jnp.where(better, new_value, value),
                jnp.where(better, new_rates, rates),
                jnp.where(better, jnp.minimum(2 * length, 4.0), length / 4),
            )

        value, rates, _ = outwards(start, sign)
        begin = start, value, rates, jnp.ones_like(value)
        return jax.lax.fori_loop(0, _ASCENT_STEPS, step, begin)[0]

    directions = jnp.concatenate([starts, starts])
    signs = jnp.concatenate([jnp.ones(len(starts)), -jnp.ones(len(starts))])
    ends = jax.vmap(ascend)(directions, signs)
    directions, signs = jnp.concatenate([directions, ends]), jnp.concatenate([signs, signs])
    values, _, student = jax.vmap(outwards)(directions, signs)
    shares = partial(_shares_a_place, weights, inactive)
    shared = jax.vmap(shares)(directions, student) & (values <= ESCAPE_RATE_TOLERANCE)
    return jnp.max(jnp.where(shared, -jnp.inf, values))


def _shares_a_place(weights: Weights, inactive: Bool[Array, " K"], direction, student):
    """Whether a student in this direction lies beside an active one with a readout of the same sign."""
    length = jnp.linalg.norm(weights.W, axis=1)
    cosine = (weights.W @ direction) / jnp.where(inactive, 1, length)
    same_sign = weights.v * weights.v[student] > 0
    return jnp.any(~inactive & same_sign & (cosine > _CONE))
