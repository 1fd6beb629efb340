"""From many starts to their end states.

All lanes (one a start) lie in a pool on the device. Each round takes the first `batch` unfinished
ones, makes a number of evaluations in each, and puts them back: lanes that are done leave and others enter
by being chosen or not, so no start waits for a slow one. Each core of a processor, or each other device, has
such a pool, and a thread that drives it.

A lane whose rates have become small is classified at once if it is well inside the basin of a minimum that is
known already. If it isn't, it is integrated until its rates are a hundredth of that, and then gets a Newton
finish (`newton`). A finish that is not well inside one basin is refused, and the lane is integrated along
the flow to a hundredth of the rate before the next try. A start that stays near a saddle is therefore
followed until it leaves or its budget is exhausted, and is classified by where it is then.
"""

from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from ..activations.base import check_continuous
from ..flows.base import AbstractFlow
from ..flows.consistency import check_flow, check_noise, noise_is_accurate
from ..model.problem import Problem, check_concrete, check_lengths
from ..model.state import Weights, check_starts
from ..runtime.arguments import (
    check_callback,
    check_instance,
    check_positive_number,
    check_whole_number,
    shown,
)
from ..runtime.compiler import check_float64, cores, known_numbers, thread_pool
from ..runtime.errors import UserError
from .batched_rkc import Tolerances
from .catalogue import Catalogue
from .lanes import LANE_MULTIPLE
from .outcomes import FAILED, NOT_CONVERGED, EndStates
from .pool import Job, relax_pool, stays_in_float32
from .stationary import stationary_states
from .units import in_natural_units, natural_units, original_ends, readout_units

RTOL = 2e-4
"""Error per step of a sweep."""
TIME_LIMIT = 20_000.0
"""Flow time of a sweep."""


def full_load(entries: int) -> int:
    """Return how many starts at a time keep all of this process's cores, or other devices, busy.

    - `entries`: of the weights [W | v] of a start; of large ones fewer fit into the memory.
    """
    least, most, fit = (
        (1024, 4096, 2**21) if jax.default_backend() == "cpu" else (8192, 262_144, 2**26)
    )
    return len(_pool_devices()) * min(most, max(least, fit // entries))


FLOAT32, FLOAT64 = "float32", "float64"
# Lengths below this and above its inverse have squares and products in single precision.
_WITHIN_FLOAT32 = 1e12


def checked_transient(
    transient: str | None, problem: Problem, flow: AbstractFlow, dimension: int
) -> str:
    """Return the precision of the transient, as `relax` has it for these starts.

    Raises UserError for another one, and for float32 where rates are not computed in it.
    """
    if transient not in (None, FLOAT32, FLOAT64):
        raise UserError(
            f"transient must be {FLOAT32!r}, {FLOAT64!r} or None; got {shown(transient)}"
        )
    if transient != FLOAT32:
        return FLOAT64
    if flow.stochastic:
        raise UserError(
            f"transient must be {FLOAT64!r} for a flow with noise, which is followed start by start; got "
            "'float32'"
        )
    if stays_in_float32(problem, flow, dimension):
        return FLOAT32
    raise UserError(
        f"transient must be {FLOAT64!r} for {shown(problem.activation)} and {shown(flow)}: some of their "
        "numbers are in double precision whatever the weights are in; got 'float32'"
    )


def _pool_devices() -> list[jax.Device]:
    """The device of each pool: on each of this process's devices one, on a processor one for each core."""
    devices = jax.local_devices()
    if len(devices) > 1 or devices[0].platform != "cpu":
        return devices
    return devices * cores()


@known_numbers()
def relax(
    problem: Problem,
    flow: AbstractFlow,
    starts: Weights,
    *,
    batch: int | None = None,
    rtol: float = RTOL,
    time_limit: float = TIME_LIMIT,
    catalogue: Catalogue | None = None,
    progress: Callable[[int], None] | None = None,
    transient: str | None = None,
) -> EndStates:
    """Follow the flow from N starts to their end states, and certify each.

    - `starts`: Weights with a leading axis of N, W (N, K, d) and v (N, K), carried to the flow's constraint
      first.
    - `batch`: lanes that advance together on a core (64) or on another device (8,192), rounded up to a
      multiple of 64; it changes the speed, and on a processor no number. On another device a program of
      another size may round otherwise: times and evaluations may change, and losses in their last digits.
    - `rtol`: error per step, as a root mean square, relative to that of the weights, and 0.1 `rtol` absolute.
      Of 4,096 starts, all at K = M = 10 and 99.7 % at K = M = 17 (at 1e-5, 99.98 %) end as with rtol 1e-6.
    - `time_limit`: flow time after which a start that has not converged is classified by where it is.
    - `catalogue`: of minima known from other calls for this problem, flow and dimension; minima found here
      are added.
    - `progress`: called with the number of starts done since the last call.
    - `transient`: "float32" integrates starts in single precision until their rates are below 1e-4, and those
      that no known minimum is beside go on from there in double precision, in which all end states are
      certified. Starts whose readouts are not trained, and no float32 numbers in units of the problem, are
      followed in double precision. "float64" unless given. Of 4,096 starts all at K = M = 10 and 99.8 % at 17
      end alike. Starts with a symmetry, such as two equal students, may lose it by rounding in float32, and
      then end elsewhere.

    An end state is converged if Newton brings the norm of the rates to 1e-10 without leaving the
    neighbourhood (0.02 in weights) of where the flow had stopped; the smallest eigenvalue of the
    exact Hessian there distinguishes minima from saddles, and one that is 0 to 1e-8 leaves it `marginal`. Of
    starts that end in one point, but for the order
    of students and teachers, one is certified for all (`catalogue`). Where students are more than teachers,
    the global minima within 0.02 are known in closed form, and their smallest eigenvalue is 0. A start that
    has not converged, also for lack of evaluations or because its steps have become too small,
    as at a kink of the loss, is reported where the flow has come to (`landscape.decay` has the rate at which
    the loss still falls there). A start
    whose numbers become infinite or undefined is `failed`: its loss, gradient norm and eigenvalue are inf and
    its weights 0, so that no NaN reaches a table.

    All these tolerances are in units of the problem's own (`units`), which are 1 for teachers of unit length
    and readout: a problem and starts that are scaled together end alike, given a
    `time_limit` scaled as their rates are.

    A flow with noise (`OnlineSGD`) is followed start by start to its stationary states, with the columns that
    `stationary_states` describes; `batch`, `rtol` and `catalogue` are ignored.

    All cores that the process may use work on it, or all of its other devices.

    Raises UserError if `starts` has the wrong shape, `batch` < 1, a tolerance or the time is not above 0, the
    flow contradicts itself (`check_flow`), `catalogue` is another problem's, or JAX is not in float64.
    """
    check_float64("end states are certified to a gradient norm of 1e-10")
    if batch is None:
        batch = 64 if jax.default_backend() == "cpu" else 8192
    check_flow(problem, flow, end_states=True)
    check_continuous(problem.activation)
    for name, given in (("problem", problem), ("flow", flow), ("starts", starts)):
        check_concrete(name, given)
    starts = check_starts(problem, starts)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(np.asarray(starts.W), axis=2)
    longest = float(lengths[np.isfinite(lengths)].max(initial=0))
    check_lengths("starts", problem, longest)
    check_noise(problem, flow, "starts", longest)
    batch = check_whole_number("batch", batch, 1)
    for name, number in {"rtol": rtol, "time_limit": time_limit}.items():
        check_positive_number(name, number)
    check_callback("progress", progress)
    if catalogue is not None:
        check_instance("catalogue", catalogue, Catalogue, "a Catalogue(problem, flow) or None")
        catalogue.of(problem, flow, starts.W.shape[2])
    batch = LANE_MULTIPLE * -(-batch // LANE_MULTIPLE)
    transient = checked_transient(transient, problem, flow, starts.W.shape[2])
    one_unit = readout_units(np.asarray(starts.v))
    different = np.unique(one_unit)
    ends, places = [], []
    for readout in different:
        index = np.flatnonzero(one_unit == readout)
        some = starts if len(different) == 1 else jax.tree.map(lambda x, i=index: x[i], starts)
        units = natural_units(problem, flow, float(readout))
        scaled_problem, scaled_flow, begin = in_natural_units(problem, flow, some, units)
        tolerances = Tolerances(rtol, 0.1 * rtol, time_limit * units.rate)
        # In other units minima are other ones.
        known = catalogue if units.trivial or not (catalogue and catalogue.enabled) else None
        single = np.zeros(len(index), bool)
        if transient == FLOAT32:
            single = _within_float32(flow, begin)
        for in_float32 in np.unique(single):
            part = single == in_float32
            own = begin if part.all() else jax.tree.map(lambda x, part=part: x[part], begin)
            scaled = scaled_problem, scaled_flow, own
            relaxed = _relax_scaled(scaled, tolerances, batch, known, progress, bool(in_float32))
            ends.append(original_ends(relaxed, units))
            places.append(index[part])
    joined = _joined(ends)
    if len(ends) > 1:
        place = np.argsort(np.concatenate(places))
        joined = EndStates(*(column[place] for column in joined))
    return _without_inaccurate(problem, flow, joined)


def _within_float32(flow: AbstractFlow, starts: Weights) -> np.ndarray:
    """Whether float32 has squares of the students' lengths and of readouts, for each start, and readouts that
    are not trained to the last digit: they are those of the end state."""
    largest, v = np.abs(np.asarray(starts.W)).max(axis=2), np.asarray(starts.v)
    sizes = np.concatenate([largest, np.abs(v)], axis=1)
    within = (sizes == 0) | ((sizes > 1 / _WITHIN_FLOAT32) & (sizes < _WITHIN_FLOAT32))
    with np.errstate(over="ignore", invalid="ignore"):
        exact = v == v.astype(np.float32)
    return within.all(axis=1) & (flow.trains_readout | exact.all(axis=1))


def _without_inaccurate(problem: Problem, flow: AbstractFlow, ends: EndStates) -> EndStates:
    """Return the end states, `not_converged` where students have become too long for the activation."""
    longest = np.linalg.norm(ends.weights, axis=2).max(axis=1)
    lengths = np.unique(longest)

    def accurate_at(length: float) -> bool:
        return problem.activation.accurate_at(length) and noise_is_accurate(problem, flow, length)

    if accurate_at(lengths[-1]):
        return ends
    exact = bisect_left(lengths, True, key=lambda length: not accurate_at(length))
    inaccurate = (longest >= lengths[exact]) & (ends.outcome != FAILED)
    return ends._replace(outcome=np.where(inaccurate, NOT_CONVERGED, ends.outcome))


def _relax_scaled(
    scaled: tuple[Problem, AbstractFlow, Weights],
    tolerances: Tolerances,
    batch: int,
    catalogue: Catalogue | None,
    progress: Callable[[int], None] | None,
    transient: bool,
) -> EndStates:
    """End states of starts in the units that tolerances are made for."""
    problem, flow, starts = scaled
    # Numbers become arrays, so that other numbers run the same program.
    problem, flow = jax.tree.map(jnp.asarray, (problem, flow))
    devices = _pool_devices()
    if flow.stochastic:
        limit = float(tolerances.time_limit)
        return stationary_states(problem, flow, starts, limit, progress, len(devices))
    job = Job(
        problem=problem,
        flow=flow,
        tolerances=tolerances,
        batch=batch,
        catalogue=Catalogue(problem, flow) if catalogue is None else catalogue,
        progress=progress,
        transient=transient,
    )
    return _relax_on(devices[: max(1, len(starts.W) // (2 * batch))], job, starts)


def _relax_on(devices: list[jax.Device], job: Job, starts: Weights) -> EndStates:
    """End states of starts shared out among pools on these devices, in the order of the starts."""
    edges = np.linspace(0, len(starts.W), len(devices) + 1).astype(int).tolist()
    parts = [
        jax.tree.map(lambda x, first=first, stop=stop: x[first:stop], starts)
        for first, stop in pairwise(edges)
    ]
    # The matrices are small: LAPACK's own threads gain nothing, and where other programs compete for the
    # cores they wait for each other and cost a factor of ten.
    with threadpool_limits(1, user_api="blas"), thread_pool(len(parts)) as threads:
        futures = [
            threads.submit(relax_pool, job, device, part)
            for device, part in zip(devices, parts, strict=True)
        ]
        try:
            ends = [future.result() for future in futures]
        finally:
            job.stopped.set()  # for the others, where one has failed or the user interrupts
    return _joined(ends)


def _joined(parts: list[EndStates]) -> EndStates:
    """The end states of several parts, one after another."""
    if len(parts) == 1:
        return parts[0]
    return EndStates(*(np.concatenate(column) for column in zip(*parts, strict=True)))
