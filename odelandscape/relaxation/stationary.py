r"""Stationary states of a flow with noise.

Online SGD at a finite learning rate does not stop at the minima of the loss. Where some loss remains, noise
lengthens the students until the gradient balances it: students then have a part B beside the teacher's span,
of rank K. Such a point has no Hessian that would decide; it is stable if the Jacobian of the order-parameter
ODE, in (P, B, v) of `ProjectedState`, has no eigenvalue to the right.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..dynamics.projected_state import ProjectedState, diverged, stochastic_rates
from ..dynamics.runge_kutta_chebyshev import RungeKuttaChebyshev
from ..flows.base import AbstractFlow
from ..model.alignment import count_anti_aligned
from ..model.loss import ZeroLoss, population_loss, reproduces_teacher, zero_loss
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.compiler import thread_pool
from . import outcomes
from .outcomes import TEACHER_DISTANCE, EndStates, blank

STATIONARY_RATE = 1e-9
"""Norm of the rates of a stationary state. The noise is known to an absolute 1e-10."""
_NEWTON_RATE = 1e-5  # norm of the rates at which Newton's method begins
_SMALL_LOSS = 1e6  # times a loss of zero: below it small rates do not make a state stationary
_MAX_NEWTON_STEPS = 6
_NEWTON_RADIUS = 0.02  # in (P, B, v)
_RTOL = 1e-5
_STABILITY_BAND = 1e-5  # eigenvalues this close to 0 decide nothing


class _Candidate(NamedTuple):
    """A state that may be stationary."""

    state: ProjectedState
    speed: float  # norm of the rates of (P, B, v)
    loss: float


def _speed(flow, problem, state: ProjectedState):
    rates = stochastic_rates(0.0, state, (flow, problem))
    return jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(rates)))


def _loss(problem: Problem, state: ProjectedState):
    return population_loss(problem, state.overlaps(problem))


def _ended(t, state, args, **kwargs):
    flow, problem, zero_loss, rate = args
    loss = _loss(problem, state)
    # Near loss 0 rates are small where the state is not stationary.
    stationary = (_speed(flow, problem, state) < rate) & (loss > _SMALL_LOSS * zero_loss)
    return (loss < zero_loss) | stationary | diverged(t, state, (flow, problem))


def _field(t, state, args):
    return stochastic_rates(t, state, args[:2])


@eqx.filter_jit
def _integrate_to_stationarity(problem, flow, start: ProjectedState, zero_loss, rate, time_limit):
    """From a state to where zero loss is reached, or the rates fall below `rate`: the state, its speed and
    loss, and the time and steps it took."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_field),
        RungeKuttaChebyshev(),
        t0=jnp.zeros_like(time_limit),
        t1=time_limit,
        dt0=None,
        y0=start,
        args=(flow, problem, zero_loss, rate),
        stepsize_controller=diffrax.PIDController(rtol=_RTOL, atol=_RTOL / 10),
        event=diffrax.Event(_ended),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=100_000,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    state, time = jax.tree.map(lambda x: x[-1], (solution.ys, solution.ts))
    steps = solution.stats["num_steps"]
    return state, _speed(flow, problem, state), _loss(problem, state), time, steps


@final
class _Coordinates(eqx.Module):
    """Coordinates of states beside one: P, one half of B, and v if the flow trains it."""

    problem: Problem
    flow: AbstractFlow
    state: ProjectedState

    @property
    def _half(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(self.problem.students)

    def _parts(self, state: ProjectedState):
        v = state.v if self.flow.trains_readout else ()
        return state.P, state.B[self._half], v

    def origin(self) -> Float[Array, " n"]:
        """The coordinates of the state itself."""
        return ravel_pytree(self._parts(self.state))[0]

    def state_at(self, y: Float[Array, " n"]) -> ProjectedState:
        _, unravel = ravel_pytree(self._parts(self.state))
        i, j = self._half
        P, half, v = unravel(y)
        B = jnp.zeros_like(self.state.B).at[i, j].set(half).at[j, i].set(half)
        return ProjectedState(P, B, v if self.flow.trains_readout else self.state.v)

    def rates(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        change = stochastic_rates(0.0, self.state_at(y), (self.flow, self.problem))
        return ravel_pytree(self._parts(change))[0]


@eqx.filter_jit
def _linearise(problem, flow, state: ProjectedState):
    """The rates and their Jacobian in `_Coordinates`."""
    coordinates = _Coordinates(problem, flow, state)
    y = coordinates.origin()
    return coordinates.rates(y), jax.jacfwd(coordinates.rates)(y)


@eqx.filter_jit
def _moved(problem, flow, state: ProjectedState, step) -> tuple:
    """The state after a step in `_Coordinates`, its speed and its loss."""
    coordinates = _Coordinates(problem, flow, state)
    state = coordinates.state_at(coordinates.origin() + step)
    return state, _speed(flow, problem, state), _loss(problem, state)


def _newton(problem, flow, state: ProjectedState) -> _Candidate:
    """The stationary state next to this one, as near as Newton's method comes to it."""
    best, moved = _Candidate(state, np.inf, np.inf), 0.0
    for _ in range(_MAX_NEWTON_STEPS):
        rates, J = map(np.asarray, _linearise(problem, flow, best.state))
        step = -np.linalg.lstsq(J, rates, rcond=1e-12)[0]
        moved += np.linalg.norm(step)
        trial, speed, loss = _moved(problem, flow, best.state, jnp.asarray(step))
        if moved > _NEWTON_RADIUS or not float(speed) < best.speed:
            break
        best = _Candidate(trial, float(speed), float(loss))
        if best.speed < STATIONARY_RATE / 100:
            break
    return best


def _classify(problem, flow, zero: ZeroLoss, end: _Candidate) -> tuple[str, float]:
    """The outcome of a state with small rates, and the least real part of the eigenvalues of minus the
    Jacobian."""
    _, J = _linearise(problem, flow, end.state)
    smallest = float(np.min(-np.linalg.eigvals(np.asarray(J)).real))
    on_its_way = zero.resolved and end.loss <= _SMALL_LOSS * zero.zero
    if on_its_way or not end.speed < STATIONARY_RATE:
        outcome = outcomes.NOT_CONVERGED
    elif smallest < -_STABILITY_BAND:
        outcome = outcomes.SADDLE
    elif not zero.resolved and reproduces_teacher(
        problem, _weights(end.state), np.asarray(end.state.v), TEACHER_DISTANCE
    ):
        outcome = outcomes.GLOBAL_MINIMUM
    elif smallest <= _STABILITY_BAND or (not zero.resolved and end.loss <= zero.rounding):
        outcome = outcomes.MARGINAL
    else:
        outcome = outcomes.LOCAL_MINIMUM
    return outcome, smallest


def _weights(state: ProjectedState) -> Float[np.ndarray, "K n"]:
    """Weights (K, M + K) with the order parameters of a state."""
    values, vectors = np.linalg.eigh(np.asarray(state.B))
    return np.concatenate([state.P, vectors * np.sqrt(np.maximum(values, 0))], axis=1)


def _enter(ends: EndStates, n: int, end: _Candidate, outcome: str, smallest: float) -> None:
    ends.outcome[n], ends.smallest_eigenvalue[n] = outcome, smallest
    ends.loss[n], ends.gradient_norm[n] = max(end.loss, 0.0), end.speed
    ends.weights[n], ends.readout[n] = _weights(end.state), end.state.v


@final
class _Relaxation:
    """Start by start to the stationary states `ends`. Threads may share it."""

    def __init__(self, problem, flow, starts: Weights, time_limit: float, progress, ends):
        self.problem: Problem = problem
        self.flow: AbstractFlow = flow
        self.starts, self.time_limit = starts, time_limit
        self.ends: EndStates = ends
        self.zero_loss = zero_loss(problem)
        # Where rounding hides a loss of zero, no loss ends an integration.
        self._enough = jnp.asarray(self.zero_loss.zero if self.zero_loss.resolved else -np.inf)
        self._progress: Callable[[int], None] | None = progress
        self._lock = threading.Lock()

    def relax(self, n: int) -> None:
        """Enter the end state of start n, and report that it is done."""
        start = jax.tree.map(lambda x: x[n], self.starts)
        self._relax(n, ProjectedState.of(self.problem, start))
        if self._progress is not None:
            with self._lock:
                self._progress(1)

    def _relax(self, n: int, state: ProjectedState) -> None:
        problem, flow, ends = self.problem, self.flow, self.ends
        end, outcome, smallest = _Candidate(state, np.inf, np.inf), outcomes.SADDLE, 0.0
        # A state that has come close to a saddle is about to leave it, and is integrated a second time.
        for rate in (_NEWTON_RATE, STATIONARY_RATE):
            state, speed, loss, time, steps = _integrate_to_stationarity(
                problem,
                flow,
                end.state,
                self._enough,
                jnp.asarray(rate),
                jnp.asarray(self.time_limit),
            )
            end = _Candidate(state, float(speed), float(loss))
            finite = np.isfinite(end.speed + end.loss)
            if not finite or bool(diverged(0.0, state, (flow, problem))):
                return  # failed, as in `blank`
            ends.time[n] += float(time)
            ends.evaluations[n] += int(steps)
            if bool(loss < self._enough):
                outcome, smallest = outcomes.GLOBAL_MINIMUM, 0.0
                break
            if end.speed <= _NEWTON_RATE:
                near = _newton(problem, flow, state)
                end = near if near.speed < end.speed else end
                if end.loss < float(self._enough):
                    outcome, smallest = outcomes.GLOBAL_MINIMUM, 0.0
                    break
            outcome, smallest = _classify(problem, flow, self.zero_loss, end)
            if outcome != outcomes.SADDLE:
                break
        _enter(ends, n, end, outcome, smallest)


def stationary_states(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    time_limit: float,
    progress: Callable[[int], None] | None,
    threads: int,
) -> EndStates:
    """Return the end states of N starts under online SGD: integrated until the rates are below 1e-5, then by
    Newton's method, without leaving the neighbourhood (0.02).

    `loss` is the population loss there, `gradient_norm` the norm of the rates of (P, B, v),
    `smallest_eigenvalue` the least real part of the eigenvalues of minus their Jacobian (0, not computed, for
    a global minimum), and `weights` (N, K, M + K) have the order parameters of the end state. A start whose
    students grow without bounds is `failed`.
    """
    N, M = len(starts.W), problem.teachers
    ends = blank(N, problem.students, M + problem.students)
    relaxation = _Relaxation(problem, flow, starts, time_limit, progress, ends)
    relaxation.relax(0)  # compiles
    with thread_pool(threads) as pool:
        list(pool.map(relaxation.relax, range(1, N)))
    W = ends.weights[:, :, :M] @ np.asarray(problem.teacher_weights(M)).T
    aligned = count_anti_aligned(problem, W, np.linalg.norm(ends.weights, axis=2), ends.readout)
    return ends._replace(anti_aligned=aligned)
