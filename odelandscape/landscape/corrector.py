r"""What continuation steps on: parameters of a branch, and Newton's method in a plane across the branch.

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

from ..activations.relu import LeakyReLU, as_leaky_relu
from ..ansatz.block_ansatz import AbstractBlocks, BlockAnsatz
from ..ansatz.reduced_loss import gradient_norm, loss_rounding, reduced_loss, reduced_rates
from ..runtime.arguments import check_choice
from ..runtime.errors import UserError

Numbers = Array | np.ndarray
"""Arrays of JAX inside the compiled corrector, of NumPy outside."""
_MAX_CORRECTIONS = 8
PARAMETERS = ("teachers", "anti_aligned", "slope", "correlation")
SMALLEST_BLOCK, LARGEST_SIZE = 1 + 1e-6, 1e8
"""Where branches in a size end: a matched block of one has a parameter that no student has, and so wide
a network leaves few digits of its gradient."""
_MARGIN = 1e-3  # from the slope of a linear network, and from a singular T


class ParameterLine(NamedTuple):
    """The ansatz at each value of the parameter: `base` at 0, and the `increment` for a change by 1."""

    base: BlockAnsatz
    increment: BlockAnsatz

    def at(self, value) -> BlockAnsatz:
        """Return the ansatz where the parameter has this value."""
        return jax.tree.map(lambda a, b: a + value * b, self.base, self.increment)

    def scale(self, value) -> Float[Array, ""]:
        """Return what change of the parameter counts as 1: the smallest size that changes, if any does."""
        constant = self.increment.sizes == 0
        smallest = jnp.min(jnp.where(constant, jnp.inf, self.at(value).sizes))
        return jnp.where(jnp.all(constant), 1.0, smallest)


def parameter_line(
    ansatz: BlockAnsatz, parameter: str
) -> tuple[ParameterLine, float, tuple[float, float]]:
    """Return the ansatz along a parameter, the parameter's value, its least and its largest.

    Raises UserError if there is no such parameter.
    """
    check_choice("parameter", parameter, PARAMETERS)
    low, high = -np.inf, np.inf
    if parameter == "slope":
        activation = as_leaky_relu(ansatz.activation)
        if activation is None:
            raise UserError(
                f"parameter 'slope' needs activation ReLU or LeakyReLU; got {ansatz.activation!r}"
            )
        ansatz = ansatz.replace(activation=activation)
        value, high = float(activation.slope), 1 - _MARGIN
        increment = {"activation": LeakyReLU(slope=jnp.asarray(1.0))}
    elif parameter == "correlation":
        value, high = float(ansatz.correlation), 1 - _MARGIN
        others = float(jnp.sum(ansatz.sizes)) - 1
        low = -high / others if others > 0 else low
        increment = {"correlation": jnp.asarray(1.0)}
    else:
        growth, value = _growth(ansatz, parameter)
        high = LARGEST_SIZE
        for size, grows in zip(np.asarray(ansatz.sizes).tolist(), growth, strict=True):
            if grows > 0:
                low = max(low, value - (size - SMALLEST_BLOCK))
            elif grows < 0:
                high = min(high, value + (size - SMALLEST_BLOCK))
        increment = {"sizes": jnp.asarray(growth)}
    arrays = jax.tree.map(jnp.asarray, ansatz)
    increments = jax.tree.map(jnp.zeros_like, arrays).replace(**increment)
    base = jax.tree.map(lambda a, b: a - value * b, arrays, increments)
    return ParameterLine(base, increments), value, (low, high)


def _growth(ansatz: BlockAnsatz, parameter: str) -> tuple[np.ndarray, float]:
    """Return by how much each size grows with the parameter, and the parameter's value.

    Raises UserError if the ansatz has no such parameter.
    """
    sizes, matched = np.asarray(ansatz.sizes), ansatz.matched
    if parameter == "anti_aligned":
        if matched != (0, 1) or sizes.size != 2:
            raise UserError(
                "parameter 'anti_aligned' needs two blocks of teachers of sizes (M − α, α), students "
                f"matched to each, matched = (0, 1); got sizes {sizes.tolist()}, matched = {matched}"
            )
        return np.array([-1.0, 1.0]), float(sizes[1])
    matched_once = [block for block in matched if matched.count(block) == 1]
    if not matched_once:
        raise UserError(
            "parameter 'teachers' needs a block of teachers matched by one block of students, which "
            f"grows with it; got matched = {matched}"
        )
    return np.eye(sizes.size)[matched_once[0]], float(sizes.sum())


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
