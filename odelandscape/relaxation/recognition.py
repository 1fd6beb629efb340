"""What stopped lanes are, as far as a compiled program can say it, for many at once.

Near a minimum each teacher's strongest student is its own, so that the order of a point follows from
comparisons. The few points where that is not so count as unknown here: they go on, and are recognised with
smaller rates or by a Newton finish, whose end is the same.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..flows.base import AbstractFlow
from ..landscape.local_geometry import speeds_and_losses
from ..model.alignment import inverse_permutation, order_by_overlap, strongest_pairs
from ..model.problem import Problem
from .catalogue import BASIN_FRACTION, READOUT_TOLERANCE, KnownMinimum
from .newton import GRADIENT_TOLERANCE, NEWTON_RADIUS

NO_MINIMUM, CLOSED_FORM = -1, -2
"""In place of the number of a known minimum: none, and one in closed form."""
_CAPACITY = 256
_LARGEST = 2**21  # entries of all known minima together


class KnownPoints(NamedTuple):
    """The known minima of a catalogue, or the first of them, for compiled programs: those before `size`."""

    y: Float[Array | np.ndarray, "C K D"]
    basin: Float[Array | np.ndarray, " C"]  # radius of the ball whose points belong to it
    size: Int[Array | np.ndarray, ""]

    @classmethod
    def of(cls, minima: list[KnownMinimum], students: int, width: int) -> "KnownPoints":
        """Return the arrays, of a size that does not depend on how many minima are known."""
        size = max(1, min(_CAPACITY, _LARGEST // (students * width)))
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
