r"""Branches of fixed points in one parameter, around folds, and where their stability changes.

The unknown is $X = (x, \mu)$: the parameters x of a block ansatz and one number of the problem, μ. A branch
is a curve in X, and is followed by its length (pseudo-arclength, Keller 1977): from a point, along the
tangent, then Newton's method across it (`walk`, `corrector`). At a fold μ turns but the curve doesn't end, so
nothing is singular there.
"""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int
from scipy.optimize import root_scalar

from ..ansatz.ansatz_point import AnsatzPoint
from ..ansatz.isotypic import hessian_forms, spectrum_of
from ..landscape.fixed_points import CONVERGED, FixedPoint, check_point, check_problem
from ..model.problem import Problem, check_concrete
from ..runtime.arguments import (
    check_instance,
    check_number,
    check_positive_number,
    check_whole_number,
)
from ..runtime.errors import UserError
from . import walk as walks
from .corrector import CorrectedPoint, row_lengths
from .line import ParameterLine, Range, parameter_line
from .walk import Rules, Start, Walk, advance, begin

FOLD, STABILITY = "fold", "stability"
AT_STOP, AT_DOMAIN_EDGE, STEP_TOO_SMALL, MOST_POINTS = "end", "domain", "stuck", "most"
EVENTS = ("", FOLD, AT_STOP, AT_DOMAIN_EDGE, STEP_TOO_SMALL, MOST_POINTS)
"""In the order of their numbers in `Branch.events` (`walk`)."""
_AT_ONCE = 32  # points that are walked before the first is returned
_ZERO_EIGENVALUE = 1e-7  # below which an eigenvalue is the one that vanishes at a fold


class BranchPoint(NamedTuple):
    """A point of a branch.

    - `value`: of the parameter. `point`: the fixed point there, its residual evaluated at its parameters.
    - `smallest_eigenvalue`, `component`: of the full Hessian, and the representation it belongs to; nan and
      "" where no spectra were asked for.
    - `event`: "" between events; `fold` where the parameter turns, `stability` where the smallest eigenvalue
      changes sign. That of the last point is why it is the last: `end` (the parameter is `stop`), `domain`
      (it has no values further on), `stuck` (no step is small enough; the point before once more), `most`
      (as many points as were asked for).
    """

    value: float
    point: FixedPoint
    smallest_eigenvalue: float
    component: str
    event: str = ""

    def __repr__(self) -> str:
        parts = [f"BranchPoint at {self.value:.10g}: loss {self.point.loss_text()}"]
        if self.component:
            parts += [f"smallest eigenvalue {self.smallest_eigenvalue:.4g} ({self.component})"]
        return ", ".join([*parts, self.event] if self.event else parts)

    @property
    def loss(self) -> float:
        """The population loss."""
        return float(self.point.loss)

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters of the ansatz by name."""
        return self.point.parameters

    @property
    def sign(self) -> int:
        """The sign of the smallest eigenvalue; 0 if that is the one that vanishes at a fold, or unknown."""
        vanishes = self.event == FOLD and abs(self.smallest_eigenvalue) < _ZERO_EIGENVALUE
        return 0 if vanishes or not self.component else int(np.sign(self.smallest_eigenvalue))


class Branch(eqx.Module):
    """A branch as arrays, of a fixed size: of the N points the first `count` are there.

    - `line`: the ansatz at each value of the parameter, as its values at 0 and its change. `name`: of the
      family.
    - `corrected`: the points, tangents and what else the walk knows.
    - `events` (N,): what happens at a point, as a number: 0 nothing, 1 a fold; at the last 2 `end`, 3
      `domain`, 4 `stuck`, 5 `most`, as in `BranchPoint`.
    """

    line: ParameterLine
    corrected: CorrectedPoint
    events: Int[Array, "*N"]
    count: Int[Array, "*"]
    name: str = eqx.field(static=True, default="")

    @property
    def values(self) -> Float[Array, "*N"]:
        """The parameter's value at each point."""
        return self.corrected.value

    @property
    def parameters(self) -> Float[Array, "*N P"]:
        """The parameters of the ansatz at each point, in the order of `ansatz.names`."""
        return self.corrected.z

    @property
    def losses(self) -> Float[Array, "*N"]:
        """The population loss at each point."""
        return self.corrected.loss

    @property
    def residuals(self) -> Float[Array, "*N"]:
        """The norm of ∂L/∂W in the full weights at each point."""
        return self.corrected.residual

    def points(self, spectra: bool = True) -> list[BranchPoint]:
        """Return the points of one branch, as `continue_family` does, but for changes of stability.

        Of many branches, take one: `jax.tree.map(lambda x: x[i], branches)`.
        """
        if self.events.ndim != 1:
            raise UserError(
                "branch must be one branch, such as jax.tree.map(lambda x: x[i], branches); got "
                f"{'×'.join(map(str, self.events.shape[:-1]))} of them"
            )
        return _Shown(self.line, self.name, spectra).points(
            jax.tree.map(np.asarray, self.corrected), np.asarray(self.events), int(self.count)
        )


@eqx.filter_jit
def _forms_along(line: ParameterLine, points: CorrectedPoint, count: Int[Array, ""]):
    """Return the ansatz at each point, and its `hessian_forms` at the first `count` of them."""
    ansatze = jax.vmap(line.at)(points.value)

    def body(i, columns):
        forms = hessian_forms(jax.tree.map(lambda x: x[i], ansatze), points.z[i])
        return tuple(column.at[i].set(form) for column, form in zip(columns, forms, strict=True))

    one = jax.eval_shape(lambda: hessian_forms(line.at(points.value[0]), points.z[0]))
    N = points.value.shape[0]
    empty = tuple(jnp.zeros((N, *form.shape), form.dtype) for form in one)
    return ansatze, jax.lax.fori_loop(0, count, body, empty)


_ansatze_along = eqx.filter_jit(lambda line, values: jax.vmap(line.at)(values))


class _Shown(NamedTuple):
    """How points of a walk are shown: on which line, of which family, with spectra or without."""

    line: ParameterLine
    name: str
    spectra: bool

    def points(
        self, points: CorrectedPoint, events: Int[np.ndarray, " N"], count: int
    ) -> list[BranchPoint]:
        """Return the first `count` points of a walk as the user sees them."""
        if self.spectra:
            found = _forms_along(self.line, points, jnp.asarray(count))
            ansatze, forms = jax.tree.map(np.asarray, found)
        else:
            found = _ansatze_along(self.line, points.X[:, -1])
            ansatze, forms = jax.tree.map(np.asarray, found), None
        numbers = points.z, points.loss, points.residual, points.steps, points.loss_error
        rows = [
            jax.tree.map(lambda x, i=i: np.asarray(x[i]), (ansatze, numbers)) for i in range(count)
        ]
        shown = []
        for i, (ansatz, (z, *others)) in enumerate(jax.device_put(rows)):
            point = FixedPoint(AnsatzPoint(ansatz, z, self.name), *others)
            eigenvalue, component = np.nan, ""
            if forms is not None:
                H, G, C = (form[i] for form in forms)
                eigenvalue, _, component = min(spectrum_of(rows[i][0], (H, G, C)))
            event = EVENTS[events[i]]
            value = float(points.X[i, -1])
            shown.append(BranchPoint(value, point, eigenvalue, component, event))
        return shown


class _Course(NamedTuple):
    """A walk in pieces: the rules, where it begins, the walk before it, and how its points are shown."""

    rules: Rules
    start: Start
    walk: Walk
    shown: _Shown

    def points(self) -> Iterator[BranchPoint]:
        """Yield the points of the branch, with changes of stability between them if anything is located."""
        before: tuple[CorrectedPoint, BranchPoint] | None = None
        walk, ended = self.walk, False
        while not ended:
            walk = walk._replace(written=jnp.zeros((), int))
            walk = advance(self.shown.line, self.rules, self.start, walk)
            points, events, written = jax.tree.map(
                np.asarray, (walk.points, walk.events, walk.written)
            )
            if before is None and not points.worst[0] < np.inf:
                raise UserError("point must not be at a fold: begin at one next to it")
            ended = bool(events[written - 1] >= walks.AT_STOP)
            for i, after in enumerate(self.shown.points(points, events, int(written))):
                new = jax.tree.map(lambda x, i=i: x[i], points)
                if before is not None and self.rules.locate and before[1].sign * after.sign < 0:
                    ends = before[1].smallest_eigenvalue, after.smallest_eigenvalue
                    yield self.stability_change(before[0], new, ends)
                yield after
                before = new, after

    def along(self, here: CorrectedPoint, length: float) -> BranchPoint:
        """Return the point in the plane across the tangent at this length from here.

        It is the first and only one of a walk that begins there, so nothing more has to be compiled.
        """
        start = Start(*map(jnp.asarray, (here.X + length * here.tangent, here.across)))
        walk = advance(self.shown.line, self.rules._replace(most=jnp.asarray(1)), start, self.walk)
        (point,) = self.shown.points(jax.tree.map(np.asarray, walk.points), np.zeros(1, int), 1)
        return point

    def stability_change(
        self, here: CorrectedPoint, new: CorrectedPoint, ends: tuple[float, float]
    ) -> BranchPoint:
        """Return where the smallest eigenvalue changes sign between two points, at which it is `ends`."""
        length = float(here.across @ (new.X - here.X))
        known = {0.0: ends[0], length: ends[1]}

        def value(s: float) -> float:
            return known[s] if s in known else self.along(here, s).smallest_eigenvalue

        root = root_scalar(value, bracket=(0.0, length), method="brentq", xtol=1e-13).root
        return self.along(here, root)._replace(event=STABILITY)


def _check_problem_of(problem: Problem, point: AnsatzPoint, parameter: str) -> None:
    """Raise UserError unless a point is one of this problem, at any value of the parameter.

    Sizes that are not whole are no problem's.
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves(point)):
        return
    sizes = np.asarray(point.ansatz.sizes)
    if np.abs(sizes - np.round(sizes)).max() < 1e-9:
        check_point(problem, point, parameter)


def _check(problem: Problem, point: FixedPoint, parameter: str, step, most) -> None:
    check_problem(problem)
    kind = "a fixed point, from ol.fixed_point(problem, ol.family(problem, 1)) or ol.families"
    check_instance("point", point, FixedPoint, kind)
    if not isinstance(point.residual, Tracer) and point.result != CONVERGED:
        raise UserError(
            f"point must be converged; its gradient has norm {float(point.residual):.3g}, which must "
            f"be at most {point.tolerance:.3g}"
        )
    _check_problem_of(problem, point.ansatz_point, parameter)
    check_positive_number("step", step)
    check_whole_number("most", most, 1)


def _checked_stop(stop, parameter: str, values: Range) -> float:
    """Return `stop` as a number. Raises UserError unless it and the point's own value are in the range."""
    stop = check_number("stop", stop)
    if not any(isinstance(x, Tracer) for x in values):
        value, low, high = map(float, values)
        for name, number in (("stop", stop), ("point", value)):
            if not low <= number <= high:
                raise UserError(
                    f"{name} must have {parameter} between {low:.7g} and {high:.7g}; got {number!r}"
                )
    return float(stop)


def _rules(stop: float, values: Range, step, most, locate) -> Rules:
    return Rules(
        stop=jnp.asarray(stop),
        low=values.low,
        high=values.high,
        longest=jnp.asarray(float(step)),
        most=jnp.asarray(int(most)),
        locate=jnp.asarray(bool(locate)),
    )


def _prepared(
    point: FixedPoint, line: ParameterLine, values: Range, rules: Rules, capacity: int
) -> tuple[Start, Walk]:
    """Return where the first point is sought, and the walk before it."""
    x = row_lengths(line.at(values.value)) * point.z
    direction = jnp.where(rules.stop >= values.value, 1.0, -1.0)
    X = jnp.append(x, values.value)
    return Start(X, direction * jnp.eye(X.size)[-1]), begin(point.z, rules, capacity)


def continue_family(
    problem: Problem,
    point: FixedPoint,
    parameter: str = "teachers",
    stop: float | int = 40.0,
    step: float = 0.1,
    most: int = 1000,
    locate: bool = True,
    spectra: bool = True,
) -> Iterator[BranchPoint]:
    """Return the points of the branch through a fixed point, from there on, as an iterator.

    - `parameter`: `teachers` (M, with K − M and every block kept but the first that one block of students
      matches), `anti_aligned` (α of blocks M − α and α), `slope` (of leaky ReLU), `correlation` (c of
      T = (1 − c) I + c 11ᵀ). Numbers of units are real.
    - `stop`: the value at which the branch ends. It begins towards it; a fold may turn it away.
    - `step`: the longest, as a relative change of a student's weights and of the size that changes.
    - `most`: the largest number of points, located ones not counted.
    - `locate`: find folds and changes of stability between steps and return them too, in order.
    - `spectra`: compute the smallest eigenvalue of each point's Hessian. Without, changes of stability are
      not found.

    At sizes that are not whole a representation counts as soon as its dimension is above 0; where one
    begins to count with a negative eigenvalue, that is the change of stability.

    Raises UserError if the point isn't converged, not of this problem or at a fold, if it has no such
    parameter, if `stop` is outside its domain, and for a step or a number of points that isn't positive.
    """
    check_concrete("problem", problem)
    check_concrete("point", point)
    _check(problem, point, parameter, step, most)
    line, values = parameter_line(point.ansatz, parameter)
    stop = _checked_stop(stop, parameter, values)
    rules = _rules(stop, values, step, most, locate)
    start, walk = _prepared(point, line, values, rules, _AT_ONCE)
    return _Course(rules, start, walk, _Shown(line, point.branch, spectra)).points()


def walk_branch(
    problem: Problem,
    point: FixedPoint,
    parameter: str = "teachers",
    stop: float | int = 40.0,
    step: float = 0.1,
    most: int = 200,
    locate: bool = True,
) -> Branch:
    """Return the branch through a fixed point as arrays with room for `most` points: `continue_family`
    without spectra, as one pure function.

    It may be compiled, and mapped over many points or problems by `jax.vmap`; of what is traced, ranges and
    convergence are not checked. A branch that cannot be begun has one point, with the event `stuck`.
    Arguments and errors are those of `continue_family`.
    """
    _check(problem, point, parameter, step, most)
    line, values = parameter_line(point.ansatz, parameter)
    stop = _checked_stop(stop, parameter, values)
    rules = _rules(stop, values, step, most, locate)
    start, walk = _prepared(point, line, values, rules, int(most) + 1)
    walk = advance(line, rules, start, walk)
    return Branch(line, walk.points, walk.events, walk.written, point.branch)
