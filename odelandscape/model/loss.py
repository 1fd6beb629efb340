"""The population loss, its value without students, and when it is zero."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linear_sum_assignment

from ..activations.base import AbstractActivation
from .problem import Problem
from .state import State, Weights, check_shapes, overlaps


def population_loss(problem: Problem, state: State) -> Float[Array, ""]:
    r"""Return $L = E[\Delta^2]/2$, $\Delta = \sum_i v_i \sigma(\lambda_i) - \sum_n v^*_n \sigma(\rho_n)$.

    A scalar, of Weights (W (K, d), v (K,)) or of OrderParameters; the teacher's readout and overlaps are
    those of the problem. Inputs are N(0, I_d), and the loss includes the factor ½ (paper, Eq. 28).

    Raises UserError for a state of other shapes than the problem's.
    """
    check_shapes(problem, state)
    if isinstance(state, Weights):
        state = overlaps(problem, state)
    a = jnp.concatenate([state.v, -problem.readout])
    covariance = jnp.block([[state.Q, state.R], [state.R.T, problem.T]])
    return problem.activation.quadratic_form(a, covariance) / 2


@eqx.filter_jit
def teacher_power(problem: Problem) -> Float[Array, ""]:
    """Return ½E[f*²], the loss of a student network whose output is 0."""
    return problem.activation.quadratic_form(problem.readout, problem.T) / 2


ZERO_LOSS = 1e-10
"""A loss below this fraction of what no linear network could learn of the teacher is zero."""
_ROUNDING = 64 * float(np.finfo(float).eps)  # of a loss, relative to the teacher's power
_LINEAR = 1e-28  # share of a function's power that rounding leaves beside its linear part


class ZeroLoss(NamedTuple):
    """Which losses of a problem are zero.

    - `zero`: the loss below which the teacher is learned.
    - `rounding`: the loss that rounding may make of a smaller one.
    """

    zero: float
    rounding: float

    @property
    def resolved(self) -> bool:
        """Whether a computed loss can show that the teacher is learned."""
        return self.zero >= self.rounding


def zero_loss(problem: Problem) -> ZeroLoss:
    """Return which losses of this problem are zero.

    Students that agree with the teacher's linear part alone have not learned it, however small the rest is
    (a leaky ReLU of slope close to 1, or sigmoidal units of short weights).
    """
    power = float(teacher_power(problem))
    lengths = np.sqrt(np.diagonal(np.asarray(problem.T)))
    share = nonlinear_share(problem.activation, lengths, np.asarray(problem.readout))
    return ZeroLoss(ZERO_LOSS * power * share, _ROUNDING * power)


def nonlinear_share(
    activation: AbstractActivation,
    lengths: Float[np.ndarray, " M"],
    readout: Float[np.ndarray, " M"],
) -> float:
    """Return Σ v*² E[(σ(u) − best linear)²] over Σ v*² E[σ(u)²], u as large as each teacher's pre-activation.

    It is 1 for a linear σ, where there is nothing else to learn, and 1/2 for ReLU.
    """
    z, weight = np.polynomial.hermite_e.hermegauss(96)
    weight = weight / weight.sum()
    sigma = np.asarray(activation(jnp.asarray(lengths[:, None] * z)))
    linear = (sigma * z) @ weight
    powers = readout**2
    rest = powers @ ((sigma - linear[:, None] * z) ** 2 @ weight)
    whole = powers @ (sigma**2 @ weight)
    share = rest / whole if whole > 0 else 1.0
    return float(share) if _LINEAR < share <= 1 else 1.0


def reproduces_teacher(
    problem: Problem, W: Float[np.ndarray, "K d"], v: Float[np.ndarray, " K"], tolerance: float
) -> bool:
    """Return whether students are the teachers, to a distance `tolerance`.

    For a positively homogeneous σ each is on the ray of one, with the right sum of v w on each ray; for
    another, each teacher is there once, and the other students have length 0.
    """
    teachers, readout = np.asarray(problem.teacher_weights(W.shape[1])), np.asarray(problem.readout)
    lengths = np.linalg.norm(teachers, axis=1)
    if problem.activation.positively_homogeneous:
        rays = teachers / lengths[:, None]
        along = W @ rays.T
        own = np.argmax(along, axis=1)
        beside = W - np.maximum(along.max(axis=1), 0)[:, None] * rays[own]
        sums = np.bincount(own, v * along.max(axis=1), len(teachers))
        off = np.concatenate([np.linalg.norm(beside, axis=1), np.abs(sums - readout * lengths)])
        return bool((off <= tolerance).all())
    if len(W) < len(teachers):
        return False
    away = np.linalg.norm(W[:, None] - teachers[None], axis=2) + np.abs(v[:, None] - readout[None])
    students, own = linear_sum_assignment(away)
    rest = np.delete(W, students, axis=0)
    return bool((away[students, own] <= tolerance).all() and (np.abs(rest) <= tolerance).all())
