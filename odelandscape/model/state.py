"""The state of a network in weights and in order parameters, and conversions between the two."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..runtime.arguments import check_instance
from ..runtime.errors import UserError
from .problem import Problem, check_dimension, is_concrete


class OrderParameters(eqx.Module):
    """Q (K, K), R (K, M) and the students' readout v (K,)."""

    Q: Float[Array, "K K"]
    R: Float[Array, "K M"]
    v: Float[Array, " K"]


class Weights(eqx.Module):
    """Students' weights W (K, d), coordinates in the teacher's span first, and their readout v (K,).

    Batched solvers hold n of them along a last axis (lanes): W (K, d, n), v (K, n).
    """

    W: Float[Array, "K d *lanes"]
    v: Float[Array, "K *lanes"]


State = OrderParameters | Weights


def project_on_teacher(problem: Problem, W: Float[Array, "K d"]) -> Float[Array, "K M"]:
    """Return R = W W*ᵀ; for an orthonormal teacher the first M columns of W, with no arithmetic."""
    if problem.teacher_overlaps is None:
        return W[:, : problem.teachers]
    return W @ problem.teacher_weights(W.shape[1]).T


def overlaps(problem: Problem, weights: Weights) -> OrderParameters:
    """Return the order parameters of weights: Q = W Wᵀ, R = W W*ᵀ (paper, Eq. 5).

    Raises UserError for weights of other shapes than the problem's.
    """
    check_shapes(problem, weights, "weights")
    W = weights.W
    return OrderParameters(W @ W.T, project_on_teacher(problem, W), weights.v)


def realisability(problem: Problem, state: OrderParameters) -> Float[Array, ""]:
    """Return the smallest eigenvalue of Q − R T⁻¹ Rᵀ: weights with these overlaps exist iff it is ≥ 0."""
    span = state.R @ jnp.linalg.solve(problem.T, state.R.T)
    return jnp.linalg.eigvalsh((state.Q - span + (state.Q - span).T) / 2)[0]


def weights_of(problem: Problem, state: OrderParameters) -> Weights:
    """Return weights (d = M + K) with these order parameters: W = [R L⁻ᵀ, U], U Uᵀ = Q − R T⁻¹ Rᵀ.

    Raises UserError, outside `jit`, if no weights have these overlaps.
    """
    if is_concrete(state.Q):
        least = float(realisability(problem, state))
        scale = float(jnp.max(jnp.abs(state.Q)))
        if not least >= -np.sqrt(np.finfo(state.Q.dtype).eps) * max(scale, 1e-30):
            raise UserError(
                "state must be realisable, Q − R T⁻¹ Rᵀ positive semidefinite; its smallest eigenvalue is "
                f"{least:.3g}, so that no weights have these order parameters"
            )
    L = problem.teacher_weights(problem.teachers)
    span = jax.scipy.linalg.solve_triangular(L, state.R.T, lower=True).T
    rest = state.Q - span @ span.T
    values, vectors = jnp.linalg.eigh((rest + rest.T) / 2)
    complement = vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]
    return Weights(jnp.concatenate([span, complement], axis=1), state.v)


def random_weights(key: PRNGKeyArray, problem: Problem, dimension: int | None = None) -> Weights:
    """Return initial weights: rows w_i ~ N(0, I_d / d), readouts 1; d = M unless given (paper, Sec. 3.1).

    Raises UserError for a dimension below M.
    """
    d = check_dimension(problem, dimension)
    W = jax.random.normal(key, (problem.students, d)) / np.sqrt(d)
    return Weights(W, jnp.ones(problem.students))


def check_weights(problem: Problem, weights: Weights) -> None:
    """Raise UserError for weights of another shape than the problem's, and for d < M."""
    K, M = problem.students, problem.teachers
    W, v = weights.W, weights.v
    if W.ndim != 2 or len(W) != K or W.shape[1] < M or v.shape != (K,):
        raise UserError(
            f"state must have weights W (K = {K}, d ≥ {M}) and v ({K},); got {W.shape} and {v.shape}"
        )


def pack(weights: Weights) -> Float[Array, "K D *lanes"]:
    """Return [W | v] as one array (K, d + 1), the state that solvers integrate."""
    return jnp.concatenate([weights.W, weights.v[:, None]], axis=1)


def unpack(y: Float[Array, "K D *lanes"]) -> Weights:
    """Return the weights of [W | v], (K, d + 1): the inverse of `pack`."""
    return Weights(y[:, :-1], y[:, -1])


def check_shapes(problem: Problem, state: State, name: str = "state") -> None:
    """Raise UserError, naming the argument, for anything but weights or order parameters of the problem.

    Shapes are known inside `jit`, `vmap` and `grad`, too, and nothing is computed.
    """
    check_instance("problem", problem, Problem, "a problem such as ol.Problem(3, 3)")
    kinds = "Weights, such as ol.Weights(W, v) or the .weights of a point, or OrderParameters"
    check_instance(name, state, (Weights, OrderParameters), kinds)
    K, M = problem.students, problem.teachers
    v = np.shape(state.v)
    if isinstance(state, Weights):
        W = np.shape(state.W)
        if len(W) != 2 or W[0] != K or W[1] < M or v != (K,):
            raise UserError(
                f"{name} must have weights W (K = {K}, d ≥ M = {M}) and v ({K},); got {W} and {v}"
            )
        return
    Q, R = np.shape(state.Q), np.shape(state.R)
    if (Q, R, v) != ((K, K), (K, M), (K,)):
        raise UserError(
            f"{name} must have Q {(K, K)}, R {(K, M)} and v {(K,)}; got {Q}, {R} and {v}"
        )
