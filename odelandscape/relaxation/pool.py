"""A pool of starts on one device: what the host does beside the compiled program of its lanes.

It makes the Newton finishes, hands the program the minima that are found by them, and collects the end
states.
"""

import threading
import time
from collections.abc import Callable
from typing import final

import jax
import numpy as np
from jaxtyping import Array, Int

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import Weights
from .batched_rkc import Tolerances
from .catalogue import Catalogue
from .classify import EndStateClassifier
from .lanes import (
    DONE,
    RUNNING,
    STOPPED,
    WAITING,
    Inputs,
    Lanes,
    Rules,
    Waiting,
    advance_lanes,
    begin_lanes,
    read_waiting,
    recognise_again,
    write_decided,
)
from .newton import GRADIENT_TOLERANCE
from .outcomes import NOT_CONVERGED, EndStates, blank
from .recognition import KnownPoints

# Lanes of a batch are a multiple of this: those left over by a vectorised loop would be computed otherwise.
LANE_MULTIPLE = 64
_MUCH_MEMORY = 2**22  # entries of a pool
_CALL_SECONDS = 0.2  # that a call of the program takes: an interruption waits for it
_MAX_ROUNDS = 10_000


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
        self.catalogue = catalogue
        self.rules = Rules(batch, catalogue.enabled, catalogue.closed_form)
        self.stopped = threading.Event()
        self._progress = progress
        self._progress_lock = threading.Lock()
        self._compiling = threading.Lock()
        self._compiled: set[tuple] = set()

    def report_progress(self, count: int) -> None:
        """Report that `count` more starts are done."""
        if count and self._progress is not None:
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


def _next_target(target: float) -> float:
    """The next norm to stop at: a hundredth, and at last none before the budget is exhausted."""
    return 0.0 if target / 100 < GRADIENT_TOLERANCE / 10 else target / 100


def _padded_size(count: int, entries: int) -> int:
    """The size of a pool of so many starts: one of a few, because each is a program.

    They are far apart, as padding costs little but the memory of `entries` for each lane.
    """
    size = LANE_MULTIPLE
    while size < count:
        size *= 8 if size * entries < _MUCH_MEMORY else 2
    return size


def relax_pool(job: Job, device: jax.Device, starts: Weights) -> EndStates:
    """Return the end states of the starts of one pool, which lies on this device."""
    pool = _Pool(job, device, starts)
    while pool.unfinished and not job.stopped.is_set():
        pool.advance()
        pool.finish_waiting()
    return pool.end_states()


@final
class _Pool:
    """The lanes of some starts on one device, and the end states found so far."""

    def __init__(self, job: Job, device: jax.Device, starts: Weights):
        self.job, self.device = job, device
        self.count = len(starts.W)
        K, d = starts.W.shape[1:]
        self.size = _padded_size(self.count, K * (d + 1))
        # Padded to a fixed size with copies of the last start.
        index = np.minimum(np.arange(self.size), self.count - 1)
        inputs = (job.tolerances, job.flow, job.problem), jax.tree.map(lambda x: x[index], starts)
        (tolerances, flow, problem), padded = jax.device_put(inputs, device)
        self.lanes: Lanes = self._call(
            begin_lanes, tolerances, flow, problem, padded, np.asarray(self.count)
        )
        self.classifier = EndStateClassifier(
            job.problem, job.flow, job.catalogue, blank(self.count, K, d)
        )
        zero = jax.device_put(np.asarray(self.classifier.zero_loss.zero), device)
        self.inputs = Inputs(tolerances, flow, problem, zero, self._known_points())
        self.phase = np.array(self.lanes.phase)
        self.rounds = 1
        self.done = 0

    def _call(self, program: Callable, *args):
        return self.job.call((program, self.device, self.size), program, *args)

    @property
    def unfinished(self) -> bool:
        """Whether some lanes have no end state yet."""
        return bool((self.phase != DONE).any())

    def advance(self) -> None:
        """Let the program work for about `_CALL_SECONDS`."""
        if len(self.job.catalogue.minima) != int(self.inputs.known.size):
            self.inputs = self.inputs._replace(known=self._known_points())
        began = time.perf_counter()
        self.lanes, phase, made = self._call(
            advance_lanes, self.job.rules, self.inputs, np.int32(self.rounds), self.lanes
        )
        self.phase, made = np.array(phase), int(made)
        spent = time.perf_counter() - began
        # This decides how often the host has a look, and no number.
        if made == self.rounds:
            faster = min(_CALL_SECONDS / spent, 4.0)
            self.rounds = int(np.clip(self.rounds * faster, 1, _MAX_ROUNDS))
        self._report()

    def _known_points(self) -> KnownPoints:
        points = KnownPoints.of(self.job.catalogue.minima, *self.lanes.solver.base.shape[1:])
        return jax.device_put(points, self.device)

    def _report(self) -> None:
        done = self.count - int((self.phase != DONE).sum())
        self.job.report_progress(done - self.done)
        self.done = done

    def finish_waiting(self) -> None:
        """Enter the end states of lanes that wait for a Newton finish, or let them go on to smaller rates."""
        waiting = np.flatnonzero(self.phase == WAITING)
        known = len(self.job.catalogue.minima)
        for index in np.split(waiting, range(LANE_MULTIPLE, len(waiting), LANE_MULTIPLE)):
            if len(index):
                self._finish(index)
            if len(self.job.catalogue.minima) > known:
                # Most of the others will be there, too, and the program recognises them faster.
                self.lanes = recognise_again(self.lanes)
                self.phase[self.phase == WAITING] = STOPPED
                return

    def _finish(self, index: Int[np.ndarray, " n"]) -> None:
        at = np.concatenate([index, np.full(LANE_MULTIPLE - len(index), self.size)])
        some = jax.device_get(read_waiting(self.inputs.tolerances, self.lanes, at))
        phase, target = np.full(LANE_MULTIPLE, WAITING, np.int8), np.array(some.target)
        known, left = -1, np.arange(len(index))
        while len(left) and not self.job.stopped.is_set():
            if len(self.job.catalogue.minima) > known:  # one finish serves many
                known = len(self.job.catalogue.minima)
                recognised = self.classifier.recognise(index[left], some.points[left])
                phase[left[recognised]] = DONE
                left = left[~recognised]
                continue
            n, left = int(left[0]), left[1:]
            if self._ends(int(index[n]), n, some):
                phase[n] = DONE
            else:
                phase[n], target[n] = RUNNING, _next_target(float(target[n]))
        self.lanes = write_decided(self.lanes, at, phase, target)
        self.phase[index] = phase[: len(index)]
        self._report()

    def _ends(self, index: int, n: int, some: Waiting) -> bool:
        """Apply a Newton finish to a lane, and return whether its end state is entered."""
        # First the deferred one: where a start ends must not depend on which minima were known by then.
        finish, points, deferred = self.classifier.finish, some.points[n], some.deferred[n]
        if some.has_deferred[n] and finish(index, np.asarray(deferred), False, False):
            return True
        diverged, exhausted = bool(some.diverged[n]), bool(some.budget_exhausted[n])
        return finish(index, np.asarray(points), diverged, exhausted)

    def end_states(self) -> EndStates:
        """Return the end states of all starts, with their times and anti-aligned students."""
        lanes, solver = self.lanes, self.lanes.solver
        self.classifier.enter_recognised(
            *map(self._numpy, (lanes.minimum, solver.base, lanes.loss, lanes.speed))
        )
        ends = self.classifier.ends
        # Not when the lane was stopped, if it has converged: that depends on which minima were known by then.
        since = self._numpy(solver.time_below_threshold)
        below = np.isfinite(since) & (ends.outcome != NOT_CONVERGED)
        evaluations = np.where(
            below,
            self._numpy(solver.evaluations_below_threshold),
            self._numpy(solver.evaluations),
        )
        return ends._replace(
            time=np.where(below, since, self._numpy(solver.time)),
            evaluations=evaluations.astype(int),
        )

    def _numpy(self, column: Array) -> np.ndarray:
        return np.asarray(column)[: self.count]
