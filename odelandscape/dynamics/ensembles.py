"""What the command `trajectory` tells: one start along a flow, and networks of finite dimension beside it."""

from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from tqdm import tqdm

from ..flows.base import AbstractFlow
from ..flows.online_sgd import OnlineSGD
from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from .networks import train_network
from .trajectory import Trajectory, trajectory

_AT_ONCE = 8  # networks; on a CPU more take no less time each, and the progress bar waits for them


class Observables(NamedTuple):
    """What is told at each time, nan where it isn't known."""

    loss: np.ndarray  # (T,)
    cosine: np.ndarray  # (T, K), of each student with the teacher it is nearest to at the end
    length: np.ndarray  # (T, K), of each student


class Networks(NamedTuple):
    """The mean of some networks and its standard error."""

    count: int
    dimension: int
    mean: Observables
    error: Observables


class Course(NamedTuple):
    """One start along a flow. `teacher` (K,): the one each student is nearest to at the end."""

    times: np.ndarray
    states: OrderParameters
    theory: Observables
    teacher: np.ndarray
    reached: int  # of the times
    diverged: bool
    networks: Networks | None

    @property
    def deviation(self) -> np.ndarray:
        """Of the networks' mean loss from the theory's, in standard errors; nan at the start they share."""
        assert self.networks is not None
        mean, error = self.networks.mean.loss, self.networks.error.loss
        rounding = 1e-12 * np.abs(mean)
        return (mean - self.theory.loss) / np.where(error > rounding, error, np.nan)

    @property
    def remark(self) -> str | None:
        """What people should know of a path that doesn't reach its end."""
        if self.reached == len(self.times):
            return None
        last, first = self.times[self.reached - 1], self.times[self.reached]
        if self.diverged:
            return (
                f"diverges between t = {last:.4g} and {first:.4g}: the noise drives students apart\n"
                "until they are 100 times as long as the teacher; a smaller --learning-rate has less of it"
            )
        return (
            f"stopped between t = {last:.4g} and {first:.4g}: the integrator needs too many steps"
        )


def times_until(time: float, points: int) -> np.ndarray:
    """0, then a geometric sequence from time/1000: most happens early."""
    back = np.arange(points - 1)[::-1] / max(points - 2, 1)
    return np.concatenate([[0.0], time * 1000.0**-back])


def whole_steps(times: np.ndarray, flow: OnlineSGD, dimension: int) -> np.ndarray:
    """The times of whole steps of online SGD nearest to `times`, each once."""
    length = float(flow.learning_rate) / dimension
    if times[-1] < length:
        raise UserError(
            f"argument --time: networks take steps of η/d = {length:g}, and the time must have room for "
            f"one; got {times[-1]:g}"
        )
    return np.unique(np.round(times / length)) * length


def _lengths(states: OrderParameters) -> np.ndarray:
    return np.sqrt(np.diagonal(np.asarray(states.Q), axis1=-2, axis2=-1))


def _cosines(problem: Problem, states: OrderParameters) -> np.ndarray:
    """(…, K, M), 0 for students of length 0."""
    lengths = _lengths(states)[..., None] * np.sqrt(np.diagonal(np.asarray(problem.T)))
    return np.asarray(states.R) / np.where(lengths == 0, 1, lengths)


def _observe(problem: Problem, path: Trajectory, teacher: np.ndarray) -> Observables:
    known = np.isfinite(path.loss)[..., None]
    states = jax.tree.map(
        lambda x: np.where(
            known.reshape(known.shape[:-1] + (1,) * (x.ndim - known.ndim + 1)), x, np.nan
        ),
        path.states,
    )
    cosine = _cosines(problem, states)[..., np.arange(len(teacher)), teacher]
    return Observables(np.where(known[..., 0], path.loss, np.nan), cosine, _lengths(states))


def _train(
    problem: Problem, flow: OnlineSGD, start: Weights, times, keys: Key[Array, " N"], progress: bool
) -> Trajectory:
    """As many networks as keys, along the first axis of all but the times."""
    at_once = next(n for n in range(_AT_ONCE, 0, -1) if len(keys) % n == 0)
    run = jax.vmap(lambda key: train_network(problem, flow, start, times, key=key))
    steps = round(times[-1] * start.W.shape[1] / float(flow.learning_rate))
    found = []
    with tqdm(
        total=len(keys),
        unit="network",
        desc=f"training, {steps:,} steps each",
        disable=not progress,
    ) as bar:
        for first in range(0, len(keys), at_once):
            found.append(jax.block_until_ready(run(keys[first : first + at_once])))
            bar.update(at_once)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _average(problem: Problem, runs: Trajectory, teacher: np.ndarray, times: int):
    """Mean and standard error, (`times`, …): nan from where the networks were not trained."""
    seen = _observe(problem, runs, teacher)
    N = len(runs.loss)

    def padded(x: np.ndarray) -> np.ndarray:
        rest = np.full((times - len(x), *x.shape[1:]), np.nan)
        return np.concatenate([x, rest])

    with np.errstate(over="ignore", invalid="ignore"):  # of networks about to overflow
        mean = Observables(*(padded(x.mean(0)) for x in seen))
        error = Observables(*(padded(x.std(0, ddof=1) / np.sqrt(N)) for x in seen))
    return mean, error


def run_ensemble(
    problem: Problem,
    flow: AbstractFlow,
    start: Weights,
    times: np.ndarray,
    keys: Key[Array, " N"] | None = None,
    progress: bool = False,
) -> Course:
    """`start` along `flow`. With `keys`, and OnlineSGD, as many networks are trained from it, too, up to
    where the theory diverges."""
    path = trajectory(problem, flow, start, times)
    reached = int(np.isfinite(path.loss).sum())
    end = jax.tree.map(lambda x: x[reached - 1], path.states)
    teacher = np.abs(_cosines(problem, end)).argmax(axis=1)
    networks = None
    if keys is not None:
        assert isinstance(flow, OnlineSGD)
        runs = _train(problem, flow, start, times[:reached], keys, progress)
        average = _average(problem, runs, teacher, len(times))
        networks = Networks(len(keys), start.W.shape[1], *average)
    return Course(
        np.asarray(times),
        path.states,
        _observe(problem, path, teacher),
        teacher,
        reached,
        bool(jnp.all(path.result == diffrax.RESULTS.event_occurred)),
        networks,
    )
