r"""Minima met before, so that a start that comes close to one of them needs no certificate of its own.

Permuting the students, or the teachers of an orthonormal teacher, changes neither a flow nor a loss. Ten
thousand starts therefore end in few points, each in many orders, and one Hessian serves all that end in
one. A start belongs to a known minimum if, put into its order, it is within a small fraction of the smallest
eigenvalue λ of it: the Hessian of a ReLU network changes by about the distance it is moved (0.5 to 0.9 times
that at K = 6 to 17; where a unit is longer, by less), so within λ/10 it is positive definite, the ball is
convex, and the flow from anywhere in it ends in its middle. That is what Newton's method would find.

With more students than teachers, the global minima are sets, and known in closed form (`on_rays`).
"""

import threading
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..flows.base import AbstractFlow
from ..flows.gradient import GradientFlow
from ..flows.two_layer import TwoLayerFlow
from ..model.alignment import align
from ..model.problem import Problem

NEAR = 0.1
"""Distance over smallest eigenvalue below which a point belongs to a minimum."""
ISOLATED = 1e-3
"""Smallest eigenvalue of a minimum that is worth knowing."""
_MOST = 256  # minima that are known
_DIGITS = 4  # of the point that a known minimum is solved from
_EQUAL = 1e-14  # readouts
_TIED = 1e-10  # numbers of a minimum that are equal but for rounding


class Order(NamedTuple):
    """Which student and which teacher comes where, for each of n points."""

    students: Int[np.ndarray, "n K"]
    teachers: Int[np.ndarray, "n M"]


class KnownMinimum(NamedTuple):
    """A certified minimum in its own order."""

    y: Float[np.ndarray, "K D"]  # [W | v]
    outcome: str
    loss: float
    gradient_norm: float
    smallest_eigenvalue: float


def applies(problem: Problem, flow: AbstractFlow) -> bool:
    """Whether any permutation of teachers leaves the problem as it is, each has a student, curvatures change
    as said above, and minima don't lie in families of equal networks."""
    same = problem.teacher_overlaps is None and problem.teacher_readout is None
    wide = problem.students >= problem.teachers
    single = not isinstance(flow, TwoLayerFlow)
    return same and wide and single and problem.activation.positively_homogeneous


def rounded(y: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "K D"]:
    """The first digits of weights [W | v]: a minimum that is solved from there doesn't remember by which
    start it was met."""
    return np.concatenate([np.round(y[:, :-1], _DIGITS), y[:, -1:]], axis=1)


def merge_equal_entries(y: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "K D"]:
    """y, with numbers that are equal but for rounding made equal.

    Students that a symmetry makes alike then are so to the last bit: in whichever order a start takes them,
    it ends in the same numbers.
    """
    values, places = np.unique(y, return_inverse=True)
    run = np.cumsum(np.diff(values, prepend=values[0]) > _TIED)
    return (np.bincount(run, values) / np.bincount(run))[run][places].reshape(y.shape)


class Catalogue:
    """The minima of one problem and one flow that are known so far."""

    def __init__(self, problem: Problem, flow: AbstractFlow):
        self.teachers = problem.teachers
        self.known: list[KnownMinimum] = []
        self.learning = threading.Lock()
        self.open = applies(problem, flow)
        # Flows that keep lengths don't end there.
        surplus = problem.students > problem.teachers
        self.rays = self.open and surplus and isinstance(flow, GradientFlow)

    def order(self, y: Float[np.ndarray, "n K D"]) -> Order:
        """The order of each point: teachers by the overlap with the student that `align` gives them,
        students like their teachers, surplus ones after, long ones first."""
        M = self.teachers
        students, teachers = [], []
        for R, norms in zip(y[:, :, :M], np.linalg.norm(y[:, :, :-1], axis=2), strict=True):
            aligned = align(R, norms).order
            own, rest = aligned[:M], aligned[M:]
            by_overlap = np.argsort(-R[own, np.arange(M)], kind="stable")
            by_length = np.argsort(-norms[rest], kind="stable")
            students.append(np.concatenate([own[by_overlap], rest[by_length]]))
            teachers.append(by_overlap)
        return Order(np.array(students, int), np.array(teachers, int))

    def put(self, y: Float[np.ndarray, "n K D"], order: Order) -> Float[np.ndarray, "n K D"]:
        """Points in these orders."""
        return np.take_along_axis(
            np.take_along_axis(y, order.students[:, :, None], 1), self._columns(y, order), 2
        )

    def put_back(self, y: Float[np.ndarray, "n K D"], order: Order) -> Float[np.ndarray, "n K D"]:
        """The inverse of `put`."""
        back = Order(np.argsort(order.students, 1), np.argsort(order.teachers, 1))
        return self.put(y, back)

    def _columns(self, y: Float[np.ndarray, "n K D"], order: Order) -> Int[np.ndarray, "n 1 D"]:
        rest = np.arange(self.teachers, y.shape[2])
        rest = np.broadcast_to(rest, (len(y), len(rest)))
        return np.concatenate([order.teachers, rest], axis=1)[:, None, :]

    def nearest(
        self, ordered: Float[np.ndarray, "n K D"], reach: float = 0.0
    ) -> Int[np.ndarray, " n"]:
        """Which known minimum each point (in its order) belongs to, or is within `reach` of; −1 if none.

        Readouts, which no flow here moves, must be the same: another readout has other minima.
        """
        found = np.full(len(ordered), -1)
        for number, known in enumerate(self.known):
            away = ordered - known.y
            near = np.linalg.norm(away, axis=(1, 2)) <= max(reach, NEAR * known.smallest_eigenvalue)
            found[near & (np.abs(away[:, :, -1]).max(axis=1) <= _EQUAL)] = number
        return found

    def close(self, y: Float[np.ndarray, "n K D"], reach: float) -> np.ndarray:
        """Which points are within `reach` of a known minimum, and may come to belong to it."""
        close = np.zeros(len(y), bool)
        sound = np.flatnonzero(np.isfinite(y).all(axis=(1, 2)))
        if self.known and len(sound):
            some = y[sound]
            close[sound] = self.nearest(self.put(some, self.order(some)), reach) >= 0
        return close

    def add(self, known: KnownMinimum) -> None:
        """Enter a minimum, given in its own order, unless it is known or not isolated."""
        new = self.nearest(known.y[None])[0] < 0
        if new and known.smallest_eigenvalue >= ISOLATED and len(self.known) < _MOST:
            self.known.append(known)

    def on_rays(self, y: Float[np.ndarray, "n K D"]) -> Float[np.ndarray, "n K D"]:
        """Each student carried to the ray of the teacher it overlaps most, and all on one ray lengthened
        until they are this teacher together: a global minimum, in closed form."""
        M = self.teachers
        R, v = y[:, :, :M], y[:, :, -1]
        own = np.argmax(R, axis=2)[:, :, None] == np.arange(M)
        length = np.where(own, np.maximum(R, 0), 0)
        together = np.einsum("ni,nim->nm", v, length)[:, None, :]
        points = np.zeros_like(y)
        points[:, :, :M] = length / np.where(together > 0, together, np.inf)
        points[:, :, -1] = v
        return points

    def near_rays(self, y: Float[np.ndarray, "n K D"], reach: float) -> np.ndarray:
        """Which points are within `reach` of such a minimum, where there are more students than teachers.

        Its loss is then below that of any other fixed point that has been met, so the flow ends close by.
        """
        if not self.rays or not len(y):
            return np.zeros(len(y), bool)
        return np.linalg.norm(self.on_rays(y) - y, axis=(1, 2)) <= reach
