"""The parameters along which a branch can be continued."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..activations.relu import LeakyReLU, ReLU
from ..ansatz.block_ansatz import BlockAnsatz
from ..runtime.errors import UserError

PARAMETERS = ("teachers", "anti_aligned", "slope", "correlation")
SMALLEST_BLOCK, WIDEST = 1 + 1e-6, 1e8
"""Where branches in a size end: a matched block of one has a parameter that no student has, and so wide
a network leaves few digits of its gradient."""
_MARGIN = 1e-3  # from the slope of a linear network, and from a singular T


class Line(NamedTuple):
    """The ansatz at each value of the parameter: `base` at 0, and what a `unit` of the parameter adds."""

    base: BlockAnsatz
    unit: BlockAnsatz

    def at(self, value) -> BlockAnsatz:
        """The ansatz where the parameter has this value."""
        return jax.tree.map(lambda a, b: a + value * b, self.base, self.unit)

    def scale(self, value) -> Float[Array, ""]:
        """A change of the parameter that counts as 1: the smallest size that moves, if any does."""
        still = self.unit.sizes == 0
        smallest = jnp.min(jnp.where(still, jnp.inf, self.at(value).sizes))
        return jnp.where(jnp.all(still), 1.0, smallest)


def _growth(ansatz: BlockAnsatz, parameter: str) -> tuple[np.ndarray, float]:
    """By how much each size grows with the parameter, and the parameter's value. Raises ValueError if
    the ansatz has no such parameter."""
    sizes, matched = np.asarray(ansatz.sizes), ansatz.matched
    if parameter == "anti_aligned":
        if matched != (0, 1) or sizes.size != 2:
            raise UserError(
                "parameter 'anti_aligned' needs two blocks of teachers of sizes (M − α, α), students "
                f"matched to each, matched = (0, 1); got sizes {sizes.tolist()}, matched = {matched}"
            )
        return np.array([-1.0, 1.0]), float(sizes[1])
    once = [block for block in matched if matched.count(block) == 1]
    if not once:
        raise UserError(
            "parameter 'teachers' needs a block of teachers matched by one block of students, which "
            f"grows with it; got matched = {matched}"
        )
    return np.eye(sizes.size)[once[0]], float(sizes.sum())


def parameter_line(ansatz: BlockAnsatz, parameter: str) -> tuple[Line, float, tuple[float, float]]:
    """The ansatz along a parameter, the parameter's value, its least and its largest. Raises ValueError
    if there is no such parameter."""
    if parameter not in PARAMETERS:
        raise UserError(f"parameter must be one of {', '.join(PARAMETERS)}; got {parameter!r}")
    low, high = -np.inf, np.inf
    if parameter == "slope":
        if isinstance(ansatz.activation, ReLU):
            ansatz = ansatz.replace(activation=LeakyReLU(slope=0.0))
        if not isinstance(ansatz.activation, LeakyReLU):
            raise UserError(
                f"parameter 'slope' needs activation ReLU or LeakyReLU; got {ansatz.activation!r}"
            )
        value, high = float(ansatz.activation.slope), 1 - _MARGIN
        unit = {"activation": LeakyReLU(slope=jnp.asarray(1.0))}
    elif parameter == "correlation":
        value, high = float(ansatz.correlation), 1 - _MARGIN
        others = float(jnp.sum(ansatz.sizes)) - 1
        low = -high / others if others > 0 else low
        unit = {"correlation": jnp.asarray(1.0)}
    else:
        growth, value = _growth(ansatz, parameter)
        high = WIDEST
        for size, grows in zip(np.asarray(ansatz.sizes).tolist(), growth, strict=True):
            if grows > 0:
                low = max(low, value - (size - SMALLEST_BLOCK))
            elif grows < 0:
                high = min(high, value + (size - SMALLEST_BLOCK))
        unit = {"sizes": jnp.asarray(growth)}
    here = jax.tree.map(jnp.asarray, ansatz.replace(start=None, branch=""))
    adds = jax.tree.map(jnp.zeros_like, here).replace(**unit)
    base = jax.tree.map(lambda a, b: a - value * b, here, adds)
    return Line(base, adds), value, (low, high)
