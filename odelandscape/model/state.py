"""The state of a network in weights and in order parameters, and conversions between the two."""

import dataclasses
from typing import TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ..runtime.arguments import check_instance, check_key, check_memory, check_real_numbers, shown
from ..runtime.errors import UserError
from .problem import PROBLEM, Problem, check_dimension, check_lengths, is_concrete


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
S = TypeVar("S", bound=State)


def project_on_teacher(problem: Problem, W: Float[Array, "K d"]) -> Float[Array, "K M"]:
    """Return R = W W*ᵀ; for an orthonormal teacher the first M columns of W, with no arithmetic."""
    if problem.teacher_overlaps is None:
        return W[:, : problem.teachers]
    return W @ problem.teacher_weights(W.shape[1]).T


def overlaps(problem: Problem, weights: Weights) -> OrderParameters:
    """Return the order parameters of weights: Q = W Wᵀ, R = W W*ᵀ (paper, Eq. 5).

    Raises UserError for weights of other shapes than the problem's.
    """
    weights = check_shapes(problem, weights, "weights")
    W = weights.W
    return OrderParameters(W @ W.T, project_on_teacher(problem, W), weights.v)


def realisability(problem: Problem, state: OrderParameters) -> Float[Array, ""]:
    """Return the smallest eigenvalue of Q − R T⁻¹ Rᵀ: weights with these overlaps exist iff it is ≥ 0.

    NaN if a number of Q or R is. Raises UserError, outside `jit`, for a Q that is not symmetric.
    """
    state = check_order_parameters(problem, state)
    if is_concrete(state):
        _check_symmetric(np.asarray(state.Q))
    span = state.R @ jnp.linalg.solve(problem.T, state.R.T)
    rest = state.Q - span
    least = jnp.linalg.eigvalsh((rest + rest.T) / 2)[0]
    return jnp.where(jnp.all(jnp.isfinite(rest)), least, jnp.nan)


def weights_of(problem: Problem, state: OrderParameters) -> Weights:
    """Return weights (d = M + K) with these order parameters: W = [R L⁻ᵀ, U], U Uᵀ = Q − R T⁻¹ Rᵀ.

    Raises UserError, outside `jit`, if no weights have these overlaps.
    """
    state = check_order_parameters(problem, state)
    if is_concrete((problem, state)):
        _check_realisable(problem, state)
    L = problem.teacher_weights(problem.teachers)
    span = jax.scipy.linalg.solve_triangular(L, state.R.T, lower=True).T
    rest = state.Q - span @ span.T
    values, vectors = jnp.linalg.eigh((rest + rest.T) / 2)
    complement = vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]
    return Weights(jnp.concatenate([span, complement], axis=1), state.v)


def random_weights(key: PRNGKeyArray, problem: Problem, dimension: int | None = None) -> Weights:
    """Return initial weights: rows w_i ~ N(0, I_d / d), readouts 1; d = M unless given (paper, Sec. 3.1).

    Raises UserError for a dimension below M, and for weights that need more memory than there is.
    """
    check_key("key", key)
    d = check_dimension(problem, dimension)
    check_memory("students and dimension", "the weights", 8 * problem.students * d)
    W = jax.random.normal(key, (problem.students, d)) / np.sqrt(d)
    return Weights(W, jnp.ones(problem.students))


def check_order_parameters(problem: Problem, state: OrderParameters) -> OrderParameters:
    """Return order parameters with arrays of floats. Raises UserError, naming `state`, for anything else, and
    for other shapes than the problem's."""
    check_instance("problem", problem, Problem, PROBLEM)
    allowed = "OrderParameters, such as ol.overlaps(problem, weights)"
    check_instance("state", state, OrderParameters, allowed)
    K, M = problem.students, problem.teachers
    Q, R, v = float_arrays("state", state)
    if (Q.shape, R.shape, v.shape) != ((K, K), (K, M), (K,)):
        raise UserError(
            f"state must have Q {(K, K)}, R {(K, M)} and v {(K,)}; got {Q.shape}, {R.shape} and {v.shape}"
        )
    return OrderParameters(Q, R, v)


def _tolerance(Q: np.ndarray) -> float:
    return float(np.sqrt(np.finfo(Q.dtype).eps) * np.max(np.abs(Q), initial=1e-30))


def _check_symmetric(Q: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):  # what is no number is not asymmetric
        asymmetric = np.abs(Q - Q.T).max() > _tolerance(Q)
    if asymmetric:
        raise UserError(f"state must have a symmetric Q; got {shown(Q.tolist())}")


def _check_realisable(problem: Problem, state: OrderParameters) -> None:
    with jax.ensure_compile_time_eval():  # a number under `jit`, too
        least = float(realisability(problem, state))
    if not np.isfinite(least):
        raise UserError("state must have finite order parameters; got some that are not")
    if not least >= -_tolerance(np.asarray(state.Q)):
        raise UserError(
            "state must be realisable, Q − R T⁻¹ Rᵀ positive semidefinite; its smallest eigenvalue is "
            f"{least:.3g}, so that no weights have these order parameters"
        )


def check_numbers(problem: Problem, state: State, name: str) -> None:
    """Raise UserError, naming the argument, for students too long for the activation's moments, and for order
    parameters that no weights have. Of traced numbers nothing is checked."""
    if not is_concrete((problem, state)):
        return
    with np.errstate(over="ignore"):
        if isinstance(state, Weights):
            squares = np.sum(np.square(np.asarray(state.W)), axis=1)
        else:
            _check_realisable(problem, state)
            squares = np.diagonal(np.asarray(state.Q))
    check_lengths(name, problem, float(np.sqrt(np.max(squares, initial=0))))


def check_weights(
    problem: Problem, weights: Weights, name: str = "state", finite: bool = True
) -> Weights:
    """Return weights of one network with arrays of floats. Of traced ones the numbers are not checked.

    Raises UserError, naming the argument, for anything but Weights of the problem's shape, with d ≥ M, and
    with finite numbers (`finite`).
    """
    return _check(problem, weights, name, (), finite)


def check_starts(problem: Problem, starts: Weights) -> Weights:
    """Return Weights with N ≥ 1 in front, with arrays of floats; numbers may be infinite or undefined.

    Raises UserError for anything else.
    """
    return _check(problem, starts, "starts", ("N",), False)


def _check(problem: Problem, weights: Weights, name: str, leading: tuple, finite: bool) -> Weights:
    check_instance("problem", problem, Problem, PROBLEM)
    check_instance(name, weights, Weights, "Weights such as ol.random_weights(key, problem)")
    K, M = problem.students, problem.teachers
    W, v = float_arrays(name, weights)
    front = W.shape[: len(leading)]
    if W.ndim != 2 + len(leading) or W.shape[-2] != K or W.shape[-1] < M or 0 in front:
        v_shape = None
    else:
        v_shape = (*front, K)
    if v.shape != v_shape:
        sizes = ", ".join((*leading, f"K = {K}"))
        raise UserError(
            f"{name} must have weights W ({sizes}, d ≥ {M}) and v ({sizes})"
            f"{', with N ≥ 1' if leading else ''}; got {W.shape} and {v.shape}"
        )
    if finite and is_concrete(W) and is_concrete(v):
        numbers = np.concatenate([np.ravel(W), np.ravel(v)])
        if not np.isfinite(numbers).all():
            raise UserError(
                f"{name} must have finite weights; got {numbers[~np.isfinite(numbers)][0]}"
            )
    return eqx.tree_at(lambda w: (w.W, w.v), weights, (W, v))


def float_arrays(name: str, state: State) -> list[Array]:
    """Return the real numbers of a state as arrays of JAX's default floats; traced floats as they are.

    Raises UserError, naming the argument, for anything else.
    """
    found = []
    for field in dataclasses.fields(state):
        x = getattr(state, field.name)
        if not isinstance(x, jax.Array):
            x = check_real_numbers(name, x, "made of arrays of real numbers")
        elif x.dtype.kind not in "iuf":
            raise UserError(f"{name} must be made of arrays of real numbers; got {shown(x)}")
        traced = isinstance(x, Tracer) and x.dtype.kind == "f"
        found.append(x if traced else jnp.asarray(x, float))
    return found


def pack(weights: Weights) -> Float[Array, "K D *lanes"]:
    """Return [W | v] as one array (K, d + 1), the state that solvers integrate.

    Raises UserError for anything but Weights.
    """
    check_instance("weights", weights, Weights, "Weights such as ol.Weights(W, v)")
    return jnp.concatenate([weights.W, weights.v[:, None]], axis=1)


def unpack(y: Float[Array, "K D *lanes"]) -> Weights:
    """Return the weights of [W | v], (K, d + 1): the inverse of `pack`.

    Raises UserError for anything but an array with two axes or more.
    """
    if getattr(y, "ndim", 0) < 2:
        raise UserError(f"y must be an array [W | v] of shape (K, d + 1); got {shown(y)}")
    return Weights(y[:, :-1], y[:, -1])


def check_shapes(problem: Problem, state: S, name: str = "state") -> S:
    """Return a state with arrays of floats.

    Raises UserError, naming the argument, for anything but weights or order parameters of the problem, made
    of real numbers. Shapes and types are known inside `jit`, `vmap` and `grad`, too, and nothing is computed.
    """
    check_instance("problem", problem, Problem, PROBLEM)
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
        return cast(S, Weights(*float_arrays(name, state)))
    Q, R = np.shape(state.Q), np.shape(state.R)
    if (Q, R, v) != ((K, K), (K, M), (K,)):
        raise UserError(
            f"{name} must have Q {(K, K)}, R {(K, M)} and v {(K,)}; got {Q}, {R} and {v}"
        )
    return cast(S, OrderParameters(*float_arrays(name, state)))
