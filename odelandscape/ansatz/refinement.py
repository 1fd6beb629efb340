"""Blocks split into finer ones with the same weights, as the Hessian needs them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .block_ansatz import AbstractBlocks, FormalBlocks
from .block_matrix import BlockMatrix

PARTS_PER_BLOCK = 5
"""Parts that a refinement makes of a block: four single units and the others."""


def refined(blocks: AbstractBlocks) -> FormalBlocks:
    """Return each block of p teachers, and the students matched to it, split into {1, 1, 1, 1, p − 4}.

    Where p < 4 the last size is not positive: as multiplicities are polynomials in the sizes, second
    derivatives along what changes only the first p are right all the same.
    """
    ones = jnp.ones((blocks.sizes.shape[0], PARTS_PER_BLOCK - 1))
    others = (blocks.sizes - (PARTS_PER_BLOCK - 1))[:, None]
    return FormalBlocks(
        matched=refined_matches(blocks.matched),
        free=blocks.free,
        sizes=jnp.concatenate([ones, others], axis=1).ravel(),
        activation=blocks.activation,
        correlation=blocks.correlation,
        readout=blocks.readout[_coarse_students(blocks)],
        teacher_readout=jnp.repeat(blocks.teacher_readout, PARTS_PER_BLOCK),
    )


def refine(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, " P5"]:
    """Return the parameters of `refined` blocks for the same weights."""
    A = blocks.coefficients(z)
    rows = _coarse_students(blocks)
    columns = np.repeat(np.arange(blocks.sizes.shape[0]), PARTS_PER_BLOCK)
    fine = refined(blocks)
    at = np.ix_(rows, columns)
    return fine.parameters_of(BlockMatrix(A.const[at], jnp.asarray(fine.own) * A.same[at]))


def refined_matches(matched: tuple[int, ...]) -> tuple[int, ...]:
    """Return the parts of the blocks of teachers that `refined` matches its blocks of students to."""
    return tuple(PARTS_PER_BLOCK * b + k for b in matched for k in range(PARTS_PER_BLOCK))


def _coarse_students(blocks: AbstractBlocks) -> np.ndarray:
    """Return, for each student block of `refined`, the one it is a part of."""
    matched = len(blocks.matched)
    return np.concatenate(
        [np.repeat(np.arange(matched), PARTS_PER_BLOCK), matched + np.arange(blocks.free)]
    )
