r"""A stabilised explicit Runge–Kutta method whose unit of work is one evaluation of the rates.

The spectrum of a gradient flow is real, and its end is a long decay along slow directions while the
fast ones (rate about K/4) only limit the step. The Runge–Kutta–Chebyshev method of order 2 (Sommeijer,
Shampine and Verwer 1997) with s stages is stable up to a step of about $0.65\,s^2/\rho$, so a step that
is s² times longer costs s evaluations.

In a batch the starts would want different steps *and* different numbers of stages. A `Lane` therefore
carries its place inside the step: `advance` makes one evaluation and whatever follows from it (the
next stage, or the end of the step with its error control). A batch of lanes does one evaluation each per
call, whatever each of them is at, and none waits for another. `probe` looks at the spectral radius, and is
called from time to time.
"""

from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .compiler import once
from .flows import AbstractFlow
from .problem import Problem, Weights

MOST_STAGES = 40
_FIRST_PROBES = 6  # of the spectral radius
_SAFETY = 1.15  # a power iteration comes from below


def pack(weights: Weights) -> Float[Array, "K D *lanes"]:
    """[W | v], the one array that a lane integrates."""
    return jnp.concatenate([weights.W, weights.v[:, None]], axis=1)


def unpack(y: Float[Array, "K D *lanes"]) -> Weights:
    """The inverse of `pack`."""
    return Weights(y[:, :-1], y[:, -1])


def rate(
    flow: AbstractFlow, problem: Problem, y: Float[Array, "K D *lanes"]
) -> Float[Array, "K D *lanes"]:
    """The flow's rates of [W | v], of one or of many with lanes behind."""
    if y.ndim == 2:
        return pack(flow(0.0, unpack(y), problem))
    return pack(flow.lanes(unpack(y), problem))


def _wide(x: Array) -> Array:
    """A number of each lane, to go with its arrays."""
    return x[None, None]


def _sum(x: Float[Array, "K D *lanes"]) -> Float[Array, "*lanes"]:
    # One axis after the other: over both at once the compiler's loop isn't vectorised.
    return jnp.sum(once(jnp.sum(x, axis=1)), axis=0)


def _length(x: Float[Array, "K D *lanes"]) -> Float[Array, "*lanes"]:
    return jnp.sqrt(_sum(x * x))


@lru_cache(maxsize=1)
def _tableau() -> np.ndarray:
    """Coefficients (4, stages, stage): μ, ν, μ̃, γ̃ of each stage (at stage 1 only μ̃), s ≤ MOST_STAGES."""
    n = MOST_STAGES + 1
    table = np.zeros((4, n, n))
    for s in range(2, n):
        w0 = 1 + (2 / 13) / s**2
        T = np.zeros((3, s + 1))  # Chebyshev polynomials and two derivatives at w0
        T[0, :2], T[1, :2] = (1, w0), (0, 1)
        for j in range(2, s + 1):
            T[0, j] = 2 * w0 * T[0, j - 1] - T[0, j - 2]
            T[1, j] = 2 * T[0, j - 1] + 2 * w0 * T[1, j - 1] - T[1, j - 2]
            T[2, j] = 4 * T[1, j - 1] + 2 * w0 * T[2, j - 1] - T[2, j - 2]
        w1 = T[1, s] / T[2, s]
        b = np.zeros(s + 1)
        b[2:] = T[2, 2:] / T[1, 2:] ** 2
        b[0], b[1] = b[2], 1 / w0
        a = 1 - b * T[0]
        table[2, s, 1] = b[1] * w1
        for j in range(2, s + 1):
            table[0, s, j] = 2 * b[j] * w0 / b[j - 1]
            table[1, s, j] = -b[j] / b[j - 2]
            table[2, s, j] = 2 * b[j] * w1 / b[j - 1]
            table[3, s, j] = -a[j - 1] * table[2, s, j]
    return table


class Lane(NamedTuple):
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
    settled: Bool[Array, "*lanes"]
    lost: Bool[Array, "*lanes"]  # infinite or undefined numbers


class Tolerances(eqx.Module):
    """Error control of a lane, `rtol` and `atol` per step on [W | v], and what it may use up: flow time
    `end`, and evaluations (a student caught at the kink of the loss at 0 makes the steps tiny)."""

    rtol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    atol: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    end: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    evaluations: Int[Array, ""] = eqx.field(converter=jnp.asarray, default=400_000)

    def spent(self, lane: Lane) -> Bool[Array, "*lanes"]:
        """Whether the lane's time is over; also for lanes stacked along axes in front."""
        return (lane.time >= self.end) | (lane.evaluations >= self.evaluations)


def begin(flow: AbstractFlow, problem: Problem, weights: Weights, target) -> Lane:
    """A lane at its start, about to evaluate the first stage of its first step."""
    y = pack(weights)
    f = rate(flow, problem, y)
    speed, size = _length(f), _length(y)
    # Any direction will do for a power iteration, as long as it isn't a symmetric one.
    direction = jnp.asarray(np.cos(np.arange(1, y.size + 1) ** 2).reshape(y.shape), y.dtype)
    count = jnp.asarray(0, jnp.int32)
    lane = Lane(
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
        settled=speed <= target,
        lost=~(jnp.isfinite(speed) & jnp.isfinite(size)),
    )
    lane = jax.lax.fori_loop(0, _FIRST_PROBES, lambda _, lane: probe(flow, problem, lane), lane)
    step, stages = _plan(lane.step, lane.radius)
    first = y + step * _coefficients(stages, lane.stage, y.dtype)[2] * f
    return lane._replace(step=step, stages=stages, newer=first)


def probe(flow: AbstractFlow, problem: Problem, lane: Lane) -> Lane:
    """One power iteration on the Jacobian of the rates, carried on from the one before.

    The radius counts from the next step on.
    """
    base, direction = lane.base, lane.direction
    # Small students turn fast: each is moved by a little of its own length. That is a change of basis,
    # which leaves the spectrum as it is. One of length 0 has no turning to look at.
    length = jnp.sqrt(jnp.sum(base[:, :-1] ** 2, axis=1, keepdims=True))
    length = jnp.where(length > 1e-30, length, 0)
    reach = jnp.broadcast_to(1e-6 * length, base.shape).at[:, -1].set(1e-6)
    change = rate(flow, problem, base + reach * direction) - lane.base_rate
    stretched = jnp.where(reach > 0, change / jnp.where(reach > 0, reach, 1), 0)
    stretch = _length(stretched)
    return lane._replace(
        radius=jnp.maximum(stretch, 1e-3),
        direction=jnp.where(
            _wide(stretch > 0), stretched / _wide(jnp.maximum(stretch, 1e-30)), direction
        ),
        evaluations=lane.evaluations + 1,
    )


def _plan(step: Float[Array, "*lanes"], radius: Float[Array, "*lanes"]):
    """A step, no longer than the most stages allow, and as many stages as it needs."""
    stiff = 1.54 * _SAFETY * radius
    step = jnp.minimum(step, (MOST_STAGES**2 - 1) / stiff)
    stages = jnp.ceil(jnp.sqrt(1 + stiff * step)).astype(jnp.int32)
    return step, jnp.clip(stages, 2, MOST_STAGES)


def _coefficients(
    stages: Int[Array, "*lanes"], stage: Int[Array, "*lanes"], dtype
) -> Float[Array, "4 *lanes"]:
    return jnp.asarray(_tableau(), dtype)[:, stages, stage]


def advance(flow: AbstractFlow, problem: Problem, tolerances: Tolerances, lane: Lane) -> Lane:
    """One evaluation of the rates, and what follows from it. A finished lane stays as it is.

    `lane` is one, or many with lanes as the last axis of every array. Whatever a lane is at, what differs
    are numbers that its arrays are multiplied by: this costs little beside the rates.
    """
    stop = finished(tolerances, lane)
    f = rate(flow, problem, lane.newer)

    # The end of a step: the method's own error estimate, of order 3 in the step.
    last = lane.stage == lane.stages
    error = 0.8 * (lane.base - lane.newer) + 0.4 * _wide(lane.step) * (lane.base_rate + f)
    largest = jnp.maximum(jnp.abs(lane.base), jnp.abs(lane.newer))
    error = (error / (tolerances.atol + tolerances.rtol * largest)) ** 2
    size = jnp.sqrt(_sum(error) / (error.shape[0] * error.shape[1]))
    good = size <= 1
    accept, reject = last & good & ~stop, last & ~good & ~stop
    # For the large arrays, as floats worked out once: numbers of one kind fill a vector register.
    takes, throws, rests = (_wide(once(x.astype(f.dtype)) > 0.5) for x in (accept, reject, stop))
    factor = jnp.where(
        jnp.isfinite(size), jnp.clip(0.8 * jnp.maximum(size, 1e-12) ** (-1 / 3), 0.1, 4.0), 0.1
    )
    step, stages = _plan(lane.step * factor, lane.radius)
    step, stages = jnp.where(last, step, lane.step), jnp.where(last, stages, lane.stages)
    base = jnp.where(takes, lane.newer, lane.base)
    base_rate = jnp.where(takes, f, lane.base_rate)

    # The next stage. Stage 1 follows from the base alone: μ and ν are 0 there. What a rejected step leaves
    # may be infinite, and 0 times that is no 0: the base takes its place.
    older, newer = (jnp.where(throws, base, x) for x in (lane.older, lane.newer))
    stage = jnp.where(last, 0, lane.stage) + 1
    mu, nu, mu_t, gamma_t = map(_wide, _coefficients(stages, stage, f.dtype))
    following = (
        (1 - mu - nu) * base
        + mu * newer
        + nu * older
        + (_wide(step) * mu_t) * jnp.where(throws, base_rate, f)
        + (_wide(step) * gamma_t) * base_rate
    )
    # The last stage is the new base: back onto the constraint, before the rates are taken there.
    retracted = pack(flow.retract(unpack(following)))
    at_end = once((stage == stages).astype(f.dtype)) > 0.5
    following = jnp.where(_wide(at_end), retracted, following)
    speed = _length(f)
    moved = lane._replace(
        base=base,
        base_rate=base_rate,
        older=jnp.where(rests, lane.older, newer),
        newer=jnp.where(rests, lane.newer, following),
        time=jnp.where(accept, lane.time + lane.step, lane.time),
        step=step,
        stage=stage,
        stages=stages,
        evaluations=lane.evaluations + 1,
        settled=lane.settled | (accept & (speed <= lane.target)),
        lost=lane.lost | ~jnp.isfinite(jnp.where(accept, speed, 0)) | (step < 1e-14),
    )
    # The large arrays are as they should be; of the numbers, none may change.
    pairs = zip(lane, moved, strict=True)
    return Lane(*(jnp.where(stop, a, b) if a.ndim == stop.ndim else b for a, b in pairs))


def finished(tolerances: Tolerances, lane: Lane) -> Bool[Array, "*lanes"]:
    """Whether the lane has settled, is lost, or has used up its time."""
    return lane.settled | lane.lost | tolerances.spent(lane)
