r"""The parameters of a branch: which numbers of a block ansatz change with one number μ.

Each μ enters the ansatz linearly: a branch is one pytree of numbers plus μ times another, so one compiled
program serves every parameter of a structure, at any size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..activations.relu import LeakyReLU, as_leaky_relu
from ..ansatz.block_ansatz import BlockAnsatz
from ..runtime.arguments import check_choice
from ..runtime.errors import UserError

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


class Range(NamedTuple):
    """The parameter's value at a point, its least and its largest; traced where the point is."""

    value: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def parameter_line(ansatz: BlockAnsatz, parameter: str) -> tuple[ParameterLine, Range]:
    """Return the ansatz along a parameter, and the parameter's range.

    Raises UserError if there is no such parameter.
    """
    check_choice("parameter", parameter, PARAMETERS)
    low, high = jnp.asarray(-np.inf), jnp.asarray(np.inf)
    if parameter == "slope":
        activation = as_leaky_relu(ansatz.activation)
        if activation is None:
            raise UserError(
                f"parameter 'slope' needs activation ReLU or LeakyReLU; got {ansatz.activation!r}"
            )
        ansatz = ansatz.replace(activation=activation)
        value, high = jnp.asarray(activation.slope), jnp.asarray(1 - _MARGIN)
        increment = {"activation": LeakyReLU(slope=jnp.asarray(1.0))}
    elif parameter == "correlation":
        value, high = ansatz.correlation, jnp.asarray(1 - _MARGIN)
        others = jnp.sum(ansatz.sizes) - 1
        low = jnp.where(others > 0, -high / jnp.where(others > 0, others, 1), low)
        increment = {"correlation": jnp.asarray(1.0)}
    else:
        growth = _growth(ansatz, parameter)
        value = ansatz.sizes[1] if parameter == "anti_aligned" else jnp.sum(ansatz.sizes)
        left = ansatz.sizes - SMALLEST_BLOCK  # by how much each block may shrink
        low = value - jnp.min(jnp.where(growth > 0, left, np.inf))
        high = jnp.minimum(LARGEST_SIZE, value + jnp.min(jnp.where(growth < 0, left, np.inf)))
        increment = {"sizes": jnp.asarray(growth)}
    arrays = jax.tree.map(jnp.asarray, ansatz)
    increments = jax.tree.map(jnp.zeros_like, arrays).replace(**increment)
    base = jax.tree.map(lambda a, b: a - value * b, arrays, increments)
    return ParameterLine(base, increments), Range(value, low, high)


def _growth(ansatz: BlockAnsatz, parameter: str) -> np.ndarray:
    """Return by how much each size grows with the parameter.

    Raises UserError if the ansatz has no such parameter.
    """
    blocks, matched = ansatz.sizes.shape[0], ansatz.matched
    if parameter == "anti_aligned":
        if matched != (0, 1) or blocks != 2:
            raise UserError(
                "parameter 'anti_aligned' needs two blocks of teachers of sizes (M − α, α), students "
                f"matched to each, matched = (0, 1); got sizes {ansatz.sizes.tolist()}, matched = {matched}"
            )
        return np.array([-1.0, 1.0])
    matched_once = [block for block in matched if matched.count(block) == 1]
    if not matched_once:
        raise UserError(
            "parameter 'teachers' needs a block of teachers matched by one block of students, which "
            f"grows with it; got matched = {matched}"
        )
    return np.eye(blocks)[matched_once[0]]
