"""The end states of a sweep."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .. import activations, flows
from ..activations.base import AbstractActivation
from ..ansatz.detection import describe
from ..flows.base import AbstractFlow
from ..landscape.decay import Decay, decay
from ..landscape.named_families import block_structure
from ..model.problem import Problem, check_dimension
from ..model.state import Weights
from ..model.title import in_words, title_of
from ..relaxation import outcomes
from ..relaxation.outcomes import EndStates, blank
from ..relaxation.relax import FLOAT64
from ..relaxation.units import level_width
from ..runtime.arguments import check_positive_number, check_whole_number, shown
from ..runtime.errors import UserError
from ..runtime.registry import load
from .configuration import activation_values, code_values
from .levels import Family, group_by_level, merge_families
from .manifest import damaged_manifest, difference
from .starts import kept_coordinates
from .store import Store
from .summary import Summary, Unfinished, count_outcomes, summarise

T = TypeVar("T")
_ROUNDING = 1e-9  # of the time at which a start is stopped
_MOST_NAMED = 32  # families whose branch is looked for, which takes a tenth of a second each


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

    def parts(self, names: tuple[str, ...], stop: int) -> Iterator[tuple[np.ndarray, ...]]:
        seeds = np.flatnonzero(self._present[:stop])
        for _, *columns in self.rows(names, seeds):
            yield seeds, *columns

    def rows(self, names: tuple[str, ...], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        places = np.flatnonzero(self._present[seeds])
        yield places, *(getattr(self._ends, name)[seeds[places]] for name in names)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The end states of N seeds, as NumPy arrays in the order of the seeds.

    `outcome` (N,) names; `loss`, `gradient_norm`, `smallest_eigenvalue` and `anti_aligned` (N,); `time` and
    `evaluations` (N,) until the norm of the rates fell below 1e-3 for good or, of starts that have not
    converged by `time_limit`, until they were stopped (of those that were continued since, no less). `seeds`
    (N,) are their numbers in the sweep: 0 … N − 1, or what a folder holds. `transient` is the precision on
    the way to an end state, as in `relax`. `seconds` is wall time, of which
    `seconds_compiling` went to tracing and compiling programs in this process (workers compile theirs
    unseen); of a sweep that was read both are None.

    Numbers in a store are read when they are used: a sweep of a million seeds takes no memory until then,
    and `parts` holds one file's at a time.
    """

    problem: Problem
    flow: AbstractFlow
    seed: int
    dimension: int
    time_limit: float
    transient: str
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
        """Return the flow time (N,) at which the rates' norm fell below 1e-3 for good; of online SGD, at
        which its integration ended."""
        return self._column("time")

    @cached_property
    def evaluations(self) -> np.ndarray:
        """Return the evaluations of the rates (N,) until then."""
        return self._column("evaluations")

    @cached_property
    def decay(self) -> Decay:
        """Return how the loss still falls, `rate` and `exponent` (N,), where a start has not converged: 0 for
        others, and where noise drives the flow."""
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
        given, seeds = seeds, np.asarray(seeds)
        if seeds.ndim != 1 or (seeds.size and seeds.dtype.kind not in "iu"):
            raise UserError(f"seeds must be an array (n,) of whole numbers; got {shown(given)}")
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
        return self._summary

    @cached_property
    def _summary(self) -> Summary:
        counts = np.zeros(len(outcomes.OUTCOMES), int)
        parts = []
        names = ("outcome", "anti_aligned", "loss", "smallest_eigenvalue")
        width = level_width(self.problem)
        for seeds, outcome, *rest in self.parts(*names):
            counts += count_outcomes(outcome)
            parts.append(group_by_level(seeds, outcome, *rest, width=width))
        # Seeds that no worker could relax are kept nowhere.
        counts[outcomes.OUTCOMES.index(outcomes.FAILED)] += len(self) - counts.sum()
        families = merge_families(parts, width)
        title = self.title
        if self.seconds is not None:
            title += f" in {self.seconds:.1f} s, of which compiling {self.seconds_compiling:.1f} s"
        branches = self._branches(families)
        return summarise(title, counts, families, branches, self._unfinished(), width)

    def _unfinished(self) -> Unfinished | None:
        there = self.outcome == outcomes.NOT_CONVERGED
        decay, numbers = self.decay, (self.loss, self.gradient_norm)
        early = self.time < self.time_limit * (1 - _ROUNDING)
        columns = (*numbers, decay.rate, decay.exponent, early)
        return Unfinished.of(*(column[there] for column in columns))

    def _branches(self, families: list[Family]) -> list[str]:
        """Return the name of the branch of each of the commonest families, from one end state each."""
        common = sorted(families, key=lambda family: -family.count)[:_MOST_NAMED]
        # Global minima are all one family, on no branch: more students than teachers have many.
        named = [f for f in common if f.outcome != outcomes.GLOBAL_MINIMUM]
        seeds = [family.representative for family in named]
        ends = self.weights_of(np.array(seeds, int))
        found = {
            seed: branch_of(self.problem, Weights(jnp.asarray(W), jnp.asarray(v)))
            for seed, W, v in zip(seeds, ends.W, ends.v, strict=True)
        }
        return [found.get(family.representative, "") for family in families]

    @property
    def title(self) -> str:
        """What was swept, in one line: the problem, the flow, the dimension and the seeds."""
        limit = f"t ≤ {self.time_limit:,g}"
        how = [in_words(self.flow), f"d = {self.dimension}", limit]
        if self.transient != FLOAT64:
            how.append(f"transients in {self.transient}")
        problem = title_of(self.problem, *how)
        return f"{problem}: {len(self):,} seeds (sweep seed {self.seed})"

    def __repr__(self) -> str:
        return f"<Sweep of {self.title}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def _column(self, name: str) -> np.ndarray:
        whole = np.repeat(getattr(blank(1, 0, 0), name), len(self))
        seeds = np.asarray(self.seeds)
        for some, column in self.parts(name):
            whole[np.searchsorted(seeds, some)] = column
        return whole


def branch_of(problem: Problem, weights: Weights) -> str:
    """Return the name of the branch of fixed points that an end state is on: its blocks in words where it has
    no other name, nothing where it has no blocks."""
    try:
        point = block_structure(problem, weights).point
    except UserError:  # outside the teachers' span, or for a teacher that no blocks are for
        return ""
    return point.name or describe(point)


def read_sweep(folder: str | os.PathLike) -> Sweep:
    """Return the sweep that a folder holds, as far as it is finished, without computing anything.

    A user's own activation or flow is imported from the place that the store has recorded. Raises UserError
    if the folder holds no sweep, or if its activation or flow cannot be made again here: its module cannot be
    imported, it takes other arguments now, or it holds a function that cannot be imported, such as a lambda
    (`open_sweep` reads the numbers of such a sweep, too).
    """
    store = Store(folder)
    recorded = store.configuration
    try:
        activation = _made_again(activations, recorded["activation"], AbstractActivation)
        flow = _made_again(flows, recorded["flow"], AbstractFlow)
        values = _called(activation_values, activation)
        same = np.allclose(values, np.asarray(recorded["activation_values"], float), rtol=1e-12)
        sizes = (recorded["students"], recorded["teachers"])
        problem = Problem(
            *sizes, activation, recorded["teacher_overlaps"], recorded["teacher_readout"]
        )
        seed = check_whole_number("seed", recorded["seed"], 0)
        dimension = check_dimension(problem, recorded["dimension"])
        check_positive_number("end", recorded["end"])
        time_limit = float(recorded["end"])
        code = _called(code_values, problem, flow)
    except _CannotBeMadeError as error:
        raise UserError(
            f"the sweep in {str(folder)!r} was made with {error}, which cannot be made again here: start "
            "where it can be imported, or let open_sweep read the numbers alone"
        ) from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(damaged_manifest(store.folder, f"it describes no sweep: {error}")) from None
    if not same:
        raise UserError(
            f"the sweep in {str(folder)!r} was made with another {recorded['activation']['name']} than the "
            "one that is here: their values differ"
        )
    changed = difference(recorded, {**recorded, **code})
    if changed:
        raise UserError(
            f"the sweep in {str(folder)!r} was made by other code ({changed}): restore it, or let open_sweep "
            "read the numbers alone"
        )
    return Sweep(
        problem=problem,
        flow=flow,
        seed=seed,
        dimension=dimension,
        time_limit=time_limit,
        transient=str(recorded.get("transient", FLOAT64)),
        seeds=store.seeds(),
        seconds=None,
        seconds_compiling=None,
        _source=store,
    )


class _CannotBeMadeError(Exception):
    """What a store names is no activation or flow that can be made here."""


def _called(function: Callable[..., T], *modules: object) -> T:
    """Return what a function makes of activations and flows.

    Raises _CannotBeMadeError where their code, which is anybody's, raises an error.
    """
    try:
        return function(*modules)
    except Exception as error:
        raise _CannotBeMadeError(f"code that raises {type(error).__name__}") from None


def _made_again(room: ModuleType, parts: dict, kind: type[T]) -> T:
    """Return the instance of `kind` that a configuration records. Nothing else is called: a store may be
    anybody's.

    - `room`: the module that the classes of this package are in.

    Raises _CannotBeMadeError if that fails; KeyError or TypeError if the configuration names nothing.
    """
    name = parts["name"]
    try:
        fields = {key: _restored(value) for key, value in parts.items() if key != "name"}
        cls = load(name) if ":" in name else getattr(room, name)
        if isinstance(cls, type) and issubclass(cls, kind):
            return cls(**fields)
    except _CannotBeMadeError as error:
        raise _CannotBeMadeError(f"{name} of {error}") from None
    except Exception:  # of a class that is anybody's
        pass
    raise _CannotBeMadeError(name)


def _restored(value: Any) -> Any:
    """Return a field of an activation or a flow as it was: a number, a text, an array, a tuple, a function,
    or another activation or flow.

    A function is imported and not called; whether it is the one that it was is for its values to show.
    """
    if isinstance(value, list):
        return jnp.asarray(value)
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(map(_restored, value["tuple"]))
    if "function" in value and "name" not in value:
        try:
            return load(value["function"])
        except UserError:
            raise _CannotBeMadeError(f"the function {value['function']}") from None
    for room, kind in ((activations, AbstractActivation), (flows, AbstractFlow)):
        with suppress(_CannotBeMadeError):
            return _made_again(room, value, kind)
    raise _CannotBeMadeError(value["name"])
