"""A self-test of the installed jax: programs with known answers, before any result is computed.

jax and jaxlib 0.10.2 compute wrong numbers on CPU without an error, and which ones depends on the
machine: arctan only where the compiler uses 512-bit vectors. Other versions may be wrong in ways not
yet reported. The command line therefore calls `ensure_numbers` before anything else.
"""

import math
import os
import platform
from contextlib import suppress
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np

from .cache import cache_folder
from .compiler import known_numbers
from .errors import OperationError

_BROKEN_VERSION = "0.10.2"


def _versions() -> tuple[str, str]:
    return jax.__version__, jaxlib.version.__version__


def _dtype_and_device() -> tuple[np.dtype, str]:
    """Return dtype and device of new arrays; unlike JAX's flags, these follow its context managers."""
    probe = jnp.zeros(())
    (device,) = probe.devices()
    return probe.dtype, f"{device.platform} ({device.device_kind})"


class WrongNumbersError(OperationError):
    """The installed jax computes wrong numbers, by known answer or by name."""

    def __init__(self, what: str):
        jax_, jaxlib_ = _versions()
        super().__init__(
            f"jax {jax_} with jaxlib {jaxlib_} computes wrong numbers: {what}. Install another "
            f'version: python3 -m pip install "jax!={jax_}" "jaxlib!={jaxlib_}"'
        )


# Whole numbers below 2⁸ are exact in every precision that a matrix product may use, TF32 and bfloat16
# included: all that can differ is rounding in elementary functions, and errors.
def _matrix_vector(dtype):
    """The program of the report: wrong past 16,384 rows in float64, past 32,768 in float32."""
    x = (np.arange(120_000).reshape(40_000, 3) % 61).astype(dtype)
    matrix = jnp.eye(3, dtype=dtype)
    got = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(x)
    return got, np.sum(x.astype(float) ** 2, axis=1)


def _arctan(dtype):
    x = np.linspace(-3, 3, 200).astype(dtype)
    return jnp.arctan(x), np.array([math.atan(value) for value in x])


def _overlap_kernel(dtype):
    """The operations of this package: Q = X Xᵀ, an arc-cosine kernel of it, and its sum."""

    def total(xp, X):
        n = xp.sqrt(1 + xp.sum(X * X, axis=-1))  # the 1 keeps cosines away from ±1
        scale = n[..., :, None] * n[..., None, :]
        c = X @ xp.swapaxes(X, -1, -2) / scale
        return xp.sum(scale * (xp.sqrt(1 - c * c) + (np.pi - xp.arccos(c)) * c), axis=(-2, -1))

    X = np.random.default_rng(0).integers(-4, 5, (20_000, 4, 6)).astype(dtype)
    return jax.jit(jax.vmap(lambda X: total(jnp, X)))(X), total(np, X.astype(float))


_CHECKS = {
    "a vmapped matrix-vector product and its reduction (jax-ml/jax#39103)": _matrix_vector,
    "arctan of an array (jax-ml/jax#39352)": _arctan,
    "a vmapped matrix product and its arc-cosine kernel (no report known)": _overlap_kernel,
}


@known_numbers()
def check_numbers() -> None:
    """Compare jax with NumPy on known answers, in float64 if that is enabled and in float32 otherwise.

    Raises WrongNumbersError, naming the versions and the check, for a wrong answer, and for 0.10.2
    whatever its answers: they may be wrong on another machine.
    """
    if _BROKEN_VERSION in _versions():
        raise WrongNumbersError(f"{_BROKEN_VERSION} is known for it (jax-ml/jax#39103, #39352)")
    dtype, device = _dtype_and_device()
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for what, run in _CHECKS.items():
        got, truth = run(dtype)
        error = np.max(np.abs(np.asarray(got, float) - truth) / (1 + np.abs(truth)))
        if not error <= tolerance:  # so that NaN fails
            raise WrongNumbersError(f"{what} is off by {error:.1g} on {device}")


def _fingerprint() -> str:
    """Return what a pass depends on: machines may share a home folder, and flags change the programs."""
    machine = f"{platform.node()} {platform.machine()}"
    flags = " ".join(os.environ.get("XLA_FLAGS", "").split())
    return " | ".join([*_versions(), machine, *map(str, _dtype_and_device()), flags, *_CHECKS])


def _cache_file() -> Path:
    return cache_folder() / "numbers-checked.txt"


def ensure_numbers() -> None:
    """Call `check_numbers` once for these versions on this machine and device; raises what it raises.

    Passes are recorded as lines of `odelandscape/numbers-checked.txt` in `$XDG_CACHE_HOME` or
    `~/.cache`. Without a cache that can be read and written the check runs each time.
    """
    fingerprint = _fingerprint()
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        if fingerprint in _cache_file().read_text(encoding="utf-8", errors="replace").splitlines():
            return
    check_numbers()
    with suppress(OSError, RuntimeError):
        _cache_file().parent.mkdir(parents=True, exist_ok=True)
        with _cache_file().open("a", encoding="utf-8") as lines:
            lines.write(fingerprint + "\n")
