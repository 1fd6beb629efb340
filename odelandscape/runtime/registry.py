"""Classes of this package and of users: named by a short name of a table, or by where they are.

A table is a dict name → `module:Class`, such as `activations.BY_NAME` and `flows.BY_NAME`: reading its names
imports nothing. A user's own class or object is given by its place `module:object`, and needs no entry. How
far what is written for a class, such as a closed form, holds for a subclass is said by `restore_defaults`.
"""

import inspect
import io
import pickle
import sys
import traceback
from contextlib import redirect_stdout
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from .arguments import shown
from .errors import UserError

T = TypeVar("T")
_OURS = str(Path(__file__).parents[1])


def load(place: str, argument: str = "place") -> object:
    """Return the object at `module:object`, such as `odelandscape.flows.gradient:GradientFlow`.

    Raises UserError, naming `argument`, if `place` is not of this form, if there is no such module, and if it
    has no such object; where the module itself raises an error or leaves Python, with the line of it, and the
    error itself as the cause.
    """
    module, _, name = place.partition(":")
    if not module or not name or module.startswith("."):
        raise UserError(f"argument {argument}: got {place!r}; allowed: module:object")
    try:
        # Standard output is for what a command reports: one object of JSON may be all of it.
        with redirect_stdout(sys.stderr):
            found = import_module(module)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        # The module itself or a package that it is in, and not a module that *it* imports.
        if missing is not None and f"{module}.".startswith(f"{missing}."):
            raise UserError(
                f"argument {argument}: there is no module {missing!r}; got {place!r}; allowed: "
                "module:object of a module that can be imported"
            ) from None
        raise UserError(
            f"argument {argument}: the module {module!r} cannot be imported: {_in_words(error)}"
        ) from error
    try:
        return reduce(getattr, name.split("."), found)
    except AttributeError:
        raise UserError(
            f"argument {argument}: the module {module!r} has no object {name!r}; got {place!r}; allowed: "
            "module:object"
        ) from None


def fault_of(place: str, error: Exception) -> str | None:
    """Return in words, with the line, an error that the module of a place `module:object` has raised, or a
    library that it has called; None if it comes from elsewhere, or from this package when that module called
    it."""
    file = getattr(sys.modules.get(place.partition(":")[0]), "__file__", None)
    passed = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    last = next((name for name in reversed(passed) if name == file or name.startswith(_OURS)), None)
    return _in_words(error, file) if file is not None and last == file else None


def _in_words(error: BaseException, file: str | None = None) -> str:
    """Return an error and its last line: in that file, or outside this package and Python's machinery of
    imports."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f
        for f in frames
        if f.filename == file or not (file or f.filename.startswith(("<frozen ", _OURS)))
    ] or frames
    # The text of a SyntaxError has its line.
    where = (
        f", {lines[-1].filename}:{lines[-1].lineno}" if not isinstance(error, SyntaxError) else ""
    )
    return f"{type(error).__name__}: {error}{where}"


def name_in(table: dict[str, str], found: object) -> str | None:
    """Return the name that a table has for the class of this instance, None if it has none."""
    names = {place: name for name, place in table.items()}
    return names.get(place_of(found))


def place_of(found: object) -> str:
    """Return the place `module:Class` of the class of this instance."""
    return f"{type(found).__module__}:{type(found).__qualname__}"


def is_from_this_package(found: object) -> bool:
    """Return whether the class of this instance is one of this package, and not a user's."""
    return type(found).__module__.startswith("odelandscape.")


def restore_defaults(cls: type, base: type, derived: dict[str, tuple[str, ...]]) -> None:
    """Give a class the defaults of `base` for methods whose sources it overrides, but not them.

    - `derived`: for the name of a method or property, its sources: those that it follows from. A class that
      overrides the method has written it for its own sources. For a subclass with other ones it says
      something wrong; the method of `base` follows from whatever the sources are.

    To be called where a subclass is made (`__init_subclass__`). Fields count like methods.
    """

    def definer(name: str) -> int:
        """Return at which place of the order of inheritance a name is defined."""
        where = enumerate(cls.__mro__)
        return next(i for i, c in where if name in vars(c) or name in inspect.get_annotations(c))

    for name, sources in derived.items():
        inherited = cls.__mro__[definer(name)] is not base
        if inherited and any(definer(source) < definer(name) for source in sources):
            setattr(cls, name, vars(base)[name])


def resolve(
    table: dict[str, str], given: str, kind: type[T], argument: str, **numbers: float | None
) -> T:
    """Return the instance of `kind` that `given` names.

    - `given`: a name of `table`, or the place `module:object` of an instance of `kind` or of a subclass,
      which is called with `numbers` as keywords.
    - `argument`: what messages call `given`: an option such as `--activation`, or a parameter's name.
    - `numbers`: such as `slope=0.2`; None counts as not given, so that the class has its own default.

    Raises UserError, naming the argument, for a name that is not in the table, a place with no such module or
    object, an object of another kind, a class whose abstract methods are not all defined or that needs more
    than `numbers`, and a number that the class has no field for or an instance cannot take.
    """
    allowed = (
        f"{', '.join(table)}, or module:object of an instance or a subclass of {kind.__name__}"
    )
    if given not in table and ":" not in given:
        raise UserError(f"argument {argument}: got {given!r}; allowed: {allowed}")
    found = load(table.get(given, given), argument)
    values = {name: value for name, value in numbers.items() if value is not None}
    if isinstance(found, kind):
        if values:
            raise UserError(_no_such_number(table, given, argument, next(iter(values))))
        return found
    if not isinstance(found, type) or not issubclass(found, kind):
        raise UserError(f"argument {argument}: {given!r} is {shown(found)}; allowed: {allowed}")
    return _instance(found, values, table, given, argument)


def _instance(
    cls: type[T], values: dict[str, float], table: dict[str, str], given: str, argument: str
) -> T:
    parameters = _parameters(cls)
    for name in values:
        if name not in parameters:
            raise UserError(_no_such_number(table, given, argument, name))
    undefined = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if undefined:
        raise UserError(f"argument {argument}: the class {given!r} must define {undefined}")
    required = [
        name for name, p in parameters.items() if p.default is p.empty and name not in values
    ]
    if required:
        raise UserError(
            f"argument {argument}: the class {given!r} needs {', '.join(required)}; allowed: the place "
            "module:object of an instance"
        )
    return cls(**values)


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The keywords that a class takes: its fields, or the parameters of its own `__init__`."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p for p in parameters if p.kind in named}


def _no_such_number(table: dict[str, str], given: str, argument: str, name: str) -> str:
    places = {known: load(place) for known, place in table.items()}
    having = [n for n, c in places.items() if isinstance(c, type) and name in _parameters(c)]
    option = f"--{name.replace('_', '-')}" if argument.startswith("--") else name
    some = ", ".join(having)
    only = f"only {some} has one"
    if given not in table:
        only = f"only {some} and a class with the field {name} have one"
    return f"argument {option}: {only}; got {argument} {given}"


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
