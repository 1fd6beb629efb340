"""Q and R block by block: the numbers that stand in each block."""

from typing import NamedTuple

import numpy as np

import odelandscape as ol
from odelandscape.ansatz.detection import BlockStructure
from odelandscape.sweeps.summary import FamilyRow

from .draw import weights_of


class Part(NamedTuple):
    """A block of Q or R: rows and columns as blocks of students or teachers, and where its entries are, in
    row and column order of the whole matrix: the diagonal's (none where its units aren't matched) and the
    others'."""

    matrix: str
    row: int
    column: int
    name: str
    diagonal: tuple[np.ndarray, np.ndarray]
    rest: tuple[np.ndarray, np.ndarray]

    def of(self, state: ol.OrderParameters) -> tuple[np.ndarray, np.ndarray]:
        """The diagonal's entries and the others."""
        values = np.asarray(getattr(state, self.matrix))
        return values[self.diagonal], values[self.rest]


def grouped(runs: ol.Sweep, family: FamilyRow) -> tuple[ol.OrderParameters, ol.AnsatzPoint | None]:
    """Return an end state of a family, its students and teachers in the order of its blocks, and the point of
    their ansatz; the state as it is, and None, if students have left the teachers' span and have no blocks.
    """
    weights = weights_of(runs, family.representative)
    state = ol.overlaps(runs.problem, weights)
    try:
        structure = ol.block_structure(runs.problem, weights)
    except ol.UserError:
        return state, None
    return ordered(state, structure), structure.point


def ordered(state: ol.OrderParameters, structure: BlockStructure) -> ol.OrderParameters:
    """Return a state with its students and teachers in the order of the blocks of a structure."""
    i, n = structure.students, structure.teachers
    return ol.OrderParameters(state.Q[np.ix_(i, i)], state.R[np.ix_(i, n)], state.v[i])


def student_names(point: ol.AnsatzPoint) -> list[str]:
    """Each block of students of a point in words, such as "15 aligned"."""
    ansatz, (_, R) = point.ansatz, point.block_overlaps
    const, diagonal = np.asarray(R.const), np.asarray(R.diagonal)
    names: list[str] = []
    for s, size in enumerate(np.asarray(ansatz.student_sizes)):
        matched = s < len(ansatz.matched)
        strongest = const[s, np.argmax(np.abs(const[s]))]
        overlap = diagonal[s, ansatz.matched[s]] if matched else strongest
        kind = "anti-aligned" if overlap < 0 else "aligned" if matched else "extra"
        same = sum(name.startswith(f"{size:g} {kind}") for name in names)
        names.append(f"{size:g} {kind}" + "′" * same)
    return names


def parts(point: ol.AnsatzPoint) -> list[Part]:
    """The blocks of Q (upper triangle) and of R, in the order in which a point is written out."""
    ansatz = point.ansatz
    students = [round(n) for n in np.asarray(ansatz.student_sizes).tolist()]
    teachers = [round(n) for n in np.asarray(ansatz.sizes).tolist()]
    names = student_names(point)
    # Students matched to the same teachers, and these teachers, are counted alike.
    group = [*ansatz.matched, *(-1 - f for f in range(ansatz.free))]
    found = []
    for s in range(len(students)):
        for t in range(s, len(students)):
            at = _entries(students, students, s, t, group[s] == group[t])
            found.append(Part("Q", s, t, f"{names[s]} × {names[t]}", *at))
    for s in range(len(students)):
        for b in range(len(teachers)):
            at = _entries(students, teachers, s, b, group[s] == b)
            found.append(Part("R", s, b, f"{names[s]} × {_teachers(teachers[b])}", *at))
    return found


def _teachers(count: int) -> str:
    return f"{count} teacher{'s' if count > 1 else ''}"


def _entries(rows: list[int], columns: list[int], r: int, c: int, matched: bool):
    i, j = np.indices((rows[r], columns[c]))
    at_diagonal = (i == j) & matched
    i, j = i + sum(rows[:r]), j + sum(columns[:c])
    return (i[at_diagonal], j[at_diagonal]), (i[~at_diagonal], j[~at_diagonal])
