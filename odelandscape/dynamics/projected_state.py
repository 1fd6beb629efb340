"""The state of a stochastic flow: coordinates in the teacher's span, and the overlaps beside it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model.problem import Problem
from ..model.state import OrderParameters, Weights, project_on_teacher


class ProjectedState(eqx.Module):
    """Students' coordinates P (K, M) in the teacher's span and B = Q − R T⁻¹ Rᵀ (K, K), what is beside it.

    What noise adds to Q goes into B, which stays positive semidefinite by itself, so that Q and R stay
    what weights can have.
    """

    P: Float[Array, "K M"]
    B: Float[Array, "K K"]
    v: Float[Array, " K"]

    @classmethod
    def of(cls, problem: Problem, weights: Weights) -> "ProjectedState":
        beside = weights.W[:, problem.teachers :]
        return cls(weights.W[:, : problem.teachers], beside @ beside.T, weights.v)

    def overlaps(self, problem: Problem) -> OrderParameters:
        R = project_on_teacher(problem, self.P)
        return OrderParameters(self.P @ self.P.T + self.B, R, self.v)

    def realisable(self) -> "ProjectedState":
        """B without what the error of a step has left below 0."""
        values, vectors = jnp.linalg.eigh(self.B)
        return ProjectedState(
            self.P, (vectors * jnp.maximum(values, 0)[None, :]) @ vectors.T, self.v
        )


def stochastic_rates(t, state: ProjectedState, args) -> ProjectedState:
    """The rates of a flow with noise; `args` are flow and problem."""
    flow, problem = args
    X, Y, dv, noise = flow.mixing(state.overlaps(problem), problem)
    mixed = X @ state.B
    dP = -(X @ state.P) - Y @ problem.teacher_weights(problem.teachers)
    return ProjectedState(dP, noise - (mixed + mixed.T), dv)


_DIVERGENCE_THRESHOLD = 1e4
"""Squared lengths, in units of the teacher's, from which noise that drives students apart has won."""


def diverged(t, state: ProjectedState, args, **kwargs):
    """Whether students have become 100 times as long as teachers, or undefined."""
    problem = args[1]
    return ~(
        jnp.trace(state.B) + jnp.sum(state.P**2) < _DIVERGENCE_THRESHOLD * jnp.trace(problem.T)
    )
