"""Units in groups of interchangeable ones: the order parameters of a block-symmetric state."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class GroupedUnits(NamedTuple):
    """Units (students and teachers) in groups whose members are interchangeable, by their overlaps.

    A *type* of unit, one row here, stands for as many units as its group has members: the students
    matched to a block of teachers and these teachers are two types of one group. Sizes are numbers and may
    be real. Differences whose digits would be lost by cancellation are given as such: the norm minus the
    group's reference (a teacher's norm, where the group has teachers), and the squared distance of
    units of one group at the same index.
    """

    a: Float[Array, " U"]  # readouts; the teachers' with a minus
    member: np.ndarray  # (U, G) 1 where the type is in the group
    size: Float[Array, " G"]
    reference: np.ndarray  # (G,) norm that `excess` is measured from
    excess: Float[Array, " U"]  # |w| − reference of its group
    off: Float[Array, "U U"]  # overlaps at different indices
    same: Float[Array, "U U"]  # overlaps at the same index, for types of one group
    gap: Float[Array, "U U"]  # |w_u − w_u'|² at the same index, for types of one group
    total: Float[Array, ""]  # |Σ a_l w_l|² over all units

    @property
    def norm(self) -> Float[Array, " U"]:
        """The norm |w| of each type."""
        return self.excess + self.member @ self.reference

    def pairs(self) -> tuple[Float[Array, "U U"], Float[Array, "U U"]]:
        """Return the numbers of ordered pairs of each two types, at different indices and at equal ones."""
        size = jnp.asarray(self.member) @ self.size
        same = jnp.asarray(self.member @ self.member.T) * size[:, None]
        return size[:, None] * size[None, :] - same, same
