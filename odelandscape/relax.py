"""From many starts to their end states.

All lanes (one a start) lie in a pool on the device. Each round takes the first `batch` unfinished
ones, makes a number of evaluations in each, and puts them back: finished lanes leave and new ones enter
by being chosen or not, so a slow start holds nobody up. A lane whose rates have become small is
handed to a Newton finish, unless it is plainly in the basin of a minimum that is known already
(`catalogue`). A finish that is not plainly inside one basin is refused, and the lane goes on along the
flow to a hundredth of the rate before the next try. What lingers at a saddle therefore goes on until it
leaves or its time ends, and is told as what it is then.
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
from .catalogue import DIGITS, ISOLATED, Catalogue, Known, Order
from .flows import AbstractFlow
from .newton import GRADIENT_TOLERANCE, Finish, careful_finish, plain_finish
from .problem import Problem, Weights, check_float64
from .solvers import Lane, Tolerances, advance, begin, finished, probe
from .stability import STABILITY_BAND

LEAVING = 1e-5
"""A silent student that the flow would lengthen at a rate above this is not at a minimum."""
ZERO_LOSS = 1e-10
"""A loss below this fraction of the teacher's power ½E[f*²] is zero: the global minimum."""

_FIRST_TARGET = 1e-5  # norm of the rates at which the first Newton finish is tried
_REACH = 0.02  # how far a Newton finish may carry [W | v]
_EVALUATIONS = 64  # per lane and round

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


@eqx.filter_jit
def _begin(tolerances, flow, problem, weights) -> tuple[Lane, Array, Array]:
    def lane(w):
        return begin(flow, problem, flow.admit(w), _FIRST_TARGET)

    pool = jax.vmap(lane)(weights)
    return pool, jax.vmap(lambda lane: finished(tolerances, lane))(pool), pool.base


@eqx.filter_jit(donate="all-except-first")
def _round(given, pool: Lane) -> tuple[Lane, Array, Array]:
    """Evaluations in the chosen lanes of a pool, which is changed in place. `given` are tolerances, flow,
    problem and the chosen ones. Which of these are done, and where each is."""
    tolerances, flow, problem, chosen = given
    lanes = jax.tree.map(lambda x: jnp.moveaxis(x[chosen], 0, -1), pool)
    lanes = probe(flow, problem, lanes)
    lanes = jax.lax.fori_loop(
        1, _EVALUATIONS, lambda _, lanes: advance(flow, problem, tolerances, lanes), lanes
    )
    done = finished(tolerances, lanes)
    lanes = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), lanes)
    pool = jax.tree.map(lambda x, new: x.at[chosen].set(new), pool, lanes)
    return pool, done, lanes.base


@eqx.filter_jit
def _finish(finish, flow, problem, y: Float[Array, "n K D"]) -> Finish:
    return jax.vmap(lambda y: finish(flow, problem, y))(y)


@eqx.filter_jit
def _teacher_power(problem: Problem) -> Float[Array, ""]:
    """½E[f*²], the loss of a student that is silent."""
    return problem.activation.quadratic_form(problem.readout, problem.T) / 2


def relax(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    *,
    batch: int = 64,
    rtol: float = 3e-4,
    end: float = 20_000.0,
    catalogue: Catalogue | None = None,
    progress: Callable[[int], None] | None = None,
) -> EndStates:
    """Follow the flow from N starts to their end states, and certify each.

    - `starts`: Weights with a leading axis of N, carried to the flow's constraint first.
    - `batch`: lanes that advance together; it changes the speed, not the fates.
    - `rtol`: error per step relative to the weights, 0.1 `rtol` absolute. At 1e-3, 3e-4 and 1e-4 alike
      at least 99.9 % of the fates at K = M = 10 are those of a tight integration (rtol 1e-6 or 1e-9).
    - `end`: flow time after which a start that has not converged is told as what it is.
    - `catalogue`: of minima known from other calls for this problem and flow; it learns those met here.
    - `progress`: called with the number of starts finished since the last call.

    An end state is converged if Newton brings the norm of the rates to 1e-10 without leaving the
    neighbourhood (0.02 in weights) of where the flow had come to; the smallest eigenvalue of the
    exact Hessian there tells minima from saddles. Of starts that end in one point, but for the order of
    students and teachers, one is certified for all (`catalogue`). A start that has not converged is
    reported where the last Newton finish left it, which need not be on its path. A start whose numbers
    become infinite or undefined is `failed`: its loss, gradient norm and eigenvalue are inf and its weights
    0, so that no NaN reaches a table.

    Raises ValueError if `starts` has the wrong shape, `batch` < 1, or JAX is not in float64.
    """
    check_float64("end states are certified to a gradient norm of 1e-10")
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
    pool, done, points = _begin(tolerances, flow, problem, repeated)
    points = np.array(points)
    catalogue = Catalogue(problem, flow) if catalogue is None else catalogue
    untold = np.arange(size) < N
    running = untold & ~np.asarray(done)
    ends = blank(size, problem.students, starts.W.shape[2])
    plain = True
    # The Hessians are small: LAPACK's own threads gain nothing, and where other programs compete for
    # the cores they wait for each other and cost a factor of ten.
    with _ONE_AT_A_TIME, threadpool_limits(1, user_api="blas"):
        while untold.any():
            chosen = np.flatnonzero(running)[:batch]
            if len(chosen):
                at = _filled(chosen, batch if len(chosen) > batch // 4 else max(batch // 4, 1))
                pool, done, here = _round((tolerances, flow, problem, at), pool)
                running[chosen] = ~np.asarray(done)[: len(chosen)]
                points[chosen] = np.asarray(here)[: len(chosen)]
            waiting = np.flatnonzero(untold & ~running)
            known = _recognise(catalogue, ends, waiting, points[waiting])
            untold[waiting[known]] = False
            if progress is not None and known.any():
                progress(int(known.sum()))
            waiting = waiting[~known]
            few = _few(points)
            while len(waiting) >= few or (len(waiting) and not running.any()):
                index, waiting = waiting[:few], waiting[few:]
                finish, plain = _finished(flow, problem, points[index], plain)
                lost, spent = (
                    np.asarray(pool.lost)[index],
                    np.asarray(tolerances.spent(pool))[index],
                )
                over, isolated = _tell(ends, index, finish, lost, spent, power)
                untold[index[over]] = False
                there = np.asarray(finish.y)[isolated]
                _learn(catalogue, flow, problem, there, power)
                _recognise(catalogue, ends, index[isolated], there)
                pool = _lower_target(pool, index[~over])
                running[index[~over]] = True
                if progress is not None and over.any():
                    progress(int(over.sum()))
    ends = ends._replace(time=np.asarray(pool.time), evaluations=np.asarray(pool.evaluations))
    return EndStates(*(x[:N] for x in ends))


def _filled(index: np.ndarray, width: int) -> np.ndarray:
    """`index` filled up to `width` with its first entry: equal lanes, equal results, written twice."""
    return np.concatenate([index, np.full(width - len(index), index[0])])


def _few(y: np.ndarray) -> int:
    """How many Newton finishes are made together: one where it is long."""
    return max(1, min(4, 2000 // y[0].size))


def _finished(flow, problem, y: np.ndarray, plain: bool) -> tuple[Finish, bool]:
    """Newton finishes in NumPy: plain ones if they are likely to do, careful ones where they don't;
    and whether plain ones are likely to do the next time."""
    n = len(y)
    program = plain_finish if plain else careful_finish
    filled = jnp.asarray(y[_filled(np.arange(n), _few(y))])
    finish = jax.tree.map(lambda x: np.array(x[:n]), _finish(program, flow, problem, filled))
    if not plain:
        return finish, False
    poor = ~(finish.definite & _converged(finish))
    if poor.any():
        again, _ = _finished(flow, problem, y[poor], False)
        for whole, part in zip(finish, again, strict=True):
            whole[poor] = part
    return finish, bool(poor.mean() <= 0.5)


def _converged(f: Finish) -> np.ndarray:
    return np.asarray((f.speed <= GRADIENT_TOLERANCE) & (f.distance <= _REACH))


class _Verdict(NamedTuple):
    """What finishes say. `minimum`: it is one, and was already one where Newton took over."""

    outcome: np.ndarray
    smallest: np.ndarray
    minimum: np.ndarray


def _judge(f: Finish, lost: np.ndarray, power: float) -> _Verdict:
    pairs = zip(f.curvature, lost, strict=True)
    smallest = np.array([np.inf if bad else np.linalg.eigvalsh(H)[0] for H, bad in pairs])
    zero, converged = f.loss <= ZERO_LOSS * power, _converged(f)
    stable = (smallest >= -STABILITY_BAND) & (f.leaving <= LEAVING)
    outcome = np.select(
        [lost, ~converged, zero, stable],
        [results.FAILED, results.NOT_CONVERGED, results.GLOBAL_MINIMUM, results.LOCAL_MINIMUM],
        results.SADDLE,
    )
    return _Verdict(outcome, smallest, converged & (zero | (stable & f.definite)))


def _lost(f: Finish) -> np.ndarray:
    sound = np.isfinite(f.speed) & np.isfinite(f.loss)
    return ~(sound & np.isfinite(f.curvature).all(axis=(1, 2)))


def _tell(
    ends: EndStates, index, f: Finish, lost, spent, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Enter the lanes whose end has come. Which these are, and which are at an isolated minimum."""
    lost = lost | _lost(f)
    outcome, smallest, minimum = _judge(f, lost, power)
    # Before its time is over only a minimum may end: anything else might be a saddle that the flow is
    # about to leave.
    over = lost | spent | minimum
    ends.outcome[index[over]] = outcome[over]
    sound = over & ~lost  # of a failed start nothing but the name
    at = index[sound]
    ends.loss[at] = np.maximum(f.loss[sound], 0)  # below 0 by rounding only
    ends.gradient_norm[at] = f.speed[sound]
    ends.smallest_eigenvalue[at] = smallest[sound]
    ends.weights[at] = f.y[sound][..., :-1]
    ends.readout[at] = f.y[sound][..., -1]
    return over, sound & _isolated(f, minimum, smallest)


def _isolated(f: Finish, minimum: np.ndarray, smallest: np.ndarray) -> np.ndarray:
    """Minima without another one next to them and without silent students."""
    return minimum & (smallest >= ISOLATED) & np.isneginf(f.leaving)


def _learn(catalogue: Catalogue, flow, problem, y: np.ndarray, power: float) -> None:
    """Enter isolated minima into the catalogue, each solved again from its first digits in its own order."""
    if not (catalogue.open and len(y)):
        return
    new = catalogue.put(y, catalogue.order(y))
    while len(new := new[catalogue.nearest(new) < 0]):
        short = np.concatenate([np.round(new[:1, :, :-1], DIGITS), new[:1, :, -1:]], axis=2)
        f, _ = _finished(flow, problem, short, True)
        outcome, smallest, minimum = _judge(f, _lost(f), power)
        if _isolated(f, minimum, smallest)[0]:
            loss = max(float(f.loss[0]), 0.0)
            known = Known(
                np.asarray(f.y)[0], str(outcome[0]), loss, float(f.speed[0]), float(smallest[0])
            )
            catalogue.add(known)
        new = new[1:]


def _recognise(catalogue: Catalogue, ends: EndStates, index, y: np.ndarray) -> np.ndarray:
    """Enter the lanes that are in the basin of a known minimum, and say which these are."""
    belongs = np.zeros(len(y), bool)
    sound = np.flatnonzero(np.isfinite(y).all(axis=(1, 2)))
    if not (catalogue.known and len(sound)):
        return belongs
    order = catalogue.order(y[sound])
    number = catalogue.nearest(catalogue.put(y[sound], order))
    belongs[sound] = number >= 0
    if belongs.any():
        known = [catalogue.known[k] for k in number if k >= 0]
        order = Order(*(x[number >= 0] for x in order))
        states = catalogue.put_back(np.stack([one.y for one in known]), order)
        at = index[belongs]
        ends.outcome[at] = [one.outcome for one in known]
        ends.loss[at] = [one.loss for one in known]
        ends.gradient_norm[at] = [one.gradient_norm for one in known]
        ends.smallest_eigenvalue[at] = [one.smallest_eigenvalue for one in known]
        ends.weights[at], ends.readout[at] = states[..., :-1], states[..., -1]
    return belongs


def _lower_target(pool: Lane, index: np.ndarray) -> Lane:
    """Send lanes on: to a hundredth of the rate, and at last to the end of their time."""
    target, settled = np.array(pool.target), np.array(pool.settled)
    lower = target[index] / 100
    target[index] = np.where(lower < GRADIENT_TOLERANCE / 10, 0.0, lower)
    settled[index] = False
    return pool._replace(target=jnp.asarray(target), settled=jnp.asarray(settled))
