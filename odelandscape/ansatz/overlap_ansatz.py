r"""The block ansatz in the order parameters Q and R, as the paper writes it.

`block_ansatz` needs fewer numbers where the students lie in the teacher's span, and keeps more digits;
here they may reach beyond it.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..model.state import OrderParameters
from .ansatz_point import ansatz_of
from .block_ansatz import BlockAnsatz
from .block_matrix import BlockMatrix
from .lifting import write_overlaps
from .reduced_loss import rate_matrices


class OverlapAnsatz(eqx.Module):
    """The same blocks in the order parameters Q and R (paper, Appendix B.2: 11 unknowns for two blocks).

    Here students may reach beyond the teacher's span (d > M). The parameters y are those of R, then of
    Q: for each student block its square and, between different students, its overlap; then the overlap of
    each two blocks, and of students matched to the same teacher where two blocks are.

    - `blocks`: an ansatz, or a point of one, of which the blocks are taken.
    """

    blocks: BlockAnsatz = eqx.field(converter=ansatz_of)

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows and columns of Q's constants, and of its diagonals, that are free (upper triangle)."""
        own = self.blocks.own
        S, matched = len(own), len(self.blocks.matched)
        shared = np.maximum(own @ own.T, np.eye(S)) > 0
        upper = np.triu(np.ones((S, S), bool))
        several = upper & ~(np.eye(S, dtype=bool) & (np.arange(S) >= matched)[:, None])
        (i, j), (m, n) = np.nonzero(several), np.nonzero(upper & shared)
        return i, j, m, n

    @property
    def count(self) -> int:
        """The number of parameters."""
        rows, _, same_rows, _ = self._pairs
        return self.blocks.count + len(rows) + len(same_rows)

    def parameters(self, Q: BlockMatrix, R: BlockMatrix) -> Float[Array, " P"]:
        """Return y of these overlaps (those of a point: `AnsatzPoint.block_overlaps`)."""
        i, j, m, n = self._pairs
        return jnp.concatenate([self.blocks.parameters_of(R), Q.diagonal[m, n], Q.const[i, j]])

    def matrices(self, y: Float[Array, " P"]) -> tuple[BlockMatrix, BlockMatrix]:
        """Return Q and R in blocks."""
        i, j, m, n = self._pairs
        S = self.blocks.own.shape[0]
        of_R, diagonal, const = jnp.split(y, [self.blocks.count, self.blocks.count + len(m)])
        zero = jnp.zeros((S, S))
        C = zero.at[i, j].set(const).at[j, i].set(const)
        D = zero.at[m, n].set(diagonal).at[n, m].set(diagonal)
        shared = zero.at[m, n].set(1).at[n, m].set(1)
        return BlockMatrix(C, shared * (D - C)), self.blocks.coefficients(of_R)

    def field(self, y: Float[Array, " P"]) -> Float[Array, " P"]:
        """Return the rates of y under gradient flow: Ṙ = −XR − YT and Q̇ = −(XQ + YRᵀ) + transpose."""
        Q, R = self.matrices(y)
        X, Y = rate_matrices(self.blocks, Q, R)
        n, m = self.blocks.student_sizes, self.blocks.sizes
        half = X.times(Q, n).plus(Y.times(R.T, m))
        of_R = X.times(R, n).plus(Y.times(self.blocks.teacher_overlaps, m))
        return -self.parameters(half.plus(half.T), of_R)

    def lift(self, y: Float[Array, " P"]) -> OrderParameters:
        """Return the order parameters, students and teachers block by block."""
        return write_overlaps(self.blocks, *self.matrices(y))
