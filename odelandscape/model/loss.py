"""The population loss, its value without students, and when it is zero."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linear_sum_assignment

from ..activations.base import AbstractActivation
from .problem import Problem
from .state import State, Weights, check_numbers, check_shapes, overlaps


def population_loss(problem: Problem, state: State) -> Float[Array, ""]:
    r"""Return $L = E[\Delta^2]/2$, $\Delta = \sum_i v_i \sigma(\lambda_i) - \sum_n v^*_n \sigma(\rho_n)$.

    A scalar, of Weights (W (K, d), v (K,)) or of OrderParameters; the teacher's readout and overlaps are
    those of the problem. Inputs are N(0, I_d), and the loss includes the factor ½ (paper, Eq. 28).

    Raises UserError for a state of other shapes than the problem's and, unless it is traced, for students
    too long for the activation (`AbstractActivation.accurate_at`) and for order parameters of no weights.
    """
    state = check_shapes(problem, state)
    check_numbers(problem, state, "state")
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
_LAST_LESSON = 1e-3
"""Share of the loss that is left without one of the teacher's units, below which that unit is learned."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(96)
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
    share = _share_or_none(problem.activation, lengths, np.asarray(problem.readout))
    # Of a linear network there is but one function to learn, by units that need not be the teacher's.
    lesson = _last_lesson(problem, share) if share > 0 else np.inf
    zero = min(ZERO_LOSS * power * (share or 1.0), _LAST_LESSON * lesson)
    return ZeroLoss(zero, _ROUNDING * power)


def _last_lesson(problem: Problem, share: float) -> float:
    """Return the least loss of a teacher in which one unit is left out, or two next to each other are one.

    `share`: of a unit's power that no linear network learns. Units of readout 0 teach nothing.
    """
    if problem.teacher_overlaps is None and problem.teacher_readout is None:
        return np.inf
    T, v, sigma = np.asarray(problem.T), np.asarray(problem.readout), problem.activation
    q = np.diagonal(T)
    alone = share * v**2 * np.asarray(sigma.second_moment(*map(jnp.asarray, (q, q, q)))) / 2
    lessons = alone[alone > 0].tolist()
    parity = 1 if sigma.even else -1 if sigma.odd else 0
    cosine = T / np.sqrt(q[:, None] * q)
    closeness = np.where(
        (v == 0) | np.eye(len(v), dtype=bool), -2, np.abs(cosine) if parity else cosine
    )
    for n, m in enumerate(np.argmax(closeness, axis=1)):
        if n == m or v[n] == 0 or v[m] == 0:
            continue
        flip = -1 if parity and T[n, m] < 0 else 1  # w* → −w*, and v* → −v* too of an odd σ
        readouts = np.array([v[n], v[m] * (flip if parity < 0 else 1)])
        total = readouts.sum() if readouts.prod() > 0 else 0.0  # 0: both are left out
        mean = readouts / total if total else np.zeros(2)
        units = np.vstack([np.eye(2), mean])
        pair = np.array([[q[n], flip * T[n, m]], [flip * T[n, m], q[m]]])
        lessons.append(float(_power(sigma, np.append(readouts, -total), units @ pair @ units.T)))
    return max(min(lessons, default=np.inf), 0.0)


@eqx.filter_jit
def _power(activation, a, covariance):
    return activation.quadratic_form(jnp.asarray(a), jnp.asarray(covariance)) / 2


def nonlinear_share(
    activation: AbstractActivation,
    lengths: Float[np.ndarray, " M"],
    readout: Float[np.ndarray, " M"],
) -> float:
    """Return Σ v*² E[(σ(u) − best linear)²] over Σ v*² E[σ(u)²], u as large as each teacher's pre-activation.

    It is 1 for a linear σ, where there is nothing else to learn, and 1/2 for ReLU.
    """
    return _share_or_none(activation, lengths, readout) or 1.0


def _share_or_none(
    activation: AbstractActivation, lengths: np.ndarray, readout: np.ndarray
) -> float:
    """`nonlinear_share`, but 0 for a linear σ."""
    z, weight = _NODES, _WEIGHTS / _WEIGHTS.sum()
    sigma = np.asarray(activation(jnp.asarray(lengths[:, None] * z)))
    linear = (sigma * z) @ weight
    powers = readout**2
    rest = powers @ ((sigma - linear[:, None] * z) ** 2 @ weight)
    whole = powers @ (sigma**2 @ weight)
    share = rest / whole if whole > 0 else 1.0
    return 0.0 if share <= _LINEAR else min(float(share), 1.0)


def reproduces_teacher(
    problem: Problem, W: Float[np.ndarray, "K d"], v: Float[np.ndarray, " K"], tolerance: float
) -> bool:
    """Return whether students are the teachers, to a distance `tolerance`, less for teachers of small output.

    For a positively homogeneous σ each is on the ray of one, with the right sum of v w on each ray; for
    another, each teacher is there once, and the other students have length 0.
    """
    teachers, readout = np.asarray(problem.teacher_weights(W.shape[1])), np.asarray(problem.readout)
    lengths = np.linalg.norm(teachers, axis=1)
    sizes = np.abs(readout) * (lengths if problem.activation.positively_homogeneous else 1)
    tolerance = tolerance * sizes[sizes > 0].min(initial=1.0)
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
