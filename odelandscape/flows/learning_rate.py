"""The learning rate up to which online SGD stays at the teacher."""

import jax
import jax.numpy as jnp
import numpy as np

from ..model.loss import population_loss
from ..model.problem import Problem
from ..model.state import OrderParameters, Weights, overlaps
from ..runtime.errors import UserError
from .gradient import gradient_mixing
from .online_sgd import OnlineSGD


def largest_learning_rate(problem: Problem, weights: Weights | None = None) -> float:
    r"""The η up to which online SGD stays at a network of loss 0, the teacher's unless `weights` are given.

    Beside the teacher's span students spread by $\dot B = -(XB + BX) + \eta\, \mathcal{M} B$, where
    $\mathcal{M} B = v_i v_j E[\sigma'_i \sigma'_j \sum_{kl} v_k v_l \sigma'_k \sigma'_l B_{kl}]$ is the noise
    to first order in B, read off at a small B. Above the η at which this first has a growing mode the noise
    that students make drives them further away than the gradient brings them back. (To six digits. In the
    span of the teacher the noise is of second order.) `inf` if there is no such η.

    Raises ValueError for weights whose loss isn't 0, and without weights if K ≠ M or if readouts have
    different signs than the students', 1.
    """
    K, M = problem.students, problem.teachers
    if weights is None:
        if K != M:
            raise UserError(
                f"weights must be given where students and teachers differ in number; K = {K}, M = {M}"
            )
        weights = Weights(problem.teacher_weights(M), problem.readout)
    loss, scale = (
        float(population_loss(problem, Weights(weights.W * size, weights.v))) for size in (1, 0)
    )
    if not loss <= 1e-12 * scale:
        raise UserError(f"weights must have loss 0, where the noise vanishes; theirs is {loss:.3g}")
    state = overlaps(problem, weights)
    X = np.asarray(gradient_mixing(state, problem).X)
    i, j = np.triu_indices(K)
    # Positive semidefinite matrices that span all: (e_i + e_j)(e_i + e_j)ᵀ, and e_i e_iᵀ for i = j.
    rows = np.maximum(np.eye(K)[i], np.eye(K)[j])
    basis = rows[:, :, None] * rows[:, None, :]
    flow = OnlineSGD(1.0, tolerance=1e-13)
    noise = jax.jit(
        jax.vmap(
            lambda B: flow.mixing(OrderParameters(state.Q + B, state.R, state.v), problem).noise
        )
    )
    # Noise is ℳB + O(|B|^{3/2}): two sizes cancel the second part.
    size = 1e-6 * float(jnp.trace(problem.T)) / M
    spread = np.asarray(2 * noise(size / 4 * basis) / (size / 4) - noise(size * basis) / size)
    shrink = np.einsum("ij,njk->nik", X, basis) + np.einsum("nij,kj->nik", basis, X)
    coordinates = np.linalg.inv(basis[:, i, j])
    spread, shrink = spread[:, i, j] @ coordinates, shrink[:, i, j] @ coordinates

    def growth(rate: float) -> float:
        return np.linalg.eigvals(rate * spread - shrink).real.max()

    floor = 1e-6 * np.abs(shrink).max()
    low, high = 0.0, 1.0
    while growth(high) <= floor:
        low, high = high, 2 * high
        if high > 1e6:
            return np.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if growth(middle) > floor else (middle, high)
    return low
