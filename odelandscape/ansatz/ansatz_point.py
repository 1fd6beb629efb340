"""A point of a block ansatz: the blocks, values of their parameters, and a name."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from .block_ansatz import BlockAnsatz
from .block_matrix import BlockMatrix
from .lifting import lift, write_overlaps
from .reduced_loss import block_overlaps


class AnsatzPoint(eqx.Module):
    """A point of a block ansatz, not necessarily a fixed point.

    - `ansatz`: the blocks. `parameters` (P,): z, in the order of `ansatz.names`.
    - `name`: of the family that it belongs to or is near to, "" if it has none. Static.

    Raises UserError if there are not as many parameters as the ansatz has.
    """

    ansatz: BlockAnsatz
    parameters: Float[Array, " P"] = eqx.field(converter=lambda z: jnp.asarray(z, dtype=float))
    name: str = eqx.field(static=True, default="")

    def __check_init__(self):
        check_parameter_count("parameters", self.ansatz, self.parameters)

    @property
    def weights(self) -> Weights:
        """W (K, M) and v. Raises UserError if K·M is above 2²⁶ or a size is not whole."""
        return lift(self.ansatz, self.parameters)

    @property
    def overlaps(self) -> OrderParameters:
        """Q (K, K), R (K, M) and v. Raises what `weights` raises."""
        return write_overlaps(self.ansatz, *self.block_overlaps)

    @property
    def block_overlaps(self) -> tuple[BlockMatrix, BlockMatrix]:
        """Q and R in blocks, at a cost that doesn't grow with the sizes."""
        return block_overlaps(self.ansatz, self.parameters)

    def count_anti_aligned(self) -> int | None:
        """Return how many students have a negative overlap with their teacher: matched students with the one
        that they overlap most with in their own block, free students with the one in any.

        With an odd activation overlaps count with the sign of v v*; None with an even one, see
        `model.alignment`.
        """
        if self.ansatz.activation.even:
            return None
        _, R = self.block_overlaps
        sign = 1.0
        if self.ansatz.activation.odd:
            v, teacher = np.asarray(self.ansatz.readout), np.asarray(self.ansatz.teacher_readout)
            sign = np.sign(v)[:, None] * np.sign(teacher)
        diagonal, const = sign * np.asarray(R.diagonal), sign * np.asarray(R.const)
        sizes, count = np.asarray(self.ansatz.sizes), 0.0
        for s, b in enumerate(self.ansatz.matched):
            swapped = abs(const[s, b]) > abs(diagonal[s, b]) and sizes[b] > 1
            count += sizes[b] * ((const if swapped else diagonal)[s, b] < 0)
        for row in const[len(self.ansatz.matched) :]:
            count += row[np.argmax(np.abs(row))] < 0
        return round(count)


def ansatz_of(given: BlockAnsatz | AnsatzPoint) -> BlockAnsatz:
    """Return the blocks of a point, or blocks as they are."""
    return given.ansatz if isinstance(given, AnsatzPoint) else given


def check_parameter_count(argument: str, ansatz: BlockAnsatz, z: Array) -> None:
    """Raise UserError, naming the argument, unless z has one number for each parameter of the ansatz."""
    if z.shape != (ansatz.count,):
        raise UserError(
            f"{argument} must have {ansatz.count} numbers ({'; '.join(ansatz.names)}); "
            f"got {'×'.join(map(str, z.shape)) or 'one'}"
        )
