"""Gradient flow of both layers (2L-GD)."""

import jax.numpy as jnp

from ..model.problem import Problem
from ..model.state import OrderParameters
from .base import AbstractFlow, Mixing
from .gradient import gradient_mixing


class TwoLayerFlow(AbstractFlow):
    r"""Gradient flow in the weights and the readout (paper, Eqs. 10 and 22).

    $\dot v_i = -E[\sigma(\lambda_i)\Delta] = -\sum_l a_l I_2(i, l)$ with $a = (v, -v^*)$. For a
    positively homogeneous activation $|w_i|^2 - v_i^2$ is conserved and each fixed point is one of a
    K-parameter set of equal networks.
    """

    @property
    def trains_readout(self) -> bool:
        return True

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        X, Y, *_ = gradient_mixing(state, problem)
        Q, R, v = state.Q, state.R, state.v
        q = jnp.diagonal(Q)
        a = jnp.concatenate([v, -problem.readout.astype(v.dtype)])
        c22 = jnp.concatenate([q, jnp.diagonal(problem.T).astype(q.dtype)])
        moments = problem.activation.second_moment(
            q[:, None], jnp.concatenate([Q, R], axis=1), c22[None, :]
        )
        return Mixing(X, Y, -(moments @ a))
