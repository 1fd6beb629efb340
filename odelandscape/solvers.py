r"""A stabilised explicit Runge–Kutta method whose unit of work is one evaluation of the rates.

The spectrum of a gradient flow is real, and its end is a long decay along slow directions while the
fast ones (rate about K/4) only limit the step. The Runge–Kutta–Chebyshev method of order 2 (Sommeijer,
Shampine and Verwer 1997) with s stages is stable up to a step of about $0.65\,s^2/\rho$, so a step that
is s² times longer costs s evaluations.

In a batch the starts would want different steps *and* different numbers of stages. A `Lane` therefore
carries its place inside the step: `advance` makes one evaluation and whatever follows from it (the
next stage, or the end of the step with its error control, or a probe of the spectral radius). A batch
of lanes does one evaluation each per call, whatever each of them is at, and none waits for another.
"""

from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .flows import AbstractFlow
from .problem import Problem, Weights

MOST_STAGES = 40
_PROBE_EVERY = 12  # accepted steps between two looks at the spectral radius
_FIRST_PROBES = 6
_SAFETY = 1.15  # a power iteration comes from below


def pack(weights: Weights) -> Float[Array, "K D"]:
    """[W | v], the one array that a lane integrates."""
    return jnp.concatenate([weights.W, weights.v[:, None]], axis=1)


def unpack(y: Float[Array, "K D"]) -> Weights:
    """The inverse of `pack`."""
    return Weights(y[:, :-1], y[:, -1])


def rate(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]) -> Float[Array, "K D"]:
    """The flow's rates of [W | v]."""
    return pack(flow(0.0, unpack(y), problem))


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
    """One start on its way. `vectors` stacks, in this order, the step's base, the rates there, the two
    latest stages (older, newer) and the probe of the spectral radius."""

    vectors: Float[Array, "5 K D"]
    time: Float[Array, ""]
    step: Float[Array, ""]
    radius: Float[Array, ""]
    stage: Int[Array, ""]  # 0 is a probe
    stages: Int[Array, ""]
    until_probe: Int[Array, ""]
    evaluations: Int[Array, ""]
    target: Float[Array, ""]  # the lane stops where the rate's norm falls below this
    settled: Bool[Array, ""]
    lost: Bool[Array, ""]  # infinite or undefined numbers


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
    """A lane at its start."""
    y = pack(weights)
    f = rate(flow, problem, y)
    speed, size = jnp.linalg.norm(f), jnp.linalg.norm(y)
    # Any direction will do for a power iteration, as long as it isn't a symmetric one.
    probe = jnp.asarray(np.cos(np.arange(1, y.size + 1) ** 2).reshape(y.shape), y.dtype)
    probe = probe / jnp.linalg.norm(probe)
    count = jnp.asarray(0, jnp.int32)
    return Lane(
        vectors=jnp.stack([y, f, y, y, probe]),
        time=jnp.zeros_like(speed),
        step=jnp.minimum(0.01 * (1 + size) / jnp.maximum(speed, 1e-30), 1.0),
        radius=jnp.zeros_like(speed),
        stage=count,
        stages=count + 2,
        until_probe=count - _FIRST_PROBES,
        evaluations=count + 1,
        target=jnp.asarray(target, y.dtype),
        settled=speed <= target,
        lost=~(jnp.isfinite(speed) & jnp.isfinite(size)),
    )


def advance(flow: AbstractFlow, problem: Problem, tolerances: Tolerances, lane: Lane) -> Lane:
    """One evaluation of the rates, and what follows from it. A finished lane stays as it is."""
    base, base_rate, older, newer, probe = lane.vectors
    probing = lane.stage == 0
    last = lane.stage == lane.stages
    # Small students turn fast: each is moved by a little of its own length. That is a change of basis,
    # which leaves the spectrum as it is. One of length 0 has no turning to look at.
    length = jnp.linalg.norm(base[:, :-1], axis=1, keepdims=True)
    length = jnp.where(length > 1e-30, length, 0)
    reach = jnp.broadcast_to(1e-6 * length, base.shape).at[:, -1].set(1e-6)

    f = rate(flow, problem, jnp.where(probing, base + reach * probe, newer))

    # A probe: one power iteration on the Jacobian, carried on from the probe before.
    stretched = jnp.where(reach > 0, (f - base_rate) / jnp.where(reach > 0, reach, 1), 0)
    stretch = jnp.linalg.norm(stretched)
    radius = jnp.where(probing, jnp.maximum(stretch, 1e-3), lane.radius)
    probe = jnp.where(probing & (stretch > 0), stretched / jnp.maximum(stretch, 1e-30), probe)

    # The end of a step: the method's own error estimate, of order 3 in the step.
    error = 0.8 * (base - newer) + 0.4 * lane.step * (base_rate + f)
    scale = tolerances.atol + tolerances.rtol * jnp.maximum(jnp.abs(base), jnp.abs(newer))
    size = jnp.sqrt(jnp.mean((error / scale) ** 2))
    good = size <= 1
    accept, reject = last & good, last & ~good
    factor = jnp.where(
        jnp.isfinite(size), jnp.clip(0.8 * jnp.maximum(size, 1e-12) ** (-1 / 3), 0.1, 4.0), 0.1
    )
    time = jnp.where(accept, lane.time + lane.step, lane.time)
    step = jnp.where(last, lane.step * factor, lane.step)
    base = jnp.where(accept, newer, base)
    base_rate = jnp.where(accept, f, base_rate)
    # Negative counts the first probes up to 0; then the accepted steps go up to the next probe.
    until_probe = jnp.where(
        probing & (lane.until_probe < 0), lane.until_probe + 1, lane.until_probe
    )
    until_probe = jnp.where(probing & (lane.until_probe >= 0), 0, until_probe)
    until_probe = jnp.where(accept, until_probe + 1, until_probe)
    until_probe = jnp.where(reject, _PROBE_EVERY, until_probe)

    # Plan the next step: as many stages as its length needs, and no longer than the most stages allow.
    fresh = probing | last
    stiff = 1.54 * _SAFETY * radius
    step = jnp.where(fresh, jnp.minimum(step, (MOST_STAGES**2 - 1) / stiff), step)
    wanted = jnp.ceil(jnp.sqrt(1 + stiff * step)).astype(lane.stages.dtype)
    stages = jnp.where(fresh, jnp.clip(wanted, 2, MOST_STAGES), lane.stages)
    probe_now = fresh & ((until_probe < 0) | (last & (until_probe >= _PROBE_EVERY)))

    # The next stage. Stage 1 follows from the base alone: there the older and newer are the base.
    stage = jnp.where(fresh, 0, lane.stage) + 1
    mu, nu, mu_t, gamma_t = jnp.asarray(_tableau(), f.dtype)[:, stages, stage]
    push = jnp.where(fresh, base_rate, f)
    older_, newer_ = jnp.where(fresh, base, older), jnp.where(fresh, base, newer)
    h = step
    following = (
        (1 - mu - nu) * base + mu * newer_ + nu * older_ + h * (mu_t * push + gamma_t * base_rate)
    )
    # The last stage is the new base: back onto the constraint, before the rates are taken there.
    retracted = pack(flow.retract(unpack(following)))
    following = jnp.where(stage == stages, retracted, following)
    speed = jnp.linalg.norm(f)
    settled = lane.settled | (accept & (speed <= lane.target))
    moved = Lane(
        vectors=jnp.stack([base, base_rate, newer_, following, probe]),
        time=time,
        step=step,
        radius=radius,
        stage=jnp.where(probe_now, 0, stage),
        stages=stages,
        until_probe=until_probe,
        evaluations=lane.evaluations + 1,
        target=lane.target,
        settled=settled,
        lost=lane.lost | ~jnp.isfinite(jnp.where(accept, speed, 0)) | (step < 1e-14),
    )
    stop = finished(tolerances, lane)
    return jax.tree.map(lambda old, new: jnp.where(stop, old, new), lane, moved)


def finished(tolerances: Tolerances, lane: Lane) -> Bool[Array, ""]:
    """Whether the lane has settled, is lost, or has used up its time."""
    return lane.settled | lane.lost | tolerances.spent(lane)
