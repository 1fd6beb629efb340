"""Which code an object of a user's class runs, whatever it gives at the points where it is tried.

What is compared is compiled code, so that comments, formatting and names of local variables change nothing.
Python's versions compile differently: digests of two of them say nothing about each other.
"""

import hashlib
import inspect
import platform
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

import numpy as np

PYTHON = ".".join(platform.python_version_tuple()[:2])
"""The version of Python whose digests can be compared."""
_SKIPPED = {"__module__", "__doc__", "__qualname__", "__dict__", "__weakref__", "__firstlineno__"}


def digest(found: object) -> str:
    """Return a hash of the code of an object's class, or of a function, as far as it lies in one package.

    It includes methods, what is inherited from classes of the same package, functions and numbers of its
    modules that they name, and what closures hold.
    """
    root = _root(found if isinstance(found, FunctionType) else type(found))
    return hashlib.sha256("\n".join(_parts(found, root, set())).encode()).hexdigest()[:16]


def _root(found: object) -> str:
    return (getattr(found, "__module__", None) or "").partition(".")[0]


def _parts(found: object, root: str, seen: set[int]) -> Iterator[str]:
    """Yield what makes up an object, in words: each function and class once."""
    if isinstance(found, CodeType):
        yield f"code {found.co_code.hex()} {found.co_names} {found.co_freevars}"
        for constant in found.co_consts:
            yield from _parts(constant, root, seen)
    elif isinstance(found, bool | int | float | complex | str | bytes | None):
        yield repr(found)
    elif isinstance(found, tuple | list):
        for part in found:
            yield from _parts(part, root, seen)
    elif isinstance(found, frozenset | set):
        yield repr(sorted(map(repr, found)))
    elif isinstance(found, np.ndarray | np.generic) or hasattr(found, "__jax_array__"):
        yield repr(np.asarray(found).tolist())
    elif isinstance(found, ModuleType):
        yield f"module {found.__name__}"
    elif id(found) not in seen:
        seen.add(id(found))
        yield from _parts_of_code(found, root, seen)
        if not isinstance(found, FunctionType | type):
            seen.remove(id(found))  # an instance, of which there may be equal ones


def _parts_of_code(found: object, root: str, seen: set[int]) -> Iterator[str]:
    inner = inspect.unwrap(found) if callable(found) else found  # of jit, custom derivatives
    if isinstance(inner, property):
        for part in (inner.fget, inner.fset):
            yield from _parts(part, root, seen)
    elif isinstance(inner, staticmethod | classmethod):
        yield from _parts(inner.__func__, root, seen)
    elif isinstance(inner, FunctionType) and _root(inner) == root:
        yield from _parts(inner.__code__, root, seen)
        for name in _names(inner.__code__):
            if name in inner.__globals__:
                yield name
                yield from _parts(inner.__globals__[name], root, seen)
        for cell in inner.__closure__ or ():
            yield from _parts(_content(cell), root, seen)
        yield from _parts(inner.__defaults__, root, seen)
        yield from _parts(tuple((inner.__kwdefaults__ or {}).items()), root, seen)
    elif isinstance(inner, type) and _root(inner) == root:
        for name, value in sorted(vars(inner).items()):
            if name not in _SKIPPED and (not name.startswith("_abc") and _is_code(value)):
                yield name
                yield from _parts(value, root, seen)
        for base in inner.__bases__:
            yield from _parts(base, root, seen)
    elif isinstance(inner, type | FunctionType) or _root(type(inner)) != root:
        yield f"{_root(inner)} {getattr(inner, '__qualname__', type(inner).__qualname__)}"
    else:
        yield from _parts(type(inner), root, seen)
        for name, value in sorted(getattr(inner, "__dict__", {}).items()):
            if callable(value):  # numbers are compared as such
                yield name
                yield from _parts(value, root, seen)


def _is_code(value: object) -> bool:
    """Return whether an attribute of a class is code or a constant that was written in it, and not what a
    decorator has left."""
    plain = isinstance(value, property | staticmethod | classmethod | int | float | str | tuple)
    return plain or callable(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _content(cell) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
