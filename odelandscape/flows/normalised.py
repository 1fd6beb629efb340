"""Normalised gradient flow (nGD)."""

import jax.numpy as jnp

from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from .base import AbstractFlow, Mixing
from .gradient import gradient_mixing


class NormalisedFlow(AbstractFlow):
    r"""Gradient flow on a product of spheres: the gradient of each $w_i$ without its radial component.

    $\dot w_i = -(g_i - w_i\,(w_i \cdot g_i)/|w_i|^2)$ keeps $Q_{ii}$ (paper, Eqs. 54-56). Initial weights
    are scaled to unit norms; a student of length 0, which has no direction, stays at 0.
    """

    @property
    def preserves_norms(self) -> bool:
        return True

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        X, Y, dv, _ = gradient_mixing(state, problem)
        q = jnp.diagonal(state.Q)
        radial = jnp.sum(X * state.Q, axis=1) + jnp.sum(Y * state.R, axis=1)
        positive = q > 0
        share = jnp.where(positive, radial / jnp.where(positive, q, 1), 0)
        # The sphere of a student of norm 0 is a point: its rate is 0.
        X, Y = jnp.where(positive[:, None], X, 0), jnp.where(positive[:, None], Y, 0)
        return Mixing(X - jnp.diag(share), Y, dv)

    def project_initial(self, weights: Weights) -> Weights:
        # Squares of lengths below 1e-154 would be 0, of those above 1e154 infinite (in float64).
        largest = jnp.max(jnp.abs(weights.W), axis=1, keepdims=True)
        numbers = jnp.finfo(largest.dtype)
        extreme = (largest < float(numbers.tiny) ** 0.45) | (largest > float(numbers.max) ** 0.45)
        W = weights.W / jnp.where((largest > 0) & extreme, largest, 1)
        n = jnp.linalg.norm(W, axis=1, keepdims=True)
        return Weights(W / jnp.where(n > 0, n, 1), weights.v)

    def retract(self, weights: Weights) -> Weights:
        return self.project_initial(weights)

    def neutral_directions(self, weights: Weights, problem: Problem):
        K = problem.students
        rows = jnp.pad(weights.W, ((0, 0), (0, 1)))
        radial = jnp.eye(K)[:, :, None] * rows[None, :, :]
        return jnp.concatenate([radial, super().neutral_directions(weights, problem)])
