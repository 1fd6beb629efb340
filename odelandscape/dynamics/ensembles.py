"""One initial state along a flow, and an ensemble of networks of finite dimension trained from it."""

from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from tqdm import tqdm

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from .networks import check_cost, step_length, train_network
from .trajectory import Trajectory, trajectory

_BATCH = (
    8  # networks; larger batches are no faster on a CPU, and the progress bar moves once a batch
)


class Observables(NamedTuple):
    """Loss and alignment at each time, nan at times that were not reached."""

    loss: np.ndarray  # (T,)
    cosine: np.ndarray  # (T, K), of each student with its nearest teacher at the end
    length: np.ndarray  # (T, K), of each student


class NetworkStatistics(NamedTuple):
    """The mean over trained networks and its standard error."""

    networks: int
    dimension: int
    mean: Observables
    error: Observables


class Ensemble(NamedTuple):
    """The trajectory of one initial state, and the networks trained from it.

    - `times` (T,), `states`: of the trajectory, order parameters with T in front;
    - `theory`: its observables;
    - `teacher` (K,): the nearest teacher of each student at the end;
    - `reached`: the number of times that the trajectory reached;
    - `diverged`: whether it ended at the divergence threshold;
    - `networks`: None if no networks were trained.
    """

    times: np.ndarray
    states: OrderParameters
    theory: Observables
    teacher: np.ndarray
    reached: int
    diverged: bool
    networks: NetworkStatistics | None

    @property
    def deviation(self) -> np.ndarray:
        """The deviation of the networks' mean loss from the theory's, in standard errors (T,); nan at the
        start, which they share. Raises UserError if no networks were trained."""
        if self.networks is None:
            raise UserError("keys must be given for a deviation of networks; got None")
        mean, error = self.networks.mean.loss, self.networks.error.loss
        rounding = 1e-12 * np.abs(mean)
        return (mean - self.theory.loss) / np.where(error > rounding, error, np.nan)

    @property
    def remark(self) -> str | None:
        """Why the trajectory did not reach its last time, None if it did."""
        if self.reached == len(self.times):
            return None
        if self.reached == 0:
            return "stopped at the start: its loss or its rates are no finite numbers"
        last, first = self.times[self.reached - 1], self.times[self.reached]
        if self.diverged:
            return (
                f"diverges between t = {last:.4g} and {first:.4g}: the noise makes students\n"
                "100 times as long as the teacher; it is smaller at a smaller learning rate"
            )
        return (
            f"stopped between t = {last:.4g} and {first:.4g}: the integrator needs too many steps"
        )


def times_until(time: float, points: int) -> np.ndarray:
    """Return 0 and a geometric sequence from time/1000 to `time`: most changes are early."""
    back = np.arange(points - 1)[::-1] / max(points - 2, 1)
    return np.concatenate([[0.0], time * 1000.0**-back])


def whole_steps(times: np.ndarray, flow: AbstractFlow, dimension: int) -> np.ndarray:
    """Return the times of whole steps of a stochastic flow nearest to `times`, without repetitions.

    Raises UserError if the last of `times` is shorter than a step, or more steps away than networks can take.
    """
    length = float(step_length(flow, dimension, 1.0))
    check_cost(times[-1], length, dimension, "argument --time")
    if times[-1] < length:
        raise UserError(
            f"argument --time: must be at least one step of the networks, η/d = {length:g}; "
            f"got {times[-1]:g}"
        )
    return np.unique(np.round(times / length)) * length


def _lengths(states: OrderParameters) -> np.ndarray:
    return np.sqrt(np.diagonal(np.asarray(states.Q), axis1=-2, axis2=-1))


def _cosines(problem: Problem, states: OrderParameters) -> np.ndarray:
    """Return the cosines (…, K, M) of students with teachers, 0 for students of length 0."""
    lengths = _lengths(states)[..., None] * np.sqrt(np.diagonal(np.asarray(problem.T)))
    return np.asarray(states.R) / np.where(lengths == 0, 1, lengths)


def _observe(problem: Problem, path: Trajectory, teacher: np.ndarray) -> Observables:
    reached = np.isfinite(path.loss)[..., None]
    states = jax.tree.map(
        lambda x: np.where(
            reached.reshape(reached.shape[:-1] + (1,) * (x.ndim - reached.ndim + 1)), x, np.nan
        ),
        path.states,
    )
    cosine = _cosines(problem, states)[..., np.arange(len(teacher)), teacher]
    loss = np.maximum(path.loss, 0)  # rounding makes a little less of 0
    return Observables(np.where(reached[..., 0], loss, np.nan), cosine, _lengths(states))


def _train(
    problem: Problem,
    flow: AbstractFlow,
    start: Weights,
    times: np.ndarray,
    keys: Key[Array, " N"],
    progress: bool,
) -> Trajectory:
    """Train one network for each key; all arrays but the times have the networks along their first axis."""
    batch = next(n for n in range(_BATCH, 0, -1) if len(keys) % n == 0)
    steps = round(times[-1] / float(step_length(flow, start.W.shape[1], 1.0)))
    found = []
    with tqdm(
        total=steps * len(keys) // batch,
        unit="step",
        unit_scale=True,
        desc=f"training {len(keys)} networks, {steps:,} steps each, {batch} at a time",
        disable=not progress,
    ) as bar:
        report = bar.update if progress else None
        run = jax.vmap(
            lambda key: train_network(problem, flow, start, times, key=key, progress=report)
        )
        for first in range(0, len(keys), batch):
            found.append(jax.block_until_ready(run(keys[first : first + batch])))
            jax.effects_barrier()
            bar.update(steps * (first // batch + 1) - bar.n)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _average(problem: Problem, runs: Trajectory, teacher: np.ndarray, times: int):
    """Return mean and standard error, (`times`, …), nan after the last time of the networks."""
    observed = _observe(problem, runs, teacher)
    N = len(runs.loss)

    def padded(x: np.ndarray) -> np.ndarray:
        rest = np.full((times - len(x), *x.shape[1:]), np.nan)
        return np.concatenate([x, rest])

    with np.errstate(over="ignore", invalid="ignore"):  # of networks about to overflow
        mean = Observables(*(padded(x.mean(0)) for x in observed))
        error = Observables(*(padded(x.std(0, ddof=1) / np.sqrt(N)) for x in observed))
    return mean, error


def run_ensemble(
    problem: Problem,
    flow: AbstractFlow,
    start: Weights,
    times: np.ndarray,
    keys: Key[Array, " N"] | None = None,
    progress: bool = False,
) -> Ensemble:
    """Integrate `flow` from `start`; with `keys`, train a network from it for each key, too.

    - `times` (T,): increasing, not negative. Networks are trained up to the last that the trajectory reaches.
    - `keys` (N,): only with a stochastic flow, whose networks draw their inputs from them.

    Raises UserError for keys with a flow that is not stochastic.
    """
    if keys is not None and not flow.stochastic:
        raise UserError(
            f"keys must be None with {type(flow).__name__}, whose networks draw no inputs; "
            f"got {len(keys)} keys"
        )
    path = trajectory(problem, flow, start, times, progress=progress)
    reached = int(np.isfinite(path.loss).sum())
    end = jax.tree.map(lambda x: x[reached - 1], path.states)
    teacher = np.abs(_cosines(problem, end)).argmax(axis=1)
    networks = None
    if keys is not None:
        runs = _train(problem, flow, start, times[:reached], keys, progress)
        average = _average(problem, runs, teacher, len(times))
        networks = NetworkStatistics(len(keys), start.W.shape[1], *average)
    return Ensemble(
        np.asarray(times),
        path.states,
        _observe(problem, path, teacher),
        teacher,
        reached,
        bool(jnp.all(path.result == diffrax.RESULTS.event_occurred)),
        networks,
    )
