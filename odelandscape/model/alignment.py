"""Alignment of students to teachers, and the number of anti-aligned students (paper, Appendix B.1)."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

INACTIVE_NORM = 1e-6
"""A student whose |w| is below this is inactive: its direction is rounding."""


class Alignment(NamedTuple):
    """The teacher of each student.

    - `order` (K,): students in the order of their teachers, surplus ones (K > M) after;
    - `teacher` (K,): the teacher of each student of `order`, −1 for an inactive student;
    - `anti_aligned`: the number of active students whose overlap with their teacher is negative.
    """

    order: np.ndarray
    teacher: np.ndarray
    anti_aligned: int


def align(R: np.ndarray, norms: np.ndarray) -> Alignment:
    """Align students to teachers by the assignment that maximises Σ |R|.

    - `R` (K, M): overlaps of students with teachers;
    - `norms` (K,): the students' |w|.

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
    anti = active & (R[order, teacher] < 0)
    return Alignment(order, teacher, int(anti.sum()))


def count_anti_aligned(R: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Return the number of anti-aligned students in each of N end states; `R` (N, K, M), `norms` (N, K)."""
    return np.array([align(r, n).anti_aligned for r, n in zip(R, norms, strict=True)], dtype=int)
