"""The loss of a block ansatz and its gradient flow, in the ansatz's parameters.

All costs depend on the number of blocks and not on their sizes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..activations.angles import norm
from ..activations.base import GroupedUnits
from ..activations.relu import as_leaky_relu
from .block_ansatz import AbstractBlocks
from .block_matrix import BlockMatrix


def block_overlaps(
    blocks: AbstractBlocks, z: Float[Array, " P"]
) -> tuple[BlockMatrix, BlockMatrix]:
    """Return Q and R of the students that z stands for, in blocks."""
    A = blocks.coefficients(z)
    R = A.times(blocks.teacher_overlaps, blocks.sizes)
    return R.times(A.T, blocks.sizes), R


def reduced_loss(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, ""]:
    """Return the population loss of the students that z stands for."""
    return blocks.activation.grouped_quadratic_form(grouped_units(blocks, z)) / 2


def loss_rounding(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, ""]:
    """Return an upper estimate of what rounding makes of `reduced_loss`: ε times the sum of its terms' sizes,
    |I2(u, w)| ≤ √(I2(u, u) I2(w, w)).

    Where differences are taken before sums (`ReLU.grouped_quadratic_form`), n units leave some n^−½ of that:
    at most a fifth of this estimate, on the named families up to K = 300.
    """
    Q, _ = block_overlaps(blocks, z)
    q = jnp.concatenate([jnp.diagonal(Q.diagonal), jnp.ones(blocks.sizes.shape[0])])
    a = jnp.concatenate([blocks.readout, blocks.teacher_readout])
    size = jnp.concatenate([blocks.student_sizes, blocks.sizes])
    power = jnp.maximum(blocks.activation.second_moment(q, q, q), 0)
    rounding = jnp.finfo(q.dtype).eps * (jnp.abs(size * a) @ norm(power)) ** 2
    differences = as_leaky_relu(blocks.activation) is not None
    return rounding / (2 * norm(jnp.sum(size))) if differences else rounding


@jax.custom_jvp
def reduced_rates(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, " P"]:
    """Return the rates of z under gradient flow: those of the lifted weights are their lift.

    With G the gradient in the coefficients, dA/dt = −G T⁻¹; an entry of G is the reduced loss's
    derivative over the entries that share the parameter.
    """
    n = blocks.multiplicity
    gradient = jax.grad(lambda z: reduced_loss(blocks, z))(z)
    gradient = jnp.where(n == 0, 0, gradient / jnp.where(n == 0, 1, n))
    rates = blocks.parameters_of(_times_inverse_overlaps(blocks, gradient))
    return jnp.where(n == 0, 0, -rates)


@reduced_rates.defjvp
def _reduced_rates_jvp(primals, tangents):
    # Derivatives of X and Y cost a tenth of the loss's second derivatives. Rates need the loss's last digits,
    # Newton's matrix does not.
    return reduced_rates(*primals), jax.jvp(_rates_by_matrices, primals, tangents)[1]


def _rates_by_matrices(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, " P"]:
    """Return `reduced_rates` from X and Y: fewer digits of them, as terms of order K cancel."""
    X, Y = rate_matrices(blocks, *block_overlaps(blocks, z))
    rates = X.times(blocks.coefficients(z), blocks.student_sizes).plus(Y)
    return jnp.where(blocks.multiplicity == 0, 0, -blocks.parameters_of(rates))


def gradient_norm(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, ""]:
    """Return the Frobenius norm of the full gradient in the weights, ∂L/∂W."""
    rates = reduced_rates(blocks, z)
    return jnp.sqrt(2 * jnp.maximum(half_square_norm(blocks, rates), 0))


def half_square_norm(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, ""]:
    """Return ½|W|² of the lifted weights: the scalar product of weight space, in the parameters."""
    Q, _ = block_overlaps(blocks, z)
    return blocks.student_sizes @ jnp.diagonal(Q.diagonal) / 2


def parameter_lengths(blocks: AbstractBlocks) -> Float[Array, " P"]:
    """Return the length in weight space of each parameter's direction, for orthonormal teachers; 1 where a
    parameter has no coefficient."""
    n = blocks.multiplicity
    return jnp.where(n > 0, norm(n), 1)


def rate_matrices(
    blocks: AbstractBlocks, Q: BlockMatrix, R: BlockMatrix
) -> tuple[BlockMatrix, BlockMatrix]:
    """Return X (students by students) and Y (students by teachers) of gradient flow, Ẇ = −X W − Y W*, at
    these overlaps; see `flows.gradient`."""
    S = blocks.own.shape[0]
    T = blocks.teacher_overlaps
    q = jnp.concatenate([jnp.diagonal(Q.diagonal), jnp.diagonal(T.diagonal)])
    a = jnp.concatenate([blocks.readout, -blocks.teacher_readout])
    # Which types share an index: equal ones, and those of one group.
    groups = np.concatenate([blocks.own, np.eye(blocks.own.shape[1])])
    shared = np.maximum(blocks.own @ groups.T, np.eye(S, len(groups)))
    apart, together = (
        jnp.concatenate(pair, axis=1) for pair in ((Q.const, R.const), (Q.diagonal, R.diagonal))
    )
    p, s = blocks.activation.mixing_scalars(q[:S, None], apart, q[None, :])
    p_same, s_same = blocks.activation.mixing_scalars(
        q[:S, None], jnp.where(shared > 0, together, apart), q[None, :]
    )
    size = jnp.concatenate([blocks.student_sizes, blocks.sizes])
    stretch = (p * size[None, :] + shared * (p_same - p)) @ a
    vv = blocks.readout[:, None] * a[None, :]
    const, same = vv * s, vv * shared * (s_same - s)
    same = same + jnp.pad(jnp.diag(blocks.readout * stretch), ((0, 0), (0, len(groups) - S)))
    return BlockMatrix(const[:, :S], same[:, :S]), BlockMatrix(const[:, S:], same[:, S:])


def _times_inverse_overlaps(blocks: AbstractBlocks, g: Float[Array, " P"]) -> BlockMatrix:
    """Return G T⁻¹."""
    c, B = blocks.correlation, blocks.sizes.shape[0]
    share = -c / ((1 - c) * (1 + c * (jnp.sum(blocks.sizes) - 1)))
    inverse = BlockMatrix(jnp.broadcast_to(share, (B, B)), jnp.eye(B) / (1 - c))
    return blocks.coefficients(g).times(inverse, blocks.sizes)


def grouped_units(blocks: AbstractBlocks, z: Float[Array, " P"]) -> GroupedUnits:
    """Return all students and teachers by their overlaps."""
    own = blocks.own
    S, B = own.shape
    matched_count = len(blocks.matched)
    A, T, m = blocks.coefficients(z), blocks.teacher_overlaps, blocks.sizes
    W = BlockMatrix(
        jnp.concatenate([A.const, jnp.zeros((B, B))]),
        jnp.concatenate([A.same, jnp.eye(B)]),
    )
    R = W.times(T, m)
    Q = R.times(W.T, m)
    # Groups: the teacher blocks with the students matched to them, then each free student alone.
    alone = np.zeros((S + B, blocks.free))
    alone[np.arange(matched_count, S), np.arange(blocks.free)] = 1
    matched = np.concatenate([own, np.eye(B)])
    # What separates a unit from its teacher; a free student from nothing. A diagonal less 1 is exact.
    less = blocks.coefficients(z.at[:matched_count].add(-1))
    shift = BlockMatrix(W.const, jnp.concatenate([less.same, jnp.zeros((B, B))]))
    away = shift.times(T, m)
    square = jnp.diagonal(Q.diagonal)
    n = norm(square)
    of_pairs = away.times(shift.T, m).diagonal
    own_gap = jnp.diagonal(of_pairs)
    along = jnp.sum(matched * away.diagonal, axis=1)
    excess = jnp.where(matched.sum(axis=1) > 0, (own_gap + 2 * along) / (n + 1), n)
    v, w = blocks.readout, blocks.teacher_readout
    # Σ v A − v* for each teacher: what is missing of its linear part.
    net = (v * blocks.student_sizes) @ A.const + v @ less.same + (v @ own - w)
    c = blocks.correlation
    return GroupedUnits(
        a=jnp.concatenate([v, -w]),
        member=np.concatenate([matched, alone], axis=1),
        size=jnp.concatenate([m, jnp.ones(blocks.free)]),
        reference=np.concatenate([np.ones(B), np.zeros(blocks.free)]),
        excess=excess,
        off=Q.const,
        same=Q.diagonal,
        gap=own_gap[:, None] + own_gap[None, :] - 2 * of_pairs,
        total=(1 - c) * (m @ net**2) + c * (m @ net) ** 2,
    )
