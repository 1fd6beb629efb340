"""From many starts to their end states.

All lanes (one a start) lie in a pool on the device. Each round takes the first `batch` unfinished
ones, makes a number of evaluations in each, and puts them back: finished lanes leave and new ones enter
by being chosen or not, so a slow start holds nobody up. Each core of a processor, or each other device, has
such a pool, and a thread that looks after it.

A lane whose rates have become small is told at once if it is plainly in the basin of a minimum that is
known already. If it isn't, it goes on until its rates are a hundredth of that, and is then handed to a Newton
finish (`certify`). A finish that is not plainly inside one basin is refused, and the lane goes on along the
flow to a hundredth of the rate before the next try. What lingers at a saddle therefore goes on until it
leaves or its time ends, and is told as what it is then.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from threadpoolctl import threadpool_limits

from .catalogue import Catalogue
from .certify import Certificates, EndStates, blank, filled
from .classify import count_anti_aligned
from .compiler import OPTIONS
from .flows import AbstractFlow
from .lanes import QUIET, Lane, Tolerances, advance, begin, probe
from .newton import GRADIENT_TOLERANCE, REACH
from .problem import Problem, Weights, check_float64
from .stationary import come_to_rest

# Of the norms of the rates at which a lane stops, QUIET is the first: it may be recognised there.
_NEWTON_TARGET = 1e-5  # where the first Newton finish is tried
_CLOSE_TARGET = 1e-7  # and where, if a known minimum is close
_EVALUATIONS = 64  # per lane and round
RTOL, END = 2e-4, 20_000.0  # error per step and flow time of a sweep
_ALIKE = 64  # lanes of a batch are a multiple: in the rest of a loop they'd be computed otherwise
_IN_CACHE = 256  # numbers in the weights of a lane: of more, 64 lanes leave a core's first cache

_COMPILING = threading.Lock()


class _Job:
    """What the pools of a call have in common."""

    def __init__(self, problem, flow, tolerances, batch, catalogue, progress):
        self.problem: Problem = problem
        self.flow: AbstractFlow = flow
        self.tolerances: Tolerances = tolerances
        self.batch: int = batch
        self.catalogue: Catalogue = catalogue
        self.stopped = threading.Event()
        self._progress: Callable[[int], None] | None = progress
        self._lock = threading.Lock()
        self._compiled: set[tuple] = set()

    def tell(self, count: int) -> None:
        """So many starts are finished."""
        if self._progress is not None:
            with self._lock:
                self._progress(count)

    def alone(self, name: tuple, program: Callable, *args):
        """A call of a program, of which the first is made by one pool while others wait: two that need it at
        a time would both compile it."""
        if name in self._compiled:
            return program(*args)
        with _COMPILING:
            result = program(*args)
            self._compiled.add(name)
        return result


class _Stops(NamedTuple):
    """Why lanes have stopped, if they have."""

    settled: np.ndarray | Array
    lost: np.ndarray | Array
    spent: np.ndarray | Array


def _stops(tolerances: Tolerances, lanes: Lane) -> _Stops:
    return _Stops(lanes.settled, lanes.lost, tolerances.spent(lanes))


@eqx.filter_jit
def _begin(tolerances, flow, problem, weights) -> tuple[Lane, _Stops, Array]:
    def lane(w):
        return begin(flow, problem, flow.admit(w), QUIET)

    pool = jax.vmap(lane)(weights)
    return pool, _stops(tolerances, pool), pool.base


def _width(weights: int, lanes: int) -> int:
    """Lanes that lie side by side: all, or eight, where products of matrices would not find those of more in
    a core's first cache."""
    large = weights > _IN_CACHE and jax.default_backend() == "cpu"
    return 8 if large and lanes % 8 == 0 else lanes


@partial(jax.jit, donate_argnums=1, compiler_options=OPTIONS)
def _round(given, pool: Lane) -> tuple[Lane, _Stops, Array]:
    """Evaluations in the chosen lanes of a pool, which is changed in place. `given` are tolerances, flow,
    problem, the chosen ones, and the norm of the rates at which each shall stop. Which have, and where.
    """
    tolerances, flow, problem, chosen, target = given
    width = _width(pool.base[0].size, len(chosen))

    def blocks(x):
        return jnp.moveaxis(x[chosen].reshape(-1, width, *x.shape[1:]), 1, -1)

    def lane_by_lane(x):
        x = jnp.moveaxis(x, -1, 1)
        return x.reshape(-1, *x.shape[2:])

    lanes = jax.tree.map(blocks, pool)
    lanes = lanes._replace(target=target.reshape(-1, width), settled=jnp.zeros_like(lanes.settled))
    lanes = jax.vmap(lambda lanes: probe(flow, problem, lanes))(lanes)

    def evaluation(_, lanes):
        return jax.vmap(lambda lanes: advance(flow, problem, tolerances, lanes))(lanes)

    # Two by two: the latest stages then change places without being copied.
    lanes = jax.lax.fori_loop(0, _EVALUATIONS, evaluation, lanes, unroll=2)
    lanes = jax.tree.map(lane_by_lane, lanes)
    pool = jax.tree.map(lambda x, new: x.at[chosen].set(new), pool, lanes)
    return pool, _stops(tolerances, lanes), lanes.base


def _lower(target: float) -> float:
    """The next norm to stop at: a hundredth, and at last none before the end of the time."""
    return 0.0 if target / 100 < GRADIENT_TOLERANCE / 10 else target / 100


def _relax_pool(job: _Job, device: jax.Device, starts: Weights) -> EndStates:
    """End states of the starts of one pool, which lies on this device."""
    N, batch = len(starts.W), job.batch
    given = job.tolerances, job.flow, job.problem
    # The pool has one of a few sizes, each a program; what is too much repeats the last start.
    size = 1024 * -(-N // 1024) if N > 1024 else max(_ALIKE, 1 << max(N - 1, 0).bit_length())
    repeated = jax.tree.map(lambda x: x[np.minimum(np.arange(size), N - 1)], starts)
    given, repeated = jax.device_put((given, repeated), device)
    pool, stops, points = job.alone((device, size), _begin, *given, repeated)
    points, stops = np.array(points), _Stops(*map(np.array, stops))
    untold = np.arange(size) < N
    running = untold & ~(stops.settled | stops.lost | stops.spent)
    target = np.full(size, QUIET)
    certificates = Certificates(
        job.problem, job.flow, job.catalogue, blank(size, *starts.W.shape[1:])
    )

    # Where lanes would have been finished if no minimum had been close.
    passed: dict[int, np.ndarray] = {}

    def told(index: np.ndarray) -> None:
        untold[index] = False
        if len(index):
            job.tell(len(index))

    while untold.any() and not job.stopped.is_set():
        chosen = np.flatnonzero(running)[:batch]
        if len(chosen):
            width = batch if len(chosen) > batch // 4 else batch // 4
            at = filled(chosen, width)  # equal lanes, equal results, written twice
            now = (*given, at, target[at])
            pool, *news = job.alone((device, size, width), _round, now, pool)
            for column, new in zip((*stops, points), (*news[0], news[1]), strict=True):
                column[chosen] = np.asarray(new)[: len(chosen)]
            running[chosen] = ~(stops.settled | stops.lost | stops.spent)[chosen]
        waiting = np.flatnonzero(untold & ~running)
        known = certificates.recognise(waiting, points[waiting])
        told(waiting[known])
        waiting = waiting[~known]
        over = (stops.lost | stops.spent)[waiting]
        # Without a finish: first to smaller rates, then to still smaller ones if a known minimum is close.
        early = (target[waiting] > _NEWTON_TARGET) & ~over
        close = (target[waiting] == _NEWTON_TARGET) & ~over
        close[close] = job.catalogue.close(points[waiting[close]], REACH)
        further = early | close
        target[waiting[further]] = np.where(early, _NEWTON_TARGET, _CLOSE_TARGET)[further]
        running[waiting[further]] = True
        passed |= {int(i): points[i].copy() for i in waiting[close]}
        waiting = waiting[~further]
        for index in map(int, waiting):
            if job.stopped.is_set():
                break
            lost, spent = bool(stops.lost[index]), bool(stops.spent[index])
            # First what was passed over: what a start ends in must not depend on what was known by then.
            before = passed.pop(index, None)
            ended = before is not None and certificates.finish(index, before, False, False)
            if ended or certificates.finish(index, points[index], lost, spent):
                told(np.array([index]))
            else:
                target[index] = _lower(float(target[index]))
                running[index] = True
    # Not when the lane was stopped: that depends on which minima were known by then.
    since, quiet = np.asarray(pool.quiet_time), np.isfinite(pool.quiet_time)
    W = certificates.ends.weights[:N]
    teacher = np.asarray(job.problem.teacher_weights(W.shape[2]))
    ends = certificates.ends._replace(
        anti_aligned=count_anti_aligned(W @ teacher.T, np.linalg.norm(W, axis=2)),
        time=np.where(quiet, since, pool.time),
        evaluations=np.where(quiet, pool.quiet_evaluations, pool.evaluations).astype(int),
    )
    return EndStates(*(x[:N] for x in ends))


def full_load() -> int:
    """How many starts at a time keep all of this process's cores, or other devices, busy."""
    return len(_places()) * (1024 if jax.default_backend() == "cpu" else 8192)


def _places() -> list[jax.Device]:
    """Where pools may lie: on each of this process's devices one, on a processor one for each core."""
    devices = jax.local_devices()
    if len(devices) > 1 or devices[0].platform != "cpu":
        return devices
    if hasattr(os, "sched_getaffinity"):
        return devices * len(os.sched_getaffinity(0))
    return devices * (os.cpu_count() or 1)


def relax(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    *,
    batch: int | None = None,
    rtol: float = RTOL,
    end: float = END,
    catalogue: Catalogue | None = None,
    progress: Callable[[int], None] | None = None,
) -> EndStates:
    """Follow the flow from N starts to their end states, and certify each.

    - `starts`: Weights with a leading axis of N, carried to the flow's constraint first.
    - `batch`: lanes that advance together on a core (64) or on another device (2,048), in whole 64s; it
      changes the speed, and no number.
    - `rtol`: error per step, as a root mean square, relative to that of the weights, and 0.1 `rtol` absolute.
      Of 4,096 fates at K = M = 10 all, at K = M = 17 99.7 % (at 1e-5, 99.98 %) are those of rtol 1e-6.
    - `end`: flow time after which a start that has not converged is told as what it is.
    - `catalogue`: of minima known from other calls for this problem and flow; it learns those met here.
    - `progress`: called with the number of starts finished since the last call.

    An end state is converged if Newton brings the norm of the rates to 1e-10 without leaving the
    neighbourhood (0.02 in weights) of where the flow had come to; the smallest eigenvalue of the
    exact Hessian there tells minima from saddles. Of starts that end in one point, but for the order of
    students and teachers, one is certified for all (`catalogue`). Where students are more than teachers, the
    global minima within 0.02 are known in closed form, and their smallest eigenvalue is 0. A start that has
    not converged is reported where the last Newton finish left it, which need not be on its path. A start
    whose numbers become infinite or undefined is `failed`: its loss, gradient norm and eigenvalue are inf and
    its weights 0, so that no NaN reaches a table.

    A flow with noise (`OnlineSGD`) is followed start by start to its stationary states, which are told as
    `come_to_rest` says; `batch`, `rtol` and `catalogue` are not for it.

    All cores that the process may use work on it, or all of its other devices.

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
    if batch is None:
        batch = 64 if jax.default_backend() == "cpu" else 2048
    if len(starts.W) < 1 or batch < 1:
        raise ValueError(f"starts and batch must be at least 1; got {len(starts.W)} and {batch}")
    # Numbers become arrays, so that other numbers run the same program.
    problem, flow = jax.tree.map(jnp.asarray, (problem, flow))
    if flow.noisy:
        return come_to_rest(problem, flow, starts, end, progress, len(_places()))
    job = _Job(
        problem=problem,
        flow=flow,
        tolerances=Tolerances(rtol, 0.1 * rtol, end),
        batch=_ALIKE * -(-batch // _ALIKE),
        catalogue=Catalogue(problem, flow) if catalogue is None else catalogue,
        progress=progress,
    )
    places = _places()[: max(1, len(starts.W) // (2 * job.batch))]
    parts = np.array_split(np.arange(len(starts.W)), len(places))
    # The matrices are small: LAPACK's own threads gain nothing, and where other programs compete for the
    # cores they wait for each other and cost a factor of ten.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(parts)) as threads:
        futures = [
            threads.submit(
                _relax_pool, job, place, jax.tree.map(lambda x, part=part: x[part], starts)
            )
            for place, part in zip(places, parts, strict=True)
        ]
        try:
            ends = [future.result() for future in futures]
        finally:
            job.stopped.set()  # for the others, where one has failed or the user interrupts
    return EndStates(*(np.concatenate(column) for column in zip(*ends, strict=True)))
