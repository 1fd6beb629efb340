r"""Which student belongs to which teacher, and which of them point away from it (paper, Appendix B.1)."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

INACTIVE_NORM = 1e-6
"""A student shorter than this has no direction to speak of."""


class Alignment(NamedTuple):
    """`order` (K,): students in the order of their teachers, surplus ones after; `teacher` (K,): the
    teacher each of those has, −1 if none (K > M and silent); `anti_aligned`: how many point away."""

    order: np.ndarray
    teacher: np.ndarray
    anti_aligned: int


def align(R: np.ndarray, norms: np.ndarray) -> Alignment:
    """Align students to teachers by assignment on |R|.

    `R` (K, M) are the overlaps and `norms` (K,) the students' lengths. A surplus student (K > M) is
    counted with the teacher it overlaps most with.
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
    loud = norms[order] > INACTIVE_NORM
    teacher = np.where(loud, teacher, -1)
    anti = loud & (R[order, teacher] < 0)
    return Alignment(order, teacher, int(anti.sum()))


def count_anti_aligned(R: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """The number of anti-aligned students in each of N end states; R (N, K, M), norms (N, K)."""
    return np.array([align(r, n).anti_aligned for r, n in zip(R, norms, strict=True)], dtype=int)
