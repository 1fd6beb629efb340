r"""A point of a branch: Newton's method in a plane across it.

The unknown is $X = (x, \mu)$: the parameters x of a block ansatz and one number of the problem, μ (`line`).
Lengths are relative changes: x is scaled so that a student's row has its norm, μ by the size that changes.
They are of order 1 at any width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..ansatz.block_ansatz import AbstractBlocks
from ..ansatz.reduced_loss import gradient_norm, loss_rounding, reduced_loss, reduced_rates
from .line import ParameterLine

_MAX_CORRECTIONS = 8


class CorrectedPoint(NamedTuple):
    """A point X = (x, μ) of a branch, as the corrector finds it.

    `tangent` has length 1 and `across` is the normal of the plane across it; `z` are the ansatz's
    parameters, `residual` the gradient's norm, `loss_error` as in `FixedPoint`. `first` is the first
    correction's length and `worst` the largest ratio of one to the one before, infinite if they didn't
    converge. Points of a branch have an axis for the points in front.
    """

    X: Float[Array, "*N n"]
    tangent: Float[Array, "*N n"]
    across: Float[Array, "*N n"]
    z: Float[Array, "*N P"]
    loss: Float[Array, "*N"]
    residual: Float[Array, "*N"]
    first: Float[Array, "*N"]
    worst: Float[Array, "*N"]
    steps: Int[Array, "*N"]
    loss_error: Float[Array, "*N"]

    @property
    def value(self) -> Float[Array, "*N"]:
        """The parameter, μ."""
        return self.X[..., -1]

    @property
    def rate(self) -> Float[Array, "*N"]:
        """The derivative of μ along the branch: 0 at a fold."""
        return self.tangent[..., -1]


def row_lengths(blocks: AbstractBlocks) -> Float[Array, " P"]:
    """Return the root of how many entries of one student's row each parameter stands for."""
    constants = jnp.sqrt(blocks.sizes[None, :] - blocks.own)
    return jnp.concatenate([jnp.ones(len(blocks.matched)), constants.ravel()])


def branch_rates(line: ParameterLine, X: Float[Array, " n"]) -> Float[Array, " P"]:
    """Return the rates of x, 0 on the branch."""
    ansatz = line.at(X[-1])
    lengths = row_lengths(ansatz)
    return lengths * reduced_rates(ansatz, X[:-1] / lengths)


def correct(
    line: ParameterLine, X: Float[Array, " n"], across: Float[Array, " n"]
) -> CorrectedPoint:
    """Solve rates = 0 by Newton's method in the plane through X with this normal."""

    def metric(X):
        return jnp.ones_like(X).at[-1].set(line.scale(X[-1]) ** -2)

    def unfinished(carry):
        _, _, _, size, _, steps = carry
        return (steps < _MAX_CORRECTIONS) & (size > 1e-12)

    def body(carry):
        X, _, first, last, worst, steps = carry
        rate, push = jax.linearize(lambda X: branch_rates(line, X), X)
        J = jnp.concatenate([jax.vmap(push)(jnp.eye(X.size)).T, across[None, :]])
        sides = jnp.zeros((X.size, 2)).at[:-1, 0].set(-rate).at[-1, 1].set(1)
        dX, tangent = jnp.linalg.solve(J, sides).T
        size = jnp.sqrt(metric(X) @ dX**2)
        ratio = jnp.where((last > 1e-11) & (steps > 0), size / last, 0.0)
        first = jnp.where(steps > 0, first, size)
        return X + dX, tangent, first, size, jnp.maximum(worst, ratio), steps + 1

    far = jnp.asarray(jnp.inf)
    start = (X, across, far, far, jnp.asarray(0.0), jnp.asarray(0))
    X, tangent, first, last, worst, steps = jax.lax.while_loop(unfinished, body, start)
    weight = metric(X)
    tangent = tangent / jnp.sqrt(weight @ tangent**2)
    worst = jnp.where(last < 1e-9, worst, jnp.inf)
    ansatz = line.at(X[-1])
    z = X[:-1] / row_lengths(ansatz)
    loss, residual = reduced_loss(ansatz, z), gradient_norm(ansatz, z)
    numbers = loss, residual, first, worst, steps, loss_rounding(ansatz, z)
    return CorrectedPoint(X, tangent, weight * tangent, z, *numbers)
