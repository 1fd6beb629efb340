"""Objects that hold functions, as bytes for another process."""

import io
import pickle
from types import FunctionType
from typing import Any

from .errors import UserError
from .registry import load


def function_place(function: object) -> str | None:
    """Return the place `module:name` from which a function can be imported; None if there is none."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or "<" in name:
        return None
    try:
        found = load(f"{module}:{name}")
    except UserError:
        return None
    return f"{module}:{name}" if found is function else None


class _Pickler(pickle.Pickler):
    """A pickler that names functions which JAX has wrapped (`jnp.tanh`), as pickle itself does others."""

    def reducer_override(self, obj: Any):
        if callable(obj) and not isinstance(obj, type | FunctionType):
            place = function_place(obj)
            if place is not None:
                return load, (place,)
        return NotImplemented


def packed(value: object) -> bytes | None:
    """Return a value as bytes, which `pickle.loads` reads where its classes and functions can be imported.

    None for one that holds a function or a class without a place.
    """
    stream = io.BytesIO()
    try:
        _Pickler(stream).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return stream.getvalue()
