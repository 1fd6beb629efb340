"""From many starts to their end states.

All lanes (one a start) lie in a pool on the device. Each round takes the first `batch` unfinished
ones, makes a number of evaluations in each, and puts them back: finished lanes leave and new ones enter
by being chosen or not, so a slow start holds nobody up. A lane whose rates have become small is
handed to a Newton finish; a finish that is not plainly inside one basin is refused, and the lane goes
on along the flow to a hundredth of the rate before the next try. What lingers at a saddle therefore
goes on until it leaves or its time ends, and is told as what it is then.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from threadpoolctl import threadpool_limits

from . import results
from .classify import SILENT
from .flows import AbstractFlow
from .problem import Problem, Weights, population_loss
from .solvers import Lane, Tolerances, advance, begin, finished, pack, rate, unpack

GRADIENT_TOLERANCE = 1e-10
"""An end state is converged if the norm of the flow's rates is at most this."""
STABILITY_BAND = 1e-8
"""A Hessian eigenvalue above minus this is not counted as unstable."""
LEAVING = 1e-5
"""A silent student that the flow would lengthen at a rate above this is not at a minimum."""
ZERO_LOSS = 1e-10
"""A loss below this fraction of the teacher's power ½E[f*²] is zero: the global minimum."""

_FIRST_TARGET = 1e-5  # norm of the rates at which the first Newton finish is tried
_REACH = 0.02  # how far a Newton finish may carry [W | v]
_EVALUATIONS = 64  # per lane and round
_FINISH_BATCH = 16
_SHOOTS = 20
_CHORDS = 8

# Two programs with LAPACK calls in them, run from two threads of one process, have been seen to wait for
# each other for ever (XLA's CPU threads, jaxlib 0.10.1, two cores).
_ONE_AT_A_TIME = threading.Lock()


class EndStates(NamedTuple):
    """What became of N starts, as NumPy arrays; see `relax`."""

    outcome: np.ndarray  # (N,) names from results.OUTCOMES
    loss: np.ndarray  # (N,)
    gradient_norm: np.ndarray  # (N,) Frobenius norm of the flow's rates
    smallest_eigenvalue: np.ndarray  # (N,) of the Hessian on the directions that count
    time: np.ndarray  # (N,) flow time at which the lane was finished
    evaluations: np.ndarray  # (N,)
    weights: np.ndarray  # (N, K, d)
    readout: np.ndarray  # (N, K)


def blank(count: int, students: int, dimension: int) -> EndStates:
    """End states to be filled in."""
    return EndStates(
        outcome=np.full(count, results.FAILED, dtype="<U14"),
        loss=np.full(count, np.inf),
        gradient_norm=np.full(count, np.inf),
        smallest_eigenvalue=np.full(count, np.inf),
        time=np.zeros(count),
        evaluations=np.zeros(count, int),
        weights=np.zeros((count, students, dimension)),
        readout=np.zeros((count, students)),
    )


def hessian(
    flow: AbstractFlow, problem: Problem, weights: Weights
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """The Hessian that decides stability, in [W | v] flattened, and the projector on what it leaves out.

    It is minus the Jacobian of the flow's rates between directions that count
    (`AbstractFlow.frozen_directions` lists the others, here rows and columns of zeros). At a fixed
    point of GD that is the Hessian of the loss in the weights; of nGD and onGD, the Riemannian one.
    """
    y = pack(weights)
    n = y.size

    def flat_rate(flat):
        return rate(flow, problem, flat.reshape(y.shape)).ravel()

    J = jax.jacfwd(flat_rate)(y.ravel())
    frozen = flow.frozen_directions(weights, problem).reshape(-1, n)
    size = jnp.linalg.norm(frozen, axis=1, keepdims=True)
    frozen = frozen / jnp.where(size > 0, size, 1)
    P = frozen.T @ frozen
    keep = jnp.eye(n) - P
    H = -(keep @ J @ keep)
    return (H + H.T) / 2, P


class Finish(NamedTuple):
    """A Newton finish: the point, what certifies it, and how it got there."""

    y: Float[Array, "K D"]
    speed: Float[Array, ""]  # norm of the rates
    smallest: Float[Array, ""]  # eigenvalue of the Hessian, at the point
    smallest_before: Float[Array, ""]  # the same where Newton took over
    leaving: Float[Array, ""]  # the fastest way out for a silent student
    distance: Float[Array, ""]
    loss: Float[Array, ""]


def newton_finish(flow: AbstractFlow, problem: Problem, y: Float[Array, "K D"]) -> Finish:
    r"""Newton's method from a point with small rates f.

    With the eigenpairs $(\lambda, u)$ of the Hessian the step is
    $\sum u\,(u\cdot f)\,\lambda/(\lambda^2+|f|^2)$: Newton's where $\lambda$ is well above $|f|$, none along
    directions without curvature (global minima of overparameterised students are not isolated). Each
    Hessian serves several steps, whole or half (where students coincide without being kept together,
    the curvature itself vanishes), as long as the rates fall.

    A *silent* student, shorter than `SILENT`, is put to 0 and held there: the loss has a kink at 0, and
    close to it the curvature is rounding error divided by the length. Instead the kink is probed at
    the end: `leaving` is the largest rate at which the flow would lengthen the silent students along
    the teachers and the students, either way.
    """
    eye = jnp.eye(y.size)

    def silent(y):
        return jnp.linalg.norm(y[:, :-1], axis=1, keepdims=True) < SILENT

    def tidy(y):
        y = pack(flow.retract(unpack(y)))
        return y.at[:, :-1].set(jnp.where(silent(y), 0, y[:, :-1]))

    def held(y):
        return jnp.broadcast_to(silent(y), y.shape).at[:, -1].set(False)

    def rate_of(y):
        return jnp.where(held(y), 0, rate(flow, problem, y))

    def spectrum(y):
        """Eigenpairs; what the Hessian leaves out is moved above everything else."""
        H, P = hessian(flow, problem, unpack(y))
        hold = held(y).ravel()
        P = jnp.where(hold[:, None] | hold[None, :], jnp.diag(hold.astype(y.dtype)), P)
        H = jnp.where(hold[:, None] | hold[None, :], 0, H)
        high = 2 * jnp.max(jnp.sum(jnp.abs(H), axis=1)) + 1
        values, vectors = jnp.linalg.eigh(H + high * P)
        smallest = jnp.where(jnp.trace(eye - P) > 0.5, values[0], 0)  # 0 if nothing is free to move
        return values, vectors, smallest

    def chord(i, carry):
        y, f, values, vectors, damping = carry
        gain = values / (values**2 + damping**2)
        step = (vectors @ (gain * (vectors.T @ f.ravel()))).reshape(y.shape)
        trial = tidy(y + jnp.where(i % 2 == 0, 1.0, 0.5) * step)
        f_trial = rate_of(trial)
        better = jnp.linalg.norm(f_trial) < jnp.linalg.norm(f)
        return jnp.where(better, trial, y), jnp.where(better, f_trial, f), values, vectors, damping

    def shoot(carry):
        y, f, _, _, smallest_before, count = carry
        before = jnp.linalg.norm(f)
        values, vectors, smallest = spectrum(y)
        # The last turn only looks at the spectrum where the steps have led.
        steps = jnp.where(before > GRADIENT_TOLERANCE / 10, _CHORDS, 0)
        y, f, *_ = jax.lax.fori_loop(0, steps, chord, (y, f, values, vectors, before))
        moved = jnp.linalg.norm(f) < 0.8 * before
        smallest_before = jnp.where(count == 0, smallest, smallest_before)
        return y, f, moved, smallest, smallest_before, count + 1

    def going(carry):
        return carry[2] & (carry[-1] < _SHOOTS)

    def leaving(y):
        """The silent students, all put a little way along one direction: how fast do they go on?"""
        W = jnp.concatenate([y[:, :-1], problem.teacher_weights(y.shape[1] - 1)])
        length = jnp.linalg.norm(W, axis=1, keepdims=True)
        W = jnp.where(length > 0, W / jnp.where(length > 0, length, 1), 0)

        def along(direction):
            moved = y.at[:, :-1].add(jnp.where(silent(y), SILENT * direction[None, :], 0))
            out = rate(flow, problem, moved)[:, :-1] @ direction
            return jnp.max(jnp.where(silent(y)[:, 0], out, -jnp.inf))

        return jnp.max(jax.vmap(along)(jnp.concatenate([W, -W])))

    y0 = tidy(y)
    nothing = jnp.zeros_like(y[0, 0])
    y, f, _, smallest, smallest_before, _ = jax.lax.while_loop(
        going, shoot, (y0, rate_of(y0), jnp.asarray(True), nothing, nothing, 0)
    )
    return Finish(
        y=y,
        speed=jnp.linalg.norm(f),
        smallest=smallest,
        smallest_before=smallest_before,
        leaving=leaving(y),
        distance=jnp.linalg.norm(y - y0),
        loss=population_loss(problem, unpack(y)),
    )


@eqx.filter_jit
def _begin(tolerances, flow, problem, weights) -> tuple[Lane, Array]:
    def lane(w):
        return begin(flow, problem, flow.admit(w), _FIRST_TARGET)

    pool = jax.vmap(lane)(weights)
    return pool, jax.vmap(lambda lane: finished(tolerances, lane))(pool)


@eqx.filter_jit
def _round(tolerances, flow, problem, pool: Lane, chosen) -> tuple[Lane, Array]:
    lanes = jax.tree.map(lambda x: x[chosen], pool)

    def once(_, lanes):
        return jax.vmap(lambda lane: advance(flow, problem, tolerances, lane))(lanes)

    lanes = jax.lax.fori_loop(0, _EVALUATIONS, once, lanes)
    done = jax.vmap(lambda lane: finished(tolerances, lane))(lanes)
    return jax.tree.map(lambda x, new: x.at[chosen].set(new), pool, lanes), done


@eqx.filter_jit
def _finish(flow, problem, pool: Lane, chosen) -> tuple[Finish, Array]:
    y = pool.vectors[chosen, 0]
    return jax.vmap(lambda y: newton_finish(flow, problem, y))(y), pool.lost[chosen]


@eqx.filter_jit
def _teacher_power(problem: Problem) -> Float[Array, ""]:
    """½E[f*²], the loss of a student that is silent."""
    return problem.activation.quadratic_form(problem.readout, problem.T) / 2


def check_float64() -> None:
    """Raises ValueError unless JAX computes in float64: end states are certified to 1e-10."""
    if not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "end states are certified to a gradient norm of 1e-10, which float32 cannot give: call "
            'jax.config.update("jax_enable_x64", True) before anything else'
        )


def relax(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    *,
    batch: int = 128,
    rtol: float = 1e-4,
    end: float = 20_000.0,
    progress: Callable[[int], None] | None = None,
) -> EndStates:
    """Follow the flow from N starts to their end states, and certify each.

    - `starts`: Weights with a leading axis of N, carried to the flow's constraint first.
    - `batch`: lanes that advance together; it changes the speed, not the fates.
    - `rtol`: error per step relative to the weights, 0.1 `rtol` absolute.
    - `end`: flow time after which a start that has not converged is told as what it is.
    - `progress`: called with the number of starts finished since the last call.

    An end state is converged if Newton brings the norm of the rates to 1e-10 without leaving the
    neighbourhood (0.02 in weights) of where the flow had come to; the smallest eigenvalue of the
    exact Hessian there tells minima from saddles. A start whose numbers become infinite or undefined
    is `failed`: its loss, gradient norm and eigenvalue are inf and its weights 0, so that no NaN
    reaches a table.

    Raises ValueError if `starts` has the wrong shape, `batch` < 1, or JAX is not in float64.
    """
    check_float64()
    if starts.W.ndim != 3 or starts.W.shape[1] != problem.students:
        raise ValueError(
            f"starts must hold weights (N, K = {problem.students}, d); got shape {starts.W.shape}"
        )
    if starts.W.shape[2] < problem.teachers:
        raise ValueError(
            f"starts must have dimension d ≥ M = {problem.teachers}; got {starts.W.shape[2]}"
        )
    if len(starts.W) < 1 or batch < 1:
        raise ValueError(f"starts and batch must be at least 1; got {len(starts.W)} and {batch}")
    N = len(starts.W)
    # Numbers become arrays, so that other numbers run the same program.
    problem, flow = jax.tree.map(jnp.asarray, (problem, flow))
    tolerances = Tolerances(rtol, 0.1 * rtol, end)
    power = float(_teacher_power(problem))

    # The pool has one of a few sizes, each a program; what is too much repeats the last start.
    size = 1024 * -(-N // 1024) if N > 1024 else 1 << max(N - 1, 0).bit_length()
    repeated = jax.tree.map(lambda x: x[np.minimum(np.arange(size), N - 1)], starts)
    pool, done = _begin(tolerances, flow, problem, repeated)
    untold = np.arange(size) < N
    running = untold & ~np.asarray(done)
    ends = blank(size, problem.students, starts.W.shape[2])
    # The Hessians are small: LAPACK's own threads gain nothing, and where other programs compete for
    # the cores they wait for each other and cost a factor of ten.
    with _ONE_AT_A_TIME, threadpool_limits(1, user_api="blas"):
        while untold.any():
            chosen = np.flatnonzero(running)[:batch]
            if len(chosen):
                at = _filled(chosen, batch if len(chosen) > batch // 4 else max(batch // 4, 1))
                pool, done = _round(tolerances, flow, problem, pool, at)
                running[chosen] = ~np.asarray(done)[: len(chosen)]
            waiting = np.flatnonzero(untold & ~running)
            while len(waiting) >= _FINISH_BATCH or (len(waiting) and not running.any()):
                index, waiting = waiting[:_FINISH_BATCH], waiting[_FINISH_BATCH:]
                at = _filled(index, _FINISH_BATCH)
                finish, lost, spent = jax.tree.map(
                    lambda x, n=len(index): np.asarray(x)[:n],
                    (*_finish(flow, problem, pool, at), tolerances.spent(pool)[at]),
                )
                outcome, over = _verdict(finish, lost, spent, power)
                _tell(
                    ends, index[over], outcome[over], jax.tree.map(lambda x, o=over: x[o], finish)
                )
                untold[index[over]] = False
                pool = _lower_target(pool, index[~over])
                running[index[~over]] = True
                if progress is not None and over.any():
                    progress(int(over.sum()))
    ends = ends._replace(time=np.asarray(pool.time), evaluations=np.asarray(pool.evaluations))
    return EndStates(*(x[:N] for x in ends))


def _filled(index: np.ndarray, width: int) -> Array:
    """`index` filled up to `width` with its first entry: equal lanes, equal results, written twice."""
    return jnp.asarray(np.concatenate([index, np.full(width - len(index), index[0])]))


def _verdict(f: Finish, lost, spent, power: float) -> tuple[np.ndarray, np.ndarray]:
    """What each finished lane is, and whether that is its end."""
    lost = lost | ~(np.isfinite(f.speed) & np.isfinite(f.loss) & np.isfinite(f.smallest))
    zero = f.loss <= ZERO_LOSS * power
    converged = (f.speed <= GRADIENT_TOLERANCE) & (f.distance <= _REACH)
    stable = (f.smallest >= -STABILITY_BAND) & (f.leaving <= LEAVING)
    # Before its time is over only what is a minimum, and was already one where Newton took over, may
    # end: anything else might be a saddle that the flow is about to leave.
    calm = f.smallest_before >= -1e-3 * np.maximum(1.0, np.abs(f.smallest))
    outcome = np.select(
        [lost, ~converged, zero, stable],
        [results.FAILED, results.NOT_CONVERGED, results.GLOBAL_MINIMUM, results.LOCAL_MINIMUM],
        results.SADDLE,
    )
    return outcome, lost | spent | (converged & (zero | (stable & calm)))


def _tell(ends: EndStates, index: np.ndarray, outcome: np.ndarray, f: Finish) -> None:
    """Enter end states; of a failed start nothing but the name."""
    ends.outcome[index] = outcome
    sound = outcome != results.FAILED
    index = index[sound]
    ends.loss[index] = np.maximum(f.loss[sound], 0)  # below 0 by rounding only
    ends.gradient_norm[index] = f.speed[sound]
    ends.smallest_eigenvalue[index] = f.smallest[sound]
    ends.weights[index] = f.y[sound][..., :-1]
    ends.readout[index] = f.y[sound][..., -1]


def _lower_target(pool: Lane, index: np.ndarray) -> Lane:
    """Send lanes on: to a hundredth of the rate, and at last to the end of their time."""
    target, settled = np.array(pool.target), np.array(pool.settled)
    lower = target[index] / 100
    target[index] = np.where(lower < GRADIENT_TOLERANCE / 10, 0.0, lower)
    settled[index] = False
    return pool._replace(target=jnp.asarray(target), settled=jnp.asarray(settled))
