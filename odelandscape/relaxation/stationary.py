r"""Where a flow with noise comes to rest.

Online SGD at a finite learning rate does not stop at the minima of the loss. Where some loss remains, noise
lengthens the students until the gradient balances it: students then have a part B beside the teacher's span,
of rank K. Such a point has no Hessian that would decide; it is stable if the Jacobian of the order-parameter
ODE, in (P, B, v) of `Spread`, has no eigenvalue to the right.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..dynamics.projected_state import ProjectedState, diverged, stochastic_rates
from ..dynamics.runge_kutta_chebyshev import RungeKuttaChebyshev
from ..flows.base import AbstractFlow
from ..model.alignment import count_anti_aligned
from ..model.loss import population_loss, teacher_power
from ..model.problem import Problem
from ..model.state import Weights
from . import outcomes
from .classify import ZERO_LOSS
from .outcomes import EndStates, blank

STATIONARY_RATE = 1e-9
"""Norm of the rates of a stationary state. The noise is known to an absolute 1e-10."""
_NEWTON_FROM = 1e-5  # norm of the rates
_LEARNING = 1e6  # times a loss of zero
_NEWTON_STEPS = 6
_REACH = 0.02  # how far Newton may go, in (P, B, v)
_RTOL = 1e-5
_BAND = 1e-5  # eigenvalues this close to 0 decide nothing


def _speed(flow, problem, state: ProjectedState):
    rates = stochastic_rates(0.0, state, (flow, problem))
    return jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(rates)))


def _loss(problem: Problem, state: ProjectedState):
    return population_loss(problem, state.overlaps(problem))


def _ended(t, state, args, **kwargs):
    flow, problem, zero, quiet = args
    loss = _loss(problem, state)
    # Near loss 0 rates are small without being at rest.
    resting = (_speed(flow, problem, state) < quiet) & (loss > _LEARNING * zero)
    return (loss < zero) | resting | diverged(t, state, (flow, problem))


def _field(t, state, args):
    return stochastic_rates(t, state, args[:2])


@eqx.filter_jit
def _integrate_to_stationarity(problem, flow, start: ProjectedState, zero, quiet, end):
    """From a state to where it has learned, or moves more slowly than `quiet`: the state, its speed and
    loss, and the time and steps it took."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_field),
        RungeKuttaChebyshev(),
        t0=jnp.zeros_like(end),
        t1=end,
        dt0=None,
        y0=start,
        args=(flow, problem, zero, quiet),
        stepsize_controller=diffrax.PIDController(rtol=_RTOL, atol=_RTOL / 10),
        event=diffrax.Event(_ended),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=100_000,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    assert solution.ys is not None  # SaveAt asked for them,
    assert solution.ts is not None
    state = jax.tree.map(lambda x: x[-1], solution.ys)
    steps = solution.stats["num_steps"]
    return state, _speed(flow, problem, state), _loss(problem, state), solution.ts[-1], steps


@eqx.filter_jit
def _linear(problem, flow, state: ProjectedState):
    """The rates and their Jacobian, in P, one half of B, and v if it moves."""
    rates, y, _ = _halved(problem, flow, state)
    return rates(y), jax.jacfwd(rates)(y)


@eqx.filter_jit
def _moved(problem, flow, state: ProjectedState, step) -> tuple:
    """The state after a step in these coordinates, its speed and its loss."""
    _, y, whole = _halved(problem, flow, state)
    state = whole(y + step)
    return state, _speed(flow, problem, state), _loss(problem, state)


def _halved(problem, flow, state: ProjectedState):
    i, j = np.triu_indices(problem.students)
    v = state.v if flow.train_readout else ()

    def whole(y) -> ProjectedState:
        P, half, moving = unravel(y)
        B = jnp.zeros_like(state.B).at[i, j].set(half).at[j, i].set(half)
        return ProjectedState(P, B, moving if flow.train_readout else state.v)

    def rates(y):
        change = stochastic_rates(0.0, whole(y), (flow, problem))
        moving = change.v if flow.train_readout else ()
        return ravel_pytree((change.P, change.B[i, j], moving))[0]

    y, unravel = ravel_pytree((state.P, state.B[i, j], v))
    return rates, y, whole


def _newton(problem, flow, state: ProjectedState):
    """The stationary state next to this one, its speed and loss; as near as Newton comes to it."""
    best, gone = (state, np.inf, np.inf), 0.0
    for _ in range(_NEWTON_STEPS):
        rates, J = map(np.asarray, _linear(problem, flow, best[0]))
        step = -np.linalg.lstsq(J, rates, rcond=1e-12)[0]
        gone += np.linalg.norm(step)
        next_ = _moved(problem, flow, best[0], jnp.asarray(step))
        if gone > _REACH or not float(next_[1]) < best[1]:
            break
        best = next_[0], float(next_[1]), float(next_[2])
        if best[1] < STATIONARY_RATE / 100:
            break
    return best


def _one(problem, flow, zero, end, ends: EndStates, start: Weights, n: int) -> None:
    state, outcome, smallest = ProjectedState.of(problem, start), outcomes.SADDLE, 0.0
    speed = loss = np.inf
    # What has come close to a saddle is about to leave it, and gets a second time.
    for quiet in (_NEWTON_FROM, STATIONARY_RATE):
        state, speed, loss, time, steps = _integrate_to_stationarity(
            problem, flow, state, zero, jnp.asarray(quiet), jnp.asarray(end)
        )
        speed, loss, learned = float(speed), float(loss), bool(loss < zero)
        lost = bool(diverged(0.0, state, (flow, problem)))
        if lost or not np.isfinite(speed + loss):
            return  # `blank` says failed
        ends.time[n] += float(time)
        ends.evaluations[n] += int(steps)
        if learned:
            outcome, smallest = outcomes.GLOBAL_MINIMUM, 0.0
            break
        near = _newton(problem, flow, state) if speed <= _NEWTON_FROM else (state, np.inf, np.inf)
        if near[1] < speed:
            state, speed, loss = near
        _, J = _linear(problem, flow, state)
        smallest = float(np.min(-np.linalg.eigvals(np.asarray(J)).real))
        stable = outcomes.LOCAL_MINIMUM if smallest > -_BAND else outcomes.SADDLE
        outcome = stable if speed < STATIONARY_RATE else outcomes.NOT_CONVERGED
        if outcome != outcomes.SADDLE:
            break
    ends.outcome[n], ends.smallest_eigenvalue[n] = outcome, smallest
    ends.loss[n], ends.gradient_norm[n] = max(loss, 0.0), speed
    values, vectors = np.linalg.eigh(np.asarray(state.B))
    beside = vectors * np.sqrt(np.maximum(values, 0))
    ends.weights[n], ends.readout[n] = np.concatenate([state.P, beside], axis=1), state.v


def stationary_states(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    end: float,
    progress: Callable[[int], None] | None,
    threads: int,
) -> EndStates:
    """End states of N starts under online SGD: integrated until the rates are below 1e-5, then by Newton's
    method, without leaving the neighbourhood (0.02).

    `loss` is the population loss there, `gradient_norm` the norm of the rates of (P, B, v),
    `smallest_eigenvalue` the least real part of the eigenvalues of minus their Jacobian (0, unexamined, for a
    global minimum), and `weights` (N, K, M + K) have the order parameters of the end state. A start whose
    students grow without bounds is `failed`.
    """
    N, M = len(starts.W), problem.teachers
    ends = blank(N, problem.students, M + problem.students)
    zero = ZERO_LOSS * teacher_power(problem)
    lock = threading.Lock()

    def one(n: int) -> None:
        _one(problem, flow, zero, end, ends, jax.tree.map(lambda x: x[n], starts), n)
        if progress is not None:
            with lock:
                progress(1)

    one(0)  # compiles
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(1, N)))
    W = ends.weights[:, :, :M] @ np.asarray(problem.teacher_weights(M)).T
    aligned = count_anti_aligned(W, np.linalg.norm(ends.weights, axis=2))
    return ends._replace(anti_aligned=aligned)
