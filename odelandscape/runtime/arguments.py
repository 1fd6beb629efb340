"""Checks of arguments that several rooms share, without JAX."""

from typing import TypeVar

import numpy as np

from .errors import UserError

T = TypeVar("T")


def shown(value: object) -> str:
    """Return a value as a message gives it: a class and an array in words, anything else cut off after 80
    characters."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
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


def check_whole_number(name: str, value: object, least: int) -> int:
    """Return `value` as an int.

    Raises UserError, naming the argument, unless it is a whole number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def check_positive_number(name: str, value: object) -> None:
    """Raise UserError, naming the argument, unless `value` is one finite number above 0.

    Arrays without axes count as numbers. (Of a traced array there is nothing to check.)
    """
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "iuf" or not 0 < float(array) < np.inf:
        raise UserError(f"{name} must be a finite number above 0; got {value!r}")
