"""Which code an object of a user's class runs, whatever it gives at the points where it is tried.

What is compared are the compiler's instructions with the numbers that they use, so that comments, docstrings,
formatting and names of local variables change nothing. Python's versions compile differently: digests of two
of them say nothing about each other.
"""

import dis
import functools
import hashlib
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from weakref import WeakKeyDictionary

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

PYTHON = ".".join(platform.python_version_tuple()[:2])
"""The version of Python whose digests can be compared."""
_INSTALLED = tuple(
    f"{Path(folder).resolve()}{os.sep}"
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        Path(__file__).parents[1],
    )
)


def digest(found: object) -> str:
    """Return a hash of the code of an object's class, of a class, or of a function.

    It includes methods, what is inherited, the functions, classes and constants that they name, and what
    closures hold, as far as they are a user's: neither Python's nor of an installed package. The fields of
    an `eqx.Module` are none of it, except functions and other modules.
    """
    words = "\n".join(_parts(found, {}))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


_COMPILED: WeakKeyDictionary[type, str] = WeakKeyDictionary()
"""The digest of each class when it was first used: JAX's programs have the constants of that time."""


def forget_changed(found: object) -> None:
    """Forget all of JAX's compiled programs if the code of an object's class is another than when it was last
    used: a constant that it names has been changed in this process."""
    now = digest(type(found))
    if _COMPILED.setdefault(type(found), now) != now:
        _COMPILED[type(found)] = now
        jax.clear_caches()


def _is_users(name: str) -> bool:
    """Return whether a module is a user's, by its name: one that has not been installed."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is not None:
        return not str(Path(file).resolve()).startswith(_INSTALLED)
    # What is built in has no file, nor have a notebook's cells.
    return getattr(module, "__spec__", None) is None


def _parts(found: object, on_the_way: dict) -> Iterator[str]:
    """Yield what makes up an object, in words, but for what it is a part of itself."""
    if isinstance(found, bool | int | float | complex | str | bytes | None):
        yield repr(found)
    elif isinstance(found, ModuleType):
        yield f"module {found.__name__}"
    elif isinstance(found, frozenset | set):
        yield from sorted(" ".join(_parts(part, on_the_way)) for part in found)
    elif isinstance(found, Tracer):
        yield "traced"
    elif isinstance(found, np.ndarray | np.generic | jax.Array):
        array = np.asarray(found)
        yield f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    elif id(found) not in on_the_way:
        on_the_way[id(found)] = found
        yield from _parts_of_whole(found, on_the_way)
        # Functions and classes once; of equal instances there may be one or two.
        if not isinstance(found, FunctionType | type):
            del on_the_way[id(found)]


def _parts_of_whole(inner, on_the_way: dict) -> Iterator[str]:
    module = getattr(inner, "__module__", None) or ""
    named = f"{module} {getattr(inner, '__qualname__', '')}"
    if isinstance(inner, property):
        parts = [inner.fget, inner.fset]
    elif isinstance(inner, staticmethod | classmethod):
        parts = [inner.__func__]
    elif isinstance(inner, MethodType):
        parts = [inner.__func__, inner.__self__]
    elif isinstance(inner, functools.partial):
        parts = [inner.func, inner.args, inner.keywords]
    elif isinstance(inner, dict):
        parts = [part for item in sorted(inner.items(), key=repr) for part in item]
    elif isinstance(inner, tuple | list):
        parts = inner
    elif isinstance(inner, FunctionType) and _is_users(module):
        yield from _parts_of_function(inner, on_the_way)
        return
    elif isinstance(inner, type) and _is_users(module):
        parts = [*_attributes(inner), *inner.__bases__]
    elif isinstance(inner, type | FunctionType) or not hasattr(inner, "__dict__"):
        yield named if module else type(inner).__qualname__
        return
    else:
        fields = sorted(vars(inner).items())
        if isinstance(inner, eqx.Module):  # whose numbers are compared as such
            fields = [(name, x) for name, x in fields if callable(x)]
        parts = [type(inner), *(part for field in fields for part in field)]
        parts.append(getattr(inner, "__wrapped__", None))  # by jit
    for part in parts:
        yield from _parts(part, on_the_way)


def _attributes(cls: type) -> Iterator[object]:
    """Yield names and values of what is written in a class, without what Python keeps there, now or later."""
    for name, value in sorted(vars(cls).items()):
        special = name.startswith(("__", "_abc_")) and not isinstance(value, FunctionType)
        if not special and not name.startswith("__annotate"):
            yield name
            yield value


def _parts_of_function(function: FunctionType, on_the_way: dict) -> Iterator[str]:
    yield from _parts_of_code(function.__code__, function.__globals__, on_the_way)
    cells = [_content(cell) for cell in function.__closure__ or ()]
    # In its __dict__ is what a decorator has wrapped.
    for part in (*cells, function.__defaults__, function.__kwdefaults__, vars(function)):
        yield from _parts(part, on_the_way)


def _parts_of_code(code: CodeType, names: dict, on_the_way: dict) -> Iterator[str]:
    instructions = list(dis.get_instructions(code))
    for one, following in zip(instructions, [*instructions[1:], None], strict=True):
        value = one.argval
        if isinstance(value, CodeType):
            yield from _parts_of_code(value, names, on_the_way)
        elif one.opcode in dis.hasconst:
            yield f"{one.opname}"
            yield from _parts(value, on_the_way)
        elif one.opcode in dis.hasname:
            yield f"{one.opname} {value}"
            if one.opname in ("LOAD_GLOBAL", "LOAD_NAME") and value in names:
                found = names[value]
                if isinstance(found, ModuleType) and _is_users(found.__name__):
                    found = getattr(found, str(following and following.argval), found)
                yield from _parts(found, on_the_way)
        else:  # local variables by their number
            yield f"{one.opname} {one.arg}"


def _content(cell) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
