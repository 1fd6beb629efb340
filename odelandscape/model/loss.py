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
_ROUNDING = 32 * float(np.finfo(float).eps)  # of a loss, relative to that of units which all add up
_LAST_LESSON = 1e-3
"""Share of the loss that one of the teacher's units, or what tells it from others, leaves if it is missing,
below which that is learned."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(96)
_NONE = 1e-28  # share of a function's power that rounding leaves of a part that it doesn't have


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
    (a leaky ReLU of slope close to 1, or sigmoidal units of short weights). The same holds of what is neither
    linear nor quadratic, which alone shows a rotation of the teachers, and of what is odd or even, which
    alone shows a student that is turned round.
    """
    power = float(teacher_power(problem))
    q = np.diagonal(problem.T)
    outputs = np.sqrt(unit_powers(problem.activation, q))
    shares = _shares(problem.activation, np.sqrt(q), np.asarray(problem.readout))
    # Of a linear network there is but one function to learn, by units that need not be the teacher's.
    lesson = _last_lesson(problem, shares.weakest) if shares.nonlinear > 0 else np.inf
    zero = min(ZERO_LOSS * power * (shares.nonlinear or 1.0), _LAST_LESSON * lesson)
    return ZeroLoss(zero, _ROUNDING * float(np.abs(problem.readout) @ outputs) ** 2)


def _last_lesson(problem: Problem, share: float) -> float:
    """Return the least loss of a teacher in which one unit is left out, or two next to each other are one.

    `share`: of a unit's power, that which tells it from others. Units of readout 0 teach nothing.
    """
    T, v, sigma = np.asarray(problem.T), np.asarray(problem.readout), problem.activation
    q = np.diagonal(T)
    alone = share * v**2 * unit_powers(sigma, q) / 2
    lessons = alone[alone > 0].tolist()
    if problem.teacher_overlaps is None and problem.teacher_readout is None:
        return min(lessons, default=np.inf)
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


def unit_powers(activation: AbstractActivation, q: np.ndarray) -> np.ndarray:
    """Return E[σ(u)²] of units of these squared lengths: of equal lengths the same number."""
    lengths, places = np.unique(q, return_inverse=True)
    return np.asarray(_second_moments(activation, lengths))[places]


@eqx.filter_jit
def _second_moments(activation, q):
    q = jnp.asarray(q)
    return activation.second_moment(q, q, q)


class _Shares(NamedTuple):
    """Shares of the power Σ v*² E[σ(u)²], u as large as each teacher's pre-activation.

    - `nonlinear`: of what no linear network learns; 0 for a linear σ.
    - `weakest`: the least that is not 0 of those of what is not linear, neither linear nor quadratic, odd,
      even.
    """

    nonlinear: float
    weakest: float


def zero_loss_share(activation: AbstractActivation) -> float:
    """Return the share of the power of a unit of length 1 of which `ZERO_LOSS` is lost in `zero_loss`.

    It is 1 for a linear σ, where there is nothing else to learn, and 1/2 for ReLU.
    """
    nonlinear, weakest = _shares(activation, np.ones(1), np.ones(1))
    return min(nonlinear, _LAST_LESSON / ZERO_LOSS * weakest) or 1.0


def _shares(activation: AbstractActivation, lengths: np.ndarray, readout: np.ndarray) -> _Shares:
    z, weight = _NODES, _WEIGHTS / _WEIGHTS.sum()
    sigma = np.asarray(activation(jnp.asarray(lengths[:, None] * z)))
    turned = np.asarray(activation(jnp.asarray(-lengths[:, None] * z)))
    hermite = [np.ones_like(z), z, (z**2 - 1) / np.sqrt(2)]
    constant, linear, quadratic = (((sigma * h) @ weight)[:, None] * h for h in hermite)
    parts = [
        sigma - linear,
        sigma - constant - linear - quadratic,
        (sigma - turned) / 2,
        (sigma + turned) / 2,
    ]
    powers = np.array([readout**2 @ (part**2 @ weight) for part in (sigma, *parts)])
    if not powers[0] > 0:
        return _Shares(1.0, 1.0)
    shares = np.minimum(powers[1:] / powers[0], 1.0)
    shares[shares <= _NONE] = 0.0
    return _Shares(float(shares[0]), float(shares[shares > 0].min(initial=1.0)))


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
