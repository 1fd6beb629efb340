r"""The Runge–Kutta–Chebyshev method for many starts at once; the unit of work is one evaluation of the rates.

In a batch the starts would need different steps *and* different numbers of stages
(`dynamics.runge_kutta_chebyshev`). The `RKCState` of a lane (one start) therefore includes its place inside
the step: `advance` makes one evaluation and whatever follows from it (the next stage, or the end of the step
with its error control). A batch of lanes does one evaluation each per call, at whatever stage each of them
is, and none waits for another. `probe` estimates the spectral radius, and is called from time to time.
"""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..dynamics.runge_kutta_chebyshev import coefficients, next_step, plan
from ..flows.base import AbstractFlow, packed_rates
from ..model.problem import Problem
from ..model.state import Weights, pack, unpack
from ..runtime.compiler import materialize, sum_in_chunks

RATE_THRESHOLD = 1e-3
"""Norm of the rates below which a lane is near a fixed point."""
SHORTEST = 1e-100
"""Length of the shortest students: the squares of lengths below 1e-154 would be 0."""
_FIRST_PROBES = 6  # of the spectral radius
_REACH = {8: 1e-6, 4: 1e-3}  # of a difference quotient of rates, by the bytes of a number


def _expand(x: Array) -> Array:
    """A number of each lane, to broadcast against its arrays (K, D)."""
    return x[None, None]


def _norm(x: Float[Array, "K D *lanes"]) -> Float[Array, "*lanes"]:
    return jnp.sqrt(sum_in_chunks(materialize(sum_in_chunks(x * x, 0)), 0))


class RKCState(NamedTuple):
    """The solver's state of one lane: the step's base, the rates there, the two latest stages, and the place
    in the step. Of many lanes, the last axis is that of the lanes."""

    base: Float[Array, "K D *lanes"]
    base_rate: Float[Array, "K D *lanes"]
    older: Float[Array, "K D *lanes"]
    newer: Float[Array, "K D *lanes"]
    direction: Float[Array, "K D *lanes"]  # of the power iteration for the spectral radius
    time: Float[Array, "*lanes"]
    step: Float[Array, "*lanes"]
    radius: Float[Array, "*lanes"]
    stage: Int[Array, "*lanes"]
    stages: Int[Array, "*lanes"]
    evaluations: Int[Array, "*lanes"]
    target: Float[Array, "*lanes"]  # the lane has converged where the rates' norm is at most this
    time_below_threshold: Float[Array, "*lanes"]  # since which rates are ≤ RATE_THRESHOLD, else inf
    evaluations_below_threshold: Int[Array, "*lanes"]  # made until then
    converged: Bool[Array, "*lanes"]
    diverged: Bool[Array, "*lanes"]  # infinite or undefined numbers
    stuck: Bool[Array, "*lanes"]  # steps have become too small to get anywhere, as at a kink


class LaneStatus(NamedTuple):
    """Why lanes have stopped, if they have; arrays of JAX or NumPy."""

    converged: Bool[Array | np.ndarray, "*lanes"]
    diverged: Bool[Array | np.ndarray, "*lanes"]
    budget_exhausted: Bool[Array | np.ndarray, "*lanes"]

    @property
    def stopped(self) -> Bool[Array | np.ndarray, "*lanes"]:
        """Whether the lane stays where it is."""
        return self.converged | self.diverged | self.budget_exhausted


@final
class Tolerances(eqx.Module):
    """Error control of a lane, and its budget.

    The error of a step counts as a whole, because the axes of the inputs mean nothing: its root mean square
    over [W | v] is held to `atol` and `rtol` times that of [W | v]. The budget is flow time `time_limit`, and
    evaluations (a student caught at the kink of the loss at 0 makes the steps tiny).
    """

    rtol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    atol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    time_limit: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    evaluations: Int[Array, ""] = eqx.field(converter=jnp.asarray, default=400_000)

    def status(self, lane: RKCState) -> LaneStatus:
        """Return why the lane has stopped, if it has; also for lanes stacked along axes in front."""
        exhausted = (lane.time >= self.time_limit) | (lane.evaluations >= self.evaluations)
        return LaneStatus(lane.converged, lane.diverged, exhausted | lane.stuck)


def begin(flow: AbstractFlow, problem: Problem, weights: Weights, target) -> RKCState:
    """Return a lane at its start, before the first stage of its first step is evaluated; or many, with lanes
    as the last axis of `weights`."""
    y = pack(weights)
    f = packed_rates(flow, problem, y)
    speed, size = _norm(f), _norm(y)
    # Any direction will do for a power iteration, as long as it isn't a symmetric one.
    K, D = y.shape[:2]
    direction = np.cos(np.arange(1, K * D + 1) ** 2)
    direction = jnp.asarray(direction / np.linalg.norm(direction), y.dtype)
    direction = direction.reshape(K, D, *(1,) * speed.ndim)
    count = jnp.zeros_like(speed, jnp.int32)
    lane = RKCState(
        base=y,
        base_rate=f,
        older=y,
        newer=y,
        direction=jnp.broadcast_to(direction, y.shape),
        time=jnp.zeros_like(speed),
        step=jnp.minimum(0.01 * (1 + size) / jnp.maximum(speed, 1e-30), 1.0),
        radius=jnp.zeros_like(speed),
        stage=count + 1,
        stages=count + 2,
        evaluations=count + 1,
        target=jnp.full_like(speed, target),
        time_below_threshold=jnp.where(speed <= RATE_THRESHOLD, 0.0, jnp.inf).astype(y.dtype),
        evaluations_below_threshold=count + 1,
        converged=speed <= target,
        diverged=~(jnp.isfinite(speed) & jnp.isfinite(size)),
        stuck=jnp.zeros_like(speed, bool),
    )
    lane = jax.lax.fori_loop(0, _FIRST_PROBES, lambda _, lane: probe(flow, problem, lane), lane)
    step, stages = plan(lane.step, lane.radius)
    first = y + _expand(step * coefficients(stages, lane.stage, y.dtype)[2]) * f
    return lane._replace(step=step, stages=stages, newer=first)


def probe(flow: AbstractFlow, problem: Problem, lane: RKCState) -> RKCState:
    """Make one power iteration on the Jacobian of the rates, carried on from the one before.

    The radius counts from the next step on.
    """
    base, direction = lane.base, lane.direction
    # Small students turn fast: each is moved by a little of its own length. That is a change of basis,
    # which leaves the spectrum as it is. One of length 0 has no direction to turn.
    length = jnp.sqrt(sum_in_chunks(base[:, :-1] ** 2, 1))[:, None]
    length = jnp.where(length > SHORTEST / 2, length, 0)
    unit = _REACH[base.dtype.itemsize]
    reach = jnp.broadcast_to(unit * length, base.shape).at[:, -1].set(unit)
    change = (
        materialize(packed_rates(flow, problem, materialize(base + reach * direction)))
        - lane.base_rate
    )
    stretched = materialize(jnp.where(reach > 0, change / jnp.where(reach > 0, reach, 1), 0))
    stretch = _norm(stretched)
    return lane._replace(
        radius=jnp.maximum(stretch, 1e-3),
        direction=jnp.where(
            _expand(stretch > 0), stretched / _expand(jnp.maximum(stretch, 1e-30)), direction
        ),
        evaluations=lane.evaluations + 1,
    )


class _StepEnd(NamedTuple):
    """A lane after its error control: whether a step was accepted, the base and its rates, and the plan of
    the step that the lane is in."""

    accepted: Array
    base: Array
    base_rate: Array
    step: Array
    stages: Array


def advance(
    flow: AbstractFlow, problem: Problem, tolerances: Tolerances, lane: RKCState
) -> RKCState:
    """Make one evaluation of the rates, and what follows from it. A stopped lane stays where it is.

    `lane` is one, or many with lanes as the last axis of every array. Lanes at different stages differ in the
    numbers that their arrays are multiplied by: this costs little beside the rates.
    """
    stop = tolerances.status(lane).stopped
    f = packed_rates(flow, problem, lane.newer)
    last = lane.stage == lane.stages
    end = _end_step(tolerances, lane, f, last, stop)
    # A stopped lane makes stage 1 again and again.
    stage = jnp.where(last | stop, 0, lane.stage) + 1
    following = _next_stage(lane, end, f, stage)
    # The last stage is the new base: back onto the constraint, before the rates are taken there.
    retracted = pack(flow.retract(unpack(following)))
    at_end = materialize((stage == end.stages).astype(f.dtype)) > 0.5
    speed = _norm(f)
    time = jnp.where(end.accepted, lane.time + lane.step, lane.time)
    evaluations = jnp.where(stop, lane.evaluations, lane.evaluations + 1)
    below = speed <= RATE_THRESHOLD
    falls = end.accepted & below & ~jnp.isfinite(lane.time_below_threshold)
    rises = end.accepted & ~below
    since = lane.time_below_threshold
    # At first steps may be as short as students that turn as fast as they are short.
    tiny, finite = end.step < 1e-14 * jnp.minimum(time, 1), jnp.isfinite(speed)
    return RKCState(
        base=end.base,
        base_rate=end.base_rate,
        older=lane.newer,
        newer=jnp.where(_expand(at_end), retracted, following),
        direction=lane.direction,
        time=time,
        step=end.step,
        radius=lane.radius,
        stage=stage,
        stages=end.stages,
        evaluations=evaluations,
        target=lane.target,
        time_below_threshold=jnp.where(falls, time, jnp.where(rises, jnp.inf, since)),
        evaluations_below_threshold=jnp.where(falls, evaluations, lane.evaluations_below_threshold),
        converged=lane.converged | (end.accepted & (speed <= lane.target)),
        diverged=lane.diverged
        | ~jnp.isfinite(jnp.where(end.accepted, speed, 0))
        | (tiny & ~finite),
        stuck=lane.stuck | (tiny & finite),
    )


def _end_step(tolerances: Tolerances, lane: RKCState, f: Array, last, stop) -> _StepEnd:
    """Error control where the stage is the last, by the method's own error estimate, of order 3 in the step;
    else the step as it is."""
    error = 0.8 * (lane.base - lane.newer) + 0.4 * _expand(lane.step) * (lane.base_rate + f)
    count = f.shape[0] * f.shape[1]
    allowed = tolerances.atol * count**0.5 + tolerances.rtol * _norm(lane.newer)
    size = _norm(error) / allowed
    accepted = last & (size <= 1) & ~stop
    step, stages = plan(lane.step * next_step(size), lane.radius)
    step = jnp.where(last & ~stop, step, lane.step)
    stages = jnp.where(last & ~stop, stages, lane.stages)
    # For the large arrays, as floats worked out once: numbers of one kind fill a vector register.
    takes = _expand(materialize(accepted.astype(f.dtype)) > 0.5)
    base = jnp.where(takes, lane.newer, lane.base)
    base_rate = jnp.where(takes, f, lane.base_rate)
    return _StepEnd(accepted, base, base_rate, step, stages)


def _next_stage(lane: RKCState, end: _StepEnd, f: Array, stage: Array) -> Array:
    """The next stage. Before stage 1 and stage 2 there are none or one: the base takes their place, also
    because what a rejected step leaves may be infinite, and 0 times that is no 0."""
    place = _expand(materialize(stage.astype(f.dtype)))
    newer = jnp.where(place > 1, lane.newer - end.base, 0)
    older = jnp.where(place > 2, lane.older - end.base, 0)
    mu, nu, mu_t, gamma_t = map(_expand, coefficients(end.stages, stage, f.dtype))
    # From the base on, so that what has no rate (an untrained readout) stays as it is to the last digit.
    return end.base + (
        mu * newer
        + nu * older
        + (_expand(end.step) * mu_t) * jnp.where(place > 1, f, end.base_rate)
        + (_expand(end.step) * gamma_t) * end.base_rate
    )
