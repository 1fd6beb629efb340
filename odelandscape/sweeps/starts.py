"""The random starts of a sweep."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import Weights, random_weights


def kept_coordinates(problem: Problem, flow: AbstractFlow, dimension: int) -> int:
    """Return the number of coordinates that hold all students, and one more where there is room. (Not for a
    stochastic flow, whose noise fills M + K.)"""
    if flow.stochastic:
        return problem.teachers + problem.students
    return min(dimension, problem.teachers + problem.students + 1)


def starts(
    problem: Problem, flow: AbstractFlow, seed: int, indices: np.ndarray, dimension: int
) -> Weights:
    """Return the starts of a sweep: that of index i is `random_weights(fold_in(key(seed), i), …)`, projected
    to the flow's constraint.

    For d > M + K + 1 the coordinates beyond the teachers are rotated by a QR decomposition (which changes no
    overlap) so that the students fill K of them; one more stays empty, so that the Hessian includes the
    directions in which no student has a component.
    """
    # A few at a time: in a high dimension a start is large before it is rotated.
    few = max(1, 2**20 // (problem.students * dimension))
    return _starts(problem, flow, jax.random.key(seed), jnp.asarray(indices), dimension, few)


@eqx.filter_jit
def _starts(problem, flow, key, indices, dimension, few) -> Weights:
    M = problem.teachers
    kept = kept_coordinates(problem, flow, dimension)

    def start(index):
        w = flow.project_initial(random_weights(jax.random.fold_in(key, index), problem, dimension))
        if kept >= dimension:
            return Weights(jnp.pad(w.W, ((0, 0), (0, kept - dimension))), w.v)
        r = jnp.linalg.qr(w.W[:, M:].T, mode="r")
        complement = jnp.pad(r.T, ((0, 0), (0, kept - M - r.shape[0])))
        return Weights(jnp.concatenate([w.W[:, :M], complement], axis=1), w.v)

    return jax.lax.map(start, indices, batch_size=few)
