"""Matrices in blocks: constant on each block but for a diagonal. Their products cost what the blocks do."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Blocks(NamedTuple):
    """A matrix in blocks: constants, plus a number on the diagonal where rows and columns are of one group.

    Entry ((u, i), (w, j)) is `const[u, w] + same[u, w]·[i = j]`.
    """

    const: Float[Array, "U V"]
    same: Float[Array, "U V"]

    @property
    def T(self) -> "Blocks":
        """The transposed matrix."""
        return Blocks(self.const.T, self.same.T)

    @property
    def diagonal(self) -> Float[Array, "U V"]:
        """The entries at equal indices, where rows and columns are of one group."""
        return self.const + self.same

    def plus(self, other: "Blocks") -> "Blocks":
        """The sum."""
        return Blocks(self.const + other.const, self.same + other.same)

    def times(self, other: "Blocks", size: Float[Array, " V"]) -> "Blocks":
        """The product, where the inner blocks have these sizes."""
        const = (
            (self.const * size[None, :]) @ other.const
            + self.same @ other.const
            + self.const @ other.same
        )
        return Blocks(const, self.same @ other.same)
