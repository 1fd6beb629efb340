"""Seeds relaxed chunk by chunk, in this process or on the workers of an executor."""

import json
import pickle
import threading
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from ..flows.base import AbstractFlow
from ..model.problem import Problem
from ..model.state import Weights
from ..relaxation.catalogue import Catalogue
from ..relaxation.outcomes import NOT_CONVERGED, EndStates
from ..relaxation.relax import full_load, relax
from ..runtime.cache import keep_programs
from ..runtime.errors import OperationError
from ..runtime.registry import packed
from .configuration import code_digests, configuration
from .executors import ATTEMPTS, WorkersLostError, in_flight, map_unordered_with_retries
from .starts import kept_coordinates, starts
from .store import StoreWriter

CHUNK = 1024
"""Most seeds that a worker relaxes as one task, and that are kept in one file."""
_LEAST = 128  # of fewer, relaxing each takes longer
_NO_PLACE = (
    ". Functions and classes of a problem and a flow must be at the top level of a module that workers can "
    "import"
)
_IN_FLIGHT = 256  # tasks that an executor of unknown size holds at a time


class SeedRange(NamedTuple):
    """Seeds `first` … `stop` − 1."""

    first: int
    stop: int


class Task(NamedTuple):
    """To relax seeds `first` … `stop` − 1 of a sweep."""

    problem: Problem
    flow: AbstractFlow
    seed: int
    dimension: int
    time_limit: float
    transient: str
    first: int
    stop: int


class Parcel:
    """A task as a worker is sent it: what it holds is imported when the worker asks for it, so that an error
    is the task's own and no end of the worker."""

    def __init__(self, task: Task | None, contents: bytes = b"", code: dict | None = None):
        self._task, self._contents, self._code = task, contents, code

    def __reduce__(self):
        if self._task is None:  # passed on, as by Dask's scheduler
            return Parcel, (None, self._contents, self._code)
        contents = packed(self._task)
        if contents is None:
            # Some picklers, such as Dask's, send functions that cannot be imported.
            return Parcel, (self._task,)
        return Parcel, (None, contents, code_digests(self._task.problem, self._task.flow))

    def unpacked(self) -> Task:
        """Return the task.

        Raises what the modules of its classes and functions raise, and OperationError if these are not the
        ones that the task was packed with.
        """
        if self._task is not None:
            return self._task
        task = pickle.loads(self._contents)
        code = code_digests(task.problem, task.flow)
        if self._code is not None and code != self._code and code["python"] == self._code["python"]:
            raise OperationError(
                "this worker has other code of its activation or flow than the process that sends it: files "
                "have changed since one of the two has imported them; start both anew"
            )
        return task


def _relax(
    sweep: Task, seeds: np.ndarray, catalogue: Catalogue, progress: Callable | None = None
) -> EndStates:
    problem, flow, seed, dimension, time_limit, transient = sweep[:6]
    begin = starts(problem, flow, seed, seeds, dimension)
    return relax(
        problem,
        flow,
        begin,
        time_limit=time_limit,
        catalogue=catalogue,
        progress=progress,
        transient=transient,
    )


class WorkerCatalogue:
    """The catalogue of the sweep that a worker process has relaxed seeds of last."""

    def __init__(self):
        self._key: str | None = None
        self._catalogue: Catalogue | None = None

    def of(self, task: Task) -> Catalogue:
        """Return the catalogue for a task: the last one unless problem, flow or dimension are other ones.

        Sweeps that differ in their seed alone share it: they end in the same minima.
        """
        key = json.dumps(configuration(task.problem, task.flow, 0, task.dimension))
        if self._catalogue is None or self._key != key:
            self._key, self._catalogue = key, Catalogue(task.problem, task.flow)
        return self._catalogue


# Executors call a function of one argument, so what a worker keeps between two tasks is kept by its module.
_WORKER_LOCK = threading.Lock()
_WORKER_CATALOGUE = WorkerCatalogue()


def relax_parcel(parcel: Parcel) -> EndStates:
    """Relax the seeds of a task that has come from another process, or from another thread."""
    with _WORKER_LOCK:
        if not jax.config.read("jax_enable_x64"):
            # A new process, whose settings nobody else can make: before modules make arrays.
            jax.config.update("jax_enable_x64", True)
            keep_programs()
    task = parcel.unpacked()
    # What `_portable` has made of arrays.
    arrays = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, task)
    return relax_task(arrays)


def relax_task(task: Task) -> EndStates:
    """Relax the seeds of a task in a worker. Threads of one process take turns: each uses all its cores."""
    with _WORKER_LOCK:
        seeds = np.arange(task.first, task.stop)
        catalogue = _WORKER_CATALOGUE.of(task)
        # Its problem and flow: functions in them that each task brings anew would compile anew.
        task = task._replace(problem=catalogue.problem, flow=catalogue.flow)
        return _relax(task, seeds, catalogue)


def _portable(tree):
    """Return a tree with NumPy's arrays, which a process that is still in float32 receives unrounded."""
    return jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, tree)


def seed_ranges(wanted: np.ndarray, chunk: int) -> list[SeedRange]:
    """Return the runs of wanted seeds, (N,) whether each is, within each chunk."""
    edges = np.diff(wanted.astype(np.int8), prepend=0, append=0)
    runs = zip(
        np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True
    )
    return [
        SeedRange(max(first, cut), min(stop, cut + chunk))
        for first, stop in runs
        for cut in range(first - first % chunk, stop, chunk)
    ]


def chunk_size(seeds: int, workers: int) -> int:
    """Return the seeds of a task: several tasks for each worker, so that none waits long for the last."""
    return min(CHUNK, max(_LEAST, 64 * -(-seeds // (4 * workers * 64))))


def run_local(sweep: Task, ranges: list[SeedRange], put: Callable, bar: tqdm) -> None:
    """Relax ranges of seeds in this process, as many at a time as keep its cores busy."""
    catalogue = Catalogue(sweep.problem, sweep.flow)
    kept = kept_coordinates(sweep.problem, sweep.flow, sweep.dimension)
    most = full_load(sweep.problem.students * (kept + 1))
    pending = deque(ranges)
    while pending:
        batch = [pending.popleft()]
        while pending and sum(stop - first for first, stop in (*batch, pending[0])) <= most:
            batch.append(pending.popleft())
        seeds = np.concatenate([np.arange(*one) for one in batch])
        ends = _relax(sweep, seeds, catalogue, bar.update)
        begin = 0
        for first, stop in batch:
            rows = slice(begin, begin + stop - first)
            put(first, EndStates(*(column[rows] for column in ends)))
            begin += stop - first


def run_unfinished(sweep: Task, wanted: np.ndarray, target: StoreWriter, bar: tqdm) -> None:
    """Continue starts that had not converged by a lower time limit, from where they had come to.

    The result does not depend on when the limit was raised but for the last digits, and for `time`, which is
    no less than when a start was stopped: it begins anew, with a step of its own.
    """

    def report_progress(count: int) -> None:
        bar.update(count)

    catalogue = Catalogue(sweep.problem, sweep.flow)
    for chunk, ends, limit in target.store.unfinished(wanted, sweep.time_limit):
        rows = np.flatnonzero(ends.outcome == NOT_CONVERGED)
        begin = jax.tree.unflatten(
            jax.tree.structure(Weights(jnp.zeros((1, 1)), jnp.zeros(1))),
            (jnp.asarray(ends.weights[rows]), jnp.asarray(ends.readout[rows])),
        )
        more = relax(
            sweep.problem,
            sweep.flow,
            begin,
            time_limit=sweep.time_limit - limit,
            catalogue=catalogue,
            progress=report_progress,
            transient=sweep.transient,
        )
        before = ends.time[rows], ends.evaluations[rows]
        for column, new in zip(ends, more, strict=True):
            column[rows] = new
        ends.time[rows] += before[0]
        ends.evaluations[rows] += before[1]
        target.put(chunk.first, ends)


def run_on_executor(
    sweep: Task, ranges: list[SeedRange], put: Callable, bar: tqdm, executor: Executor
) -> None:
    """Relax ranges of seeds on an executor's workers.

    Warns of seeds that failed `ATTEMPTS` times. Raises WorkersLostError if none have succeeded by then, or
    if the executor takes no more tasks.
    """
    sweep = _portable(sweep)
    parcels = (Parcel(sweep._replace(first=first, stop=stop)) for first, stop in ranges)
    failed, done, last = [], 0, None
    for parcel, ends, error in map_unordered_with_retries(
        executor, relax_parcel, parcels, in_flight(executor) or _IN_FLIGHT
    ):
        task = parcel.unpacked()
        if error is None:
            put(task.first, ends)
            bar.update(task.stop - task.first)
            done += 1
            continue
        seeds = f"{task.first} – {task.stop - 1}"
        if not done:
            unknown = isinstance(error, AttributeError | ImportError | pickle.PicklingError)
            hint = _NO_PLACE if unknown else ""
            raise WorkersLostError(
                f"seeds {seeds} failed {ATTEMPTS} times, the last time with {error!r}, and no others have "
                f"succeeded{hint}"
            ) from error
        failed.append(seeds)
        last = error
    if failed:
        warnings.warn(
            f"seeds {', '.join(failed)} failed {ATTEMPTS} times each, the last time with {last!r}: they are "
            "counted as failed and not kept, so that the same sweep into the same folder tries them again",
            stacklevel=3,
        )
