r"""How the loss falls along the flow at a point that is no fixed point yet.

With $L' = \nabla L \cdot f$ and $L''$ along the flow, $-L'/L$ is the rate of decay. Where the loss falls
algebraically to zero, $L = C (t + t_0)^{-p}$, it is $p/(t + t_0)$, and $L'^2/(L L'') = p/(p + 1)$ gives p
without $t_0$; exponential decay has 1 there, and the approach to a loss above zero 0. The two must agree, at
the time that has passed, for the decay to be called algebraic.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flows.base import AbstractFlow, packed_rates
from ..model.loss import population_loss
from ..model.problem import Problem
from ..model.state import Weights, pack, unpack

_AGREEMENT = 0.2  # relative difference of the two exponents up to which they are one
_LEAST_EXPONENT = 0.25


class Decay(NamedTuple):
    """The decay of the loss at N points.

    - `rate` (N,): $-\\dot L/L$, 0 where the loss is 0.
    - `exponent` (N,): p where the loss falls like $t^{-p}$ to zero, else 0.
    """

    rate: Float[np.ndarray, " N"]
    exponent: Float[np.ndarray, " N"]


def decay(problem: Problem, flow: AbstractFlow, weights: Weights, time: np.ndarray) -> Decay:
    """Return how the loss falls along a flow without noise.

    - `weights`: of N points, W (N, K, d) and v (N, K), JAX or NumPy.
    - `time` (N,): the flow time since the start.
    """
    W, v = jnp.asarray(weights.W), jnp.asarray(weights.v)
    loss, first, second = (np.asarray(x) for x in _derivatives(problem, flow, W, v))
    positive = (loss > 0) & np.isfinite(first) & np.isfinite(second)
    rate = np.where(positive, -first / np.where(positive, loss, 1), 0.0)
    with np.errstate(all="ignore"):
        share = first**2 / (loss * second)
        exponent = share / (1 - share)
        agrees = np.abs(exponent - time * rate) <= _AGREEMENT * exponent
    algebraic = positive & (share > 0) & (share < 1) & agrees & (exponent >= _LEAST_EXPONENT)
    return Decay(rate, np.where(algebraic, exponent, 0.0))


@eqx.filter_jit
def _derivatives(
    problem: Problem, flow: AbstractFlow, W: Float[Array, "N K d"], v: Float[Array, "N K"]
) -> tuple[Float[Array, " N"], Float[Array, " N"], Float[Array, " N"]]:
    """The loss and its first two time derivatives at each point."""

    def along_the_flow(function):
        return lambda y: jax.jvp(function, (y,), (packed_rates(flow, problem, y),))[1]

    def loss(y):
        return population_loss(problem, unpack(y))

    falling = along_the_flow(loss)

    def one(W, v):
        y = pack(Weights(W, v))
        return loss(y), falling(y), along_the_flow(falling)(y)

    return jax.lax.map(lambda point: one(*point), (W, v))
