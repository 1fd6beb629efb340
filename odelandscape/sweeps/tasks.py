"""What a sweep computes, chunk by chunk, here or on the workers of an executor."""

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..relaxation.catalogue import Catalogue
from ..relaxation.outcomes import EndStates
from ..relaxation.relax import full_load, relax
from ..runtime.cache import keep_programs
from .configuration import configuration
from .executors import ATTEMPTS, IN_FLIGHT, WorkersLostError, map_unordered_with_retries
from .starts import starts

CHUNK = 1024
"""Most seeds that a worker relaxes as one task, and that are kept in one file."""
_LEAST = 128  # of fewer, relaxing each takes longer
SeedRange = tuple[int, int]
"""Seeds first … stop − 1."""


class Task(NamedTuple):
    """What a worker is told: to relax seeds `first` … `stop` − 1 of a sweep."""

    problem: Problem
    flow: AbstractFlow
    seed: int
    dimension: int
    first: int
    stop: int


def _relax(
    sweep: Task, seeds: np.ndarray, catalogue: Catalogue, progress: Callable | None = None
) -> EndStates:
    problem, flow, seed, dimension = sweep[:4]
    begin = starts(problem, flow, seed, seeds, dimension)
    return relax(problem, flow, begin, catalogue=catalogue, progress=progress)


_WORKER_LOCK = threading.Lock()
_WORKER_CATALOGUE: dict[str, Catalogue] = {}  # what this process knows of the problem it had last


def relax_task(task: Task) -> EndStates:
    """A task in a worker. Threads of one process take turns: each uses all its cores."""
    with _WORKER_LOCK:
        if not jax.config.read("jax_enable_x64"):
            # A new process, whose settings nobody else can make.
            jax.config.update("jax_enable_x64", True)
            keep_programs()
        name = repr(configuration(task.problem, task.flow, 0, 0))
        if name not in _WORKER_CATALOGUE:
            _WORKER_CATALOGUE.clear()
            _WORKER_CATALOGUE[name] = Catalogue(task.problem, task.flow)
        return _relax(task, np.arange(task.first, task.stop), _WORKER_CATALOGUE[name])


def _portable(tree):
    """With NumPy's arrays, which a process that is still in float32 receives as they are."""
    return jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, tree)


def seed_ranges(wanted: np.ndarray, chunk: int) -> list[SeedRange]:
    """The runs of wanted seeds within each chunk."""
    edges = np.diff(wanted.astype(np.int8), prepend=0, append=0)
    runs = zip(
        np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True
    )
    return [
        (max(first, cut), min(stop, cut + chunk))
        for first, stop in runs
        for cut in range(first - first % chunk, stop, chunk)
    ]


def chunk_size(seeds: int, workers: int) -> int:
    """Seeds of a task: several tasks for each worker, that none waits long for the last."""
    return min(CHUNK, max(_LEAST, 64 * -(-seeds // (4 * workers * 64))))


def run_local(sweep: Task, pieces: list[SeedRange], put: Callable, bar: tqdm) -> None:
    """Relax pieces in this process, as many at a time as keep its cores busy."""
    catalogue = Catalogue(sweep.problem, sweep.flow)
    left = list(pieces)
    while left:
        some = [left.pop(0)]
        while left and sum(stop - first for first, stop in (*some, left[0])) <= full_load():
            some.append(left.pop(0))
        seeds = np.concatenate([np.arange(*piece) for piece in some])
        ends = _relax(sweep, seeds, catalogue, bar.update)
        at = 0
        for first, stop in some:
            rows = slice(at, at + stop - first)
            put(first, EndStates(*(column[rows] for column in ends)))
            at += stop - first


def run_on_executor(
    sweep: Task, pieces: list[SeedRange], put: Callable, bar: tqdm, executor: Executor
) -> None:
    """Relax pieces on an executor's workers."""
    sweep = _portable(sweep)
    tasks = (sweep._replace(first=first, stop=stop) for first, stop in pieces)
    lost, done, last = [], 0, None
    for task, ends, error in map_unordered_with_retries(
        executor, relax_task, tasks, getattr(executor, "in_flight", IN_FLIGHT)
    ):
        if error is None:
            put(task.first, ends)
            bar.update(task.stop - task.first)
            done += 1
            continue
        told = f"{task.first} – {task.stop - 1}"
        if not done:
            raise WorkersLostError(
                f"seeds {told} failed {ATTEMPTS} times, the last time with {error!r}, and no others have "
                "succeeded"
            ) from error
        lost.append(told)
        last = error
    if lost:
        warnings.warn(
            f"seeds {', '.join(lost)} failed {ATTEMPTS} times each, the last time with {last!r}: they count "
            "as failed and are not kept, so that the same sweep into the same folder tries them again",
            stacklevel=3,
        )
