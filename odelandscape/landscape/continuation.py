r"""Branches of fixed points in one parameter, around folds, and where their stability changes.

The unknown is $X = (x, \mu)$: the parameters x of a block ansatz and one number of the problem, μ. A branch
is a curve in X, and is walked by its length (pseudo-arclength, Keller 1977): from a point, along the
tangent, then Newton's method across it. At a fold μ turns but the curve doesn't end, so nothing is singular
there. Each μ here enters the ansatz linearly: a branch is one pytree of numbers plus μ times another, so
one compiled corrector serves every parameter of a structure, at any size.

Lengths are relative changes: x is scaled so that a student's row has its norm, μ by the size that moves.
They are of order 1 at any width.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.optimize import root_scalar

from ..ansatz.block_ansatz import BlockAnsatz
from ..ansatz.isotypic import hessian_spectrum
from ..model.problem import Problem
from ..runtime.errors import UserError
from .branch_parameters import Line, parameter_line
from .fixed_points import CONVERGED, FixedPoint

FOLD, STABILITY = "fold", "stability"
END, DOMAIN, STUCK, MOST = "end", "domain", "stuck", "most"
LAST = (END, DOMAIN, STUCK, MOST)
"""Events that end a branch."""
_CORRECTIONS = 8
_CONTRACTION = 0.25  # of Newton's corrections, else the step is refused
_BEND = 0.9  # least cosine between successive tangents
_MISS = 0.5  # longest first correction, in steps
_FAST = 0.05  # contraction below which the next step is longer
_SHORTEST = 1e-6  # step, of the longest
_ZERO = 1e-7  # an eigenvalue that is the one that vanishes at a fold


class BranchPoint(NamedTuple):
    """A point of a branch.

    - `value`: of the parameter. `point`: the fixed point there, its residual evaluated at its parameters.
    - `smallest_eigenvalue`, `component`: of the full Hessian, and the representation it belongs to.
    - `event`: "" on the way; `fold` where the parameter turns, `stability` where the smallest eigenvalue
      changes sign. The last point says why it is the last: `end` (the parameter is `stop`), `domain` (it
      has no values further on), `stuck` (no step is small enough; the point before, told again), `most`.
    """

    value: float
    point: FixedPoint
    smallest_eigenvalue: float
    component: str
    event: str = ""

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
        """Of the smallest eigenvalue; 0 if that is the one that vanishes at a fold."""
        if self.event == FOLD and abs(self.smallest_eigenvalue) < _ZERO:
            return 0
        return int(np.sign(self.smallest_eigenvalue))


Numbers = Array | np.ndarray  # of JAX inside the corrector, of NumPy outside


class _Place(NamedTuple):
    """What the corrector knows of X = (x, μ).

    `tangent` has length 1 and `across` is the normal of the plane across it; `z` are the ansatz's
    parameters, `residual` the gradient's norm. `first` is the first correction's length and `worst` the
    largest ratio of one to the one before, infinite if they didn't settle.
    """

    X: Float[Numbers, " n"]
    tangent: Float[Numbers, " n"]
    across: Float[Numbers, " n"]
    z: Float[Numbers, " P"]
    loss: Float[Numbers, ""]
    residual: Float[Numbers, ""]
    first: Float[Numbers, ""]
    worst: Float[Numbers, ""]
    steps: Int[Numbers, ""]

    @property
    def value(self) -> float:
        """The parameter."""
        return float(self.X[-1])

    @property
    def rate(self) -> float:
        """Of the parameter along the branch: 0 at a fold."""
        return float(self.tangent[-1])


def _row_unit(ansatz: BlockAnsatz) -> Float[Array, " P"]:
    """Root of how many entries of one student's row each parameter stands for."""
    constants = jnp.sqrt(ansatz.sizes[None, :] - ansatz.own)
    return jnp.concatenate([jnp.ones(len(ansatz.matched)), constants.ravel()])


@eqx.filter_jit
def _correct(line: Line, X: Float[Array, " n"], across: Float[Array, " n"]) -> _Place:
    """Newton's method for rates = 0 in the plane through X with this normal."""

    def rates(X):
        ansatz = line.at(X[-1])
        unit = _row_unit(ansatz)
        return unit * ansatz.field(X[:-1] / unit)

    def metric(X):
        return jnp.ones_like(X).at[-1].set(line.scale(X[-1]) ** -2)

    def going(carry):
        _, _, _, size, _, steps = carry
        return (steps < _CORRECTIONS) & (size > 1e-14)

    def body(carry):
        X, _, first, last, worst, steps = carry
        rate, push = jax.linearize(rates, X)
        J = jnp.concatenate([jax.vmap(push)(jnp.eye(X.size)).T, across[None, :]])
        sides = jnp.zeros((X.size, 2)).at[:-1, 0].set(-rate).at[-1, 1].set(1)
        dX, tangent = jnp.linalg.solve(J, sides).T
        size = jnp.sqrt(metric(X) @ dX**2)
        ratio = jnp.where((last > 1e-11) & (steps > 0), size / last, 0.0)
        first = jnp.where(steps > 0, first, size)
        return X + dX, tangent, first, size, jnp.maximum(worst, ratio), steps + 1

    far = jnp.asarray(jnp.inf)
    start = (X, across, far, far, jnp.asarray(0.0), jnp.asarray(0))
    X, tangent, first, last, worst, steps = jax.lax.while_loop(going, body, start)
    weight = metric(X)
    tangent = tangent / jnp.sqrt(weight @ tangent**2)
    worst = jnp.where(last < 1e-9, worst, jnp.inf)
    ansatz = line.at(X[-1])
    z = X[:-1] / _row_unit(ansatz)
    loss, residual = ansatz.loss(z), ansatz.speed(z)
    return _Place(X, tangent, weight * tangent, z, loss, residual, first, worst, steps)


class _Branch(NamedTuple):
    """A branch of an ansatz along a line.

    `name` of its family; `limits`, values of the parameter that it doesn't pass, and their events;
    `locate`, whether folds and changes of stability are looked for.
    """

    line: Line
    name: str
    limits: dict[float, str]
    locate: bool

    def correct(self, X: Float[Numbers, " n"], across: Float[Numbers, " n"]) -> _Place:
        """`_correct`, in NumPy."""
        place = _correct(self.line, jnp.asarray(X), jnp.asarray(across))
        return jax.tree.map(np.asarray, place)

    def along(self, here: _Place, length: float) -> _Place:
        """The place in the plane across the tangent at this length from here."""
        return self.correct(here.X + length * here.tangent, here.across)

    def onto(self, x: Float[Numbers, " P"], value: float, direction: float) -> _Place:
        """The place near x at a value of the parameter; its rate has the sign of `direction`."""
        X = np.append(x, value)
        return self.correct(X, direction * np.eye(X.size)[-1])

    def told(self, place: _Place, event: str = "") -> BranchPoint:
        """A place as the user sees it."""
        numbers = (place.z, place.loss, place.residual, place.steps)
        z, loss, residual, steps = map(jnp.asarray, numbers)
        ansatz = self.line.at(place.value)
        eigenvalue, _, component = hessian_spectrum(ansatz, z)[0]
        named = ansatz.replace(start=z, branch=self.name)
        point = FixedPoint(named, z, loss, residual, steps)
        return BranchPoint(place.value, point, eigenvalue, component, event)

    def zero(
        self, here: _Place, new: _Place, ends: tuple[float, float], test: Callable[[_Place], float]
    ) -> _Place:
        """Where a test of places changes sign between two, at which it is `ends`."""
        length = float(here.across @ (new.X - here.X))
        known = {0.0: ends[0], length: ends[1]}

        def value(s):
            return known[s] if s in known else test(self.along(here, s))

        root = root_scalar(value, bracket=(0.0, length), method="brentq", xtol=1e-13).root
        return self.along(here, root)

    def fold(self, here: _Place, new: _Place) -> _Place:
        """The fold between two places. The rate there is 0 but for rounding, and put to 0."""
        place = self.zero(here, new, (here.rate, new.rate), lambda place: place.rate)
        flat = np.append(np.ones(place.z.size), 0)
        return place._replace(tangent=flat * place.tangent, across=flat * place.across)

    def stability_change(
        self, here: _Place, new: _Place, ends: tuple[BranchPoint, BranchPoint]
    ) -> BranchPoint:
        """Where the smallest eigenvalue changes sign between two places."""
        before, after = (point.smallest_eigenvalue for point in ends)
        place = self.zero(
            here, new, (before, after), lambda place: self.told(place).smallest_eigenvalue
        )
        return self.told(place, STABILITY)

    def step(
        self, here: _Place, before: BranchPoint, length: float
    ) -> tuple[_Place, list[BranchPoint]] | None:
        """A step from here, shorter if a fold or a limit is closer: where it leads, and what is told of it.

        None if it is refused: where Newton's method contracts slowly or goes far, or the branch bends
        much, the place may be one of another branch.
        """
        ahead = [limit for limit in self.limits if (limit - here.value) * here.rate > 0]
        limit = min(ahead, key=lambda limit: abs(limit - here.value), default=np.inf)
        reach = (limit - here.value) / here.rate if ahead else np.inf
        landing = reach < 1.2 * length
        if landing:
            x = (here.X + reach * here.tangent)[:-1]
            new = self.onto(x, limit, here.rate)
        else:
            new = self.along(here, length)
        turned = here.rate * new.rate < 0
        if not (
            new.worst < _CONTRACTION
            and new.first < _MISS * min(length, reach)
            and here.across @ new.tangent > _BEND
            and not (landing and turned)
        ):
            return None
        event = self.limits[limit] if landing else ""
        if turned and self.locate:
            new, event = self.fold(here, new), FOLD
        if any((limit - here.value) * (limit - new.value) < 0 for limit in self.limits):
            return None
        after = self.told(new, event)
        points = [after]
        if self.locate and before.sign * after.sign < 0:
            points.insert(0, self.stability_change(here, new, (before, after)))
        if any(point.point.result != CONVERGED for point in points):
            return None
        return new, points

    def walk(
        self, z: Float[Array, " P"], value: float, stop: float, longest: float, most: int
    ) -> Iterator[BranchPoint]:
        """The points from z at `value` on, first towards `stop`."""
        x = _row_unit(self.line.at(value)) * z
        here = self.onto(x, value, 1.0 if stop >= value else -1.0)
        if not here.worst < np.inf:
            raise UserError("point must not be at a fold: set out from one next to it")
        before = self.told(here, END if value == stop else "")
        yield before
        length, count = longest / 4, 1
        while before.event not in LAST:
            step = None
            while step is None and length > _SHORTEST * longest:
                step = self.step(here, before, length)
                if step is None:
                    length /= 3
            if step is None:
                yield before._replace(event=STUCK)
                return
            here, (*located, before) = step
            yield from located
            count += 1
            if count >= most and not before.event:
                before = before._replace(event=MOST)
            yield before
            if here.worst < _FAST:
                length = min(1.5 * length, longest)


def _check_sizes(problem: Problem, ansatz: BlockAnsatz) -> None:
    """Raises ValueError if the ansatz has whole sizes that are not the problem's."""
    sizes = np.asarray(ansatz.sizes)
    K, M = float(jnp.sum(ansatz.student_sizes)), float(sizes.sum())
    whole = np.abs(sizes - np.round(sizes)).max() < 1e-9
    if whole and (round(K), round(M)) != (problem.students, problem.teachers):
        raise UserError(
            f"point must have the problem's K = {problem.students} students and M = {problem.teachers} "
            f"teachers; got {K:g} and {M:g}"
        )


def continue_family(
    problem: Problem,
    point: FixedPoint,
    parameter: str = "teachers",
    stop: float | int = 40.0,
    step: float = 0.1,
    most: int = 1000,
    locate: bool = True,
) -> Iterator[BranchPoint]:
    """The points of the branch through a fixed point, from there on, as an iterator.

    - `parameter`: `teachers` (M, with K − M and every block kept but the first that one block of students
      matches), `anti_aligned` (α of blocks M − α and α), `slope` (of leaky ReLU), `correlation` (c of
      T = (1 − c) I + c 11ᵀ). Numbers of units are real.
    - `stop`: the value at which the branch ends. It sets out towards it; a fold may turn it away.
    - `step`: the longest, as a relative change of a student's weights and of the size that moves.
    - `most`: of points, located ones not counted.
    - `locate`: find folds and changes of stability between steps and tell them too, in order.

    At sizes that are not whole a representation counts as soon as its dimension is above 0; where one
    comes in with a negative eigenvalue, that is the change of stability.

    Raises ValueError if the point isn't converged, not of this problem or at a fold, if it has no such
    parameter, if `stop` is outside its domain, and for a step or a number of points that isn't positive.
    """
    if point.result != CONVERGED:
        raise UserError(
            f"point must be converged; its gradient has norm {float(point.residual):.3g}, which must "
            f"be at most {point.tolerance:.3g}"
        )
    _check_sizes(problem, point.ansatz)
    line, value, (low, high) = parameter_line(point.ansatz, parameter)
    for name, number in (("stop", stop), ("point", value)):
        if not low <= number <= high:
            raise UserError(
                f"{name} must have {parameter} between {low:.7g} and {high:.7g}; got {number!r}"
            )
    if not (np.isfinite(step) and step > 0):
        raise UserError(f"step must be positive; got {step!r}")
    if most < 1:
        raise UserError(f"most must be at least 1; got {most!r}")
    limits = {low: DOMAIN, high: DOMAIN} | {float(stop): END}
    branch = _Branch(line, point.branch, limits, locate)
    return branch.walk(point.z, value, float(stop), step, most)


def critical_value(
    problem: Problem, point: FixedPoint, parameter: str = "teachers", stop: float | int = 40.0
) -> float | None:
    """The parameter at the first change of stability along the branch, or None if there is none.

    Arguments and errors are those of `continue_family`.
    """
    for place in continue_family(problem, point, parameter, stop):
        if place.event == STABILITY or (place.event == FOLD and place.sign == 0):
            return place.value
    return None
