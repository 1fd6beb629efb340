"""All that the end states of a sweep follow from."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..activations.base import AbstractActivation
from ..flows.base import AbstractFlow
from ..flows.consistency import flow_values
from ..model.problem import Problem
from ..relaxation.relax import FLOAT64, RTOL, TIME_LIMIT
from ..runtime.code import PYTHON, digest
from ..runtime.registry import function_place, is_from_this_package, place_of


def configuration(
    problem: Problem,
    flow: AbstractFlow,
    seed: int,
    dimension: int,
    time_limit: float = TIME_LIMIT,
    transient: str = FLOAT64,
) -> dict:
    """Return all that the end states of a sweep follow from, as JSON has it."""
    found = {
        **_fields_to_json(problem),
        "activation_values": activation_values(problem.activation),
        **code_values(problem, flow),
        "flow": _to_json(flow),
        "seed": seed,
        "dimension": dimension,
        "dtype": "float64",
        "rtol": RTOL,
        "end": float(time_limit),
    }
    # Of sweeps that were made before there was a choice nothing is recorded.
    return found if transient == FLOAT64 else {**found, "transient": transient}


def activation_values(activation: AbstractActivation) -> list[float]:
    """Return σ at a few numbers: two functions may have one name."""
    return np.asarray(activation(jnp.array([-2.0, -1.0, -0.3, 0.3, 1.0, 2.0]))).tolist()


def code_values(problem: Problem, flow: AbstractFlow) -> dict:
    """Return what code from outside this package gives at fixed states of this problem, and its digest: it
    may change.

    `activation_code` of a user's activation or function, `flow_values` of a user's flow; `code` with the
    digests of both.
    """
    found = {}
    if _has_code_from_outside(problem.activation):
        found["activation_code"] = _condensed(_moments(problem.activation, flow.stochastic))
    if _has_code_from_outside(flow):
        declared = flow.stochastic, flow.trains_readout, flow.preserves_norms
        found["flow_values"] = [
            *map(float, (*declared, flow.permutation_equivariant)),
            *_condensed(flow_values(flow, problem)),
        ]
    return {**found, "code": code_digests(problem, flow)} if found else found


def code_digests(problem: Problem, flow: AbstractFlow) -> dict[str, str]:
    """Return digests of the code from outside this package, and the version of Python that they are of."""
    modules = {"activation": problem.activation, "flow": flow}
    digests = {name: _digest(x) for name, x in modules.items() if _has_code_from_outside(x)}
    return {"python": PYTHON, **digests}


def _digest(module: eqx.Module) -> str:
    fields = (getattr(module, field.name) for field in dataclasses.fields(module))
    functions = [x for x in fields if callable(x) and not isinstance(x, eqx.Module)]
    return " ".join(
        map(digest, functions if is_from_this_package(module) else (module, *functions))
    )


def _has_code_from_outside(module: eqx.Module) -> bool:
    fields = (getattr(module, field.name) for field in dataclasses.fields(module))
    return not is_from_this_package(module) or any(map(callable, fields))


def _moments(activation: AbstractActivation, fourth: bool) -> tuple:
    """Return σ on both sides of 0, near and far; for a class from outside the moments of pairs of units, too,
    and with `fourth` those of the noise of online SGD."""
    values = activation(jnp.linspace(-6.0, 6.0, 193))
    if is_from_this_package(activation):
        return (values,)
    A = np.random.RandomState(0).standard_normal((4, 5)) * np.array([[0.1], [0.7], [1.0], [2.0]])
    # Among the units: one of length 0, two that coincide, two that are opposite.
    units = jnp.asarray(np.concatenate([A, 0 * A[:1], A[:1], -A[1:2]]))
    C, a = units @ units.T, jnp.array([1.0, -0.5, 1.5, -1.0, 0.7, 1.0, -2.0])
    q = jnp.diagonal(C)
    declared = activation.positively_homogeneous, activation.even, activation.odd, activation.smooth
    return (
        values,
        activation.second_moment(q[:, None], C, q[None, :]),
        activation.mixing_scalars(q[:, None], C, q[None, :]),
        activation.quadratic_form(a, C),
        jnp.asarray(declared, float),
        activation.slope_products(a[:3], C[:3, :3], 2, 1e-10) if fourth else (),
    )


def _condensed(values: object) -> list[float]:
    """Return a number for each array: a sum of terms that are not negative, so that no digits are lost by
    cancellation and other machines have the same number but for rounding."""
    arrays = [np.ravel(np.asarray(x)) for x in jax.tree.leaves(values)]
    weights = (1.5 + np.cos(np.arange(x.size) ** 2) for x in arrays)
    return [float(w @ (2 * np.abs(x) + x)) for w, x in zip(weights, arrays, strict=True)]


def class_name(x: object) -> str:
    """Return the name of the class of an activation or a flow: that of this package's own, the place
    `module:Class` of a user's."""
    return type(x).__name__ if is_from_this_package(x) else place_of(x)


def _fields_to_json(module: eqx.Module) -> dict:
    # Private fields follow from the others.
    names = [f.name for f in dataclasses.fields(module) if not f.name.startswith("_")]
    return {name: _to_json(getattr(module, name)) for name in names}


def _to_json(x: object):
    """Return a part of a configuration as JSON has it, without loss."""
    if isinstance(x, eqx.Module):
        return {"name": class_name(x), **_fields_to_json(x)}
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return np.asarray(x).tolist()
    if isinstance(x, tuple):  # and a list is an array
        return {"tuple": [_to_json(part) for part in x]}
    if x is None or isinstance(x, bool | int | float | str):
        return x
    if callable(x):  # where it can be imported from; else at least what it is called
        return {"function": function_place(x) or getattr(x, "__qualname__", class_name(x))}
    text = repr(x)
    # An address in memory says nothing.
    return {"object": f"{class_name(x)} {digest(x)}" if " at 0x" in text else text}
