"""Blocks in units of their own, so that tolerances are relative to the teacher's scale."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .block_ansatz import FormalBlocks


class Scale(NamedTuple):
    """What one unit is worth: z of weights, and L of losses. A gradient's is their ratio."""

    weights: Float[Array, ""]
    loss: Float[Array, ""]

    @property
    def gradient(self) -> Float[Array, ""]:
        """What one unit of ∂L/∂W is worth."""
        return self.loss / self.weights


def in_unit_scale(blocks: FormalBlocks) -> tuple[FormalBlocks, Scale]:
    """Return the same blocks with readouts of order 1, and the scale of what is computed there.

    The loss is quadratic in all readouts, so both may be divided by a number. Where σ is positively homogeneous,
    the students' lengths take over what their readouts lose, and v and v* are divided each by its own.
    Scales are powers of two: no digit depends on them.
    """
    of_teacher, of_students = _power_of_two(blocks.teacher_readout), _power_of_two(blocks.readout)
    if blocks.activation.positively_homogeneous:
        scale = Scale(of_teacher / of_students, of_teacher**2)
    else:
        of_teacher = of_students = _power_of_two(jnp.sqrt(of_teacher * of_students))
        scale = Scale(jnp.ones(()), of_teacher**2)
    unit = FormalBlocks(
        blocks.matched,
        blocks.free,
        blocks.sizes,
        blocks.activation,
        blocks.correlation,
        blocks.readout / of_students,
        blocks.teacher_readout / of_teacher,
    )
    return unit, scale


def _power_of_two(values: Float[Array, "..."]) -> Float[Array, ""]:
    """Return the power of two closest to the largest absolute value; 1 if all are 0. A constant: no derivative
    passes."""
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(values)), initial=0)
    known = (largest > 0) & jnp.isfinite(largest)
    return jnp.where(known, jnp.exp2(jnp.round(jnp.log2(jnp.where(known, largest, 1)))), 1.0)
