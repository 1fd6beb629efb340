r"""Branches of fixed points in one parameter, around folds, and where their stability changes.

The unknown is $X = (x, \mu)$: the parameters x of a block ansatz and one number of the problem, μ. A branch
is a curve in X, and is followed by its length (pseudo-arclength, Keller 1977): from a point, along the
tangent, then Newton's method across it (`corrector`). At a fold μ turns but the curve doesn't end, so nothing
is singular there.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import root_scalar

from ..ansatz.ansatz_point import AnsatzPoint
from ..ansatz.isotypic import hessian_spectrum
from ..model.problem import Problem, check_concrete
from ..runtime.arguments import (
    check_instance,
    check_number,
    check_positive_number,
    check_whole_number,
)
from ..runtime.errors import UserError
from .corrector import (
    CorrectedPoint,
    Numbers,
    ParameterLine,
    correct,
    parameter_line,
    row_lengths,
)
from .fixed_points import CONVERGED, FixedPoint, check_point, check_problem

FOLD, STABILITY = "fold", "stability"
AT_STOP, AT_DOMAIN_EDGE, STEP_TOO_SMALL, MOST_POINTS = "end", "domain", "stuck", "most"
LAST_EVENTS = (AT_STOP, AT_DOMAIN_EDGE, STEP_TOO_SMALL, MOST_POINTS)
_LARGEST_CONTRACTION = 0.25  # of Newton's corrections, else the step is refused
_SMALLEST_COSINE = 0.9  # between successive tangents
_LARGEST_CORRECTION = 0.5  # the first one, in steps
_FAST_CONTRACTION = 0.05  # below which the next step is longer
_SHORTEST_STEP = 1e-6  # of the longest
_ZERO_EIGENVALUE = 1e-7  # below which an eigenvalue is the one that vanishes at a fold


class BranchPoint(NamedTuple):
    """A point of a branch.

    - `value`: of the parameter. `point`: the fixed point there, its residual evaluated at its parameters.
    - `smallest_eigenvalue`, `component`: of the full Hessian, and the representation it belongs to.
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
        stability = f"smallest eigenvalue {self.smallest_eigenvalue:.4g} ({self.component})"
        event = f", {self.event}" if self.event else ""
        return (
            f"BranchPoint at {self.value:.10g}: loss {self.point.loss_text()}, {stability}{event}"
        )

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
        """The sign of the smallest eigenvalue; 0 if that is the one that vanishes at a fold."""
        if self.event == FOLD and abs(self.smallest_eigenvalue) < _ZERO_EIGENVALUE:
            return 0
        return int(np.sign(self.smallest_eigenvalue))


class _Branch(NamedTuple):
    """A branch of an ansatz along a line.

    `name` of its family; `limits`, values of the parameter that it doesn't pass, and their events;
    `locate`, whether folds and changes of stability are looked for.
    """

    line: ParameterLine
    name: str
    limits: dict[float, str]
    locate: bool

    def along(self, here: CorrectedPoint, length: float) -> CorrectedPoint:
        """Return the point in the plane across the tangent at this length from here."""
        return correct(self.line, here.X + length * here.tangent, here.across)

    def at_value(self, x: Float[Numbers, " P"], value: float, direction: float) -> CorrectedPoint:
        """Return the point near x at a value of the parameter; its rate has the sign of `direction`."""
        X = np.append(x, value)
        return correct(self.line, X, direction * np.eye(X.size)[-1])

    def to_branch_point(self, corrected: CorrectedPoint, event: str = "") -> BranchPoint:
        """Return a point as the user sees it, with its smallest eigenvalue."""
        numbers = corrected.loss, corrected.residual, corrected.steps, corrected.loss_error
        z = jnp.asarray(corrected.z)
        ansatz = self.line.at(corrected.value)
        eigenvalue, _, component = hessian_spectrum(ansatz, z)[0]
        point = FixedPoint(AnsatzPoint(ansatz, z, self.name), *map(jnp.asarray, numbers))
        return BranchPoint(corrected.value, point, eigenvalue, component, event)

    def zero(
        self,
        here: CorrectedPoint,
        new: CorrectedPoint,
        ends: tuple[float, float],
        test: Callable[[CorrectedPoint], float],
    ) -> CorrectedPoint:
        """Return where a test of points changes sign between two, at which it is `ends`."""
        length = float(here.across @ (new.X - here.X))
        known = {0.0: ends[0], length: ends[1]}

        def value(s):
            return known[s] if s in known else test(self.along(here, s))

        root = root_scalar(value, bracket=(0.0, length), method="brentq", xtol=1e-13).root
        return self.along(here, root)

    def fold(self, here: CorrectedPoint, new: CorrectedPoint) -> CorrectedPoint:
        """Return the fold between two points. The rate there is 0 but for rounding, and set to 0."""
        fold = self.zero(here, new, (here.rate, new.rate), lambda point: point.rate)
        mask = np.append(np.ones(fold.z.size), 0)
        return fold._replace(tangent=mask * fold.tangent, across=mask * fold.across)

    def stability_change(
        self, here: CorrectedPoint, new: CorrectedPoint, ends: tuple[BranchPoint, BranchPoint]
    ) -> BranchPoint:
        """Return where the smallest eigenvalue changes sign between two points."""
        before, after = (point.smallest_eigenvalue for point in ends)
        change = self.zero(
            here,
            new,
            (before, after),
            lambda point: self.to_branch_point(point).smallest_eigenvalue,
        )
        return self.to_branch_point(change, STABILITY)

    def step(
        self, here: CorrectedPoint, before: BranchPoint, length: float
    ) -> tuple[CorrectedPoint, list[BranchPoint]] | None:
        """Take a step from here, shorter if a fold or a limit is closer. Returns where it leads, and the
        points to report.

        None if it is refused: where Newton's method contracts slowly or goes far, or the branch bends
        much, the point may be one of another branch.
        """
        ahead = [limit for limit in self.limits if (limit - here.value) * here.rate > 0]
        limit = min(ahead, key=lambda limit: abs(limit - here.value), default=np.inf)
        reach = (limit - here.value) / here.rate if ahead else np.inf
        landing = reach < 1.2 * length
        if landing:
            x = (here.X + reach * here.tangent)[:-1]
            new = self.at_value(x, limit, here.rate)
        else:
            new = self.along(here, length)
        turned = here.rate * new.rate < 0
        if not (
            new.worst < _LARGEST_CONTRACTION
            and new.first < _LARGEST_CORRECTION * min(length, reach)
            and here.across @ new.tangent > _SMALLEST_COSINE
            and not (landing and turned)
        ):
            return None
        event = self.limits[limit] if landing else ""
        if turned and self.locate:
            new, event = self.fold(here, new), FOLD
        if any((limit - here.value) * (limit - new.value) < 0 for limit in self.limits):
            return None
        after = self.to_branch_point(new, event)
        points = [after]
        if self.locate and before.sign * after.sign < 0:
            points.insert(0, self.stability_change(here, new, (before, after)))
        if any(point.point.result != CONVERGED for point in points):
            return None
        return new, points

    def points(
        self, z: Float[Array, " P"], value: float, stop: float, longest: float, most: int
    ) -> Iterator[BranchPoint]:
        """Yield the points from z at `value` on, first towards `stop`."""
        x = row_lengths(self.line.at(value)) * z
        here = self.at_value(x, value, 1.0 if stop >= value else -1.0)
        if not here.worst < np.inf:
            raise UserError("point must not be at a fold: begin at one next to it")
        before = self.to_branch_point(here, AT_STOP if value == stop else "")
        yield before
        length, count = longest / 4, 1
        while before.event not in LAST_EVENTS:
            step = None
            while step is None and length > _SHORTEST_STEP * longest:
                step = self.step(here, before, length)
                if step is None:
                    length /= 3
            if step is None:
                yield before._replace(event=STEP_TOO_SMALL)
                return
            here, (*located, before) = step
            yield from located
            count += 1
            if count >= most and not before.event:
                before = before._replace(event=MOST_POINTS)
            yield before
            if here.worst < _FAST_CONTRACTION:
                length = min(1.5 * length, longest)


def _check_problem_of(problem: Problem, point: AnsatzPoint, parameter: str) -> None:
    """Raise UserError unless a point is one of this problem, at any value of the parameter.

    Sizes that are not whole are no problem's.
    """
    sizes = np.asarray(point.ansatz.sizes)
    if np.abs(sizes - np.round(sizes)).max() < 1e-9:
        check_point(problem, point, parameter)


def continue_family(
    problem: Problem,
    point: FixedPoint,
    parameter: str = "teachers",
    stop: float | int = 40.0,
    step: float = 0.1,
    most: int = 1000,
    locate: bool = True,
) -> Iterator[BranchPoint]:
    """Return the points of the branch through a fixed point, from there on, as an iterator.

    - `parameter`: `teachers` (M, with K − M and every block kept but the first that one block of students
      matches), `anti_aligned` (α of blocks M − α and α), `slope` (of leaky ReLU), `correlation` (c of
      T = (1 − c) I + c 11ᵀ). Numbers of units are real.
    - `stop`: the value at which the branch ends. It begins towards it; a fold may turn it away.
    - `step`: the longest, as a relative change of a student's weights and of the size that changes.
    - `most`: the largest number of points, located ones not counted.
    - `locate`: find folds and changes of stability between steps and return them too, in order.

    At sizes that are not whole a representation counts as soon as its dimension is above 0; where one
    begins to count with a negative eigenvalue, that is the change of stability.

    Raises UserError if the point isn't converged, not of this problem or at a fold, if it has no such
    parameter, if `stop` is outside its domain, and for a step or a number of points that isn't positive.
    """
    check_problem(problem)
    check_concrete("problem", problem)
    check_concrete("point", point)
    kind = "a fixed point, from ol.fixed_point(problem, ol.family(problem, 1)) or ol.families"
    check_instance("point", point, FixedPoint, kind)
    if point.result != CONVERGED:
        raise UserError(
            f"point must be converged; its gradient has norm {float(point.residual):.3g}, which must "
            f"be at most {point.tolerance:.3g}"
        )
    _check_problem_of(problem, point.ansatz_point, parameter)
    line, value, (low, high) = parameter_line(point.ansatz, parameter)
    stop = check_number("stop", stop)
    for name, number in (("stop", stop), ("point", value)):
        if not low <= number <= high:
            raise UserError(
                f"{name} must have {parameter} between {low:.7g} and {high:.7g}; got {number!r}"
            )
    check_positive_number("step", step)
    check_whole_number("most", most, 1)
    limits = {low: AT_DOMAIN_EDGE, high: AT_DOMAIN_EDGE} | {float(stop): AT_STOP}
    branch = _Branch(line, point.branch, limits, locate)
    return branch.points(point.z, value, float(stop), step, most)


def critical_value(
    problem: Problem, point: FixedPoint, parameter: str = "teachers", stop: float | int = 40.0
) -> float | None:
    """Return the parameter at the first change of stability along the branch, or None if there is none.

    Arguments and errors are those of `continue_family`.
    """
    for branch_point in continue_family(problem, point, parameter, stop):
        if branch_point.event == STABILITY or (
            branch_point.event == FOLD and branch_point.sign == 0
        ):
            return branch_point.value
    return None
