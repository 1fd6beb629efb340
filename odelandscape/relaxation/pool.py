"""A pool of starts on one device."""

import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..flows.base import AbstractFlow
from ..model.alignment import count_anti_aligned
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.compiler import COMPILER_OPTIONS
from .batched_rkc import RATE_THRESHOLD, RKCState, Tolerances, advance, begin, probe
from .catalogue import Catalogue
from .classify import EndStateClassifier, padded_indices
from .newton import GRADIENT_TOLERANCE, REACH
from .outcomes import EndStates, blank

# Of the norms of the rates at which a lane stops, QUIET is the first: it may be recognised there.
_NEWTON_TARGET = 1e-5  # where the first Newton finish is tried
_CLOSE_TARGET = 1e-7  # and where, if a known minimum is close
_EVALUATIONS = 64  # per lane and round
LANE_MULTIPLE = (
    64  # lanes of a batch are a multiple: in the rest of a loop they'd be computed otherwise
)
_IN_CACHE = 256  # numbers in the weights of a lane: of more, 64 lanes leave a core's first cache
_COMPILING = threading.Lock()


class Job:
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


def _stops(tolerances: Tolerances, lanes: RKCState) -> _Stops:
    return _Stops(lanes.settled, lanes.lost, tolerances.spent(lanes))


@eqx.filter_jit
def _begin(tolerances, flow, problem, weights) -> tuple[RKCState, _Stops, Array]:
    def lane(w):
        return begin(flow, problem, flow.project_initial(w), RATE_THRESHOLD)

    pool = jax.vmap(lane)(weights)
    return pool, _stops(tolerances, pool), pool.base


def _width(weights: int, lanes: int) -> int:
    """Lanes that lie side by side: all, or eight, where products of matrices would not find those of more in
    a core's first cache."""
    large = weights > _IN_CACHE and jax.default_backend() == "cpu"
    return 8 if large and lanes % 8 == 0 else lanes


@partial(jax.jit, donate_argnums=1, compiler_options=COMPILER_OPTIONS)
def _round(given, pool: RKCState) -> tuple[RKCState, _Stops, Array]:
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


def relax_pool(job: Job, device: jax.Device, starts: Weights) -> EndStates:
    """End states of the starts of one pool, which lies on this device."""
    N, batch = len(starts.W), job.batch
    given = job.tolerances, job.flow, job.problem
    # The pool has one of a few sizes, each a program; what is too much repeats the last start.
    size = 1024 * -(-N // 1024) if N > 1024 else max(LANE_MULTIPLE, 1 << max(N - 1, 0).bit_length())
    repeated = jax.tree.map(lambda x: x[np.minimum(np.arange(size), N - 1)], starts)
    given, repeated = jax.device_put((given, repeated), device)
    pool, stops, points = job.alone((device, size), _begin, *given, repeated)
    points, stops = np.array(points), _Stops(*map(np.array, stops))
    untold = np.arange(size) < N
    running = untold & ~(stops.settled | stops.lost | stops.spent)
    target = np.full(size, RATE_THRESHOLD)
    certificates = EndStateClassifier(
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
            at = padded_indices(chosen, width)  # equal lanes, equal results, written twice
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
