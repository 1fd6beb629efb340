"""The end states of a sweep."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import activations, flows
from ..flows.base import AbstractFlow
from ..landscape.decay import Decay, decay
from ..model.problem import Problem
from ..model.state import Weights
from ..relaxation import outcomes
from ..relaxation.outcomes import EndStates, blank
from ..relaxation.units import level_width
from ..runtime.errors import UserError
from ..runtime.registry import load, load_class
from .configuration import activation_values
from .levels import group_by_level, merge_families
from .starts import kept_coordinates
from .store import Store
from .summary import Summary, count_outcomes, summarise


class InMemory:
    """The end states of a sweep without a store: written to like a `StoreWriter`, read like a `Store`."""

    def __init__(self, ends: EndStates):
        self._ends = ends
        self._present = np.zeros(len(ends.loss), bool)

    def put(self, first: int, ends: EndStates) -> None:
        rows = slice(first, first + len(ends.loss))
        for whole, part in zip(self._ends, ends, strict=True):
            whole[rows] = part
        self._present[rows] = True

    def have(self, wanted: np.ndarray) -> np.ndarray:
        return self._present & wanted

    def parts(self, names: tuple[str, ...], count: int) -> Iterator[tuple[np.ndarray, ...]]:
        seeds = np.flatnonzero(self._present[:count])
        for _, *columns in self.rows(names, seeds):
            yield seeds, *columns

    def rows(self, names: tuple[str, ...], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        places = np.flatnonzero(self._present[seeds])
        yield places, *(getattr(self._ends, name)[seeds[places]] for name in names)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The end states of N seeds, as NumPy arrays in the order of the seeds.

    `outcome` (N,) names; `loss`, `gradient_norm`, `smallest_eigenvalue` and `anti_aligned` (N,); `time` and
    `evaluations` (N,) until the norm of the rates fell below 1e-3 for good or, of starts that have not converged
    by `time_limit`, until they were stopped. `seeds` (N,) are their numbers in
    the sweep: 0 … N − 1, or what a folder holds. `seconds` is wall time, of which `seconds_compiling` went to
    tracing and compiling programs in this process (workers compile theirs unseen); of a sweep that was read
    both are None.

    Numbers in a store are read when they are used: a sweep of a million seeds takes no memory until then,
    and `parts` holds one file's at a time.
    """

    problem: Problem
    flow: AbstractFlow
    seed: int
    dimension: int
    time_limit: float
    seeds: np.ndarray | range
    seconds: float | None
    seconds_compiling: float | None
    _source: Store | InMemory

    def __len__(self) -> int:
        return len(self.seeds)

    @cached_property
    def outcome(self) -> np.ndarray:
        """Return the outcome of each seed (N,), a name of `outcomes.OUTCOMES`."""
        return self._column("outcome")

    @cached_property
    def loss(self) -> np.ndarray:
        """Return the population loss of each end state (N,); inf where it failed."""
        return self._column("loss")

    @cached_property
    def anti_aligned(self) -> np.ndarray:
        """Return how many students point away from their teacher (N,).

        −1, not defined, with an even activation; with an odd one overlaps count with the sign of v v*
        (`model.alignment`).
        """
        return self._column("anti_aligned")

    @cached_property
    def gradient_norm(self) -> np.ndarray:
        """Return the Frobenius norm of the flow's rates at each end state (N,)."""
        return self._column("gradient_norm")

    @cached_property
    def smallest_eigenvalue(self) -> np.ndarray:
        """Return the smallest eigenvalue of the Hessian (N,), on the directions that count."""
        return self._column("smallest_eigenvalue")

    @cached_property
    def time(self) -> np.ndarray:
        """Return the flow time (N,) at which the rates' norm fell below 1e-3 for good."""
        return self._column("time")

    @cached_property
    def evaluations(self) -> np.ndarray:
        """Return the evaluations of the rates (N,) until then."""
        return self._column("evaluations")

    @cached_property
    def decay(self) -> Decay:
        """Return how the loss still falls, `rate` and `exponent` (N,), of starts that have not converged; 0 of
        others and where noise drives the flow."""
        rate, exponent = np.zeros((2, len(self)))
        unfinished = np.flatnonzero(self.outcome == outcomes.NOT_CONVERGED)
        if len(unfinished) and not self.flow.stochastic:
            weights = self.weights_of(np.asarray(self.seeds)[unfinished])
            found = decay(self.problem, self.flow, weights, self.time[unfinished])
            rate[unfinished], exponent[unfinished] = found
        return Decay(rate, exponent)

    @property
    def weights(self) -> Weights:
        """Weights with N in front, .W (N, K, d') and .v (N, K). For d > M the space is rotated so that
        d' = min(d, M + K + 1) coordinates hold all students.

        A sweep with a store reads them from there, anew each time; `weights_of` reads some.
        """
        return self.weights_of(np.asarray(self.seeds))

    def weights_of(self, seeds: np.ndarray) -> Weights:
        """Return the weights of these seeds (n,), with n in front.

        Raises UserError for seeds that are not among those of the sweep.
        """
        seeds = np.asarray(seeds)
        unknown = ~np.isin(seeds, self.seeds)
        if unknown.any():
            raise UserError(f"seeds must be among those of the sweep; got {seeds[unknown][0]}")
        coordinates = kept_coordinates(self.problem, self.flow, self.dimension)
        W = np.zeros((len(seeds), self.problem.students, coordinates))
        v = np.zeros(W.shape[:2])
        for places, some_W, some_v in self._source.rows(("weights", "readout"), seeds):
            W[places], v[places] = some_W, some_v
        # `Weights(W, v)` would check for JAX arrays of one network; these are NumPy arrays with n in front.
        batched = jax.tree.structure(Weights(jnp.zeros((1, 1)), jnp.zeros(1)))
        return jax.tree.unflatten(batched, (W, v))

    def parts(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield seeds, and these columns of them, a file at a time."""
        return self._source.parts(names, int(self.seeds[-1]) + 1 if len(self) else 0)

    def summary(self) -> Summary:
        """Return outcomes and families with their 95 % Wilson intervals."""
        counts = np.zeros(len(outcomes.OUTCOMES), int)
        families = []
        names = ("outcome", "anti_aligned", "loss", "smallest_eigenvalue")
        width = level_width(self.problem)
        for seeds, outcome, *rest in self.parts(*names):
            counts += count_outcomes(outcome)
            families.append(group_by_level(seeds, outcome, *rest, width=width))
        # Seeds that no worker could relax are kept nowhere.
        counts[outcomes.OUTCOMES.index(outcomes.FAILED)] += len(self) - counts.sum()
        problem = self.problem
        title = (
            f"K = {problem.students} students, M = {problem.teachers} teachers, "
            f"{type(problem.activation).__name__}, {type(self.flow).__name__}, d = {self.dimension}: "
            f"{len(self):,} seeds (sweep seed {self.seed})"
        )
        if self.seconds is not None:
            title += f" in {self.seconds:.1f} s, of which compiling {self.seconds_compiling:.1f} s"
        return summarise(title, counts, merge_families(families, width))

    def _column(self, name: str) -> np.ndarray:
        whole = np.repeat(getattr(blank(1, 0, 0), name), len(self))
        seeds = np.asarray(self.seeds)
        for some, column in self.parts(name):
            whole[np.searchsorted(seeds, some)] = column
        return whole


def read_sweep(folder: str | os.PathLike) -> Sweep:
    """Return the sweep that a folder holds, as far as it is finished, without computing anything.

    A user's own activation or flow is imported from the place that the store has recorded. Raises UserError
    if the folder holds no sweep, or if its activation or flow cannot be made again here: its module cannot be
    imported, it takes other arguments now, or it is a function given to `Quadrature` (`open_sweep` reads the
    numbers of such a sweep, too).
    """
    store = Store(folder)
    recorded = store.configuration

    def rebuilt(table: dict[str, str], parts: dict) -> Any:
        name = parts["name"]
        values = {key: value for key, value in parts.items() if key != "name"}
        try:
            cls = load(name) if ":" in name else load_class(table, name)
            if not callable(cls):
                raise TypeError(f"{name} is no class")
            return cls(**values)
        except (ImportError, KeyError, TypeError, ValueError):
            raise UserError(
                f"the sweep in {str(folder)!r} was made with {name}, which cannot be made again here: start "
                "where its module can be imported, or let open_sweep read the numbers alone"
            ) from None

    activation = rebuilt(activations.BY_NAME, recorded["activation"])
    if not np.allclose(activation_values(activation), recorded["activation_values"], rtol=1e-12):
        raise UserError(
            f"the sweep in {str(folder)!r} was made with another {recorded['activation']['name']} than the "
            "one that is here: their values differ"
        )
    problem = Problem(
        recorded["students"],
        recorded["teachers"],
        activation,
        recorded["teacher_overlaps"],
        recorded["teacher_readout"],
    )
    return Sweep(
        problem=problem,
        flow=rebuilt(flows.BY_NAME, recorded["flow"]),
        seed=recorded["seed"],
        dimension=recorded["dimension"],
        time_limit=recorded["end"],
        seeds=store.seeds(),
        seconds=None,
        seconds_compiling=None,
        _source=store,
    )
