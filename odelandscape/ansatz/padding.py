"""The same weights in other numbers.

In blocks of one of few shapes few programs are compiled; in units of the readouts tolerances are relative.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .block_ansatz import AbstractBlocks, FormalBlocks, formal

_FEWEST_BLOCKS = 2


class Padding(NamedTuple):
    """Blocks padded to one of few shapes.

    - `blocks`: with P' ≥ P parameters.
    - `positions` (P,): which of them are the parameters of the ansatz that was padded.
    - `filling` (P',): the values of the others.
    """

    blocks: FormalBlocks
    positions: np.ndarray
    filling: np.ndarray

    def pad(self, z: Float[Array, "... P"]) -> Float[Array, "... N"]:
        """Return the parameters of the padded blocks."""
        filling = np.broadcast_to(self.filling, (*z.shape[:-1], len(self.filling)))
        source = len(self.positions) + np.arange(len(self.filling))
        source[self.positions] = np.arange(len(self.positions))
        return jnp.take(jnp.concatenate([z, filling], axis=-1), source, axis=-1)

    def strip(self, z: Float[Array, "... N"]) -> Float[Array, "... P"]:
        """Return the parameters of the ansatz that was padded."""
        return jnp.take(z, self.positions, axis=-1)


def padded(ansatz: AbstractBlocks) -> Padding:
    """Return the same weights in an ansatz of one of few shapes.

    Blocks of no units fill the teacher up to two blocks, and a free student stands in each block of
    one teacher as its matched student. Such blocks have parameters that no coefficient has: their
    multiplicity is 0, the loss doesn't depend on them and their rates are 0. Where teachers of a larger
    block have no student of their own or several, the ansatz stays as it is.
    """
    plain = formal(ansatz)
    B, matched = ansatz.sizes.shape[0], len(ansatz.matched)
    alone = [b for b in range(B) if b not in ansatz.matched]
    regular = len(set(ansatz.matched)) == matched and len(alone) <= ansatz.free
    if isinstance(ansatz.sizes, Tracer) or not (
        regular and np.all(np.asarray(ansatz.sizes)[alone] == 1)
    ):
        return Padding(plain, np.arange(ansatz.count), np.zeros(ansatz.count))
    n, free = max(B, _FEWEST_BLOCKS), ansatz.free - len(alone)
    rows = [*ansatz.matched, *alone, *range(n, n + free)]
    positions = list(ansatz.matched)
    for s, row in enumerate(rows):
        positions += [b if row == b and s >= matched else n + row * n + b for b in range(B)]
    filling = np.zeros(n + (n + free) * n)
    filling[B:n] = 1
    source = np.full(n + free, len(rows))
    source[rows] = np.arange(len(rows))
    blocks = FormalBlocks(
        matched=tuple(range(n)),
        free=free,
        sizes=jnp.pad(plain.sizes, (0, n - B)),
        activation=plain.activation,
        correlation=plain.correlation,
        readout=jnp.take(jnp.pad(plain.readout, (0, 1), constant_values=1), source),
        teacher_readout=jnp.pad(plain.teacher_readout, (0, n - B), constant_values=1),
    )
    return Padding(blocks, np.array(positions, int), filling)


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

    The loss is quadratic in all readouts, so they may be divided by a number. Where σ is positively
    homogeneous, v and v* are divided each by its own, which the students' lengths make good.
    """
    of_teacher, of_students = _largest(blocks.teacher_readout), _largest(blocks.readout)
    if blocks.activation.positively_homogeneous:
        scale = Scale(of_teacher / of_students, of_teacher**2)
    else:
        of_teacher = of_students = _largest(jnp.sqrt(of_teacher * of_students))
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


def _largest(values: Float[Array, "..."]) -> Float[Array, ""]:
    """Return the largest absolute value, 1 if all are 0. No derivative passes."""
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(values)), initial=0)
    return jnp.where(largest > 0, largest, 1.0)
