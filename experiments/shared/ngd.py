"""Normalised gradient descent (nGD) with a surplus student: the levels of its end states, and the groups that
students form there."""

import numpy as np

import odelandscape as ol
from odelandscape.classify import align
from odelandscape.summary import FamilyRow

from .draw import representative, weights_of
from .shares import interval


def grouped(runs: ol.Sweep, family: FamilyRow) -> tuple[ol.OrderParameters, str | None]:
    """An end state of a family with its students and teachers in the order of its blocks, and these in
    words; as it is, and None, if students have left the teachers' span and there are no blocks."""
    state = representative(runs, family)
    try:
        structure = ol.block_structure(runs.problem, weights_of(runs, family.representative))
    except ValueError:
        return state, None
    students, teachers = structure.students, structure.teachers
    Q, R = state.Q[np.ix_(students, students)], state.R[np.ix_(students, teachers)]
    return ol.OrderParameters(Q, R, state.v[students]), ol.describe(structure.ansatz)


def reversed_pairs(state: ol.OrderParameters) -> int:
    """Students that are anti-aligned with the teacher that is theirs alone: the surplus student, which has
    none, is not counted."""
    R = np.asarray(state.R)
    order, teacher, _ = align(R, np.sqrt(np.diagonal(state.Q)))
    pairs = R.shape[1]
    return int((R[order[:pairs], teacher[:pairs]] < 0).sum())


def level_row(runs: ol.Sweep, family: FamilyRow) -> dict:
    """A level of a sweep with K = M + 1, for a table."""
    state, groups = grouped(runs, family)
    Q, R = np.asarray(state.Q), np.asarray(state.R)
    surplus = align(R, np.sqrt(np.diagonal(Q))).order[-1]
    outside = np.diagonal(Q - R @ R.T)  # squared lengths, as T is the identity
    return {
        "K": runs.problem.students,
        "M": runs.problem.teachers,
        "d": runs.dimension,
        "level": family.loss,
        "outcome": family.outcome.replace("_", " "),
        "share, % (95 %)": interval(family.count, len(runs)),
        "anti-aligned": family.anti_aligned,
        "of these in pairs": reversed_pairs(state),
        "teachers in groups: students": groups,
        "surplus student: length": round(float(np.sqrt(Q[surplus, surplus])), 6),
        "largest overlap": round(float(R[surplus].max()), 4),
        "smallest": round(float(R[surplus].min()), 4),
        "outside the span": round(float(np.sqrt(max(outside.max(), 0))), 4),
    }
