"""Threads that compute as the one that starts them."""

import os
from concurrent.futures import ThreadPoolExecutor

import jax


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_pool(count: int) -> ThreadPoolExecutor:
    """Return a pool of so many threads, with the precision and the device of this one.

    What `with jax.enable_x64(True)` sets is set for the thread that does so alone.
    """
    wide, device = jax.config.read("jax_enable_x64"), _default_device()

    def begin() -> None:
        # Not left again: a thread's own settings end with it.
        if jax.config.read("jax_enable_x64") != wide:
            jax.enable_x64(wide).__enter__()
        if _default_device() != device:
            jax.default_device(device).__enter__()

    return ThreadPoolExecutor(count, initializer=begin)


def _default_device() -> object:
    return jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
