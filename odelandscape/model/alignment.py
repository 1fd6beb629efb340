"""Alignment of students to teachers, and the number of anti-aligned students (paper, Appendix B.1).

The number α compares directions. It means something where a student and its negative are different networks.

- Odd σ: (w, v) and (−w, −v) are one student. So the overlap counts with the sign of v v*, as if all readouts
  were made positive.
- Even σ: w and −w are one student, and α is not defined.
- Any other σ: a student is anti-aligned if its overlap with its teacher is negative, whatever the readouts.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from .problem import Problem

NOT_DEFINED = -1
"""In arrays: the number of anti-aligned students where it is not defined."""
_NO_OVERLAP = 1e-9
"""A part of the largest overlap: one below it has the sign of rounding, and none."""
INACTIVE_NORM = 1e-6
"""A student whose |w| is below this is inactive: its direction is rounding."""


class Alignment(NamedTuple):
    """The teacher of each student.

    - `order` (K,): students in the order of their teachers, surplus ones (K > M) after;
    - `teacher` (K,): the teacher of each student of `order`, −1 for an inactive student;
    - `anti_aligned`: the number of active students whose signed overlap with their teacher is negative.
    """

    order: np.ndarray
    teacher: np.ndarray
    anti_aligned: int


def align(R: np.ndarray, norms: np.ndarray, sign: np.ndarray | float = 1.0) -> Alignment:
    """Align students to teachers by the assignment that maximises Σ |R|.

    - `R` (K, M): overlaps of students with teachers;
    - `norms` (K,): the students' |w|;
    - `sign` (K, M): with which each overlap counts, see `overlap_sign`.

    A surplus student (K > M) is assigned to the teacher with which its |R| is largest.
    """
    students, teachers = linear_sum_assignment(-np.abs(R))
    by_teacher = np.argsort(teachers)
    students, teachers = students[by_teacher], teachers[by_teacher]
    free = np.ones(len(R), bool)
    free[students] = False
    surplus = np.flatnonzero(free)
    strongest = np.argmax(np.abs(R[surplus]), axis=1) if len(surplus) else np.zeros(0, int)
    order = np.concatenate([students, surplus])
    teacher = np.concatenate([teachers, strongest])
    active = norms[order] > INACTIVE_NORM
    teacher = np.where(active, teacher, -1)
    smallest = _NO_OVERLAP * np.abs(R).max(initial=0)
    anti = active & ((sign * R)[order, teacher] < -smallest)
    return Alignment(order, teacher, int(anti.sum()))


class Order(NamedTuple):
    """The student and the teacher at each place of an order, of many networks."""

    students: Int[Array | np.ndarray, "K *n"]
    teachers: Int[Array | np.ndarray, "M *n"]


def strongest_pairs(
    R: Float[Array | np.ndarray, "K M n"],
) -> tuple[Bool[Array | np.ndarray, "K M n"], Bool[Array | np.ndarray, " n"]]:
    """Return which pairs of n networks have the largest |R| of their teacher (for K < M, of their student),
    and for which networks these pairs are the assignment that maximises Σ |R|.

    They are where no unit is in two of them: no assignment has larger terms. Written with operators alone,
    for NumPy and inside `jit`.
    """
    size = abs(R)
    pairs = size == size.max(axis=0 if len(R) >= R.shape[1] else 1, keepdims=True)
    of_teacher, of_student = pairs.sum(axis=0), pairs.sum(axis=1)
    one = (of_teacher <= 1).all(axis=0) & (of_student <= 1).all(axis=0)
    return pairs, one & (pairs.sum(axis=(0, 1)) == min(R.shape[:2]))


def order_by_overlap(
    R: Float[Array | np.ndarray, "K M n"],
    norms: Float[Array | np.ndarray, "K n"],
    pairs: Bool[Array | np.ndarray, "K M n"],
) -> Order:
    """Return the order of n networks (K ≥ M) with these pairs: teachers by the overlap with their student,
    students like their teachers, surplus ones after, long ones first.

    Written with operators alone, like `strongest_pairs`.
    """
    teachers = _places((pairs.astype(R.dtype) * R).sum(axis=0))
    assigned = pairs.any(axis=1)
    own = (pairs.astype(teachers.dtype) * teachers[None]).sum(axis=1)
    # Longer than any other: then those without a teacher have the places from M on.
    longer = 1 + norms.max(axis=0, keepdims=True)
    surplus = _places(norms + assigned.astype(norms.dtype) * longer)
    students = own + (~assigned).astype(own.dtype) * surplus
    return Order(inverse_permutation(students), inverse_permutation(teachers))


def inverse_permutation(
    index: Int[Array | np.ndarray, "m n"],
) -> Int[Array | np.ndarray, "m n"]:
    """Return the inverse of n permutations of m."""
    place = np.arange(len(index))
    found = index[None] == place[:, None, None]
    return (found.astype(index.dtype) * place[None, :, None]).sum(axis=1)


def _places(x: Float[Array | np.ndarray, "m n"]) -> Int[Array | np.ndarray, "m n"]:
    """The place of each number among its column's, largest first, equal ones as they stand."""
    index = np.arange(len(x))
    earlier = (index[:, None] < index)[:, :, None]
    ahead = (x[:, None] > x[None]) | ((x[:, None] == x[None]) & earlier)
    return ahead.sum(axis=0)


def overlap_sign(problem: Problem, v: np.ndarray) -> np.ndarray | float:
    """Return the sign with which overlaps R (…, K, M) count: that of v v* if σ is odd, else 1.

    `v` (…, K) are the students' readouts.
    """
    if not problem.activation.odd:
        return 1.0
    return np.sign(v)[..., :, None] * np.sign(np.asarray(problem.readout))


def count_anti_aligned(
    problem: Problem, R: np.ndarray, norms: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Return the number of anti-aligned students in each of N end states, `NOT_DEFINED` for an even σ.

    Teachers of readout 0 have no students.

    `R` (N, K, M), `norms` (N, K), and the students' readouts `v` (N, K).
    """
    if problem.activation.even:
        return np.full(len(R), NOT_DEFINED)
    counts = np.asarray(problem.readout) != 0  # a unit of readout 0 is no teacher
    if not counts.any():
        return np.zeros(len(R), int)
    signs = np.broadcast_to(overlap_sign(problem, v), R.shape)[..., counts]
    R = R[..., counts]
    pairs, clear = strongest_pairs(np.moveaxis(R, 0, -1))
    anti = np.zeros(len(R), int)
    pairs = np.moveaxis(np.asarray(pairs), -1, 0)[clear]
    anti[clear] = _count_in_pairs(R[clear], norms[clear], signs[clear], pairs)
    for n in np.flatnonzero(~clear):
        anti[n] = align(R[n], norms[n], signs[n]).anti_aligned
    return anti


def _count_in_pairs(
    R: np.ndarray, norms: np.ndarray, signs: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """The numbers that `align` finds, of n networks with these pairs."""
    overlap = signs * R
    strongest = np.argmax(np.abs(R), axis=2)[:, :, None]
    surplus = np.take_along_axis(overlap, strongest, 2)[:, :, 0]
    overlap = np.where(pairs.any(axis=2), (pairs * overlap).sum(axis=2), surplus)
    smallest = _NO_OVERLAP * np.abs(R).max(axis=(1, 2))
    return ((norms > INACTIVE_NORM) & (overlap < -smallest[:, None])).sum(axis=1)


def alpha_text(anti_aligned: int | None) -> str:
    """Return α as it is printed: – where it is not defined."""
    return "–" if anti_aligned is None or anti_aligned == NOT_DEFINED else str(anti_aligned)
