"""The Hessian of a flow at a point, and the rates of its inactive students."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..flows.base import AbstractFlow, packed_rates
from ..model.alignment import INACTIVE_NORM
from ..model.problem import Problem
from ..model.state import Weights, pack, unpack

STABILITY_BAND = 1e-8
"""An eigenvalue between minus this and this decides nothing."""


def hessian(
    flow: AbstractFlow, problem: Problem, weights: Weights
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """The Hessian that decides stability, in [W | v] flattened, and the projector on what it leaves out.

    It is minus the Jacobian of the flow's rates between directions that count
    (`AbstractFlow.neutral_directions` lists the others, here rows and columns of zeros). At a fixed
    point of GD that is the Hessian of the loss in the weights; of nGD and onGD, the Riemannian one.
    """
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
    return -(H + H.T) / 2, F.T @ F


def inactive(y: Float[Array, "K D"]) -> Bool[Array, "K 1"]:
    """Which students are silent."""
    return jnp.linalg.norm(y[:, :-1], axis=1, keepdims=True) < INACTIVE_NORM


def project(flow: AbstractFlow, y: Float[Array, "K D"]) -> Float[Array, "K D"]:
    """The point carried back onto the flow's constraint, silent students put to 0.

    Close to 0 a student's curvature is rounding error divided by its length.
    """
    y = pack(flow.retract(unpack(y)))
    return y.at[:, :-1].set(jnp.where(inactive(y), 0, y[:, :-1]))


def _fixed_mask(y: Float[Array, "K D"]) -> Bool[Array, "K D"]:
    return jnp.broadcast_to(inactive(y), y.shape).at[:, -1].set(False)


def projected_rates(
    flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]
) -> Float[Array, "K D"]:
    """The rates, silent students held."""
    return jnp.where(_fixed_mask(y), 0, packed_rates(flow, problem, y))


def curvature(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]) -> Float[Array, "n n"]:
    """The Hessian, silent students held, and what it leaves out moved above everything else: its
    smallest eigenvalue is the one that counts (0 where nothing is free to move)."""
    H, P = hessian(flow, problem, unpack(y))
    held = _fixed_mask(y).ravel()
    either = held[:, None] | held[None, :]
    H = jnp.where(either, 0, H)
    P = jnp.where(either, jnp.diag(held.astype(y.dtype)), P)
    above = jnp.where(jnp.trace(P) < len(P) - 0.5, 2 * jnp.max(jnp.sum(jnp.abs(H), axis=1)) + 1, 0)
    return H + above * P


def escape_rate(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]) -> Float[Array, ""]:
    """How fast the flow would lengthen silent students put a little way along the teachers or the
    students, either way: the largest of these rates, −inf where no student is silent."""
    W = jnp.concatenate([y[:, :-1], problem.teacher_weights(y.shape[1] - 1)])
    length = jnp.linalg.norm(W, axis=1, keepdims=True)
    W = jnp.where(length > 0, W / jnp.where(length > 0, length, 1), 0)

    def along(direction):
        moved = y.at[:, :-1].add(jnp.where(inactive(y), INACTIVE_NORM * direction[None, :], 0))
        out = packed_rates(flow, problem, moved)[:, :-1] @ direction
        return jnp.max(jnp.where(inactive(y)[:, 0], out, -jnp.inf))

    return jnp.max(jax.vmap(along)(jnp.concatenate([W, -W])))
