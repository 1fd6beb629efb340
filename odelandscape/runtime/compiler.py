"""Options and idioms for XLA's CPU compiler, threads, and the precision that results require."""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from .errors import UserError

# Newer versions of XLA hand reductions to a kernel library, which breaks the loops apart; and the last bits
# of a lane then depend on the batch that it is in.
_NO_LIBRARY = {"xla_cpu_experimental_ynn_fusion_type": ""}
# Vectors of 512 bits, where the processor has such registers; the compiler's own choice is half.
_WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}
_CHUNK = 8


@functools.cache
def compiler_options(wide: bool = True) -> dict[str, int | str]:
    """Return the options for programs of many lanes, as far as the installed XLA has them.

    - `wide`: whole vector registers, for programs dominated by arithmetic.
    """
    wanted = {**(_NO_LIBRARY if _reduces_by_library() else {}), **(_WIDE_VECTORS if wide else {})}
    found = {}
    for name, value in wanted.items():
        with suppress(jax.errors.JaxRuntimeError):
            jax.jit(jnp.negative, compiler_options={name: value}).lower(0.0).compile()
            found[name] = value
    return found


def _reduces_by_library() -> bool:
    squares = jax.jit(lambda x: jnp.sum(x * x, axis=0)).lower(jnp.zeros((8, 8, 64)))
    return "__ynn_fusion" in str(squares.compile().as_text())


def program(function: Callable, wide: bool = True, **options) -> Callable:
    """Return the function compiled by `jax.jit` with `compiler_options(wide)` and `options` of `jax.jit`.

    The compiler's options are looked up at the first call and not when a module is imported.
    """

    @functools.cache
    def compiled() -> Callable:
        return jax.jit(function, compiler_options=compiler_options(wide), **options)

    @functools.wraps(function)
    def call(*args):
        return compiled()(*args)

    return call


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


@contextmanager
def known_numbers() -> Iterator[None]:
    """Let operations on known numbers have numbers inside a program that is being traced, too.

    Outside of one nothing is changed: what JAX compiles in that context is not found again out of it.
    """
    traced = isinstance(jnp.zeros(()), Tracer)
    with jax.ensure_compile_time_eval() if traced else nullcontext():
        yield


def host_device() -> jax.Device | None:
    """Return the processor as a device, where JAX's default is another one; else None.

    What is small, and done for one point after another, takes less time there.
    """
    if jax.default_backend() == "cpu":
        return None
    with suppress(RuntimeError):
        return jax.local_devices(backend="cpu")[0]
    return None


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


def check_float64(why: str) -> None:
    """Raise UserError, beginning with `why`, unless JAX computes in float64."""
    if not jax.config.read("jax_enable_x64"):
        raise UserError(
            f"{why}, which float32 cannot give: call "
            'jax.config.update("jax_enable_x64", True) before anything else'
        )
