"""Matrices in blocks: constant on each block but for a diagonal. Their products cost what the blocks do."""

from typing import Any, NamedTuple

from jaxtyping import Shaped


class BlockMatrix(NamedTuple):
    """A matrix in blocks: constants, plus a number on the diagonal where rows and columns are of one group.

    Entry ((u, i), (w, j)) is `const[u, w] + same[u, w]·[i = j]`. Of arrays of JAX, or NumPy's of any numbers.
    """

    const: Shaped[Any, "U V"]
    same: Shaped[Any, "U V"]

    @property
    def T(self) -> "BlockMatrix":
        """The transposed matrix."""
        return BlockMatrix(self.const.T, self.same.T)

    @property
    def diagonal(self) -> Shaped[Any, "U V"]:
        """The entries at equal indices, where rows and columns are of one group."""
        return self.const + self.same

    def plus(self, other: "BlockMatrix") -> "BlockMatrix":
        """Return the sum."""
        return BlockMatrix(self.const + other.const, self.same + other.same)

    def times(self, other: "BlockMatrix", size: Shaped[Any, " V"]) -> "BlockMatrix":
        """Return the product, where the inner blocks have these sizes."""
        const = (
            (self.const * size[None, :]) @ other.const
            + self.same @ other.const
            + self.const @ other.same
        )
        return BlockMatrix(const, self.same @ other.same)
