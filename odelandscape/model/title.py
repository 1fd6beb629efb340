"""A problem in words, so that the tables and figures of a parameter study can be distinguished."""

import dataclasses

import equinox as eqx
import numpy as np

from .problem import Problem

_MANY = 6  # readouts that are written out
_NO_PART = ("tolerance",)  # of a problem: how well it is computed


def title_of(problem: Problem, *more: str) -> str:
    """Return all that a problem is in one line, such as `K = 5 students, M = 4 teachers with overlap 0.2,
    LeakyReLU(slope 0.1)`. What is as by default is left out.

    - `more`: what follows, such as a flow or a dimension.
    """
    teachers = ", ".join(filter(None, (_overlaps_in_words(problem), _readouts_in_words(problem))))
    K, M = problem.students, problem.teachers
    parts = (
        f"K = {K} student{'s' * (K > 1)}",
        f"M = {M} teacher{'s' * (M > 1)}{teachers and f' with {teachers}'}",
        in_words(problem.activation),
        *more,
    )
    return ", ".join(parts)


def in_words(module: eqx.Module) -> str:
    """Return the class of an activation or a flow, with its numbers and the names of its functions."""
    written = [
        _field_in_words(field.name, getattr(module, field.name))
        for field in dataclasses.fields(module)
        if not field.name.startswith("_")
    ]
    numbers = ", ".join(filter(None, written))
    name = type(module).__name__
    return f"{name}({numbers})" if numbers else name


def _field_in_words(name: str, value: object) -> str:
    """Return a flag that is set, a function's name, or a field's name with its numbers; else nothing."""
    words = name.replace("_", " ")
    if isinstance(value, bool) or value is None or name in _NO_PART:
        return words if value is True else ""
    if isinstance(value, eqx.Module):
        return in_words(value)
    if callable(value):
        called = str(getattr(value, "__name__", type(value).__name__))
        line = getattr(getattr(value, "__code__", None), "co_firstlineno", None)
        return f"lambda of line {line}" if called == "<lambda>" and line else called
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return ""
    return f"{words} {_numbers_in_words(numbers)}" if numbers.size else ""


def _numbers_in_words(x: np.ndarray) -> str:
    if x.ndim == 0:
        return f"{float(x):.12g}"
    flat = x.ravel()
    if len(flat) <= _MANY:
        return f"({', '.join(f'{value:.6g}' for value in flat)})"
    return f"from {flat.min():.6g} to {flat.max():.6g} (mean {flat.mean():.6g})"


def _overlaps_in_words(problem: Problem) -> str:
    if problem.teacher_overlaps is None:
        return ""
    T = np.asarray(problem.teacher_overlaps)
    length = np.sqrt(T[0, 0])
    apart = T[~np.eye(len(T), dtype=bool)]
    c = float(apart.mean()) if len(apart) else 0.0
    if np.ptp(np.diagonal(T)) or (len(apart) and np.ptp(apart)):
        eigenvalues = np.linalg.eigvalsh(T)
        return f"overlaps T of eigenvalues {eigenvalues[0]:.6g} to {eigenvalues[-1]:.6g}"
    parts = [f"length {length:.12g}"] if length != 1 else []
    parts += [f"overlap {c:.12g}"] if c else []
    return ", ".join(parts)


def _readouts_in_words(problem: Problem) -> str:
    if problem.teacher_readout is None:
        return ""
    v = np.asarray(problem.teacher_readout)
    if np.ptp(v):
        return f"readouts {_numbers_in_words(v)}"
    return "" if v[0] == 1 else f"readout {v[0]:.12g}"
