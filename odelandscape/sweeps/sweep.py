"""Seeds to end states to a table of families, over any `concurrent.futures` executor."""

import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext

import equinox as eqx
import jax
import numpy as np
from tqdm import tqdm

from ..activations.base import check_continuous
from ..flows.base import AbstractFlow
from ..flows.consistency import check_flow
from ..model.problem import PROBLEM, Problem, check_concrete, check_dimension
from ..model.state import random_weights
from ..relaxation.outcomes import blank
from ..relaxation.relax import TIME_LIMIT, checked_transient
from ..runtime.arguments import (
    check_folder,
    check_instance,
    check_memory,
    check_positive_number,
    check_whole_number,
    shown,
)
from ..runtime.compiler import check_float64, known_numbers
from ..runtime.errors import UserError
from .configuration import configuration
from .executors import in_flight
from .result import InMemory, Sweep
from .starts import kept_coordinates
from .store import StoreWriter
from .tasks import CHUNK, Task, chunk_size, run_local, run_on_executor, run_unfinished, seed_ranges

_WORKERS = 16  # assumed of an executor of unknown size


@contextmanager
def _compile_clock() -> Iterator[list[float]]:
    """Collect the seconds that this process spends on tracing and compiling."""
    spent = [0.0]

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            spent[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield spent
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def _check(
    problem: Problem,
    flow: AbstractFlow,
    seeds: int,
    seed: int,
    dimension: int | None,
    time_limit: float,
    transient: str | None,
) -> Task:
    check_float64("end states are certified to a gradient norm of 1e-10")
    check_instance("problem", problem, Problem, PROBLEM)
    check_continuous(problem.activation)
    check_instance("flow", flow, AbstractFlow, "a flow such as ol.GradientFlow()")
    check_concrete("problem", problem)
    check_concrete("flow", flow)
    stop = check_whole_number("seeds", seeds, 1, 2**32)  # indices that a key can be folded with
    seed = check_whole_number("seed", seed, 0, 2**63 - 1)  # what a key is made of
    d = check_dimension(problem, dimension)
    check_positive_number("time_limit", time_limit)
    kept = kept_coordinates(problem, flow, d)
    numbers = problem.students * (kept + 1)
    check_memory("students, teachers and dimension", "the Hessian of a network", 16 * numbers**2)
    check_memory("dimension", "the starts", 8 * problem.students * d)
    check_flow(problem, flow, end_states=True)
    # What the flow refuses, it refuses here, from shapes alone.
    eqx.filter_eval_shape(
        lambda: flow.project_initial(random_weights(jax.random.key(0), problem, d))
    )
    transient = checked_transient(transient, problem, flow, kept)
    return Task(problem, flow, seed, d, float(time_limit), transient, 0, stop)


def _check_share(share: tuple[int, int]) -> tuple[int, int]:
    try:
        i, n = share
        n = check_whole_number("n", n, 1)
        return check_whole_number("i", i, 1, n), n
    except (TypeError, ValueError):  # also of what is no pair
        raise UserError(
            f"share must be (i, n), two whole numbers with 1 ≤ i ≤ n; got {shown(share)}"
        ) from None


def _bar(total: int, missing: int, progress: bool) -> tqdm:
    return tqdm(
        total=total,
        initial=total - missing,
        unit="seed",
        desc="relaxing",
        disable=not progress,
    )


def _continue_unfinished(
    task: Task, wanted: np.ndarray, target: StoreWriter, progress: bool
) -> None:
    with tqdm(unit="seed", desc="continuing", disable=not progress, delay=1) as bar:
        run_unfinished(task, wanted, target, bar)


@known_numbers()
def sweep(
    problem: Problem,
    flow: AbstractFlow,
    seeds: int = 10_000,
    seed: int = 0,
    dimension: int | None = None,
    executor: Executor | None = None,
    store: str | os.PathLike | None = None,
    progress: bool = True,
    time_limit: float = TIME_LIMIT,
    transient: str | None = None,
) -> Sweep:
    """Relax random starts 0 … `seeds` − 1, certify and classify their end states.

    - `problem`, `flow`: what is relaxed, and along which flow.
    - `seed`: of the sweep. Start i depends on (`seed`, i) alone, and so do all numbers of the result, on one
      kind of processor to the last bit: in whichever batches, by whichever workers, and however often it was
      interrupted.
    - `dimension`: d of the inputs, at least M; M unless given.
    - `executor`: any `concurrent.futures.Executor` whose workers relax a chunk of seeds at a time: `Workers`,
      a `ProcessPoolExecutor` (of spawned, never forked, processes), dask's `Client.get_executor(pure=False)`,
      loky's, mpi4py's. This process, with all its cores, unless given. An executor with an attribute
      `in_flight` is given that many chunks at a time. A chunk that fails is tried again, three times in all;
      if others succeed its seeds are then counted as failed, with a warning.
    - `store`: a folder. Finished seeds are kept there, and the same sweep resumes there. `open_sweep`
      opens it.
    - `progress`: a bar with rate and remaining time on standard error.
    - `time_limit`: flow time after which a start that has not converged is reported where it is, with its
      loss, the norm of its rates and how its loss falls (`Sweep.decay`). A larger one on the same store
      continues these starts from there.
    - `transient`: "float32" or "float64", as in `relax`, which says what is taken unless given.

    Raises UserError, before anything is computed, for bad arguments, for sizes and seeds that need more
    memory than there is, for a user's flow that contradicts itself, for orthonormal students with K > d, for
    a folder that cannot be written, holds another sweep or is in use by another process, and unless JAX is
    in float64; StoreError if the folder cannot be written to any more; WorkersLostError if the
    executor breaks down or no chunk succeeds. Seeds that are in the store by then are kept.
    """
    task = _check(problem, flow, seeds, seed, dimension, time_limit, transient)
    check_instance("progress", progress, bool, "True or False")
    if executor is not None:
        check_instance("executor", executor, Executor, "a concurrent.futures.Executor or None")
    if store is None:
        shape = task.stop, problem.students, kept_coordinates(problem, flow, task.dimension)
        check_memory(
            "seeds", "their end states without a store", 8 * (16 * task.stop + math.prod(shape))
        )
        target = source = InMemory(blank(*shape))
        holding = nullcontext()
    else:
        target = StoreWriter(check_folder("store", store), configuration(*task[:6]))
        source, holding = target.store, target.hold()
    began = time.perf_counter()
    with _compile_clock() as compiling, holding:
        missing = ~target.have(np.ones(task.stop, bool))
        with _bar(task.stop, int(missing.sum()), progress) as bar:
            if executor is None:
                run_local(task, seed_ranges(missing, CHUNK), target.put, bar)
            else:
                chunk = chunk_size(task.stop, in_flight(executor) or _WORKERS)
                run_on_executor(task, seed_ranges(missing, chunk), target.put, bar, executor)
        if isinstance(target, StoreWriter):
            _continue_unfinished(task, np.ones(task.stop, bool), target, progress)
    seconds = time.perf_counter() - began
    return Sweep(
        problem=problem,
        flow=flow,
        seed=task.seed,
        dimension=task.dimension,
        time_limit=task.time_limit,
        transient=task.transient,
        seeds=range(task.stop),
        seconds=seconds,
        seconds_compiling=min(compiling[0], seconds),  # threads may compile at a time
        _source=source,
    )


@known_numbers()
def sweep_share(
    problem: Problem,
    flow: AbstractFlow,
    share: tuple[int, int],
    store: str | os.PathLike,
    seeds: int = 10_000,
    seed: int = 0,
    dimension: int | None = None,
    progress: bool = True,
    time_limit: float = TIME_LIMIT,
    transient: str | None = None,
) -> int:
    """Relax share i of n, `share` = (i, n) with 1 ≤ i ≤ n, of a sweep into a folder that others write to.

    For clusters without a scheduler of their own, such as an array of n jobs. A share is every n-th chunk of
    seeds; those of it that the folder holds already are not computed again. When all shares have run, `sweep`
    with the same arguments finds its seeds there, and computes those of jobs that were lost.

    Returns how many seeds it relaxed. Raises what `sweep` raises.
    """
    task = _check(problem, flow, seeds, seed, dimension, time_limit, transient)
    i, n = _check_share(share)
    check_instance("progress", progress, bool, "True or False")
    target = StoreWriter(check_folder("store", store), configuration(*task[:6]))
    chunk = chunk_size(task.stop, n)
    with target.hold(shared=True):
        wanted = np.arange(task.stop) // chunk % n == i - 1
        missing = wanted & ~target.have(wanted)
        with _bar(int(wanted.sum()), int(missing.sum()), progress) as bar:
            run_local(task, seed_ranges(missing, chunk), target.put, bar)
        _continue_unfinished(task, wanted, target, progress)
    return int(missing.sum())
