"""A pool of starts on one device: integrated by rounds, classified where their rates have become small."""

import threading
from collections.abc import Callable
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..flows.base import AbstractFlow
from ..model.alignment import count_anti_aligned
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.compiler import program
from .batched_rkc import (
    RATE_THRESHOLD,
    LaneStatus,
    RKCState,
    Tolerances,
    advance,
    begin,
    probe,
)
from .catalogue import Catalogue
from .classify import EndStateClassifier, padded_indices
from .newton import GRADIENT_TOLERANCE, NEWTON_RADIUS
from .outcomes import NOT_CONVERGED, EndStates, blank

# Of the norms of the rates at which a lane stops, RATE_THRESHOLD is the first: it may be recognised there.
_NEWTON_TARGET = 1e-5  # where the first Newton finish is tried
_CLOSE_TARGET = 1e-7  # and where, if a known minimum is close
_EVALUATIONS = 64  # per lane and round
# Lanes of a batch are a multiple of this: those left over by a vectorised loop would be computed otherwise.
LANE_MULTIPLE = 64
_MAX_CACHED_ENTRIES = 256  # of the weights of a lane: of more, 64 lanes leave a core's first cache


@final
class Job:
    """What the pools of one call of `relax` have in common. Threads share it.

    - `stopped`: set where pools shall end without finishing their starts.
    """

    def __init__(
        self,
        problem: Problem,
        flow: AbstractFlow,
        tolerances: Tolerances,
        batch: int,
        catalogue: Catalogue,
        progress: Callable[[int], None] | None,
    ):
        self.problem, self.flow, self.tolerances = problem, flow, tolerances
        self.batch, self.catalogue = batch, catalogue
        self.stopped = threading.Event()
        self._progress = progress
        self._progress_lock = threading.Lock()
        self._compiling = threading.Lock()
        self._compiled: set[tuple] = set()

    def report_progress(self, count: int) -> None:
        """Report that `count` more starts are done."""
        if self._progress is not None:
            with self._progress_lock:
                self._progress(count)

    def call(self, name: tuple, program: Callable, *args):
        """Call a program. Its first call is made by one pool while others wait: two that need it at a time
        would both compile it."""
        if name in self._compiled:
            return program(*args)
        with self._compiling:
            result = program(*args)
            self._compiled.add(name)
        return result


@partial(program, wide=False)
def _begin(tolerances, flow, problem, weights) -> tuple[RKCState, LaneStatus, Array]:
    def lane(w):
        return begin(flow, problem, flow.project_initial(w), RATE_THRESHOLD)

    lanes = jax.vmap(lane)(weights)
    return lanes, tolerances.status(lanes), lanes.base


def _block_width(entries: int, lanes: int) -> int:
    """Lanes that lie side by side: all, or eight, where products of matrices would not find those of more in
    a core's first cache."""
    large = entries > _MAX_CACHED_ENTRIES and jax.default_backend() == "cpu"
    return 8 if large and lanes % 8 == 0 else lanes


@partial(program, donate_argnums=1)
def _round(inputs, pool: RKCState) -> tuple[RKCState, LaneStatus, Array]:
    """Make evaluations in the chosen lanes of a pool, which is changed in place.

    `inputs` are tolerances, flow, problem, the chosen lanes, and the norm of the rates at which each shall
    stop. Returns the pool, and status and points of the chosen lanes.
    """
    tolerances, flow, problem, chosen, target = inputs
    width = _block_width(pool.base[0].size, len(chosen))

    def blocks(x):
        return jnp.moveaxis(x[chosen].reshape(-1, width, *x.shape[1:]), 1, -1)

    def lane_by_lane(x):
        x = jnp.moveaxis(x, -1, 1)
        return x.reshape(-1, *x.shape[2:])

    lanes = jax.tree.map(blocks, pool)
    lanes = lanes._replace(
        target=target.reshape(-1, width), converged=jnp.zeros_like(lanes.converged)
    )
    lanes = jax.vmap(lambda lanes: probe(flow, problem, lanes))(lanes)

    def evaluation(_, lanes):
        return jax.vmap(lambda lanes: advance(flow, problem, tolerances, lanes))(lanes)

    # Two by two: the latest stages then change places without being copied.
    lanes = jax.lax.fori_loop(0, _EVALUATIONS, evaluation, lanes, unroll=2)
    lanes = jax.tree.map(lane_by_lane, lanes)
    pool = jax.tree.map(lambda x, new: x.at[chosen].set(new), pool, lanes)
    return pool, tolerances.status(lanes), lanes.base


def _next_target(target: float) -> float:
    """The next norm to stop at: a hundredth, and at last none before the budget is exhausted."""
    return 0.0 if target / 100 < GRADIENT_TOLERANCE / 10 else target / 100


def _padded_size(count: int) -> int:
    """The size of a pool of so many starts: one of a few, each a program."""
    if count > 1024:
        return 1024 * -(-count // 1024)
    return max(LANE_MULTIPLE, 1 << max(count - 1, 0).bit_length())


def relax_pool(job: Job, device: jax.Device, starts: Weights) -> EndStates:
    """Return the end states of the starts of one pool, which lies on this device."""
    pool = _Pool(job, device, starts)
    while pool.pending.any() and not job.stopped.is_set():
        pool.advance()
        pool.classify_stopped()
    return pool.end_states()


@final
class _Pool:
    """The lanes of some starts on one device, and the end states found so far.

    A lane is `pending` until its end state is entered, and `running` while it is to be integrated further, to
    rates of norm `target`.
    """

    def __init__(self, job: Job, device: jax.Device, starts: Weights):
        self.job, self.device = job, device
        self.count = len(starts.W)
        self.size = size = _padded_size(self.count)
        # Padded to a fixed size with copies of the last start.
        index = np.minimum(np.arange(size), self.count - 1)
        inputs = (job.tolerances, job.flow, job.problem), jax.tree.map(lambda x: x[index], starts)
        self.parameters, padded = jax.device_put(inputs, device)
        self.lanes, status, points = job.call((device, size), _begin, *self.parameters, padded)
        self.status, self.points = LaneStatus(*map(np.array, status)), np.array(points)
        self.pending = np.arange(size) < self.count
        self.running = self.pending & ~np.asarray(self.status.stopped)
        self.target = np.full(size, RATE_THRESHOLD)
        self.classifier = EndStateClassifier(
            job.problem, job.flow, job.catalogue, blank(size, *starts.W.shape[1:])
        )
        # Points where lanes would have had a Newton finish if no known minimum had been close.
        self.deferred: dict[int, np.ndarray] = {}

    def advance(self) -> None:
        """Make one round in the first running lanes, as many as a batch has."""
        batch = self.job.batch
        chosen = np.flatnonzero(self.running)[:batch]
        if not len(chosen):
            return
        width = batch if len(chosen) > batch // 4 else batch // 4
        at = padded_indices(chosen, width)  # equal lanes, equal results, written twice
        inputs = (*self.parameters, at, self.target[at])
        name = (self.device, self.size, width)
        self.lanes, status, points = self.job.call(name, _round, inputs, self.lanes)
        for column, new in zip((*self.status, self.points), (*status, points), strict=True):
            column[chosen] = np.asarray(new)[: len(chosen)]
        self.running[chosen] = ~np.asarray(self.status.stopped)[chosen]

    def classify_stopped(self) -> None:
        """Enter the end states of lanes that have stopped, and let the others go on to smaller rates."""
        stopped = np.flatnonzero(self.pending & ~self.running)
        recognised = self.classifier.recognise(stopped, self.points[stopped])
        self._mark_done(stopped[recognised])
        for index in self._defer(stopped[~recognised]).tolist():
            if self.job.stopped.is_set():
                return
            if self._finish(index):
                self._mark_done(np.array([index]))
            else:
                self.target[index] = _next_target(float(self.target[index]))
                self.running[index] = True

    def _defer(self, stopped: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Let lanes go on without a Newton finish: first to smaller rates, then to still smaller ones if a
        known minimum is close. Returns the others."""
        ended = np.asarray(self.status.diverged | self.status.budget_exhausted)[stopped]
        early = (self.target[stopped] > _NEWTON_TARGET) & ~ended
        close = (self.target[stopped] == _NEWTON_TARGET) & ~ended
        close[close] = self.job.catalogue.within(self.points[stopped[close]], NEWTON_RADIUS)
        further = early | close
        self.target[stopped[further]] = np.where(early, _NEWTON_TARGET, _CLOSE_TARGET)[further]
        self.running[stopped[further]] = True
        self.deferred |= {int(i): self.points[i].copy() for i in stopped[close]}
        return stopped[~further]

    def _finish(self, index: int) -> bool:
        """Apply a Newton finish to a lane, and return whether its end state is entered."""
        # First the deferred one: where a start ends must not depend on which minima were known by then.
        deferred = self.deferred.pop(index, None)
        if deferred is not None and self.classifier.finish(index, deferred, False, False):
            return True
        diverged = bool(self.status.diverged[index])
        exhausted = bool(self.status.budget_exhausted[index])
        return self.classifier.finish(index, self.points[index], diverged, exhausted)

    def _mark_done(self, index: Int[np.ndarray, " n"]) -> None:
        self.pending[index] = False
        if len(index):
            self.job.report_progress(len(index))

    def end_states(self) -> EndStates:
        """Return the end states of all starts, with their times and anti-aligned students."""
        lanes = self.lanes
        # Not when the lane was stopped, if it has converged: that depends on which minima were known by then.
        since = np.asarray(lanes.time_below_threshold)
        below = np.isfinite(since) & (self.classifier.ends.outcome != NOT_CONVERGED)
        evaluations = np.where(below, lanes.evaluations_below_threshold, lanes.evaluations)
        W = self.classifier.ends.weights[: self.count]
        teacher = np.asarray(self.job.problem.teacher_weights(W.shape[2]))
        ends = self.classifier.ends._replace(
            anti_aligned=count_anti_aligned(
                self.job.problem,
                W @ teacher.T,
                np.linalg.norm(W, axis=2),
                self.classifier.ends.readout[: self.count],
            ),
            time=np.where(below, since, lanes.time),
            evaluations=evaluations.astype(int),
        )
        return EndStates(*(x[: self.count] for x in ends))
