"""Gradient flow (GD)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.compiler import materialize, sum_in_chunks
from .base import AbstractFlow, Mixing


def gradient_mixing(state: OrderParameters, problem: Problem) -> Mixing:
    r"""Return the mixing of gradient flow (paper, Eqs. 20-21).

    It is that of $\partial L/\partial w_i = v_i E[\sigma'(\lambda_i)\, x\, \Delta]$.

    With signed readouts $a = (v, -v^*)$ over all units l, students and teachers together,
    $X_{ij} = v_i a_j s_{ij} + \delta_{ij} v_i \sum_l a_l p_{il}$ and $Y_{in} = v_i a_n s_{in}$.
    """
    Q, R, v = state.Q, state.R, state.v
    q = jnp.diagonal(Q)
    orthonormal = problem.teacher_overlaps is None
    T = jnp.ones(problem.teachers, q.dtype) if orthonormal else jnp.diagonal(problem.T)
    a = -problem.readout.astype(v.dtype)
    # Students and teachers in two calls: concatenating their overlaps would cost as much as the moments.
    p, s = problem.activation.mixing_scalars(q[:, None], Q, q[None, :])
    p_teacher, s_teacher = problem.activation.mixing_scalars(q[:, None], R, T[None, :])
    stretch = v * (jnp.sum(p * v[None, :], axis=1) + jnp.sum(p_teacher * a[None, :], axis=1))
    X = v[:, None] * v[None, :] * s + jnp.diag(stretch)
    return Mixing(X, v[:, None] * a[None, :] * s_teacher, jnp.zeros_like(v))


_MAX_BATCHED_WIDTH = 22
"""The largest K or d for which, on CPU, matrix products are faster as sums over lanes on the last axis."""


def _products(
    A: Float[Array, "k m n"], B: Float[Array, "k l n"], as_sums: bool
) -> Float[Array, "m l n"]:
    """Aᵀ B of each of n lanes: as a sum over the first axis, which XLA's CPU compiler turns into one loop; or
    as products of matrices, for which other devices have kernels."""
    if as_sums:
        return jnp.sum(A[:, :, None] * B[:, None], axis=0)
    return jnp.einsum("kmn,kln->mln", A, B)


class GradientFlow(AbstractFlow):
    """dw_i/dt = −∂L/∂w_i with the readout fixed (paper, Eq. 4)."""

    def batched_rates(self, weights: Weights, problem: Problem) -> Weights:
        W, v = weights.W, weights.v
        K, d, _ = W.shape
        M = problem.teachers
        on_cpu = jax.default_backend() == "cpu"
        if (on_cpu and max(K, d) > _MAX_BATCHED_WIDTH) or problem.teacher_overlaps is not None:
            return super().batched_rates(weights, problem)
        # The algebra of `gradient_mixing` and Ẇ = −XW − Y, each array with lanes on its last axis.
        Q = _products(jnp.swapaxes(W, 0, 1), jnp.swapaxes(W, 0, 1), on_cpu)
        q = jnp.sum(W * W, axis=1)
        a = -problem.readout.astype(v.dtype)[None, :, None]
        p, s = problem.activation.mixing_scalars(q[:, None], Q, q[None])
        p_teacher, s_teacher = problem.activation.mixing_scalars(
            q[:, None], W[:, :M], jnp.ones_like(a)
        )
        stretch = v * (sum_in_chunks(p * v[None], 1) + sum_in_chunks(p_teacher * a, 1))
        X = materialize(v[:, None] * v[None] * s)
        Y = jnp.pad(v[:, None] * a * s_teacher, ((0, 0), (0, d - M), (0, 0)))
        XW = _products(X, W, on_cpu)  # X is symmetric
        return Weights(-(XW + stretch[:, None] * W + Y), jnp.zeros_like(v))

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        return gradient_mixing(state, problem)
