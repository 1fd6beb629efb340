r"""Many starts on their way at once, a unit of work being one evaluation of the rates in each.

In a batch the starts would want different steps *and* different numbers of stages (`solvers`). A `Lane`
therefore carries its place inside the step: `advance` makes one evaluation and whatever follows from it (the
next stage, or the end of the step with its error control). A batch of lanes does one evaluation each per
call, whatever each of them is at, and none waits for another. `probe` looks at the spectral radius, and is
called from time to time.
"""

from typing import NamedTuple

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
_FIRST_PROBES = 6  # of the spectral radius


def _wide(x: Array) -> Array:
    """A number of each lane, to go with its arrays."""
    return x[None, None]


def _length(x: Float[Array, "K D *lanes"]) -> Float[Array, "*lanes"]:
    return jnp.sqrt(sum_in_chunks(materialize(sum_in_chunks(x * x, 0)), 0))


class RKCState(NamedTuple):
    """A start on its way: the step's base, the rates there, the two latest stages, and its place in the
    step. Many lanes are one behind the other on the last axis."""

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
    target: Float[Array, "*lanes"]  # the lane stops where the rate's norm falls below this
    quiet_time: Float[Array, "*lanes"]  # since when the rates are below QUIET; inf if they aren't
    quiet_evaluations: Int[Array, "*lanes"]  # made until then
    settled: Bool[Array, "*lanes"]
    lost: Bool[Array, "*lanes"]  # infinite or undefined numbers


class Tolerances(eqx.Module):
    """Error control of a lane, and what it may use up.

    The error of a step counts as a whole, because the axes of the inputs mean nothing: its root mean square
    over [W | v] is held to `atol` and `rtol` times that of [W | v]. The rest are flow time `end`, and
    evaluations (a student caught at the kink of the loss at 0 makes the steps tiny).
    """

    rtol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    atol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    end: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    evaluations: Int[Array, ""] = eqx.field(converter=jnp.asarray, default=400_000)

    def spent(self, lane: RKCState) -> Bool[Array, "*lanes"]:
        """Whether the lane's time is over; also for lanes stacked along axes in front."""
        return (lane.time >= self.end) | (lane.evaluations >= self.evaluations)


def begin(flow: AbstractFlow, problem: Problem, weights: Weights, target) -> RKCState:
    """A lane at its start, about to evaluate the first stage of its first step."""
    y = pack(weights)
    f = packed_rates(flow, problem, y)
    speed, size = _length(f), _length(y)
    # Any direction will do for a power iteration, as long as it isn't a symmetric one.
    direction = jnp.asarray(np.cos(np.arange(1, y.size + 1) ** 2).reshape(y.shape), y.dtype)
    count = jnp.asarray(0, jnp.int32)
    lane = RKCState(
        base=y,
        base_rate=f,
        older=y,
        newer=y,
        direction=direction / jnp.linalg.norm(direction),
        time=jnp.zeros_like(speed),
        step=jnp.minimum(0.01 * (1 + size) / jnp.maximum(speed, 1e-30), 1.0),
        radius=jnp.zeros_like(speed),
        stage=count + 1,
        stages=count + 2,
        evaluations=count + 1,
        target=jnp.asarray(target, y.dtype),
        quiet_time=jnp.where(speed <= RATE_THRESHOLD, 0.0, jnp.inf).astype(y.dtype),
        quiet_evaluations=count + 1,
        settled=speed <= target,
        lost=~(jnp.isfinite(speed) & jnp.isfinite(size)),
    )
    lane = jax.lax.fori_loop(0, _FIRST_PROBES, lambda _, lane: probe(flow, problem, lane), lane)
    step, stages = plan(lane.step, lane.radius)
    first = y + step * coefficients(stages, lane.stage, y.dtype)[2] * f
    return lane._replace(step=step, stages=stages, newer=first)


def probe(flow: AbstractFlow, problem: Problem, lane: RKCState) -> RKCState:
    """One power iteration on the Jacobian of the rates, carried on from the one before.

    The radius counts from the next step on.
    """
    base, direction = lane.base, lane.direction
    # Small students turn fast: each is moved by a little of its own length. That is a change of basis,
    # which leaves the spectrum as it is. One of length 0 has no turning to look at.
    length = jnp.sqrt(sum_in_chunks(base[:, :-1] ** 2, 1))[:, None]
    length = jnp.where(length > 1e-30, length, 0)
    reach = jnp.broadcast_to(1e-6 * length, base.shape).at[:, -1].set(1e-6)
    change = (
        materialize(packed_rates(flow, problem, materialize(base + reach * direction)))
        - lane.base_rate
    )
    stretched = materialize(jnp.where(reach > 0, change / jnp.where(reach > 0, reach, 1), 0))
    stretch = _length(stretched)
    return lane._replace(
        radius=jnp.maximum(stretch, 1e-3),
        direction=jnp.where(
            _wide(stretch > 0), stretched / _wide(jnp.maximum(stretch, 1e-30)), direction
        ),
        evaluations=lane.evaluations + 1,
    )


def advance(
    flow: AbstractFlow, problem: Problem, tolerances: Tolerances, lane: RKCState
) -> RKCState:
    """One evaluation of the rates, and what follows from it. A finished lane stays where it is.

    `lane` is one, or many with lanes as the last axis of every array. Whatever a lane is at, what differs
    are numbers that its arrays are multiplied by: this costs little beside the rates.
    """
    stop = finished(tolerances, lane)
    f = packed_rates(flow, problem, lane.newer)

    # The end of a step: the method's own error estimate, of order 3 in the step.
    last = lane.stage == lane.stages
    error = 0.8 * (lane.base - lane.newer) + 0.4 * _wide(lane.step) * (lane.base_rate + f)
    count = f.shape[0] * f.shape[1]
    allowed = tolerances.atol * count**0.5 + tolerances.rtol * _length(lane.newer)
    size = _length(error) / allowed
    accept = last & (size <= 1) & ~stop
    step, stages = plan(lane.step * next_step(size), lane.radius)
    step = jnp.where(last & ~stop, step, lane.step)
    stages = jnp.where(last & ~stop, stages, lane.stages)
    # For the large arrays, as floats worked out once: numbers of one kind fill a vector register.
    takes = _wide(materialize(accept.astype(f.dtype)) > 0.5)
    base = jnp.where(takes, lane.newer, lane.base)
    base_rate = jnp.where(takes, f, lane.base_rate)

    # The next stage. Before stage 1 and stage 2 there are none or one: the base takes their place, also
    # because what a rejected step leaves may be infinite, and 0 times that is no 0. A finished lane makes
    # stage 1 again and again.
    stage = jnp.where(last | stop, 0, lane.stage) + 1
    place = _wide(materialize(stage.astype(f.dtype)))
    newer = jnp.where(place > 1, lane.newer - base, 0)
    older = jnp.where(place > 2, lane.older - base, 0)
    mu, nu, mu_t, gamma_t = map(_wide, coefficients(stages, stage, f.dtype))
    # From the base on, so that what has no rate (an untrained readout) stays as it is to the last digit.
    following = base + (
        mu * newer
        + nu * older
        + (_wide(step) * mu_t) * jnp.where(place > 1, f, base_rate)
        + (_wide(step) * gamma_t) * base_rate
    )
    # The last stage is the new base: back onto the constraint, before the rates are taken there.
    retracted = pack(flow.retract(unpack(following)))
    at_end = materialize((stage == stages).astype(f.dtype)) > 0.5
    speed = _length(f)
    time = jnp.where(accept, lane.time + lane.step, lane.time)
    evaluations = jnp.where(stop, lane.evaluations, lane.evaluations + 1)
    quiet = speed <= RATE_THRESHOLD
    falls = accept & quiet & ~jnp.isfinite(lane.quiet_time)
    rises = accept & ~quiet
    return RKCState(
        base=base,
        base_rate=base_rate,
        older=lane.newer,
        newer=jnp.where(_wide(at_end), retracted, following),
        direction=lane.direction,
        time=time,
        step=step,
        radius=lane.radius,
        stage=stage,
        stages=stages,
        evaluations=evaluations,
        target=lane.target,
        quiet_time=jnp.where(falls, time, jnp.where(rises, jnp.inf, lane.quiet_time)),
        quiet_evaluations=jnp.where(falls, evaluations, lane.quiet_evaluations),
        settled=lane.settled | (accept & (speed <= lane.target)),
        lost=lane.lost | ~jnp.isfinite(jnp.where(accept, speed, 0)) | (step < 1e-14),
    )


def finished(tolerances: Tolerances, lane: RKCState) -> Bool[Array, "*lanes"]:
    """Whether the lane has settled, is lost, or has used up its time."""
    return lane.settled | lane.lost | tolerances.spent(lane)
