"""What XLA's CPU compiler needs to be told, and where its programs are kept."""

import functools
import hashlib
import platform
from contextlib import suppress
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .selfcheck import cache_folder

OPTIONS = {"xla_cpu_prefer_vector_width": 512}
"""Of programs that do much arithmetic: whole vector registers, where the processor has such long ones. (The
compiler's own choice is half of that.)"""

_RUN = 8


def once(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x, worked out once and kept.

    The compiler works an array out again wherever it is used, for each product it is in, unless it ends in
    something that it takes for expensive. Here that is a division by a 1 that it cannot know to be one. (An
    `optimization_barrier` is gone by the time it decides this.)
    """
    return x / jnp.where(jnp.isnan(x), 2.0, 1.0)


def total(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
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


def keep_programs() -> None:
    """Keep compiled programs in the user's cache, for this and later processes. For applications: it changes
    JAX's settings, unless the user has chosen a folder (`JAX_COMPILATION_CACHE_DIR`).

    A folder serves one kind of processor: programs are written for its registers.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        folder = cache_folder() / "programs" / _processor()
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # Each program that is loaded is reported as an error: two of the features that the compiler names are
        # preferences and not in the processor's list.
        jax.config.update("jax_logging_level", "CRITICAL")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    said = platform.processor() + platform.machine()
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        said += "".join(
            sorted({x for x in lines if x.startswith(("model name", "flags", "Features"))})
        )
    return hashlib.sha256(said.encode()).hexdigest()[:16]
