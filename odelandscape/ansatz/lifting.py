"""The full weights and order parameters that a block ansatz stands for, and back.

Students and teachers are in the order of their blocks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Shaped

from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from .block_ansatz import AbstractBlocks
from .block_matrix import BlockMatrix

LARGEST_LIFT = 2**26
"""Matrices with more numbers than this are not written out."""


def lift(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Weights:
    """Return the weights (d = M) of parameters z, in the basis of `Weights`.

    Raises UserError where sizes are not whole, or students and teachers too many to be written out.
    """
    W = write_matrix(blocks, blocks.coefficients(z))
    L = _teacher_weights(blocks)
    return Weights(W @ L, blocks.readout[_labels(blocks).student])


def restrict(blocks: AbstractBlocks, weights: Weights) -> Float[Array, " P"]:
    """Return the parameters of weights ordered like those of `lift`: the mean over the coefficients that
    share a parameter. Coordinates beyond the teachers are left out. Raises what `lift` raises."""
    M = len(_labels(blocks).teacher)
    L = _teacher_weights(blocks)
    A = jax.scipy.linalg.solve_triangular(L.T, weights.W[:, :M].T, lower=False).T
    return blocks.parameters_of(block_means(blocks, A))


def block_means(blocks: AbstractBlocks, A: Shaped[Any, "K M"]) -> BlockMatrix:
    """Return the matrix in blocks whose numbers are means over entries of A. Raises what `lift` raises."""
    student, i, teacher, j = _labels(blocks)
    S, B = blocks.own.shape
    by_student, by_teacher = np.eye(S)[student], np.eye(B)[teacher]
    own = by_student @ blocks.own @ by_teacher.T > 0
    equal = own & (i[:, None] == j[None, :])
    const, diagonal = (
        (by_student.T @ (A * entries) @ by_teacher)
        / np.maximum(by_student.T @ entries @ by_teacher, 1)
        for entries in (1.0 - equal, 1.0 * equal)
    )
    return BlockMatrix(const, blocks.own * (diagonal - const))


def write_matrix(blocks: AbstractBlocks, A: BlockMatrix) -> Shaped[Any, "K M"]:
    """Return a matrix of students by teachers written out. Raises what `lift` raises."""
    student, i, teacher, j = _labels(blocks)
    at = np.ix_(student, teacher)
    return A.const[at] + 1.0 * (i[:, None] == j[None, :]) * A.same[at]


def write_overlaps(blocks: AbstractBlocks, Q: BlockMatrix, R: BlockMatrix) -> OrderParameters:
    """Return order parameters written out. Raises what `lift` raises."""
    student, i, _, _ = _labels(blocks)
    at = np.ix_(student, student)
    same = jnp.where(i[:, None] == i[None, :], Q.same[at], 0)
    return OrderParameters(Q.const[at] + same, write_matrix(blocks, R), blocks.readout[student])


def whole_sizes(blocks: AbstractBlocks) -> tuple[int, ...]:
    """Return the sizes of the teacher blocks as integers. Raises UserError where they are not, or where the
    students and teachers are too many to be written out."""
    if isinstance(blocks.sizes, Tracer):
        raise UserError(
            "block sizes must be numbers to be lifted, and are traced by jit, vmap or grad"
        )
    sizes = np.asarray(blocks.sizes)
    if np.abs(sizes - np.round(sizes)).max() > 1e-9:
        raise UserError(f"only whole block sizes can be lifted; got {sizes.tolist()}")
    students = blocks.students
    if students * max(students, sizes.sum()) > LARGEST_LIFT:
        raise UserError(
            f"{students:.0f} students of {sizes.sum():.0f} teachers are too many to be written out; "
            "the parameters hold the same information"
        )
    return tuple(round(size) for size in sizes)


class _Labels(NamedTuple):
    """Block and index in its group of each student, and of each teacher."""

    student: Int[np.ndarray, " K"]
    i: Int[np.ndarray, " K"]
    teacher: Int[np.ndarray, " M"]
    j: Int[np.ndarray, " M"]


def _labels(blocks: AbstractBlocks) -> _Labels:
    sizes = whole_sizes(blocks)
    of_students = [sizes[b] for b in blocks.matched] + [1] * blocks.free
    student = np.repeat(np.arange(len(of_students)), of_students)
    teacher = np.repeat(np.arange(len(sizes)), sizes)
    i = np.concatenate([np.arange(n) for n in of_students])
    j = np.concatenate([np.arange(n) for n in sizes])
    return _Labels(student, i, teacher, j)


def _teacher_weights(blocks: AbstractBlocks) -> Float[Array, "M M"]:
    """Return L with T = L Lᵀ: the teachers in the coordinates of `Weights`."""
    M = sum(whole_sizes(blocks))
    c = blocks.correlation
    if not isinstance(c, Tracer) and float(c) == 0:
        return jnp.eye(M)
    return jnp.linalg.cholesky((1 - c) * jnp.eye(M) + c)
