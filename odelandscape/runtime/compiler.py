"""Options and idioms for XLA's CPU compiler."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

COMPILER_OPTIONS = {"xla_cpu_prefer_vector_width": 512}
"""For programs dominated by arithmetic: vectors of 512 bits, where the processor has such registers. (The
compiler's own choice is half of that.)"""
_CHUNK = 8


def materialize(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return x, computed once and stored.

    The compiler fuses an array into each of its uses and computes it anew there, unless its last operation
    counts as expensive. Here that is a division by 1, written so that the compiler cannot simplify it. (An
    `optimization_barrier` is removed before fusion is decided.)
    """
    return x / jnp.where(jnp.isnan(x), 2.0, 1.0)


def sum_in_chunks(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Return the sum along an axis that isn't the last, in chunks of eight terms.

    The compiler fuses the summands with the loop of the sum. Only a loop that is short enough to be
    unrolled leaves the last axis innermost, where it is vectorised. (For eight lanes or fewer the loop over
    lanes is unrolled as well, and chunks are no faster.)
    """
    n = x.shape[axis]
    if x.shape[-1] <= 8:
        return jnp.sum(x, axis=axis)
    chunks = (
        jax.lax.slice_in_dim(x, i, min(i + _CHUNK, n), axis=axis) for i in range(0, n, _CHUNK)
    )
    return functools.reduce(jnp.add, (jnp.sum(chunk, axis=axis) for chunk in chunks))
