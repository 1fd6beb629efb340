"""Threads that compute as the one that starts them."""

import jax
import jax.numpy as jnp
import pytest

from odelandscape.runtime.compiler import cores, thread_pool


@pytest.mark.parametrize("wide", [False, True])
def test_threads_have_the_precision_of_a_with_block(wide):
    """The kind: a setting of `with` is that of one thread."""
    with jax.enable_x64(wide), thread_pool(2) as threads:
        found = [threads.submit(lambda: jnp.zeros(()).dtype) for _ in range(4)]
        assert {one.result() for one in found} == {jnp.dtype("float64" if wide else "float32")}


def test_threads_have_the_device_of_a_with_block():
    device = jax.devices()[-1]
    with jax.default_device(device), thread_pool(1) as threads:
        assert threads.submit(lambda: jnp.zeros(()).devices()).result() == {device}


def test_there_is_a_core():
    assert cores() >= 1
