"""Matrices in blocks: constant on each block but for a diagonal. Their products cost what the blocks do."""

from typing import NamedTuple

from jaxtyping import Array, Float


class BlockMatrix(NamedTuple):
    """A matrix in blocks: constants, plus a number on the diagonal where rows and columns are of one group.

    Entry ((u, i), (w, j)) is `const[u, w] + same[u, w]·[i = j]`.
    """

    const: Float[Array, "U V"]
    same: Float[Array, "U V"]

    @property
    def T(self) -> "BlockMatrix":
        """The transposed matrix."""
        return BlockMatrix(self.const.T, self.same.T)

    @property
    def diagonal(self) -> Float[Array, "U V"]:
        """The entries at equal indices, where rows and columns are of one group."""
        return self.const + self.same

    def plus(self, other: "BlockMatrix") -> "BlockMatrix":
        """Return the sum."""
        return BlockMatrix(self.const + other.const, self.same + other.same)

    def times(self, other: "BlockMatrix", size: Float[Array, " V"]) -> "BlockMatrix":
        """Return the product, where the inner blocks have these sizes."""
        const = (
            (self.const * size[None, :]) @ other.const
            + self.same @ other.const
            + self.const @ other.same
        )
        return BlockMatrix(const, self.same @ other.same)
