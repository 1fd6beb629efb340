"""Many starts in one compiled program: integrated, recognised and kept account of on their device.

A lane is one start. It is `RUNNING` until its rates are as small as its target. At the end of a round in
which it has got there, or is near a fixed point, it is `STOPPED` until it is known what it is: `DONE` at a
minimum that is known already, `RUNNING` on, or `WAITING` for a Newton finish, which the host makes. The
program is left when nothing but that is to be done, or when the host is to have a look.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.compiler import program
from .batched_rkc import RKCState, Tolerances, advance, begin, probe
from .catalogue import CLOSED_FORM, NO_MINIMUM, KnownPoints, reach_closed_form, recognise

RUNNING, STOPPED, WAITING, DONE = range(4)
"""The phases of a lane."""
# Norms of the rates at which a lane stops.
_NEWTON_TARGET = 1e-5  # where the first Newton finish is tried
_CLOSE_TARGET = 1e-7  # and where, if a known minimum is close
_FLOAT32_TARGET = 1e-4  # well above the rounding of rates in float32: where lanes in float32 wait
EVALUATIONS = 64
"""Of the rates, that a lane makes in a round."""
LANE_MULTIPLE = 64
"""Of the lanes of a batch: those left over by a vectorised loop would be computed otherwise."""
_MAX_CACHED_BYTES = 2048  # of the weights of a lane: of more, 64 lanes leave a core's first cache


class Rules(NamedTuple):
    """What the program is compiled for: lanes of a batch, and which minima are looked up."""

    batch: int
    known: bool
    closed_form: bool


class Inputs(NamedTuple):
    """What the lanes of a pool have in common. The flow and the problem that lanes are integrated with may be
    those in float32."""

    tolerances: Tolerances
    flow: AbstractFlow
    problem: Problem
    known: KnownPoints
    exact: tuple[AbstractFlow, Problem]  # in float64
    zero: Float[Array, ""]  # loss up to which the teacher counts as reproduced


class Lanes(NamedTuple):
    """All lanes of a pool, and what is known of each."""

    solver: RKCState
    target: Float[Array, " N"]  # norm of the rates at which it stops
    phase: Int[Array, " N"]
    minimum: Int[Array, " N"]  # number of the known minimum that it has ended in
    speed: Float[Array, " N"]  # at a minimum in closed form
    loss: Float[Array, " N"]
    # Where a finish was due, had no known minimum been close; at last the known minimum itself.
    kept: Float[Array, "N K D"]
    has_deferred: Bool[Array, " N"]


class Spent(NamedTuple):
    """Time and evaluations of lanes, and those at which rates had become small for good (inf: not yet)."""

    time: Float[Array | np.ndarray, "*n"]
    evaluations: Int[Array | np.ndarray, "*n"]
    since: Float[Array | np.ndarray, "*n"]
    evaluations_since: Int[Array | np.ndarray, "*n"]


@partial(program, wide=False)
def begin_lanes(
    tolerances: Tolerances,
    flow: AbstractFlow,
    problem: Problem,
    weights: Weights,
    count: Int[Array | np.ndarray, ""],
    spent: Spent,
) -> Lanes:
    """Return all lanes at their starts; those from `count` on are copies that fill the pool.

    - `spent`: by each lane, before it begins.
    """
    N, (K, d) = len(weights.W), weights.W.shape[1:]
    one_batch = jax.default_backend() != "cpu" or N % LANE_MULTIPLE != 0
    size = weights.W.dtype.itemsize * K * (d + 1) * problem.activation.nodes
    width = block_width(size, N if one_batch else LANE_MULTIPLE)
    target = _FLOAT32_TARGET if weights.W.dtype == jnp.float32 else _NEWTON_TARGET

    def block(some):
        return _lanes_first(begin(flow, problem, _lanes_last(some), target))

    # Some devices multiply matrices in float32 with fewer digits by default.
    with jax.default_matmul_precision("highest"):
        projected = jax.vmap(flow.project_initial)(weights)
        blocks = jax.tree.map(lambda x: x.reshape(-1, width, *x.shape[1:]), projected)
        solver = jax.lax.map(block, blocks)
    solver = jax.tree.map(lambda x: x.reshape(N, *x.shape[2:]), solver)
    below = jnp.isfinite(solver.time_below_threshold)
    already = below & jnp.isfinite(spent.since)
    evaluations = spent.evaluations + solver.evaluations_below_threshold
    solver = solver._replace(
        time=spent.time,
        evaluations=spent.evaluations + solver.evaluations,
        time_below_threshold=jnp.where(below, jnp.where(already, spent.since, spent.time), jnp.inf),
        evaluations_below_threshold=jnp.where(already, spent.evaluations_since, evaluations),
    )
    phase = jnp.where(tolerances.status(solver).stopped, STOPPED, RUNNING)
    nothing = jnp.zeros(N)
    return Lanes(
        solver=solver,
        target=solver.target,
        phase=jnp.where(jnp.arange(N) < count, phase, DONE).astype(jnp.int8),
        minimum=jnp.full(N, NO_MINIMUM, jnp.int32),
        speed=nothing,
        loss=nothing,
        kept=jnp.zeros(solver.base.shape),
        has_deferred=jnp.zeros(N, bool),
    )


@partial(program, static_argnums=0, donate_argnums=3)
def advance_lanes(
    rules: Rules, inputs: Inputs, rounds: Int[Array, ""], lanes: Lanes
) -> tuple[Lanes, Int[Array, " N"], Int[Array, ""]]:
    """Integrate and recognise lanes, which are changed in place, until none is running or the rounds are
    made. Returns lanes, their phases once more, and how many rounds were made."""
    some = min(rules.batch, len(lanes.phase))

    def goes_on(carry):
        made, lanes = carry
        enough = jnp.sum(lanes.phase == STOPPED) >= some
        return jnp.any(lanes.phase == RUNNING) & ~enough & (made < rounds)

    def integrate(carry):
        made, lanes = carry
        return made + 1, _round(rules, some, inputs, lanes)

    def unfinished(carry):
        made, lanes = carry
        running = jnp.any(lanes.phase == RUNNING) & (made < rounds)
        return running | jnp.any(lanes.phase == STOPPED)

    def turn(carry):
        made, lanes = jax.lax.while_loop(goes_on, integrate, carry)
        return made, _recognise_stopped(rules, some, inputs, lanes)

    with jax.default_matmul_precision("highest"):  # as in `begin_lanes`
        made, lanes = jax.lax.while_loop(unfinished, turn, (jnp.int32(0), lanes))
    return lanes, lanes.phase, made


def _lanes_last(tree):
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), tree)


def _lanes_first(tree):
    return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), tree)


def _first(count: int, which: Bool[Array, " N"]) -> Int[Array, " {count}"]:
    """The first `count` lanes, padded with N: what is read there counts nowhere, and nothing is written."""
    return jnp.nonzero(which, size=count, fill_value=len(which))[0]


def block_width(size: int, lanes: int) -> int:
    """Lanes that lie side by side: all, or eight, where what is computed of more would not be found in a
    core's first cache, and where few are not to wait for as many as a batch has.

    - `size`: of the weights of a lane, in bytes, times the nodes of an integral.
    """
    large = size > _MAX_CACHED_BYTES and jax.default_backend() == "cpu"
    return 8 if large and lanes % 8 == 0 else lanes


def _round(rules: Rules, count: int, inputs: Inputs, lanes: Lanes) -> Lanes:
    """Make evaluations in the first running lanes, block after block."""
    running = lanes.phase == RUNNING
    chosen = _first(count, running)
    width = block_width(lanes.solver.base[0].nbytes * inputs.problem.activation.nodes, count)
    # Of blocks without a running lane none is evaluated.
    blocks = (jnp.minimum(jnp.sum(running), count) + width - 1) // width

    def block(i, lanes):
        some = jax.lax.dynamic_slice_in_dim(chosen, i * width, width)
        return _evaluate(rules, inputs, lanes, some)

    return jax.lax.fori_loop(0, blocks, block, lanes)


def _evaluate(rules: Rules, inputs: Inputs, lanes: Lanes, chosen: Int[Array, " n"]) -> Lanes:
    """Make evaluations in the chosen lanes, which then lie side by side."""
    tolerances, flow, problem = inputs[:3]
    some = _lanes_last(jax.tree.map(lambda x: x[chosen], lanes.solver))
    some = some._replace(target=lanes.target[chosen], converged=jnp.zeros_like(some.converged))
    some = probe(flow, problem, some)

    def evaluation(_, some):
        return advance(flow, problem, tolerances, some)

    # Two by two: the latest stages then change places without being copied.
    some = jax.lax.fori_loop(0, EVALUATIONS, evaluation, some, unroll=2)
    some = _lanes_first(some)
    stops = tolerances.status(some).stopped
    if rules.known or rules.closed_form:
        # Near a fixed point, which may be known: a lane that is at another one loses no evaluations.
        stops = stops | jnp.isfinite(some.time_below_threshold)
    phase = jnp.where(stops, STOPPED, RUNNING)
    return lanes._replace(
        solver=jax.tree.map(partial(_put, chosen), lanes.solver, some),
        phase=_put(chosen, lanes.phase, phase),
    )


def _recognise_stopped(rules: Rules, count: int, inputs: Inputs, lanes: Lanes) -> Lanes:
    """Decide what becomes of the first stopped lanes."""
    chosen = _first(count, lanes.phase == STOPPED)
    solver = lanes.solver
    points, target = solver.base[chosen].astype(lanes.kept.dtype), lanes.target[chosen]
    end = y = jnp.moveaxis(points, 0, -1)
    minimum, close = jnp.full(count, NO_MINIMUM, jnp.int32), jnp.zeros(count, bool)
    speed = loss = jnp.zeros(count)
    if rules.closed_form:
        reached, at, speed, loss = reach_closed_form(*inputs.exact, inputs.zero, y)
        minimum, end = jnp.where(reached, CLOSED_FORM, minimum), jnp.where(reached, at, end)
    if rules.known:
        number, at, close = recognise(inputs.known, inputs.problem.teachers, y)
        minimum, end = jnp.where(number >= 0, number, minimum), jnp.where(number >= 0, at, end)
    status = inputs.tolerances.status(jax.tree.map(lambda x: x[chosen], solver))
    known = minimum != NO_MINIMUM
    # To still smaller rates if a known minimum is close.
    at_target = status.converged & ~status.diverged & ~status.budget_exhausted
    defers = ~known & at_target & (target == _NEWTON_TARGET) & close
    goes_on = defers | ~status.stopped
    phase = jnp.where(known, DONE, jnp.where(goes_on, RUNNING, WAITING))
    target = jnp.where(defers, _CLOSE_TARGET, target)
    keeps = known | defers
    kept = jnp.where(keeps[:, None, None], jnp.moveaxis(end, -1, 0), lanes.kept[chosen])
    return Lanes(
        solver=solver,
        target=_put(chosen, lanes.target, target),
        phase=_put(chosen, lanes.phase, phase),
        minimum=_put(chosen, lanes.minimum, minimum),
        speed=_put(chosen, lanes.speed, speed),
        loss=_put(chosen, lanes.loss, loss),
        kept=_put(chosen, lanes.kept, kept),
        has_deferred=_put(chosen, lanes.has_deferred, lanes.has_deferred[chosen] | defers),
    )


def _put(index: Array | np.ndarray, x: Array, new: Array | np.ndarray) -> Array:
    return x.at[index].set(new.astype(x.dtype), mode="drop")


class Waiting(NamedTuple):
    """Lanes that wait for the host: what it needs to know of each."""

    points: Float[Array | np.ndarray, "n K D"]
    target: Float[Array | np.ndarray, " n"]
    diverged: Bool[Array | np.ndarray, " n"]
    budget_exhausted: Bool[Array | np.ndarray, " n"]
    deferred: Float[Array | np.ndarray, "n K D"]
    has_deferred: Bool[Array | np.ndarray, " n"]
    spent: Spent


@partial(program, wide=False)
def read_waiting(
    tolerances: Tolerances, lanes: Lanes, index: Int[Array | np.ndarray, " n"]
) -> Waiting:
    """Return what the host needs to know of some lanes."""
    solver = jax.tree.map(lambda x: x[index], lanes.solver)
    status = tolerances.status(solver)
    target, deferred, has_deferred = (
        x[index] for x in (lanes.target, lanes.kept, lanes.has_deferred)
    )
    return Waiting(
        solver.base,
        target,
        status.diverged,
        status.budget_exhausted,
        deferred,
        has_deferred,
        Spent(
            solver.time,
            solver.evaluations,
            solver.time_below_threshold,
            solver.evaluations_below_threshold,
        ),
    )


@partial(program, wide=False, donate_argnums=0)
def write_decided(
    lanes: Lanes,
    index: Int[Array | np.ndarray, " n"],
    phase: Int[Array | np.ndarray, " n"],
    target: Float[Array | np.ndarray, " n"],
) -> Lanes:
    """Return the lanes, changed in place, with what has been decided about some; an index of N is none."""
    return lanes._replace(
        phase=_put(index, lanes.phase, phase),
        target=_put(index, lanes.target, target),
        has_deferred=_put(index, lanes.has_deferred, np.zeros(len(index), bool)),
    )


@partial(program, wide=False, donate_argnums=0)
def recognise_again(lanes: Lanes) -> Lanes:
    """Return the lanes, changed in place, with those that wait for a Newton finish to be recognised first."""
    stopped = jnp.where(lanes.phase == WAITING, STOPPED, lanes.phase)
    return lanes._replace(phase=stopped.astype(lanes.phase.dtype))
