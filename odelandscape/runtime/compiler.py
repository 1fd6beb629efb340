"""What XLA's CPU compiler needs to be told, and where its programs are kept."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

COMPILER_OPTIONS = {"xla_cpu_prefer_vector_width": 512}
"""Of programs that do much arithmetic: whole vector registers, where the processor has such long ones. (The
compiler's own choice is half of that.)"""
_RUN = 8


def materialize(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x, worked out once and kept.

    The compiler works an array out again wherever it is used, for each product it is in, unless it ends in
    something that it takes for expensive. Here that is a division by a 1 that it cannot know to be one. (An
    `optimization_barrier` is gone by the time it decides this.)
    """
    return x / jnp.where(jnp.isnan(x), 2.0, 1.0)


def sum_in_chunks(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The sum along an axis that isn't the last, in short runs.

    The compiler fuses what is summed with the loop of the sum. Only a loop that is short enough to be
    unrolled leaves the last axis innermost, where it is vectorised. (Of eight lanes, the loop over them is
    unrolled as well, and runs gain nothing.)
    """
    n = x.shape[axis]
    if x.shape[-1] <= 8:
        return jnp.sum(x, axis=axis)
    runs = (jax.lax.slice_in_dim(x, i, min(i + _RUN, n), axis=axis) for i in range(0, n, _RUN))
    return functools.reduce(jnp.add, (jnp.sum(run, axis=axis) for run in runs))
