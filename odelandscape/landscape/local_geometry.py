r"""The local geometry of the flow at a point: rates, loss, Hessian, and the escape rate of inactive students.

Stability of a fixed point is decided by minus the Jacobian of the flow's rates, between directions that the
flow can take. Where σ has a kink at 0 and a student is *inactive* (of length 0), the loss has a kink in its
weights and no Hessian; there the rates close by decide whether the flow leaves (`escape`). A σ that is twice
differentiable at 0 has no inactive students: a student of length 0 counts like any other.

`local_geometry` evaluates all of it, and `projected_rates` the rates alone, which a Newton step needs more
often. The linear algebra that follows is LAPACK's, called from here, where it needs no compiling and every
start takes as long as it takes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.linalg import eigh

from ..flows.base import AbstractFlow, packed_rates
from ..flows.consistency import check_flow
from ..model.alignment import INACTIVE_NORM
from ..model.loss import population_loss
from ..model.problem import Problem
from ..model.state import Weights, check_numbers, check_shapes, pack, unpack
from ..runtime.arguments import check_instance
from .escape import escape_rate

STABILITY_BAND = 1e-8
"""An eigenvalue between minus this and this decides nothing."""
_ASYMMETRY = 1e-6  # relative, above which a Jacobian is no Hessian
_MULTIPLE = 1e-7  # relative; rounding moves multiple eigenvalues of a matrix that isn't symmetric by its root


@final
@dataclass(frozen=True)
class LocalGeometry:
    """What the flow and the loss are at one point, as NumPy arrays.

    - `point` (K, D): [W | v] on the flow's constraint, inactive students (where σ has a kink at 0) at 0.
    - `rates` (K, D): of the flow, 0 for inactive students.
    - `loss`: population loss.
    - `hessian` (K·D, K·D): that of `hessian` between directions that count; what it leaves out, and inactive
      students, are moved above everything else, so that its smallest eigenvalue is the one that counts (0
      where nothing is free to move).
    - `escape_rate`: the fastest rate at which the flow would lengthen an inactive student, −inf without one.
    - `movable`: whether there is any direction that counts.
    - `jacobian` (K·D, K·D): `hessian` is its symmetric part, and another matrix at a fixed point of a flow
      that is no gradient flow.
    """

    point: Float[np.ndarray, "K D"]
    rates: Float[np.ndarray, "K D"]
    loss: float
    hessian: Float[np.ndarray, "n n"]
    escape_rate: float
    movable: bool
    jacobian: Float[np.ndarray, "n n"]

    @cached_property
    def speed(self) -> float:
        """Frobenius norm of the rates."""
        with np.errstate(over="ignore"):  # of a start that has diverged
            return float(np.linalg.norm(self.rates))

    @cached_property
    def finite(self) -> bool:
        """Whether speed, loss and Hessian are finite numbers."""
        numbers = np.isfinite(self.speed) and np.isfinite(self.loss)
        return bool(numbers and np.isfinite(self.hessian).all())

    @cached_property
    def symmetric(self) -> bool:
        """Whether `jacobian` is `hessian`, as far as rates that are not 0 show it."""
        J = self.jacobian
        return bool(np.abs(J - J.T).max() <= _ASYMMETRY * np.abs(J).max() + self.speed)

    @cached_property
    def smallest_eigenvalue(self) -> float:
        """Smallest eigenvalue of `hessian`, which must be finite; of a flow that is no gradient flow, the
        smallest real part of those of `jacobian`, which alone decide its stability."""
        J = self.jacobian
        if not self.symmetric:
            smallest = float(np.linalg.eigvals(J).real.min())
            return smallest if abs(smallest) > _MULTIPLE * np.abs(J).max() else 0.0
        try:
            return float(np.linalg.eigvalsh(self.hessian)[0])
        except np.linalg.LinAlgError:
            return float(eigenpairs(self.hessian)[0][0])


def eigenpairs(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, ascending, and eigenvectors of a symmetric matrix of finite numbers.

    LAPACK's methods, in the order of their speed: the fastest has failed to converge, once in some hundred
    thousand matrices, on one that the others can do.
    """
    try:
        return np.linalg.eigh(H)
    except np.linalg.LinAlgError:
        return eigh(H, driver="ev")


def local_geometry(
    flow: AbstractFlow, problem: Problem, y: Float[np.ndarray, "K D"], kinked: bool | None = None
) -> LocalGeometry:
    """Return the local geometry at [W | v], projected onto the flow's constraint first.

    Point and rates are those of `projected_rates`, by the same program: a Newton step must not see other last
    bits of the rates than the point that it ends at.

    - `kinked`: what `has_kink_at_zero` returns; asked of the activation unless given.
    """
    kinked = has_kink_at_zero(problem) if kinked is None else kinked
    point, rates = projected_rates(flow, problem, y, kinked)
    at = jnp.asarray(point)
    loss, J, movable = _local_geometry(flow, problem, at, kinked)
    J = np.asarray(J)
    inactive = (point[:, :-1] == 0).all(axis=1)
    escape = -np.inf
    if kinked and inactive.any():
        escape = escape_rate(flow, problem, unpack(at), inactive)
    H = (J + J.T) / 2
    return LocalGeometry(point, rates, float(loss), H, escape, bool(movable), J)


def projected_rates(
    flow: AbstractFlow, problem: Problem, y: Float[np.ndarray, "K D"], kinked: bool | None = None
) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K D"]]:
    """Return `point` and `rates` of the local geometry at [W | v], without its Hessian."""
    kinked = has_kink_at_zero(problem) if kinked is None else kinked
    point, rates = _projected_rates(flow, problem, jnp.asarray(y), kinked)
    return np.asarray(point), np.asarray(rates)


def has_kink_at_zero(problem: Problem) -> bool:
    """Return whether the loss has a kink where a student has length 0, so that such students are inactive.

    It may take a millisecond: for a user's own σ it is decided from values of it.
    """
    return not problem.activation.smooth_at_zero


@eqx.filter_jit
def speeds_and_losses(
    flow: AbstractFlow, problem: Problem, y: Float[Array, "n K D"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return the norm of the rates and the loss at each of n points [W | v], taken as they are."""

    def one(y):
        weights = unpack(y)
        speed = jnp.linalg.norm(pack(flow(0.0, weights, problem)))
        return speed, population_loss(problem, weights)

    return jax.vmap(one)(y)


def hessian(
    flow: AbstractFlow, problem: Problem, weights: Weights
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """Return the Hessian that decides stability, and the projector on what it leaves out, both (n, n) with
    n = K (d + 1).

    Coordinates are those of `ol.pack(weights).ravel()`: student after student, the d weights of each followed
    by its readout (and not all of W, then all of v). So a direction `Weights(dW, dv)` is
    `u = ol.pack(Weights(dW, dv)).ravel()`, its curvature `u @ H @ u`; `ol.unpack(u.reshape(K, d + 1))` is the
    direction again, and `H.reshape(K, d + 1, K, d + 1)[:, :d, :, :d]` the part of the weights alone.

    It is minus the Jacobian of the flow's rates between directions that count
    (`AbstractFlow.neutral_directions` lists the others, here rows and columns of zeros). At a fixed
    point of GD that is the Hessian of the loss in the weights; of nGD and onGD, the Riemannian one; of a flow
    that is no gradient flow, the symmetric part.
    """
    check_flow(problem, flow)
    check_instance("weights", weights, Weights, "Weights such as ol.Weights(W, v)")
    weights = check_shapes(problem, weights, "weights")
    check_numbers(problem, weights, "weights")
    J, P = _decisive_jacobian(flow, problem, weights)
    return (J + J.T) / 2, P


def _decisive_jacobian(flow: AbstractFlow, problem: Problem, weights: Weights):
    """`hessian` before it is made symmetric, and the projector."""
    y = pack(weights)
    n = y.size

    def flat_rate(flat):
        return packed_rates(flow, problem, flat.reshape(y.shape)).ravel()

    J = jax.jacfwd(flat_rate)(y.ravel())
    F = flow.neutral_directions(weights, problem).reshape(-1, n)
    size = jnp.linalg.norm(F, axis=1, keepdims=True)
    F = F / jnp.where(size > 0, size, 1)
    # (1 − FᵀF) J (1 − FᵀF), with products of the few rows of F only.
    left = J - F.T @ (F @ J)
    H = left - (left @ F.T) @ F
    return -H, F.T @ F


@eqx.filter_jit
def _local_geometry(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"], kinked: bool):
    weights = unpack(y)
    inactive = _inactive(weights, kinked)
    return population_loss(problem, weights), *_active_hessian(flow, problem, weights, inactive)


@eqx.filter_jit
def _projected_rates(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"], kinked: bool):
    weights, inactive = _project(flow, y, kinked)
    return pack(weights), _active_rates(flow, problem, weights, inactive)


def _project(
    flow: AbstractFlow, y: Float[Array, "K D"], kinked: bool
) -> tuple[Weights, Bool[Array, "K 1"]]:
    """The point carried back onto the flow's constraint, inactive students put to 0, and which these are.

    Close to a kink at 0 a student's curvature is rounding error divided by its length.
    """
    weights = flow.retract(unpack(y))
    inactive = _inactive(weights, kinked)
    return Weights(jnp.where(inactive, 0, weights.W), weights.v), inactive


def _inactive(weights: Weights, kinked: bool) -> Bool[Array, "K 1"]:
    if not kinked:
        return jnp.zeros((len(weights.W), 1), bool)
    return jnp.linalg.norm(weights.W, axis=1, keepdims=True) < INACTIVE_NORM


def _active_rates(flow, problem, weights: Weights, inactive: Bool[Array, "K 1"]):
    """The rates of [W | v], inactive students held."""
    rates = flow(0.0, weights, problem)
    return pack(Weights(jnp.where(inactive, 0, rates.W), rates.v))


def _active_hessian(flow, problem, weights: Weights, inactive: Bool[Array, "K 1"]):
    """`_decisive_jacobian`, with inactive students and what it leaves out above its other eigenvalues; and
    whether there are any others."""
    H, P = _decisive_jacobian(flow, problem, weights)
    held = jnp.pad(jnp.broadcast_to(inactive, weights.W.shape), ((0, 0), (0, 1))).ravel()
    either = held[:, None] | held[None, :]
    H = jnp.where(either, 0, H)
    P = jnp.where(either, jnp.diag(held.astype(H.dtype)), P)
    movable = jnp.trace(P) < len(P) - 0.5
    above = jnp.where(movable, 2 * jnp.max(jnp.sum(jnp.abs(H), axis=1)) + 1, 0)
    return H + above * P, movable
