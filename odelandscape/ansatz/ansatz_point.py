"""A point of a block ansatz: the blocks, values of their parameters, and the family's name."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..model.alignment import alpha_text
from ..model.state import OrderParameters, Weights
from ..runtime.compiler import known_numbers
from ..runtime.errors import UserError
from .block_ansatz import BlockAnsatz, is_written_out
from .block_matrix import BlockMatrix
from .lifting import lift, write_overlaps
from .reduced_loss import block_overlaps

TEACHER, COMPENSATED, HIDDEN = "teacher", "compensated", "hidden"
EXTRA, SPLIT_UNIT = "extra student", "split student"
BRANCHES = (COMPENSATED, HIDDEN, EXTRA, SPLIT_UNIT)
"""The named branches, see `landscape.named_families`. A family is named by its branch and its α."""

_SHOWN = 8  # parameters that are printed


class AnsatzPoint(eqx.Module):
    """A point of a block ansatz, not necessarily a fixed point.

    - `ansatz`: the blocks. `parameters` (P,): z, in the order of `ansatz.names`.
    - `name`: of the branch that it lies on or is near to, such as `teacher` or `compensated`; of a branch
      without a name the blocks in words (`describe`); "" where nobody has looked. Also as `branch`. Static.
    - `anti_aligned`: α, the number of anti-aligned students.

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

    def __repr__(self) -> str:
        if not is_written_out(self):
            return eqx.tree_pformat(self)
        return f"AnsatzPoint {self.title}\n{self.numbers}"

    @property
    def title(self) -> str:
        """The family and the blocks in one line."""
        name = f"{self.name}, " if self.name and self.name != self.ansatz.name else ""
        K, M = self.ansatz.students, float(np.sum(np.asarray(self.ansatz.sizes)))
        alpha = alpha_text(self.anti_aligned)
        return f"({name}α = {alpha}; K = {K:g}, M = {M:g}; {self.ansatz.name})"

    @property
    @known_numbers()
    def numbers(self) -> str:
        """The parameters by name, at most eight of them, in one line."""
        named = [
            f"{name} {float(value):.6g}"
            for name, value in zip(self.ansatz.names[:_SHOWN], self.parameters, strict=False)
        ]
        more = self.ansatz.count - _SHOWN
        return "  " + "; ".join([*named, *([f"… and {more} more"] if more > 0 else [])])

    @property
    def branch(self) -> str:
        """The name of the branch."""
        return self.name

    @property
    @known_numbers()
    def anti_aligned(self) -> int | None:
        """α: on the compensated and the hidden branch the students of the block whose diagonal is negative,
        elsewhere `count_anti_aligned`; None with an even activation."""
        if self.name not in (COMPENSATED, HIDDEN) or self.ansatz.activation.even:
            return self.count_anti_aligned()
        # There the few aligned students may overlap more with each other's teachers than with their own.
        A = self.ansatz.coefficients(self.parameters)
        diagonal, sizes = np.asarray(A.diagonal), np.asarray(self.ansatz.sizes)
        alone = [b for b in range(len(sizes)) if b not in self.ansatz.matched]
        own = enumerate((*self.ansatz.matched, *alone))
        return round(sum(float(sizes[b]) for s, b in own if diagonal[s, b] < 0))

    @known_numbers()
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
