"""All that the end states of a sweep follow from."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..activations.base import AbstractActivation
from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import Weights, overlaps
from ..relaxation.relax import RTOL, TIME_LIMIT
from ..runtime.registry import place_of


def configuration(
    problem: Problem, flow: AbstractFlow, seed: int, dimension: int, time_limit: float = TIME_LIMIT
) -> dict:
    """Return all that the end states of a sweep follow from, as JSON has it."""
    return {
        **_fields_to_json(problem),
        "activation_values": activation_values(problem.activation),
        **_own_flow(problem, flow),
        "flow": _to_json(flow),
        "seed": seed,
        "dimension": dimension,
        "dtype": "float64",
        "rtol": RTOL,
        "end": float(time_limit),
    }


def activation_values(activation: AbstractActivation) -> list[float]:
    """Return σ at a few numbers: two functions may have one name."""
    return np.asarray(activation(jnp.array([-2.0, -1.0, -0.3, 0.3, 1.0, 2.0]))).tolist()


def _own_flow(problem: Problem, flow: AbstractFlow) -> dict[str, list[float]]:
    """Return the mixing of a flow from outside this package at one state: its code may change."""
    if class_name(flow) == type(flow).__name__:
        return {}
    small = Problem(2, 2, problem.activation)
    W = jnp.array([[0.6, -0.3], [0.2, 0.9]])
    mixing = flow.mixing(overlaps(small, Weights(W, jnp.array([1.0, 0.8]))), small)
    return {"flow_values": np.concatenate([np.ravel(x) for x in jax.tree.leaves(mixing)]).tolist()}


def class_name(x: object) -> str:
    """Return the name of the class of an activation or a flow: that of this package's own, the place
    `module:Class` of a user's."""
    own = type(x).__module__.startswith("odelandscape.")
    return type(x).__name__ if own else place_of(x)


def _fields_to_json(module: eqx.Module) -> dict:
    return {f.name: _to_json(getattr(module, f.name)) for f in dataclasses.fields(module)}


def _to_json(x: object):
    """Return a part of a configuration as JSON has it, without loss."""
    if isinstance(x, eqx.Module):
        return {"name": class_name(x), **_fields_to_json(x)}
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return np.asarray(x).tolist()
    if x is None or isinstance(x, bool | int | float | str):
        return x
    return getattr(x, "__qualname__", repr(x))
