r"""Minima found before, so that a start that comes close to one of them needs no Hessian of its own.

Permuting the students, or the teachers of an orthonormal teacher, changes neither a flow nor a loss. Ten
thousand starts therefore end in few points, each in many orders, and one Hessian serves all that end in
one. A start belongs to a known minimum if, permuted into its order, it is within a small fraction of the
smallest eigenvalue λ of it: the Hessian of a ReLU network changes by about the distance it is moved (0.5 to
0.9 times that at K = 6 to 17; where a unit is longer, by less), so within λ/10 it is positive definite, the
ball is convex, and the flow from anywhere in it ends in its middle. That is what Newton's method would find.

With more students than teachers, the global minima are sets, and known in closed form
(`closed_form_minimum`).

`KnownPoints` are the known minima for compiled programs; `recognise` looks stopped lanes up there, many at
once. Near a minimum each teacher's strongest student is its own, so that the order of a point follows from
comparisons. The few points where that is not so count as unknown: they go on, and are recognised with smaller
rates or by a Newton finish, whose end is the same.
"""

import threading
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..flows.base import AbstractFlow
from ..landscape.local_geometry import speeds_and_losses
from ..model.alignment import (
    Order,
    align,
    inverse_permutation,
    order_by_overlap,
    strongest_pairs,
)
from ..model.problem import Problem
from ..runtime.arguments import shown
from ..runtime.errors import UserError
from .newton import GRADIENT_TOLERANCE, NEWTON_RADIUS

BASIN_FRACTION = 0.1
"""Distance over smallest eigenvalue below which a point belongs to a minimum."""
ISOLATED_EIGENVALUE = 1e-3
"""Smallest eigenvalue of a minimum from which it is isolated, and is entered."""
READOUT_TOLERANCE = 1e-14
"""Difference within which readouts are the same."""
_MAX_MINIMA = 256
_DIGITS = 4  # of the point that a known minimum is solved from
_ENTRY_TOLERANCE = 1e-10  # within which entries of a minimum are equal but for rounding
NO_MINIMUM, CLOSED_FORM = -1, -2
"""In place of the number of a known minimum: none, and one in closed form."""
_LARGEST = 2**21  # entries of all known minima together


class KnownMinimum(NamedTuple):
    """A certified minimum in its own order."""

    y: Float[np.ndarray, "K D"]  # [W | v]
    outcome: str
    loss: float
    gradient_norm: float
    smallest_eigenvalue: float


def shares_minima(problem: Problem, flow: AbstractFlow) -> bool:
    """Return whether starts of this problem and flow may take over minima of other starts.

    They may where any permutation of teachers leaves the problem as it is and the flow is equivariant under
    it, each teacher has a student, the activation is positively homogeneous (curvatures then change as said
    above), minima do not lie in families of equal networks, as they do where the readout is trained, and no
    noise keeps the flow from them.
    """
    equal_teachers = problem.teacher_overlaps is None and problem.teacher_readout is None
    enough_students = problem.students >= problem.teachers
    symmetric = equal_teachers and flow.permutation_equivariant
    homogeneous = problem.activation.positively_homogeneous
    excluded = flow.trains_readout or flow.stochastic
    return symmetric and enough_students and homogeneous and not excluded


def closed_form_minima(problem: Problem, flow: AbstractFlow) -> bool:
    """Return whether global minima of more students than teachers are taken from their closed form.

    A flow that fixes the students' norms does not reach them. Any other flow for which minima are shared is
    assumed to end at the minimum that it has come close to, if that is one of its own stationary states: its
    rates and the loss are evaluated there before it is accepted (`EndStateClassifier`).
    """
    surplus = problem.students > problem.teachers
    return surplus and shares_minima(problem, flow) and not flow.preserves_norms


def rounded(y: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "K D"]:
    """Return the first digits of weights [W | v]: a minimum that is solved from there does not depend on the
    start that reached it."""
    return np.concatenate([np.round(y[:, :-1], _DIGITS), y[:, -1:]], axis=1)


def merge_equal_entries(y: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "K D"]:
    """Return y, with numbers that are equal but for rounding made equal.

    Students that a symmetry makes alike then are so to the last bit: in whichever order a start takes them,
    it ends in the same numbers.
    """
    values, places = np.unique(y, return_inverse=True)
    run = np.cumsum(np.diff(values, prepend=values[0]) > _ENTRY_TOLERANCE)
    return (np.bincount(run, values) / np.bincount(run))[run][places].reshape(y.shape)


def _equal(a: object, b: object) -> bool:
    """Return whether two pytrees have the same structure and numbers, in whichever arrays."""
    (x, one), (y, other) = jax.tree.flatten(a), jax.tree.flatten(b)
    return one == other and all(map(np.array_equal, x, y))


@final
class Catalogue:
    """The known minima of one problem, one flow and one dimension. Threads may share it.

    - `problem`, `flow`: whose minima. `dimension`: of the first starts that it is used for, None until then.
    - `enabled`: whether minima are looked up and entered (`shares_minima`).
    - `closed_form`: whether those of surplus students are used as well (`closed_form_minima`).
    - `minima`: those entered so far. Enter others with `lock` held.
    """

    def __init__(self, problem: Problem, flow: AbstractFlow):
        self.problem, self.flow = problem, flow
        self.dimension: int | None = None
        self.teachers = problem.teachers
        self.minima: list[KnownMinimum] = []
        self.lock = threading.Lock()
        self.enabled = shares_minima(problem, flow)
        self.closed_form = closed_form_minima(problem, flow)

    def of(self, problem: Problem, flow: AbstractFlow, dimension: int) -> "Catalogue":
        """Return this catalogue, for starts of this dimension.

        Raises UserError if it is that of another problem or flow, or has been used in another dimension.
        """
        with self.lock:
            known = self.dimension or dimension
            for what, own, given in (
                ("problem", self.problem, problem),
                ("flow", self.flow, flow),
                ("dimension", known, dimension),
            ):
                if not _equal(own, given):
                    raise UserError(
                        f"catalogue must be one of the same {what}: its own is {shown(own)}, and minima of "
                        f"{shown(given)} are sought; give a new one, Catalogue(problem, flow), or none"
                    )
            self.dimension = known
        return self

    def order(self, y: Float[np.ndarray, "n K D"]) -> Order:
        """Return the order of each point, (n, K) and (n, M): teachers by the overlap with the student that
        `align` gives them, students like their teachers, surplus ones after, long ones first."""
        R, norms = (
            np.moveaxis(y[:, :, : self.teachers], 0, -1),
            np.linalg.norm(y[:, :, :-1], axis=2).T,
        )
        pairs, clear = strongest_pairs(R)
        for n in np.flatnonzero(~clear):
            own = align(R[:, :, n], norms[:, n]).order[: self.teachers]
            pairs[:, :, n] = own == np.arange(len(R))[:, None]
        order = order_by_overlap(R, norms, pairs)
        return Order(order.students.T, order.teachers.T)

    def permute(self, y: Float[np.ndarray, "n K D"], order: Order) -> Float[np.ndarray, "n K D"]:
        """Return the points in these orders."""
        return np.take_along_axis(
            np.take_along_axis(y, np.asarray(order.students)[:, :, None], 1),
            self._columns(y, order),
            2,
        )

    def unpermute(self, y: Float[np.ndarray, "n K D"], order: Order) -> Float[np.ndarray, "n K D"]:
        """Undo `permute`."""
        back = Order(np.argsort(order.students, 1), np.argsort(order.teachers, 1))
        return self.permute(y, back)

    def _columns(self, y: Float[np.ndarray, "n K D"], order: Order) -> Int[np.ndarray, "n 1 D"]:
        rest = np.arange(self.teachers, y.shape[2])
        rest = np.broadcast_to(rest, (len(y), len(rest)))
        return np.concatenate([order.teachers, rest], axis=1)[:, None, :]

    def nearest(self, ordered: Float[np.ndarray, "n K D"]) -> Int[np.ndarray, " n"]:
        """Return the number of the known minimum that each point (in its order) belongs to, −1 if none.

        Readouts, which no flow here moves, must be the same: another readout has other minima.
        """
        found = np.full(len(ordered), -1)
        for number, known in enumerate(self.minima):
            away = ordered - known.y
            inside = np.linalg.norm(away, axis=(1, 2)) <= BASIN_FRACTION * known.smallest_eigenvalue
            found[inside & (np.abs(away[:, :, -1]).max(axis=1) <= READOUT_TOLERANCE)] = number
        return found

    def add(self, known: KnownMinimum) -> None:
        """Enter a minimum, given in its own order, unless it is known or not isolated."""
        new = self.nearest(known.y[None])[0] < 0
        isolated = known.smallest_eigenvalue >= ISOLATED_EIGENVALUE
        if new and isolated and len(self.minima) < _MAX_MINIMA:
            self.minima.append(known)


class KnownPoints(NamedTuple):
    """The known minima of a catalogue, or the first of them, for compiled programs: those before `size`."""

    y: Float[Array | np.ndarray, "C K D"]
    basin: Float[Array | np.ndarray, " C"]  # radius of the ball whose points belong to it
    size: Int[Array | np.ndarray, ""]

    @classmethod
    def of(cls, minima: list[KnownMinimum], students: int, width: int) -> "KnownPoints":
        """Return the arrays, of a size that does not depend on how many minima are known."""
        size = max(1, min(_MAX_MINIMA, _LARGEST // (students * width)))
        y, basin = np.zeros((size, students, width)), np.zeros(size)
        count = min(size, len(minima))
        for place, known in enumerate(minima[:count]):
            y[place], basin[place] = known.y, BASIN_FRACTION * known.smallest_eigenvalue
        return cls(y, basin, np.asarray(count))


class Recognised(NamedTuple):
    """Of n points: the known minimum that each belongs to, or `NO_MINIMUM`; that minimum in the order of the
    point; and whether a known minimum is within `NEWTON_RADIUS`."""

    number: Int[Array, " n"]
    minimum: Float[Array, "K D n"]
    close: Bool[Array, " n"]


def recognise(known: KnownPoints, teachers: int, y: Float[Array, "K D n"]) -> Recognised:
    """Return which of n points (lanes on the last axis) are beside a known minimum, and which one."""
    _, D, n = y.shape
    R, norms = y[:, :teachers], jnp.sqrt(jnp.sum(y[:, :-1] ** 2, axis=1))
    pairs, clear = strongest_pairs(R)
    students, teacher_order = order_by_overlap(R, norms, pairs)
    rest = jnp.broadcast_to(jnp.arange(teachers, D)[:, None], (D - teachers, n))
    columns = jnp.concatenate([teacher_order, rest])
    ordered = jnp.take_along_axis(y, students[:, None], axis=0)
    ordered = jnp.take_along_axis(ordered, columns[None], axis=1)

    def compare(number, found):
        own, close = found
        away = ordered - known.y[number][:, :, None]
        distance = jnp.sqrt(jnp.sum(jnp.sum(away * away, axis=1), axis=0))
        same = clear & (jnp.max(jnp.abs(away[:, -1]), axis=0) <= READOUT_TOLERANCE)
        basin = known.basin[number]
        own = jnp.where(same & (distance <= basin), number, own)
        return own, close | (same & (distance <= jnp.maximum(basin, NEWTON_RADIUS)))

    none = jnp.full(n, NO_MINIMUM, jnp.int32), jnp.zeros(n, bool)
    own, close = jax.lax.fori_loop(jnp.int32(0), known.size.astype(jnp.int32), compare, none)
    # Back into the order of the point: place p of the minimum is student `students[p]`.
    minimum = jnp.moveaxis(known.y[jnp.maximum(own, 0)], 0, -1)
    minimum = jnp.take_along_axis(minimum, inverse_permutation(students)[:, None], axis=0)
    minimum = jnp.take_along_axis(minimum, inverse_permutation(columns)[None], axis=1)
    return Recognised(own, minimum, close)


def closed_form_minimum(teachers: int, y: Float[Array, "K D n"]) -> Float[Array, "K D n"]:
    """Return a global minimum in closed form beside each of n points: each student carried to the ray of the
    teacher it overlaps most, and all on one ray lengthened until they are this teacher together."""
    R, v = y[:, :teachers], y[:, -1]
    own = R == jnp.max(R, axis=1, keepdims=True)
    length = jnp.where(own, jnp.maximum(R, 0), 0)
    together = jnp.sum(v[:, None] * length, axis=0)
    length = length / jnp.where(together > 0, together, jnp.inf)[None]
    return jnp.concatenate([length, jnp.zeros_like(y[:, teachers:-1]), v[:, None]], axis=1)


class ClosedForm(NamedTuple):
    """Of n points: whether the minimum in closed form beside each is its end state, and that minimum."""

    reached: Bool[Array, " n"]
    minimum: Float[Array, "K D n"]
    speed: Float[Array, " n"]
    loss: Float[Array, " n"]


def reach_closed_form(
    flow: AbstractFlow, problem: Problem, zero: Float[Array, ""], y: Float[Array, "K D n"]
) -> ClosedForm:
    """Return which of n points are within `NEWTON_RADIUS` of a global minimum in closed form.

    Its loss is then below that of any other fixed point that has been found, so the flow ends close by.

    - `zero`: the loss up to which a teacher counts as reproduced (`model.loss.zero_loss`).
    """
    minimum = closed_form_minimum(problem.teachers, y)
    away = minimum - y
    distance = jnp.sqrt(jnp.sum(jnp.sum(away * away, axis=1), axis=0))
    speed, loss = speeds_and_losses(flow, problem, jnp.moveaxis(minimum, -1, 0))
    stationary = (speed <= GRADIENT_TOLERANCE) & (loss <= zero)
    return ClosedForm((distance <= NEWTON_RADIUS) & stationary, minimum, speed, loss)
