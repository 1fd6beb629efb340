"""A pool of starts on one device: integrated, recognised and kept account of by one compiled program.

The host is asked only for Newton finishes, and hands the program what has been learned by them.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.compiler import program
from . import outcomes
from .batched_rkc import (
    RATE_THRESHOLD,
    RKCState,
    Tolerances,
    advance,
    begin,
    probe,
)
from .catalogue import Catalogue
from .classify import EndStateClassifier
from .newton import GRADIENT_TOLERANCE
from .outcomes import EndStates, blank
from .recognition import CLOSED_FORM, NO_MINIMUM, KnownPoints, reach_closed_form, recognise

# Of the norms of the rates at which a lane stops, RATE_THRESHOLD is the first: it may be recognised there.
_NEWTON_TARGET = 1e-5  # where the first Newton finish is tried
_CLOSE_TARGET = 1e-7  # and where, if a known minimum is close
_EVALUATIONS = 64  # per lane and round
# Lanes of a batch are a multiple of this: those left over by a vectorised loop would be computed otherwise.
LANE_MULTIPLE = 64
_MAX_CACHED_ENTRIES = 256  # of the weights of a lane: of more, 64 lanes leave a core's first cache
_MUCH_MEMORY = 2**22  # entries of a pool
_CALL_SECONDS = 0.2  # that a call of the program takes: an interruption waits for it

_RUNNING, _STOPPED, _WAITING, _DONE = range(4)
"""The phases of a lane: to be integrated; to be recognised; waits for a Newton finish; with an end state."""


class _Rules(NamedTuple):
    """What a program is compiled for: lanes of a batch, and which minima are looked up."""

    batch: int
    known: bool
    closed_form: bool


class _Inputs(NamedTuple):
    tolerances: Tolerances
    flow: AbstractFlow
    problem: Problem
    zero: Float[Array, ""]  # loss of a reproduced teacher
    known: KnownPoints
    rounds: Int[Array, ""]  # to make in this call


class _Lanes(NamedTuple):
    """All lanes of a pool, on its device, and what is known of each."""

    solver: RKCState
    target: Float[Array, " N"]  # norm of the rates at which it stops
    phase: Int[Array, " N"]
    minimum: Int[Array, " N"]  # number of the known minimum that it has ended in
    speed: Float[Array, " N"]  # at a minimum in closed form
    loss: Float[Array, " N"]
    deferred: Float[
        Array, "N K D"
    ]  # where a Newton finish was due, had no known minimum been close
    has_deferred: Bool[Array, " N"]


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
        self.rules = _Rules(batch, catalogue.enabled, catalogue.closed_form)
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


@partial(program, wide=False)
def _begin(tolerances: Tolerances, flow, problem, weights: Weights, count) -> _Lanes:
    """All lanes at their starts; those from `count` on are copies that fill the pool."""

    def lane(w):
        return begin(flow, problem, flow.project_initial(w), RATE_THRESHOLD)

    solver = jax.vmap(lane)(weights)
    N = len(weights.W)
    phase = jnp.where(tolerances.status(solver).stopped, _STOPPED, _RUNNING)
    nothing = jnp.zeros(N, solver.base.dtype)
    return _Lanes(
        solver=solver,
        target=jnp.full(N, RATE_THRESHOLD, solver.base.dtype),
        phase=jnp.where(jnp.arange(N) < count, phase, _DONE).astype(jnp.int8),
        minimum=jnp.full(N, NO_MINIMUM, jnp.int32),
        speed=nothing,
        loss=nothing,
        deferred=jnp.zeros_like(solver.base),
        has_deferred=jnp.zeros(N, bool),
    )


@partial(program, static_argnums=0, donate_argnums=2)
def _advance(rules: _Rules, inputs: _Inputs, lanes: _Lanes) -> tuple[_Lanes, Array]:
    """Integrate and recognise lanes of a pool, which is changed in place, until none is running or the rounds
    are made. Returns the phases as well."""

    def integrate(carry):
        made, lanes = carry

        def goes_on(carry):
            made, lanes = carry
            enough = jnp.sum(lanes.phase == _STOPPED) >= rules.batch
            return jnp.any(lanes.phase == _RUNNING) & ~enough & (made < inputs.rounds)

        made, lanes = jax.lax.while_loop(
            goes_on, lambda carry: (carry[0] + 1, _round(rules, inputs, carry[1])), carry
        )
        return made, _recognise(rules, inputs, lanes)

    def unfinished(carry):
        made, lanes = carry
        busy = (lanes.phase == _RUNNING) & (made < inputs.rounds) | (lanes.phase == _STOPPED)
        return jnp.any(busy)

    _, lanes = jax.lax.while_loop(unfinished, integrate, (jnp.int32(0), lanes))
    return lanes, lanes.phase


def _first(rules: _Rules, which: Bool[Array, " N"]) -> Int[Array, " batch"]:
    """The first lanes, as many as a batch has, padded with N: what is read there counts nowhere."""
    return jnp.nonzero(which, size=rules.batch, fill_value=len(which))[0]


def _block_width(entries: int, lanes: int) -> int:
    """Lanes that lie side by side: all, or eight, where products of matrices would not find those of more in
    a core's first cache."""
    large = entries > _MAX_CACHED_ENTRIES and jax.default_backend() == "cpu"
    return 8 if large and lanes % 8 == 0 else lanes


def _round(rules: _Rules, inputs: _Inputs, lanes: _Lanes) -> _Lanes:
    """Make evaluations in the first running lanes."""
    tolerances, flow, problem = inputs[:3]
    chosen = _first(rules, lanes.phase == _RUNNING)
    width = _block_width(lanes.solver.base[0].size, len(chosen))

    def blocks(x):
        return jnp.moveaxis(x[chosen].reshape(-1, width, *x.shape[1:]), 1, -1)

    def lane_by_lane(x):
        x = jnp.moveaxis(x, -1, 1)
        return x.reshape(-1, *x.shape[2:])

    some = jax.tree.map(blocks, lanes.solver)
    some = some._replace(target=blocks(lanes.target), converged=jnp.zeros_like(some.converged))
    some = jax.vmap(lambda lane: probe(flow, problem, lane))(some)

    def evaluation(_, some):
        return jax.vmap(lambda lane: advance(flow, problem, tolerances, lane))(some)

    # Two by two: the latest stages then change places without being copied.
    some = jax.lax.fori_loop(0, _EVALUATIONS, evaluation, some, unroll=2)
    some = jax.tree.map(lane_by_lane, some)
    phase = jnp.where(tolerances.status(some).stopped, _STOPPED, _RUNNING).astype(jnp.int8)
    return lanes._replace(
        solver=jax.tree.map(lambda x, new: x.at[chosen].set(new, mode="drop"), lanes.solver, some),
        phase=lanes.phase.at[chosen].set(phase, mode="drop"),
    )


def _recognise(rules: _Rules, inputs: _Inputs, lanes: _Lanes) -> _Lanes:
    """Decide about the first stopped lanes: they have an end state, go on to smaller rates, or wait for a
    Newton finish."""
    chosen = _first(rules, lanes.phase == _STOPPED)
    solver, problem = lanes.solver, inputs.problem
    points = solver.base[chosen]
    y = jnp.moveaxis(points, 0, -1)
    target = lanes.target[chosen]
    n = len(chosen)
    minimum, close = jnp.full(n, NO_MINIMUM), jnp.zeros(n, bool)
    speed = loss = jnp.zeros_like(target)
    end = y
    if rules.closed_form:
        beside = reach_closed_form(inputs.flow, problem, inputs.zero, y)
        minimum = jnp.where(beside.reached, CLOSED_FORM, minimum)
        end = jnp.where(beside.reached, beside.minimum, end)
        speed, loss = beside.speed, beside.loss
    if rules.known:
        own, at, close = recognise(inputs.known, problem.teachers, y)
        minimum, end = jnp.where(own >= 0, own, minimum), jnp.where(own >= 0, at, end)
    status = inputs.tolerances.status(jax.tree.map(lambda x: x[chosen], solver))
    ended = status.diverged | status.budget_exhausted
    known = minimum != NO_MINIMUM
    early = ~known & ~ended & (target > _NEWTON_TARGET)
    # To still smaller rates if a known minimum is close.
    defers = ~known & ~ended & (target == _NEWTON_TARGET) & close
    phase = jnp.where(known, _DONE, jnp.where(early | defers, _RUNNING, _WAITING))
    target = jnp.where(early, _NEWTON_TARGET, jnp.where(defers, _CLOSE_TARGET, target))

    def put(x, new):
        return x.at[chosen].set(new.astype(x.dtype), mode="drop")

    deferred = jnp.where(defers[:, None, None], points, lanes.deferred[chosen])
    return lanes._replace(
        solver=solver._replace(base=put(solver.base, jnp.moveaxis(end, -1, 0))),
        target=put(lanes.target, target),
        phase=put(lanes.phase, phase),
        minimum=put(lanes.minimum, minimum),
        speed=put(lanes.speed, speed),
        loss=put(lanes.loss, loss),
        deferred=put(lanes.deferred, deferred),
        has_deferred=put(lanes.has_deferred, lanes.has_deferred[chosen] | defers),
    )


class _Waiting(NamedTuple):
    """Lanes that wait for a Newton finish: what it needs to know of each."""

    points: Float[np.ndarray, "n K D"]
    target: Float[np.ndarray, " n"]
    diverged: Bool[np.ndarray, " n"]
    exhausted: Bool[np.ndarray, " n"]
    deferred: Float[np.ndarray, "n K D"]
    has_deferred: Bool[np.ndarray, " n"]


@partial(program, wide=False)
def _read(tolerances: Tolerances, lanes: _Lanes, index) -> _Waiting:
    solver = jax.tree.map(lambda x: x[index], lanes.solver)
    status = tolerances.status(solver)
    return _Waiting(
        solver.base,
        lanes.target[index],
        status.diverged,
        status.budget_exhausted,
        lanes.deferred[index],
        lanes.has_deferred[index],
    )


@partial(program, wide=False, donate_argnums=0)
def _write(lanes: _Lanes, index, phase, target) -> _Lanes:
    """Enter what the host has decided about lanes; an `index` of N is none."""
    return lanes._replace(
        phase=lanes.phase.at[index].set(phase, mode="drop"),
        target=lanes.target.at[index].set(target, mode="drop"),
        has_deferred=lanes.has_deferred.at[index].set(False, mode="drop"),
    )


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
        self.size = size = _padded_size(self.count, starts.W[0].size + starts.v[0].size)
        # Padded to a fixed size with copies of the last start.
        index = np.minimum(np.arange(size), self.count - 1)
        inputs = (job.tolerances, job.flow, job.problem), jax.tree.map(lambda x: x[index], starts)
        self.parameters, padded = jax.device_put(inputs, device)
        self.lanes: _Lanes = job.call(
            (device, size), _begin, *self.parameters, padded, jnp.asarray(self.count)
        )
        K, d = starts.W.shape[1:]
        self.classifier = EndStateClassifier(
            job.problem, job.flow, job.catalogue, blank(self.count, K, d)
        )
        self.zero = jax.device_put(jnp.asarray(self.classifier.zero_loss.zero), device)
        self.known = self._known_points()
        self.done = 0
        self.phase = np.asarray(self.lanes.phase)
        self.rounds = 1

    @property
    def unfinished(self) -> bool:
        """Whether some lanes have no end state yet."""
        return bool((self.phase != _DONE).any())

    def advance(self) -> None:
        """Let the program work for about `_CALL_SECONDS`."""
        job = self.job
        if len(job.catalogue.minima) != int(self.known.size):
            self.known = self._known_points()
        inputs = _Inputs(
            *self.parameters, self.zero, self.known, jnp.asarray(self.rounds, jnp.int32)
        )
        began = time.perf_counter()
        name = (self.device, self.size, "advance")
        self.lanes, phase = job.call(name, _advance, job.rules, inputs, self.lanes)
        self.phase = np.array(phase)
        spent = time.perf_counter() - began
        # It decides nothing but how often the host looks: no number depends on it.
        self.rounds = int(np.clip(self.rounds * min(_CALL_SECONDS / spent, 4.0), 1, 10_000))
        self._report()

    def _known_points(self) -> KnownPoints:
        minima = list(self.job.catalogue.minima)
        return jax.device_put(
            KnownPoints.of(minima, *self.lanes.solver.base.shape[1:]), self.device
        )

    def _report(self) -> None:
        done = self.count - int((self.phase != _DONE).sum())
        self.job.report_progress(done - self.done)
        self.done = done

    def finish_waiting(self) -> None:
        """Enter the end states of lanes that wait for a Newton finish, or let them go on to smaller rates."""
        waiting = np.flatnonzero(self.phase == _WAITING)
        for index in np.split(waiting, range(LANE_MULTIPLE, len(waiting), LANE_MULTIPLE)):
            if len(index):
                self._finish(index)

    def _finish(self, index: Int[np.ndarray, " n"]) -> None:
        padding = np.full(LANE_MULTIPLE - len(index), self.size)
        at = np.concatenate([index, padding])
        some = _Waiting(*(np.array(x) for x in _read(self.parameters[0], self.lanes, at)))
        phase = np.full(LANE_MULTIPLE, _WAITING, np.int8)
        target = some.target.copy()
        classifier, minima = self.classifier, self.job.catalogue.minima
        known, left = -1, np.arange(len(index))
        while len(left) and not self.job.stopped.is_set():
            if len(minima) > known:  # one finish often serves many
                known = len(minima)
                recognised = classifier.recognise(index[left], some.points[left])
                phase[left[recognised]] = _DONE
                left = left[~recognised]
                continue
            n, left = left[0], left[1:]
            if self._ends(int(index[n]), n, some):
                phase[n] = _DONE
            else:
                phase[n], target[n] = _RUNNING, _next_target(float(target[n]))
        self.lanes = _write(self.lanes, at, phase, target)
        self.phase[index] = phase[: len(index)]
        self._report()

    def _ends(self, index: int, n: int, some: _Waiting) -> bool:
        """Apply a Newton finish to a lane, and return whether its end state is entered."""
        # First the deferred one: where a start ends must not depend on which minima were known by then.
        finish = self.classifier.finish
        if some.has_deferred[n] and finish(index, some.deferred[n], False, False):
            return True
        return finish(index, some.points[n], bool(some.diverged[n]), bool(some.exhausted[n]))

    def end_states(self) -> EndStates:
        """Return the end states of all starts, with their times and anti-aligned students."""
        lanes, solver = self.lanes, self.lanes.solver
        self.classifier.enter_recognised(
            *(self._numpy(x) for x in (lanes.minimum, solver.base, lanes.loss, lanes.speed))
        )
        ends = self.classifier.ends
        # Not when the lane was stopped, if it has converged: that depends on which minima were known by then.
        since = self._numpy(solver.time_below_threshold)
        below = np.isfinite(since) & (ends.outcome != outcomes.NOT_CONVERGED)
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
