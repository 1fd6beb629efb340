r"""Minima found before, so that a start that comes close to one of them needs no Hessian of its own.

Permuting the students, or the teachers of an orthonormal teacher, changes neither a flow nor a loss. Ten
thousand starts therefore end in few points, each in many orders, and one Hessian serves all that end in
one. A start belongs to a known minimum if, permuted into its order, it is within a small fraction of the
smallest eigenvalue λ of it: the Hessian of a ReLU network changes by about the distance it is moved (0.5 to
0.9 times that at K = 6 to 17; where a unit is longer, by less), so within λ/10 it is positive definite, the
ball is convex, and the flow from anywhere in it ends in its middle. That is what Newton's method would find.

With more students than teachers, the global minima are sets, and known in closed form
(`recognition.closed_form_minimum`).
"""

import threading
from typing import NamedTuple, final

import jax
import numpy as np
from jaxtyping import Float, Int

from ..flows.base import AbstractFlow
from ..model.alignment import Order, align, order_by_overlap, strongest_pairs
from ..model.problem import Problem
from ..runtime.arguments import shown
from ..runtime.errors import UserError

BASIN_FRACTION = 0.1
"""Distance over smallest eigenvalue below which a point belongs to a minimum."""
ISOLATED_EIGENVALUE = 1e-3
"""Smallest eigenvalue of a minimum from which it is isolated, and is entered."""
READOUT_TOLERANCE = 1e-14
"""Difference within which readouts are the same."""
_MAX_MINIMA = 256
_DIGITS = 4  # of the point that a known minimum is solved from
_ENTRY_TOLERANCE = 1e-10  # within which entries of a minimum are equal but for rounding


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
