r"""What rounding makes of the Hessian where units lie on one ray.

With a kink of σ at 0 the Hessian of student i has terms $|v_i a_l|\,\sin\theta_{il}\,|w_l|/|w_i|$ (over 2π
for ReLU). The sine comes from the overlaps: where these are rounded by ε, it is off by ε / sin θ, and by √ε
where two units are parallel, however small it ought to be.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..activations.base import AbstractActivation
from ..ansatz.ansatz_point import AnsatzPoint
from ..ansatz.block_ansatz import FormalBlocks, formal
from ..ansatz.padding import padded
from ..ansatz.reduced_loss import grouped_units
from ..model.problem import Problem

_COSINE = 8 * np.finfo(float).eps  # rounding of a cosine


@eqx.filter_jit
def _units_of_blocks(blocks: FormalBlocks, z: Float[Array, " P"]) -> tuple[Array, ...]:
    """Return a, lengths, overlaps and counts of `_rounding`, and the kink of σ."""
    units = grouped_units(blocks, z)
    apart, _ = units.pairs()
    size = jnp.maximum(jnp.asarray(units.member) @ units.size, 1)
    counts = jnp.maximum(apart / size[:, None], 0)
    return units.a, units.norm, units.off, counts, _kink(blocks.activation)


def weights_rounding(
    problem: Problem, W: Float[np.ndarray, "K d"], v: Float[np.ndarray, " K"]
) -> float:
    """Return an upper estimate of what the angles' rounding makes of an eigenvalue, at weights."""
    if problem.activation.smooth:
        return 0.0
    units = np.concatenate([W, np.asarray(problem.teacher_weights(W.shape[1]))])
    a = np.concatenate([v, np.asarray(problem.readout)])
    norm = np.linalg.norm(units, axis=1)
    others = 1 - np.eye(len(units))
    return _rounding(a, norm, units @ units.T, others, np.asarray(_kink(problem.activation)))


def ansatz_rounding(point: AnsatzPoint) -> float:
    """Return the same at a point of a block ansatz. The angles of a matched student with its own teacher are
    exact (`reduced_loss`), and count nothing."""
    if point.ansatz.activation.smooth:
        return 0.0
    padding = padded(formal(point.ansatz))
    numbers = _units_of_blocks(padding.blocks, padding.pad(point.parameters))
    return _rounding(*jax.device_get(numbers))


def _rounding(
    a: Float[np.ndarray, " U"],
    norm: Float[np.ndarray, " U"],
    overlaps: Float[np.ndarray, "U U"],
    counts: Float[np.ndarray, "U U"],
    kink: Float[np.ndarray, ""],
) -> float:
    """Return the largest sum over the units beside one, each counted so many times."""
    n = np.where(norm > 0, norm, 1)
    sine = np.sqrt(np.maximum(1 - (overlaps / np.outer(n, n)) ** 2, 0))
    with np.errstate(divide="ignore"):
        off = np.minimum(np.sqrt(_COSINE), _COSINE / sine)
    ratio = np.where((norm[:, None] > 0) & (norm > 0), np.maximum(n / n[:, None], 1), 0)
    rows = np.sum(counts * np.abs(np.outer(a, a)) * ratio * off, axis=1)
    return float(np.max(rows) * kink / np.pi)


def _kink(activation: AbstractActivation) -> Float[Array, ""]:
    """Return the square of the kink of σ at 0, 1 for ReLU; of one that has kinks elsewhere too its power."""
    if activation.positively_homogeneous:
        return jnp.sum(activation(jnp.array([-1.0, 1.0]))) ** 2
    one = jnp.ones(())
    return jnp.maximum(1.0, activation.second_moment(one, one, one))
