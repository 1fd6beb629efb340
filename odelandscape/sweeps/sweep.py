"""Seeds to end states to a table of families, over any `concurrent.futures` executor."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext

import equinox as eqx
import jax
import numpy as np
from tqdm import tqdm

from ..flows.base import AbstractFlow
from ..model.problem import Problem, check_dimension
from ..model.state import random_weights
from ..relaxation.outcomes import blank
from ..runtime.errors import UserError
from ..runtime.precision import check_float64
from .configuration import configuration
from .result import InMemory, Sweep
from .starts import kept_coordinates
from .store import Store
from .tasks import CHUNK, Task, chunk_size, run_local, run_on_executor, seed_ranges

_WORKERS = 16  # of an executor that does not say


@contextmanager
def _compile_clock() -> Iterator[list[float]]:
    """Collects the seconds that this process spends on tracing and compiling."""
    spent = [0.0]

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            spent[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield spent
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def _check(problem: Problem, flow: AbstractFlow, seeds: int, seed: int, dimension) -> Task:
    check_float64("end states are certified to a gradient norm of 1e-10")
    for name, value, least in (("seeds", seeds, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise UserError(f"{name} must be a whole number of at least {least}; got {value!r}")
    d = check_dimension(problem, dimension)
    # What the flow refuses, it refuses here, for shapes alone.
    eqx.filter_eval_shape(
        lambda: flow.project_initial(random_weights(jax.random.key(0), problem, d))
    )
    return Task(problem, flow, int(seed), d, 0, int(seeds))


def _bar(total: int, missing: int, progress: bool) -> tqdm:
    return tqdm(
        total=total,
        initial=total - missing,
        unit="seed",
        desc="relaxing",
        disable=not progress,
    )


def sweep(
    problem: Problem,
    flow: AbstractFlow,
    seeds: int = 10_000,
    seed: int = 0,
    dimension: int | None = None,
    executor: Executor | None = None,
    store: str | os.PathLike | None = None,
    progress: bool = True,
) -> Sweep:
    """Relax random starts 0 … `seeds` − 1, certify and classify their end states.

    - `seed`: of the sweep. Start i depends on (`seed`, i) alone, and so do all numbers that the sweep gives,
      on one kind of processor to the last bit: in whichever batches, by whichever workers, and however often
      it was interrupted.
    - `dimension`: d of the inputs, at least M; M unless given.
    - `executor`: any `concurrent.futures.Executor` whose workers relax a chunk of seeds at a time: `Workers`,
      a `ProcessPoolExecutor` (of spawned, never forked, processes), dask's `Client.get_executor(pure=False)`,
      loky's, mpi4py's. This process, with all its cores, unless given. A chunk that fails is tried again,
      three times in all; if others succeed its seeds are then told as failed, with a warning.
    - `store`: a folder. What is finished is kept there, and the same sweep goes on from there. `open_sweep`
      opens it.
    - `progress`: a bar with rate and time left on standard error.

    Raises ValueError, before anything is computed, for bad numbers, for orthonormal students with
    K > d, for a folder that cannot be written, holds another sweep or is in use by another process, and
    unless JAX is in float64; StoreError if the folder cannot be written to any more; WorkersLostError if the
    executor breaks down or no chunk succeeds. What had been put into the store by then is kept.
    """
    task = _check(problem, flow, seeds, seed, dimension)
    kept = None if store is None else Store.writing(store, configuration(*task[:4]))
    shape = task.stop, problem.students, kept_coordinates(problem, flow, task.dimension)
    held = InMemory(blank(*shape)) if kept is None else kept
    began = time.perf_counter()
    with _compile_clock() as compiling, nullcontext() if kept is None else kept.held():
        wanted = np.ones(task.stop, bool)
        missing = ~held.have(wanted)
        with _bar(task.stop, int(missing.sum()), progress) as bar:
            if executor is None:
                run_local(task, seed_ranges(missing, CHUNK), held.put, bar)
            else:
                chunk = chunk_size(task.stop, getattr(executor, "in_flight", _WORKERS))
                run_on_executor(task, seed_ranges(missing, chunk), held.put, bar, executor)
    return Sweep(
        problem=problem,
        flow=flow,
        seed=task.seed,
        dimension=task.dimension,
        seeds=range(task.stop),
        seconds=time.perf_counter() - began,
        seconds_compiling=compiling[0],
        _held=held,
    )


def sweep_share(
    problem: Problem,
    flow: AbstractFlow,
    share: tuple[int, int],
    store: str | os.PathLike,
    seeds: int = 10_000,
    seed: int = 0,
    dimension: int | None = None,
    progress: bool = True,
) -> int:
    """Relax share i of n, `share` = (i, n) with 1 ≤ i ≤ n, of a sweep into a folder that others write to.

    For clusters without a scheduler of their own, such as an array of n jobs. A share is every n-th chunk of
    seeds; what the folder holds of it already is not computed again. When all have run, `sweep` with the
    same arguments finds its seeds there, and computes what a lost job has left.

    Returns how many seeds it relaxed. Raises what `sweep` raises.
    """
    task = _check(problem, flow, seeds, seed, dimension)
    i, n = share
    if not 1 <= i <= n:
        raise UserError(f"share must be (i, n) with 1 ≤ i ≤ n; got {share!r}")
    kept = Store.writing(store, configuration(*task[:4]))
    chunk = chunk_size(task.stop, n)
    with kept.held(shared=True):
        wanted = np.arange(task.stop) // chunk % n == i - 1
        missing = wanted & ~kept.have(wanted)
        with _bar(int(wanted.sum()), int(missing.sum()), progress) as bar:
            run_local(task, seed_ranges(missing, chunk), kept.put, bar)
    return int(missing.sum())
