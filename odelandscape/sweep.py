"""Seeds to end states to a table of families, over any `concurrent.futures` executor."""

import dataclasses
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from . import activations, flows, results
from .catalogue import Catalogue
from .certify import EndStates, blank
from .classify import families, merged
from .compiler import keep_programs
from .flows import AbstractFlow
from .problem import Problem, Weights, check_dimension, check_float64, random_weights
from .relax import END, RTOL, full_load, relax
from .store import Store
from .summary import Summary, count_outcomes, summarise
from .workers import ATTEMPTS, IN_FLIGHT, WorkersLostError, spread

CHUNK = 1024
"""Most seeds that a worker relaxes as one task, and that are kept in one file."""
_LEAST = 128  # of fewer, relaxing each takes longer
_WORKERS = 16  # of an executor that does not say

Piece = tuple[int, int]
"""Seeds first … stop − 1."""


# --- what a sweep gives -------------------------------------------------------------------------


class _InMemory:
    """The end states of a sweep without a store, read like one."""

    def __init__(self, ends: EndStates):
        self._ends = ends
        self._given = np.zeros(len(ends.loss), bool)

    def put(self, first: int, ends: EndStates) -> None:
        rows = slice(first, first + len(ends.loss))
        for whole, part in zip(self._ends, ends, strict=True):
            whole[rows] = part
        self._given[rows] = True

    def have(self, wanted: np.ndarray) -> np.ndarray:
        return self._given & wanted

    def parts(self, names: tuple[str, ...], count: int) -> Iterator[tuple[np.ndarray, ...]]:
        seeds = np.flatnonzero(self._given[:count])
        for _, *columns in self.rows(names, seeds):
            yield seeds, *columns

    def rows(self, names: tuple[str, ...], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        here = np.flatnonzero(self._given[seeds])
        yield here, *(getattr(self._ends, name)[seeds[here]] for name in names)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The end states of N seeds, as NumPy arrays in the order of the seeds.

    `outcome` (N,) names; `loss`, `gradient_norm`, `smallest_eigenvalue` and `anti_aligned` (N,); `time` and
    `evaluations` (N,) until the norm of the rates fell below 1e-3 for good. `seeds` (N,) are their numbers in
    the sweep: 0 … N − 1, or what a folder holds. `seconds` is wall time, of which `seconds_compiling` went to
    tracing and compiling programs in this process (workers compile theirs unseen); of a sweep that was read
    both are None.

    What is in a store is read when it is asked for: a sweep of a million seeds takes no memory until then,
    and `parts` needs none.
    """

    problem: Problem
    flow: AbstractFlow
    seed: int
    dimension: int
    seeds: np.ndarray | range
    seconds: float | None
    seconds_compiling: float | None
    _held: Store | _InMemory

    def __len__(self) -> int:
        return len(self.seeds)

    @cached_property
    def outcome(self) -> np.ndarray:
        return self._column("outcome")

    @cached_property
    def loss(self) -> np.ndarray:
        return self._column("loss")

    @cached_property
    def anti_aligned(self) -> np.ndarray:
        return self._column("anti_aligned")

    @cached_property
    def gradient_norm(self) -> np.ndarray:
        return self._column("gradient_norm")

    @cached_property
    def smallest_eigenvalue(self) -> np.ndarray:
        return self._column("smallest_eigenvalue")

    @cached_property
    def time(self) -> np.ndarray:
        return self._column("time")

    @cached_property
    def evaluations(self) -> np.ndarray:
        return self._column("evaluations")

    @property
    def weights(self) -> Weights:
        """Weights with N in front, .W (N, K, d') and .v (N, K). For d > M the space is turned so that
        d' = min(d, M + K + 1) coordinates hold all students.

        A sweep with a store reads them from there, anew each time; `weights_of` reads some.
        """
        return self.weights_of(np.asarray(self.seeds))

    def weights_of(self, seeds: np.ndarray) -> Weights:
        """The weights of these seeds (n,), with n in front.

        Raises ValueError for seeds that are not among those of the sweep.
        """
        seeds = np.asarray(seeds)
        strange = ~np.isin(seeds, self.seeds)
        if strange.any():
            raise ValueError(f"seeds must be among those of the sweep; got {seeds[strange][0]}")
        W = np.zeros(
            (len(seeds), self.problem.students, columns(self.problem, self.flow, self.dimension))
        )
        v = np.zeros(W.shape[:2])
        for here, some_W, some_v in self._held.rows(("weights", "readout"), seeds):
            W[here], v[here] = some_W, some_v
        batched = jax.tree.structure(Weights(jnp.zeros((1, 1)), jnp.zeros(1)))
        return jax.tree.unflatten(batched, (W, v))

    def parts(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Seeds, and these columns of them, a few thousand at a time."""
        return self._held.parts(names, int(self.seeds[-1]) + 1 if len(self) else 0)

    def summary(self) -> Summary:
        """Outcomes and families with their 95 % Wilson intervals."""
        counts = np.zeros(len(results.OUTCOMES), int)

        def counted() -> Iterator[list]:
            nonlocal counts
            names = ("outcome", "anti_aligned", "loss", "smallest_eigenvalue")
            for seeds, outcome, *rest in self.parts(*names):
                counts += count_outcomes(outcome)
                yield families(seeds, outcome, *rest)

        found = merged(counted())
        # Seeds that no worker could do.
        counts[results.OUTCOMES.index(results.FAILED)] += len(self) - counts.sum()
        problem = self.problem
        title = (
            f"K = {problem.students} students, M = {problem.teachers} teachers, "
            f"{type(problem.activation).__name__}, {type(self.flow).__name__}, d = {self.dimension}: "
            f"{len(self):,} seeds (sweep seed {self.seed})"
        )
        if self.seconds is not None:
            title += f" in {self.seconds:.1f} s, of which compiling {self.seconds_compiling:.1f} s"
        return summarise(title, counts, found)

    def _column(self, name: str) -> np.ndarray:
        whole = np.repeat(getattr(blank(1, 0, 0), name), len(self))
        seeds = np.asarray(self.seeds)
        for some, column in self.parts(name):
            whole[np.searchsorted(seeds, some)] = column
        return whole


# --- starts -------------------------------------------------------------------------------------


def columns(problem: Problem, flow: AbstractFlow, dimension: int) -> int:
    """Coordinates that hold all students, and one more where there is room. (Noise makes itself room.)"""
    if flow.noisy:
        return problem.teachers + problem.students
    return min(dimension, problem.teachers + problem.students + 1)


def starts(
    problem: Problem, flow: AbstractFlow, seed: int, indices: np.ndarray, dimension: int
) -> Weights:
    """The starts of a sweep: that of index i is `random_weights(fold_in(key(seed), i), …)`, carried to
    the flow's constraint. For d > M + K + 1 the coordinates beyond the teachers are turned by a QR
    decomposition (which changes no overlap) so that the students fill K of them; one more stays empty,
    so that the Hessian knows about directions that no student has."""
    # A few at a time: in a high dimension a start is large before it is turned.
    few = max(1, 2**20 // (problem.students * dimension))
    return _starts(problem, flow, jax.random.key(seed), jnp.asarray(indices), dimension, few)


@eqx.filter_jit
def _starts(problem, flow, key, indices, dimension, few) -> Weights:
    M = problem.teachers
    kept = columns(problem, flow, dimension)

    def start(index):
        w = flow.admit(random_weights(jax.random.fold_in(key, index), problem, dimension))
        if kept >= dimension:
            return Weights(jnp.pad(w.W, ((0, 0), (0, kept - dimension))), w.v)
        r = jnp.linalg.qr(w.W[:, M:].T, mode="r")
        complement = jnp.pad(r.T, ((0, 0), (0, kept - M - r.shape[0])))
        return Weights(jnp.concatenate([w.W[:, :M], complement], axis=1), w.v)

    return jax.lax.map(start, indices, batch_size=few)


# --- tasks ---------------------------------------------------------------------------------------


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


_TURN = threading.Lock()
_KNOWN: dict[str, Catalogue] = {}  # what this process knows of the problem it had last


def relax_task(task: Task) -> EndStates:
    """A task in a worker. Threads of one process take turns: each uses all its cores."""
    with _TURN:
        if not jax.config.read("jax_enable_x64"):
            # A new process, whose settings nobody else can make.
            jax.config.update("jax_enable_x64", True)
            keep_programs()
        name = repr(configuration(task.problem, task.flow, 0, 0))
        if name not in _KNOWN:
            _KNOWN.clear()
            _KNOWN[name] = Catalogue(task.problem, task.flow)
        return _relax(task, np.arange(task.first, task.stop), _KNOWN[name])


def _portable(tree):
    """With NumPy's arrays, which a process that is still in float32 receives as they are."""
    return jax.tree.map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, tree)


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


def _told(x: object):
    """A part of a configuration as JSON has it, without loss."""
    if isinstance(x, eqx.Module):
        parts = {f.name: _told(getattr(x, f.name)) for f in dataclasses.fields(x)}
        return {"name": type(x).__name__, **parts}
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return np.asarray(x).tolist()
    if x is None or isinstance(x, bool | int | float | str):
        return x
    return getattr(x, "__qualname__", repr(x))


def configuration(problem: Problem, flow: AbstractFlow, seed: int, dimension: int) -> dict:
    """All that the end states of a sweep follow from."""
    # Two functions may have one name.
    values = np.asarray(problem.activation(jnp.array([-2.0, -1.0, -0.3, 0.3, 1.0, 2.0])))
    return {
        **{key: told for key, told in _told(problem).items() if key != "name"},
        "activation_values": values.tolist(),
        "flow": _told(flow),
        "seed": seed,
        "dimension": dimension,
        "dtype": "float64",
        "rtol": RTOL,
        "end": END,
    }


def _pieces(wanted: np.ndarray, chunk: int) -> list[Piece]:
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


def _chunk(seeds: int, workers: int) -> int:
    """Seeds of a task: several tasks for each worker, that none waits long for the last."""
    return min(CHUNK, max(_LEAST, 64 * -(-seeds // (4 * workers * 64))))


def _here(sweep: Task, pieces: list[Piece], put: Callable, bar: tqdm) -> None:
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


def _there(sweep: Task, pieces: list[Piece], put: Callable, bar: tqdm, executor: Executor) -> None:
    """Relax pieces on an executor's workers."""
    sweep = _portable(sweep)
    tasks = (sweep._replace(first=first, stop=stop) for first, stop in pieces)
    lost, done, last = [], 0, None
    for task, ends, error in spread(
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


def _check(problem: Problem, flow: AbstractFlow, seeds: int, seed: int, dimension) -> Task:
    check_float64("end states are certified to a gradient norm of 1e-10")
    for name, value, least in (("seeds", seeds, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    d = check_dimension(problem, dimension)
    # What the flow refuses, it refuses here, for shapes alone.
    eqx.filter_eval_shape(lambda: flow.admit(random_weights(jax.random.key(0), problem, d)))
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
    shape = task.stop, problem.students, columns(problem, flow, task.dimension)
    held = _InMemory(blank(*shape)) if kept is None else kept
    began = time.perf_counter()
    with _compile_clock() as compiling, nullcontext() if kept is None else kept.held():
        wanted = np.ones(task.stop, bool)
        missing = ~held.have(wanted)
        with _bar(task.stop, int(missing.sum()), progress) as bar:
            if executor is None:
                _here(task, _pieces(missing, CHUNK), held.put, bar)
            else:
                chunk = _chunk(task.stop, getattr(executor, "in_flight", _WORKERS))
                _there(task, _pieces(missing, chunk), held.put, bar, executor)
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
        raise ValueError(f"share must be (i, n) with 1 ≤ i ≤ n; got {share!r}")
    kept = Store.writing(store, configuration(*task[:4]))
    chunk = _chunk(task.stop, n)
    with kept.held(shared=True):
        wanted = np.arange(task.stop) // chunk % n == i - 1
        missing = wanted & ~kept.have(wanted)
        with _bar(int(wanted.sum()), int(missing.sum()), progress) as bar:
            _here(task, _pieces(missing, chunk), kept.put, bar)
    return int(missing.sum())


def read_sweep(folder: str | os.PathLike) -> Sweep:
    """The sweep that a folder holds, as far as it has come, without computing anything.

    Raises ValueError if the folder holds none, or one whose activation or flow is not of this package
    (`open_sweep` opens that, too).
    """
    store = Store(folder)
    told = store.configuration

    def known(module, parts: dict):
        values = {key: value for key, value in parts.items() if key != "name"}
        try:
            return getattr(module, parts["name"])(**values)
        except (AttributeError, TypeError, ValueError):
            raise ValueError(
                f"the sweep in {str(folder)!r} was made with {parts['name']}, which is not a part of this "
                "package: open_sweep reads its numbers"
            ) from None

    problem = Problem(
        told["students"],
        told["teachers"],
        known(activations, told["activation"]),
        told["teacher_overlaps"],
        told["teacher_readout"],
    )
    return Sweep(
        problem=problem,
        flow=known(flows, told["flow"]),
        seed=told["seed"],
        dimension=told["dimension"],
        seeds=store.seeds(),
        seconds=None,
        seconds_compiling=None,
        _held=store,
    )
