"""The state of a stochastic flow: coordinates in the teacher's span, and the overlaps outside it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model.problem import Problem
from ..model.state import OrderParameters, Weights, project_on_teacher


class ProjectedState(eqx.Module):
    """Students' coordinates P (K, M) in the teacher's span, and B = Q − R T⁻¹ Rᵀ (K, K), overlaps outside it.

    Noise adds to B alone, and B stays positive semidefinite under the flow, so that Q and R stay realisable:
    order parameters of weights.
    """

    P: Float[Array, "K M"]
    B: Float[Array, "K K"]
    v: Float[Array, " K"]

    @classmethod
    def of(cls, problem: Problem, weights: Weights) -> "ProjectedState":
        """Return the projected state of weights."""
        outside = weights.W[:, problem.teachers :]
        return cls(weights.W[:, : problem.teachers], outside @ outside.T, weights.v)

    def overlaps(self, problem: Problem) -> OrderParameters:
        """Return the order parameters: Q = P Pᵀ + B, R = P Lᵀ."""
        R = project_on_teacher(problem, self.P)
        return OrderParameters(self.P @ self.P.T + self.B, R, self.v)

    def realisable(self) -> "ProjectedState":
        """Return the state with B projected to positive semidefinite matrices: the error of a step can make
        eigenvalues negative."""
        values, vectors = jnp.linalg.eigh(self.B)
        return ProjectedState(
            self.P, (vectors * jnp.maximum(values, 0)[None, :]) @ vectors.T, self.v
        )


def stochastic_rates(t, state: ProjectedState, args) -> ProjectedState:
    """Return the rates of a flow with noise; `args` are flow and problem."""
    flow, problem = args
    X, Y, dv, noise = flow.mixing(state.overlaps(problem), problem)
    mixed = X @ state.B
    dP = -(X @ state.P) - Y @ problem.teacher_weights(problem.teachers)
    return ProjectedState(dP, noise - (mixed + mixed.T), dv)


_DIVERGENCE_THRESHOLD = 1e4
"""Divergence threshold of Σ|w_i|² over tr T: above it the noise has overcome the drift."""


def diverged(t, state: ProjectedState, args, **kwargs):
    """Return whether students are 100 times as long as teachers, or NaN."""
    problem = args[1]
    return ~(
        jnp.trace(state.B) + jnp.sum(state.P**2) < _DIVERGENCE_THRESHOLD * jnp.trace(problem.T)
    )
