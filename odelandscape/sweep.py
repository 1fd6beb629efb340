"""Seeds to end states to a table of families, over any `concurrent.futures` executor."""

import math
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from . import results
from .catalogue import Catalogue
from .certify import EndStates, blank
from .classify import count_anti_aligned, families
from .flows import AbstractFlow
from .problem import Problem, Weights, check_dimension, check_float64, random_weights
from .relax import relax
from .store import Store

UNIT = 2048
"""Seeds that are relaxed, handed to a worker and kept together."""


def wilson(count: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """95 % interval of a fraction, `count` of `total` (Wilson's score interval)."""
    if total == 0:
        return 0.0, 1.0
    p = count / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    # At the ends the interval touches 0 or 1; rounding must not carry it past the fraction itself.
    return max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p))


class FamilyRow(NamedTuple):
    """A row of the table of families; `ci95` is the interval of `fraction` (of all seeds)."""

    outcome: str
    anti_aligned: int
    loss: float
    count: int
    fraction: float
    ci95: tuple[float, float]
    smallest_eigenvalue: float
    representative: int


class Summary(NamedTuple):
    """Counts and 95 % intervals of the outcomes, and the families, lowest loss first.

    `outcomes` maps each name of `results.OUTCOMES` to {"count", "fraction", "ci95"}. `str()` gives
    the table.
    """

    title: str
    outcomes: dict[str, dict]
    families: list[FamilyRow]

    def __str__(self) -> str:
        total = sum(outcome["count"] for outcome in self.outcomes.values())
        head = (
            f"{'end state':<16}{'anti-aligned':>13}{'count':>8}{'fraction':>10}"
            f"{'95 % interval':>18}{'loss':>15}{'smallest eigenvalue':>21}"
        )
        lines = [self.title, "", head, "-" * len(head)]

        def line(name, alpha, count, ci, loss, eigenvalue):
            interval = f"{100 * ci[0]:.2f} – {100 * ci[1]:.2f} %"
            lines.append(
                f"{name.replace('_', ' '):<16}{alpha:>13}{count:>8}{100 * count / total:>8.2f} %"
                f"{interval:>18}{loss:>15}{eigenvalue:>21}"
            )

        for row in self.families:
            zero = row.outcome == results.GLOBAL_MINIMUM
            loss = "0" if zero else f"{row.loss:.9f}"
            eigenvalue = f"{round(row.smallest_eigenvalue, 5) + 0.0:.5f}"  # no -0.00000
            line(row.outcome, row.anti_aligned, row.count, row.ci95, loss, eigenvalue)
        for name in (results.NOT_CONVERGED, results.FAILED):
            outcome = self.outcomes[name]
            line(name, "", outcome["count"], outcome["ci95"], "", "")
        return "\n".join(lines)


class _InMemory(NamedTuple):
    """Weights (N, K, d') and readouts (N, K) of a sweep without a store."""

    W: np.ndarray
    v: np.ndarray

    def weights(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.W[seeds], self.v[seeds]


@dataclass(frozen=True, eq=False)
class Sweep:
    """The end states of seeds 0 … N − 1, as NumPy arrays in the order of the seeds.

    `outcome` (N,) names; `loss`, `gradient_norm`, `smallest_eigenvalue` and `anti_aligned` (N,); `time` and
    `evaluations` (N,) until the norm of the rates fell below 1e-3 for good.
    `seconds` is wall time, of which `seconds_compiling` went to tracing and compiling programs in this
    process (an executor's workers compile theirs unseen).
    """

    problem: Problem
    flow: AbstractFlow
    seed: int
    dimension: int
    outcome: np.ndarray
    loss: np.ndarray
    anti_aligned: np.ndarray
    gradient_norm: np.ndarray
    smallest_eigenvalue: np.ndarray
    time: np.ndarray
    evaluations: np.ndarray
    seconds: float
    seconds_compiling: float
    _held: "Store | _InMemory"

    @property
    def weights(self) -> Weights:
        """Weights with N in front, .W (N, K, d') and .v (N, K). For d > M the space is turned so that
        d' = min(d, M + K + 1) coordinates hold all students.

        A sweep with a store reads them from there, anew each time, so that they take no memory unless they
        are asked for; `weights_of` reads some.
        """
        return self.weights_of(np.arange(len(self.outcome)))

    def weights_of(self, seeds: np.ndarray) -> Weights:
        """The weights of these seeds (n,), with n in front."""
        batched = jax.tree.structure(Weights(jnp.zeros((1, 1)), jnp.zeros(1)))
        return jax.tree.unflatten(batched, self._held.weights(np.asarray(seeds)))

    def summary(self) -> Summary:
        """Outcomes and families with their 95 % Wilson intervals."""
        total = len(self.outcome)

        def share(count: int) -> dict:
            return {"count": count, "fraction": count / total, "ci95": wilson(count, total)}

        outcomes = {name: share(int(np.sum(self.outcome == name))) for name in results.OUTCOMES}
        rows = [
            FamilyRow(
                family.outcome,
                family.anti_aligned,
                family.loss,
                family.count,
                family.count / total,
                wilson(family.count, total),
                family.smallest_eigenvalue,
                family.representative,
            )
            for family in families(
                self.outcome, self.anti_aligned, self.loss, self.smallest_eigenvalue
            )
        ]
        problem = self.problem
        title = (
            f"K = {problem.students} students, M = {problem.teachers} teachers, "
            f"{type(problem.activation).__name__}, {type(self.flow).__name__}, d = {self.dimension}: "
            f"{total:,} seeds (sweep seed {self.seed}) in {self.seconds:.1f} s, "
            f"of which compiling {self.seconds_compiling:.1f} s"
        )
        return Summary(title, outcomes, rows)


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
    M, K = problem.teachers, problem.students
    kept = min(dimension, M + K + 1)

    def start(index):
        w = flow.admit(random_weights(jax.random.fold_in(key, index), problem, dimension))
        if kept == dimension:
            return w
        r = jnp.linalg.qr(w.W[:, M:].T, mode="r")
        complement = jnp.pad(r.T, ((0, 0), (0, 1)))
        return Weights(jnp.concatenate([w.W[:, :M], complement], axis=1), w.v)

    return jax.lax.map(start, indices, batch_size=few)


def _relax_unit(given, indices, catalogue, progress=None) -> EndStates:
    problem, flow, seed, dimension = given
    begin = starts(problem, flow, seed, indices, dimension)
    return relax(problem, flow, begin, catalogue=catalogue, progress=progress)


_IN_WORKER: dict[str, Catalogue] = {}  # what this process knows of the problem it had last


def _relax_unit_in_worker(given, indices) -> EndStates:
    # Workers are new processes, and nobody else can set their precision.
    jax.config.update("jax_enable_x64", True)
    problem, flow, _, dimension = given
    name = repr(_described(problem, flow, 0, dimension))
    if name not in _IN_WORKER:
        _IN_WORKER.clear()
        _IN_WORKER[name] = Catalogue(problem, flow)
    return _relax_unit(given, indices, _IN_WORKER[name])


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


def _described(problem: Problem, flow: AbstractFlow, seed: int, dimension: int) -> dict:
    def numbers(x):
        return None if x is None else np.asarray(x).tolist()

    return {
        "students": problem.students,
        "teachers": problem.teachers,
        "activation": repr(problem.activation),
        "teacher_overlaps": numbers(problem.teacher_overlaps),
        "teacher_readout": numbers(problem.teacher_readout),
        "flow": repr(flow),
        "seed": seed,
        "dimension": dimension,
    }


def _compute(given, units, executor, keep, bar) -> None:
    """Relax units of seeds here or on the executor's workers, and keep each as it ends."""
    if executor is None:
        catalogue = Catalogue(*given[:2])
        for unit in units:
            keep(unit, _relax_unit(given, unit, catalogue, progress=bar.update))
        return
    waiting: deque[np.ndarray] = deque(units)
    running: dict[Future, np.ndarray] = {}
    try:
        while waiting or running:
            while waiting and len(running) < 2 * (os.cpu_count() or 1):
                unit = waiting.popleft()
                future = executor.submit(_relax_unit_in_worker, given, unit)
                running[future] = unit
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                keep(unit, future.result())
                bar.update(len(unit))
    finally:
        for future in running:
            future.cancel()


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

    - `seed`: of the sweep. Start i depends on (`seed`, i) alone.
    - `dimension`: d of the inputs, at least M; M unless given.
    - `executor`: where units of seeds are relaxed; here unless given. Its workers should be
      spawned, never forked, processes; threads of this process take turns.
    - `store`: a folder. What is finished is kept there, and the same sweep goes on from there.
    - `progress`: a bar with rate and time left on standard error.

    Raises ValueError, before anything is computed, for bad numbers, for orthonormal students with
    K > d, for a folder that cannot be written, and unless JAX is in float64.
    """
    check_float64("end states are certified to a gradient norm of 1e-10")
    for name, value, least in (("seeds", seeds, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    d = check_dimension(problem, dimension)
    # What the flow refuses, it refuses here, for shapes alone.
    eqx.filter_eval_shape(lambda: flow.admit(random_weights(jax.random.key(0), problem, d)))
    kept = None if store is None else Store(store, _described(problem, flow, int(seed), d))

    columns = min(d, problem.teachers + problem.students + 1)
    # What is on disk needs no place here.
    in_memory = (problem.students, columns) if kept is None else (0, 0)
    ends = blank(int(seeds), *in_memory)
    anti_aligned = np.zeros(seeds, int)
    teacher = np.asarray(problem.teacher_weights(columns))
    missing = np.ones(seeds, bool)

    def enter(indices: np.ndarray, unit: EndStates) -> None:
        wanted = indices < seeds
        at = indices[wanted]
        W = unit.weights[wanted]
        anti_aligned[at] = count_anti_aligned(W @ teacher.T, np.linalg.norm(W, axis=2))
        for name, whole, part in zip(EndStates._fields, ends, unit, strict=True):
            if kept is None or name not in ("weights", "readout"):
                whole[at] = part[wanted]
        missing[at] = False

    def keep(indices: np.ndarray, unit: EndStates) -> None:
        if kept is not None:
            kept.put(indices, unit)
        enter(indices, unit)

    began = time.perf_counter()
    for indices, unit in kept.units() if kept is not None else ():
        enter(indices, unit)
    todo = np.flatnonzero(missing)
    units = [
        part
        for run in np.split(todo, np.flatnonzero(np.diff(todo) > 1) + 1)
        for part in np.split(run, range(UNIT, len(run), UNIT))
        if len(part)
    ]
    with (
        _compile_clock() as compiling,
        tqdm(
            total=seeds,
            initial=seeds - len(todo),
            unit="seed",
            desc="relaxing",
            disable=not progress,
        ) as bar,
    ):
        _compute((problem, flow, int(seed), d), units, executor, keep, bar)

    return Sweep(
        problem=problem,
        flow=flow,
        seed=int(seed),
        dimension=d,
        outcome=ends.outcome,
        loss=ends.loss,
        anti_aligned=anti_aligned,
        gradient_norm=ends.gradient_norm,
        smallest_eigenvalue=ends.smallest_eigenvalue,
        time=ends.time,
        evaluations=ends.evaluations,
        seconds=time.perf_counter() - began,
        seconds_compiling=compiling[0],
        _held=_InMemory(ends.weights, ends.readout) if kept is None else kept,
    )
