"""Checks of arguments that several rooms share, without JAX.

Each raises UserError in one sentence: the argument, what is allowed, and what was given. Traced arrays have a
type and a shape, and no numbers to check.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import UserError

T = TypeVar("T")


def shown(value: object) -> str:
    """Return a value as a message gives it: a class and an array in words, anything else cut off after 80
    characters."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and "Tracer" in type(value).__name__:
        return f"a number traced by jit, vmap or grad, of shape {shape}"
    if isinstance(shape, tuple) and shape and dtype is not None:
        return f"an array of shape {shape} and type {dtype}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a class of the user's, or an int with more digits than Python prints
        text = f"an object of the class {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}…"


def check_instance(
    name: str, value: object, kind: type[T] | tuple[type[T], ...], allowed: str
) -> T:
    """Return `value`.

    Raises UserError unless it is an instance of `kind`, which `allowed` says in words.
    """
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {allowed}; got {shown(value)}")
    return value


def check_whole_number(name: str, value: object, least: int, most: int | None = None) -> int:
    """Return `value` as an int.

    Raises UserError unless it is a whole number of at least `least`, and at most `most` if that is given.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if least <= value and (most is None or value <= most):
            return int(value)
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise UserError(f"{name} must be a whole number {allowed}; got {shown(value)}")


def check_real_numbers(name: str, value: object, allowed: str = "real numbers") -> np.ndarray:
    """Return real numbers (a number, a list, an array) as an array of NumPy.

    Raises UserError for anything else: text, truth values, complex numbers, lists of unequal length, and
    arrays that are traced.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind in "iuf":
            return array.astype(float)
    except (TypeError, ValueError, OverflowError):  # JAX's error for traced arrays is a TypeError
        pass
    raise UserError(f"{name} must be {allowed}; got {shown(value)}")


def check_number(name: str, value: object, allowed: str = "a number") -> float:
    """Return one real number, or an array without axes, as a float. Raises UserError for anything else."""
    array = check_real_numbers(name, value, allowed)
    if array.shape != ():
        raise UserError(f"{name} must be {allowed}; got {shown(value)}")
    return float(array)


def check_positive_number(name: str, value: object) -> None:
    """Raise UserError unless `value` is one finite number above 0."""
    allowed = "a finite number above 0"
    if not 0 < check_number(name, value, allowed) < np.inf:
        raise UserError(f"{name} must be {allowed}; got {shown(value)}")


def check_bound(name: str, value: object) -> None:
    """Raise UserError unless `value` is one finite number of at least 0."""
    allowed = "a finite number of at least 0"
    if not 0 <= check_number(name, value, allowed) < np.inf:
        raise UserError(f"{name} must be {allowed}; got {shown(value)}")


def check_choice(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise UserError unless `value` is one of these words."""
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{name} must be one of {', '.join(allowed)}; got {shown(value)}")


def check_callback(name: str, value: object) -> None:
    """Raise UserError unless `value` can be called, or is None."""
    if value is not None and not callable(value):
        raise UserError(f"{name} must be a function, or None; got {shown(value)}")


def whole_as_float(value: Any) -> Any:
    """Return an int as the float that it is, and anything else, to be checked later, as it is."""
    return float(value) if type(value) is int and abs(value) < 2**1000 else value


def check_key(name: str, key: object) -> None:
    """Raise UserError unless `key` is one random key of JAX, as `jax.random.key` or `PRNGKey` makes it."""
    dtype, shape = str(getattr(key, "dtype", "")), getattr(key, "shape", None)
    if not (dtype.startswith("key<") and shape == ()) and (dtype, shape) != ("uint32", (2,)):
        raise UserError(f"{name} must be one key such as jax.random.key(0); got {shown(key)}")


def check_folder(name: str, value: object) -> Path:
    """Return `value` as a path. Raises UserError unless it is text or a path that a folder can have."""
    if not isinstance(value, str | os.PathLike) or not (text := os.fspath(value)) or "\0" in text:
        raise UserError(f"{name} must be the path of a folder; got {shown(value)}")
    return Path(text)


def check_memory(names: str, what: str, size: int) -> None:
    """Raise UserError, naming the arguments, if `what` needs more bytes than this machine has memory."""
    if not hasattr(os, "sysconf"):
        return
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > have:
        need = f"{size / 2**30:,.0f} GiB" if size < 2**80 else "more bytes than there are"
        raise UserError(
            f"{names} must be smaller: {what} would need {need} of memory, and this machine has "
            f"{have / 2**30:,.0f} GiB"
        )
