"""All that the end states of a sweep follow from."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..relaxation.relax import RTOL, TIME_LIMIT


def _to_json(x: object):
    """A part of a configuration as JSON has it, without loss."""
    if isinstance(x, eqx.Module):
        parts = {f.name: _to_json(getattr(x, f.name)) for f in dataclasses.fields(x)}
        return {"name": type(x).__name__, **parts}
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return np.asarray(x).tolist()
    if x is None or isinstance(x, bool | int | float | str):
        return x
    return getattr(x, "__qualname__", repr(x))


def configuration(problem: Problem, flow: AbstractFlow, seed: int, dimension: int) -> dict:
    """All that the end states of a sweep follow from."""
    # Two functions may have one name.
    values = np.asarray(problem.activation(jnp.array([-2.0, -1.0, -0.3, 0.3, 1.0, 2.0])))
    return {
        **{key: told for key, told in _to_json(problem).items() if key != "name"},
        "activation_values": values.tolist(),
        "flow": _to_json(flow),
        "seed": seed,
        "dimension": dimension,
        "dtype": "float64",
        "rtol": RTOL,
        "end": TIME_LIMIT,
    }
