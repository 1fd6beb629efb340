"""The parameters along which a branch can be continued."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..activations.relu import LeakyReLU, as_leaky_relu
from ..ansatz.block_ansatz import BlockAnsatz
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


def parameter_line(
    ansatz: BlockAnsatz, parameter: str
) -> tuple[ParameterLine, float, tuple[float, float]]:
    """Return the ansatz along a parameter, the parameter's value, its least and its largest.

    Raises UserError if there is no such parameter.
    """
    if parameter not in PARAMETERS:
        raise UserError(f"parameter must be one of {', '.join(PARAMETERS)}; got {parameter!r}")
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
