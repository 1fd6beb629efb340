"""What XLA's CPU compiler needs to be told."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def once(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x, worked out once and kept.

    The compiler works an array out again wherever it is used, for each product it is in, unless it ends in
    something that it takes for expensive. Here that is a division by a 1 that it cannot know to be one. (An
    `optimization_barrier` is gone by the time it decides this.)
    """
    return x / jnp.where(jnp.isnan(x), 2.0, 1.0)
