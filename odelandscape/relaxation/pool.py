"""A pool of starts on one device: what the host does beside the compiled program of its lanes.

It makes the Newton finishes, hands the program the minima that are found by them, and collects the end
states. Starts may be integrated in float32 first, until their rates are small: those that are not at a known
minimum by then go on from there in float64, in a pool of their own.
"""

import abc
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..flows.base import AbstractFlow, packed_rates
from ..model.loss import zero_loss
from ..model.problem import Problem
from ..model.state import Weights, unpack
from .batched_rkc import Tolerances
from .catalogue import Catalogue, KnownPoints
from .classify import EndStateClassifier
from .lanes import (
    DONE,
    LANE_MULTIPLE,
    RUNNING,
    STOPPED,
    WAITING,
    Inputs,
    Lanes,
    Rules,
    Spent,
    Waiting,
    advance_lanes,
    begin_lanes,
    read_waiting,
    recognise_again,
    write_decided,
)
from .newton import GRADIENT_TOLERANCE
from .outcomes import NOT_CONVERGED, EndStates, blank

_MUCH_MEMORY = 2**22  # entries of a pool
_CALL_SECONDS = 0.2  # that a call of the program takes: an interruption waits for it
_MAX_ROUNDS = 10_000
_FLOAT32_EVALUATIONS = 20_000  # of a lane, after which it goes on in float64 wherever it is
_FOLLOWED_TOGETHER = 512, 4096  # lanes that go on in float64, on a processor and on another device


@final
class Job:
    """What the pools of one call of `relax` have in common. Threads share it.

    - `transient`: whether starts are integrated in float32 first.
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
        transient: bool,
    ):
        self.problem, self.flow, self.tolerances = problem, flow, tolerances
        self.batch, self.catalogue, self.transient = batch, catalogue, transient
        self.zero_loss = zero_loss(problem)
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


def _padded(size: int, x: Array | np.ndarray) -> Array:
    """The rows of x, and copies of the last one up to a size."""
    if len(x) == size:
        return jnp.asarray(x)
    # By NumPy, which compiles nothing for another number of rows.
    return jnp.asarray(np.asarray(x)[np.minimum(np.arange(size), len(x) - 1)])


def relax_pool(job: Job, device: jax.Device, starts: Weights) -> EndStates:
    """Return the end states of the starts of one pool, which lies on this device."""
    kind = _TransientPool if job.transient else _Pool
    N = len(starts.W)
    count = np.zeros(N, np.int32)
    nothing = Spent(np.zeros(N), count, np.full(N, np.inf), count)
    size = _padded_size(N, starts.W[0].size + starts.v[0].size)
    return kind(job, device, starts, size, nothing, job.report_progress).relax()


def in_float32(tree):
    """Return a pytree whose arrays of floats are in float32."""

    def rounded(x):
        return x.astype(np.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(lambda x: rounded(jnp.asarray(x)), tree)


def stays_in_float32(problem: Problem, flow: AbstractFlow, dimension: int) -> bool:
    """Return whether the rates of weights in float32 are in float32, and not promoted by a constant."""
    problem, flow = in_float32((problem, flow))
    lanes = jax.ShapeDtypeStruct((problem.students, dimension + 1, 8), np.float32)
    try:
        rates = jax.eval_shape(lambda y: packed_rates(flow, problem, y), lanes)
    except (TypeError, ValueError):  # numbers of two kinds that a user's code does not mix
        return False
    return rates.dtype == np.float32


class _AbstractPool(abc.ABC):
    """The lanes of some starts on one device, and the end states found so far.

    - `size`: of the pool, which is padded with copies of the last start.
    - `spent`: by each start, before it begins.
    - `report`: called with the number of starts that have become done.
    """

    transient: bool

    def __init__(
        self,
        job: Job,
        device: jax.Device,
        starts: Weights,
        size: int,
        spent: Spent,
        report: Callable[[int], None],
    ):
        self.job, self.device, self.size, self.report = job, device, size, report
        self.count = len(starts.W)
        K, d = starts.W.shape[1:]
        self.classifier = EndStateClassifier(
            job.problem, job.flow, job.zero_loss, job.catalogue, blank(self.count, K, d)
        )
        self.rules = Rules(job.batch, job.catalogue.enabled, job.catalogue.closed_form)
        padded = jax.tree.map(partial(_padded, self.size), (starts, spent))
        own = job.tolerances, job.flow, job.problem, *padded
        if self.transient:
            most = jnp.minimum(job.tolerances.evaluations, _FLOAT32_EVALUATIONS)
            own = in_float32((replace(job.tolerances, evaluations=most), *own[1:]))
        exact, zero = (job.flow, job.problem), np.asarray(job.zero_loss.zero)
        own, exact, zero = jax.device_put((own, exact, zero), device)
        tolerances, flow, problem, padded, spent = own
        self.lanes: Lanes = self._call(
            begin_lanes, tolerances, flow, problem, padded, np.asarray(self.count), spent
        )
        self.inputs = Inputs(tolerances, flow, problem, self._known_points(), exact, zero)
        self.phase = np.array(self.lanes.phase)
        self.rounds = 1
        self.done = 0

    def relax(self) -> EndStates:
        """Return the end states of all starts, with their times and anti-aligned students."""
        while (self.phase != DONE).any() and not self.job.stopped.is_set():
            self._advance()
            self._finish_waiting()
        return self._end_states()

    def _call(self, program: Callable, *args):
        name = (program, self.device, self.size, self.transient)
        return self.job.call(name, program, *args)

    def _advance(self) -> None:
        """Let the program work for about `_CALL_SECONDS`."""
        if len(self.job.catalogue.minima) != int(self.inputs.known.size):
            self.inputs = self.inputs._replace(known=self._known_points())
        began = time.perf_counter()
        self.lanes, phase, made = self._call(
            advance_lanes, self.rules, self.inputs, np.int32(self.rounds), self.lanes
        )
        self.phase, made = np.array(phase), int(made)
        spent = time.perf_counter() - began
        # This decides how often the host has a look, and no number.
        if made == self.rounds:
            faster = min(_CALL_SECONDS / spent, 4.0)
            self.rounds = int(np.clip(self.rounds * faster, 1, _MAX_ROUNDS))
        self._report()

    def _known_points(self) -> KnownPoints:
        points = KnownPoints.of(self.job.catalogue.minima, *self.lanes.kept.shape[1:])
        return jax.device_put(points, self.device)

    def _report(self) -> None:
        done = self.count - int((self.phase != DONE).sum())
        self.report(done - self.done)
        self.done = done

    def _finish_waiting(self) -> None:
        """Enter the end states of lanes that wait for the host, or let them go on to smaller rates."""
        waiting = np.flatnonzero(self.phase == WAITING)
        known = len(self.job.catalogue.minima)
        some = self._at_a_time(len(waiting))
        for index in np.split(waiting, range(some, len(waiting), some)) if some else ():
            if len(index) and not self.job.stopped.is_set():
                self._finish(index)
            if len(self.job.catalogue.minima) > known:
                # Most of the others will be there, too, and the program recognises them faster.
                self.lanes = recognise_again(self.lanes)
                self.phase[self.phase == WAITING] = STOPPED
                return

    def _finish(self, index: Int[np.ndarray, " n"]) -> None:
        # One of two sizes, because each is a program.
        size = LANE_MULTIPLE if len(index) <= LANE_MULTIPLE else self._most_followed
        at = np.concatenate([index, np.full(size - len(index), self.size)])
        some = jax.device_get(read_waiting(self.inputs.tolerances, self.lanes, at))
        phase, target = np.full(size, WAITING, np.int8), np.array(some.target)
        self._decide(index, some, phase, target)
        self.lanes = write_decided(self.lanes, at, phase, target)
        self.phase[index] = phase[: len(index)]
        self._report()

    @property
    def _most_followed(self) -> int:
        return min(self.size, _FOLLOWED_TOGETHER[self.device.platform != "cpu"])

    @abc.abstractmethod
    def _at_a_time(self, waiting: int) -> int:
        """Return how many of the lanes that wait are decided about together, 0 for none as yet."""

    @abc.abstractmethod
    def _decide(self, index: Int[np.ndarray, " n"], some: Waiting, phase, target) -> None:
        """Enter the end states of the lanes of this index, as far as they have one, and write down phases
        and targets of all that are decided about. Of `some`, `phase` and `target` the first n count."""

    def _end_states(self) -> EndStates:
        lanes, solver = self.lanes, self.lanes.solver
        self.classifier.enter_recognised(
            *map(self._numpy, (lanes.minimum, lanes.kept, lanes.loss, lanes.speed))
        )
        ends = self.classifier.ends
        # Not when the lane was stopped, if it has converged: that depends on which minima were known by then.
        since = self._numpy(solver.time_below_threshold).astype(float)
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


@final
class _Pool(_AbstractPool):
    """Lanes in float64, which get Newton finishes."""

    transient = False

    def _at_a_time(self, waiting):
        return LANE_MULTIPLE

    def _decide(self, index, some, phase, target):
        known, left = -1, np.arange(len(index))
        while len(left) and not self.job.stopped.is_set():
            if len(self.job.catalogue.minima) > known:  # one finish serves many
                known = len(self.job.catalogue.minima)
                recognised = self.classifier.recognise(index[left], np.asarray(some.points)[left])
                phase[left[recognised]] = DONE
                left = left[~recognised]
                continue
            n, left = int(left[0]), left[1:]
            if self._ends(int(index[n]), n, some):
                phase[n] = DONE
            else:
                phase[n], target[n] = RUNNING, _next_target(float(target[n]))

    def _ends(self, index: int, n: int, some: Waiting) -> bool:
        """Apply a Newton finish to a lane, and return whether its end state is entered."""
        # First the deferred one: where a start ends must not depend on which minima were known by then.
        finish, points, deferred = self.classifier.finish, some.points[n], some.deferred[n]
        if some.has_deferred[n] and finish(index, np.asarray(deferred), False, False):
            return True
        diverged, exhausted = bool(some.diverged[n]), bool(some.budget_exhausted[n])
        return finish(index, np.asarray(points), diverged, exhausted)


@final
class _TransientPool(_AbstractPool):
    """Lanes in float32, which go on in float64 where their rates are small and no known minimum is there."""

    transient = True

    def __init__(self, *args):
        super().__init__(*args)
        self.followed: list[tuple[np.ndarray, EndStates]] = []

    def _at_a_time(self, waiting):
        catalogue = self.job.catalogue
        # The first ones make minima known by which most others are recognised.
        if catalogue.enabled and not catalogue.minima:
            return LANE_MULTIPLE
        # The others together, as few lanes cost what a batch does.
        goes_on = (self.phase == RUNNING).any() and waiting < self._most_followed
        return 0 if goes_on else self._most_followed

    def _decide(self, index, some, phase, target):
        n = len(index)
        points = jnp.asarray(some.points[:n], float)
        on = jax.vmap(unpack)(points)
        spent = Spent(*(np.asarray(x[:n]) for x in some.spent))
        spent = spent._replace(time=spent.time.astype(float), since=spent.since.astype(float))
        # One size for few and many, because each is a program.
        most = self._most_followed
        ends = _Pool(self.job, self.device, on, most, spent, lambda count: None).relax()
        if not self.job.stopped.is_set():
            self.followed.append((index, ends))
            phase[:n] = DONE

    def _end_states(self):
        ends = super()._end_states()
        for index, own in self.followed:
            for column, new in zip(ends, own, strict=True):
                column[index] = new
        return ends
