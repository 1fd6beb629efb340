"""The learning rate up to which a network of loss 0 is a stable fixed point of online SGD."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..activations.consistency import check_moments
from ..model.loss import population_loss
from ..model.problem import PROBLEM, Problem, check_concrete
from ..model.state import OrderParameters, Weights, check_weights, overlaps
from ..runtime.arguments import check_instance
from ..runtime.compiler import known_numbers
from ..runtime.errors import UserError
from .consistency import check_noise
from .gradient import gradient_mixing
from .online_sgd import OnlineSGD


@known_numbers()
def largest_learning_rate(problem: Problem, weights: Weights | None = None) -> float:
    r"""Return the η up to which a network of loss 0 is stable under online SGD.

    - `weights`: of loss 0; the teacher's unless given.

    Outside the teacher's span B = Q − R T⁻¹ Rᵀ has the rates $\dot B = -(XB + BX) + \eta\, \mathcal{M} B$,
    where $\mathcal{M} B = v_i v_j E[\sigma'_i \sigma'_j \sum_{kl} v_k v_l \sigma'_k \sigma'_l B_{kl}]$ is the
    noise to first order in B, computed at a small B. Above the smallest η at which this has a growing mode,
    the noise increases B faster than the gradient decreases it. (To five digits. In the span of the teacher
    the noise is of second order.) `inf` if there is no such η.

    Raises UserError for weights whose loss isn't 0, and without weights if K ≠ M.
    """
    weights = _checked(problem, weights)
    K, M = problem.students, problem.teachers
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
    growth = np.asarray(2 * noise(size / 4 * basis) / (size / 4) - noise(size * basis) / size)
    decay = np.einsum("ij,njk->nik", X, basis) + np.einsum("nij,kj->nik", basis, X)
    coordinates = np.linalg.inv(basis[:, i, j])
    growth, decay = growth[:, i, j] @ coordinates, decay[:, i, j] @ coordinates

    def fastest_mode(rate: float) -> float:
        return np.linalg.eigvals(rate * growth - decay).real.max()

    return _largest_below(fastest_mode, 1e-6 * np.abs(decay).max())


def _checked(problem: Problem, weights: Weights | None) -> Weights:
    check_instance("problem", problem, Problem, PROBLEM)
    check_concrete("problem", problem)
    check_concrete("weights", weights)
    check_moments(problem.activation)
    K, M = problem.students, problem.teachers
    if weights is None:
        if K != M:
            raise UserError(
                f"weights must be given where students and teachers differ in number; K = {K}, M = {M}"
            )
        weights = Weights(problem.teacher_weights(M), problem.readout)
    weights = check_weights(problem, weights, "weights")
    longest = np.linalg.norm(np.asarray(weights.W), axis=1).max()
    check_noise(problem, OnlineSGD(), "weights", float(longest))
    loss, scale = (
        float(population_loss(problem, Weights(weights.W * size, weights.v))) for size in (1, 0)
    )
    if not loss <= 1e-12 * scale:
        raise UserError(f"weights must have loss 0, where the noise vanishes; got loss {loss:.3g}")
    return weights


def _largest_below(function: Callable[[float], float], bound: float) -> float:
    """Return the largest argument up to which an increasing function is at most `bound`, by bisection;
    `inf` if it is above 10⁶."""
    low, high = 0.0, 1.0
    while function(high) <= bound:
        low, high = high, 2 * high
        if high > 1e6:
            return np.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > bound else (middle, high)
    return low
