r"""The corrector of a continuation: Newton's method in a plane across the branch.

The unknown is $X = (x, \mu)$: the parameters x of a block ansatz and one number of the problem, μ. Each μ
enters the ansatz linearly: a branch is one pytree of numbers plus μ times another, so one compiled
corrector serves every parameter of a structure, at any size.

Lengths are relative changes: x is scaled so that a student's row has its norm, μ by the size that changes.
They are of order 1 at any width.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..ansatz.block_ansatz import AbstractBlocks
from ..ansatz.reduced_loss import gradient_norm, loss_rounding, reduced_loss, reduced_rates
from .branch_parameters import ParameterLine

Numbers = Array | np.ndarray
"""Arrays of JAX inside the compiled corrector, of NumPy outside."""
_MAX_CORRECTIONS = 8


class CorrectedPoint(NamedTuple):
    """A point X = (x, μ) of a branch, as the corrector finds it.

    `tangent` has length 1 and `across` is the normal of the plane across it; `z` are the ansatz's
    parameters, `residual` the gradient's norm, `loss_error` as in `FixedPoint`. `first` is the first
    correction's length and `worst` the largest ratio of one to the one before, infinite if they didn't
    converge.
    """

    X: Float[Numbers, " n"]
    tangent: Float[Numbers, " n"]
    across: Float[Numbers, " n"]
    z: Float[Numbers, " P"]
    loss: Float[Numbers, ""]
    residual: Float[Numbers, ""]
    first: Float[Numbers, ""]
    worst: Float[Numbers, ""]
    steps: Int[Numbers, ""]
    loss_error: Float[Numbers, ""]

    @property
    def value(self) -> float:
        """The parameter, μ."""
        return float(self.X[-1])

    @property
    def rate(self) -> float:
        """The derivative of μ along the branch: 0 at a fold."""
        return float(self.tangent[-1])


def row_lengths(blocks: AbstractBlocks) -> Float[Array, " P"]:
    """Return the root of how many entries of one student's row each parameter stands for."""
    constants = jnp.sqrt(blocks.sizes[None, :] - blocks.own)
    return jnp.concatenate([jnp.ones(len(blocks.matched)), constants.ravel()])


def correct(
    line: ParameterLine, X: Float[Numbers, " n"], across: Float[Numbers, " n"]
) -> CorrectedPoint:
    """Solve rates = 0 by Newton's method in the plane through X with this normal. Returns NumPy arrays."""
    return jax.tree.map(np.asarray, _correct(line, jnp.asarray(X), jnp.asarray(across)))


@eqx.filter_jit
def _correct(
    line: ParameterLine, X: Float[Array, " n"], across: Float[Array, " n"]
) -> CorrectedPoint:
    def rates(X):
        ansatz = line.at(X[-1])
        lengths = row_lengths(ansatz)
        return lengths * reduced_rates(ansatz, X[:-1] / lengths)

    def metric(X):
        return jnp.ones_like(X).at[-1].set(line.scale(X[-1]) ** -2)

    def unfinished(carry):
        _, _, _, size, _, steps = carry
        return (steps < _MAX_CORRECTIONS) & (size > 1e-14)

    def body(carry):
        X, _, first, last, worst, steps = carry
        rate, push = jax.linearize(rates, X)
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
