"""Idioms for the compiler change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from odelandscape.runtime.compiler import materialize, sum_in_chunks


@pytest.mark.parametrize("terms", [1, 7, 8, 9, 17])
@pytest.mark.parametrize("lanes", [3, 8, 64])
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_in_chunks_are_sums(terms, lanes, axis):
    x = np.random.default_rng(0).normal(size=(terms, 5, lanes)).swapaxes(0, axis)
    got = jax.jit(lambda x: sum_in_chunks(x, axis))(jnp.asarray(x))
    np.testing.assert_allclose(got, x.sum(axis=axis), rtol=1e-13, atol=1e-14)


def test_materialised_arrays_are_unchanged_and_so_are_their_derivatives():
    x = jnp.array([0.0, -0.0, 1.5, -2e300, jnp.inf, -jnp.inf, jnp.nan])
    np.testing.assert_array_equal(materialize(x), x)
    assert jax.grad(lambda x: materialize(x) ** 2)(3.0) == 6
