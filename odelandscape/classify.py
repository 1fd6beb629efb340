"""Which family an end state belongs to.

Permuting students changes no network, so end states are first aligned: each teacher is given one
student so that the sum of absolute overlaps is largest (paper, Appendix B.1). A student is
*anti-aligned* if its overlap with its teacher is negative. The number of anti-aligned students and
the level of the loss name the family.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from . import results
from .stability import SILENT

LEVEL_WIDTH = 1e-7
"""End states whose losses are closer than this are one level."""


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
    surplus = np.setdiff1d(np.arange(len(R)), students)
    strongest = np.argmax(np.abs(R[surplus]), axis=1) if len(surplus) else np.zeros(0, int)
    order = np.concatenate([students, surplus])
    teacher = np.concatenate([teachers, strongest])
    loud = norms[order] > SILENT
    teacher = np.where(loud, teacher, -1)
    anti = loud & (R[order, teacher] < 0)
    return Alignment(order, teacher, int(anti.sum()))


def count_anti_aligned(R: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """The number of anti-aligned students in each of N end states; R (N, K, M), norms (N, K)."""
    return np.array([align(r, n).anti_aligned for r, n in zip(R, norms, strict=True)], dtype=int)


class Family(NamedTuple):
    """A level of the loss: which end states reach it, and one of them to look at."""

    outcome: str
    anti_aligned: int
    loss: float
    count: int
    smallest_eigenvalue: float
    representative: int  # index of its first seed
    members: np.ndarray


def families(
    outcome: np.ndarray, anti_aligned: np.ndarray, loss: np.ndarray, smallest: np.ndarray
) -> list[Family]:
    """Group converged end states by outcome, anti-aligned students and loss level, lowest loss first.

    All global minima are one family: overparameterised students reach zero loss in many ways.
    """
    found: list[Family] = []

    def add(members: np.ndarray) -> None:
        members = np.sort(members)
        first = int(members[0])
        found.append(
            Family(
                str(outcome[first]),
                int(anti_aligned[first]),
                float(loss[first]),
                len(members),
                float(smallest[members].min()),
                first,
                members,
            )
        )

    zero = np.flatnonzero(outcome == results.GLOBAL_MINIMUM)
    if len(zero):
        add(zero)
    for name in (results.LOCAL_MINIMUM, results.SADDLE):
        for alpha in np.unique(anti_aligned[outcome == name]):
            index = np.flatnonzero((outcome == name) & (anti_aligned == alpha))
            index = index[np.argsort(loss[index], kind="stable")]
            cuts = np.flatnonzero(np.diff(loss[index]) > LEVEL_WIDTH) + 1
            for members in np.split(index, cuts):
                add(members)
    return sorted(found, key=lambda family: (family.loss, family.outcome))
