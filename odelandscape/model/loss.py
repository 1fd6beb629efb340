"""The population loss, and its value without students."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .problem import Problem
from .state import State, Weights, overlaps


def population_loss(problem: Problem, state: State) -> Float[Array, ""]:
    r"""Return $L = E[\Delta^2]/2$, $\Delta = \sum_i v_i \sigma(\lambda_i) - \sum_n v^*_n \sigma(\rho_n)$.

    A scalar, of Weights (W (K, d), v (K,)) or of OrderParameters; the teacher's readout and overlaps are
    those of the problem. Inputs are N(0, I_d), and the loss includes the factor ½ (paper, Eq. 28).
    """
    if isinstance(state, Weights):
        state = overlaps(problem, state)
    a = jnp.concatenate([state.v, -problem.readout])
    covariance = jnp.block([[state.Q, state.R], [state.R.T, problem.T]])
    return problem.activation.quadratic_form(a, covariance) / 2


@eqx.filter_jit
def teacher_power(problem: Problem) -> Float[Array, ""]:
    """Return ½E[f*²], the loss of a student network whose output is 0."""
    return problem.activation.quadratic_form(problem.readout, problem.T) / 2
