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

from . import results
from .certify import ZERO_LOSS, EndStates, blank, teacher_power
from .classify import count_anti_aligned
from .flows import AbstractFlow
from .integrate import Spread, diverged, noisy_field
from .problem import Problem, Weights, population_loss
from .solvers import RungeKuttaChebyshev

AT_REST = 1e-9
"""Norm of the rates of a stationary state. The noise is known to an absolute 1e-10."""
_RTOL = 1e-5
_BAND = 1e-5  # eigenvalues this close to 0 decide nothing


def _speed(flow, problem, state: Spread):
    rates = noisy_field(0.0, state, (flow, problem))
    return jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(rates)))


def _loss(problem: Problem, state: Spread):
    return population_loss(problem, state.overlaps(problem))


def _ended(t, state, args, **kwargs):
    flow, problem, zero = args
    learned = _loss(problem, state) < zero
    return learned | (_speed(flow, problem, state) < AT_REST) | diverged(t, state, (flow, problem))


def _field(t, state, args):
    return noisy_field(t, state, args[:2])


@eqx.filter_jit
def _rest(problem, flow, start: Weights, zero, end):
    """The end of one start: its state, speed and loss, and the time and steps it took."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_field),
        RungeKuttaChebyshev(),
        t0=0.0,
        t1=end,
        dt0=None,
        y0=Spread.of(problem, start),
        args=(flow, problem, zero),
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
def _jacobian(problem, flow, state: Spread):
    """Of the rates of (P, B, v), with the two halves of B as one."""
    i, j = np.triu_indices(problem.students)

    def rates(y):
        P, half, v = unravel(y)
        B = jnp.zeros_like(state.B).at[i, j].set(half).at[j, i].set(half)
        change = noisy_field(0.0, Spread(P, B, v), (flow, problem))
        return ravel_pytree((change.P, change.B[i, j], change.v))[0]

    y, unravel = ravel_pytree((state.P, state.B[i, j], state.v))
    return jax.jacfwd(rates)(y)


def _one(problem, flow, zero, end, ends: EndStates, start: Weights, n: int) -> None:
    state, speed, loss, time, steps = _rest(problem, flow, start, zero, end)
    if not (np.isfinite(float(speed)) and float(loss) < np.inf) or bool(
        diverged(0.0, state, (flow, problem))
    ):
        return  # `blank` says failed
    ends.time[n], ends.evaluations[n] = float(time), int(steps)
    ends.loss[n], ends.gradient_norm[n] = max(float(loss), 0.0), float(speed)
    values, vectors = np.linalg.eigh(np.asarray(state.B))
    beside = vectors * np.sqrt(np.maximum(values, 0))
    ends.weights[n], ends.readout[n] = np.concatenate([state.P, beside], axis=1), state.v
    if float(loss) < float(zero):
        ends.outcome[n], ends.smallest_eigenvalue[n] = results.GLOBAL_MINIMUM, 0.0
        return
    smallest = float(np.min(-np.linalg.eigvals(np.asarray(_jacobian(problem, flow, state))).real))
    ends.smallest_eigenvalue[n] = smallest
    if float(speed) < AT_REST:
        stable = smallest > -_BAND
        ends.outcome[n] = results.LOCAL_MINIMUM if stable else results.SADDLE
    else:
        ends.outcome[n] = results.NOT_CONVERGED


def come_to_rest(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    end: float,
    progress: Callable[[int], None] | None,
    threads: int,
) -> EndStates:
    """End states of N starts under a flow with noise, integrated until the rates are below 1e-9.

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
