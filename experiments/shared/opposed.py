"""Students that point away from teachers: which end states have some, and whether they oppose only one."""

import numpy as np

import odelandscape as ol
from odelandscape.classify import align
from odelandscape.summary import FamilyRow

from .draw import representative
from .ngd import grouped
from .shares import interval

_SAME = 1e-6  # overlaps that are closer are one


def opposed(state: ol.OrderParameters) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps with all teachers (n, M) and with their own (n,) of the students that are anti-aligned: the
    overlap with the teacher that they are assigned to is negative."""
    R = np.asarray(state.R)
    order, teacher, _ = align(R, np.sqrt(np.diagonal(state.Q)))
    own = R[order, teacher]
    return R[order[own < 0]], own[own < 0]


def single(state: ol.OrderParameters) -> int:
    """Students that are anti-aligned and overlap with no other teacher as strongly."""
    overlaps, own = opposed(state)
    return int((np.abs(overlaps).max(axis=1, initial=0) <= np.abs(own) + _SAME).sum())


def rows(runs: ol.Sweep) -> list[dict]:
    """The families of a sweep with as many students as teachers, for a table."""
    found = []
    for family in runs.summary().families:
        state, groups = grouped(runs, family)
        overlaps, own = opposed(state)
        lowest = overlaps.min(initial=np.inf)
        row: dict = {
            "activation": type(runs.problem.activation).__name__,
            "K = M": runs.problem.students,
            "end": family.outcome.replace("_", " "),
            "loss": family.loss,
            "starts": family.count,
            "share % (95 %)": interval(family.count, len(runs)),
            "smallest eigenvalue": round(family.smallest_eigenvalue, 5),
            "groups of teachers: students": groups,
            "anti-aligned": len(own),
            "most against its own": single(state),
            "overlap with its own": round(float(own.min()), 4) if len(own) else None,
            "lowest overlap": round(float(lowest), 4) if len(own) else None,
            "with teachers": None,
            "highest": round(float(overlaps.max()), 4) if len(own) else None,
        }
        if len(own):
            row["with teachers"] = int((overlaps[own.argmin()] < lowest + _SAME).sum())
        found.append(row)
    return found


def shares(runs: ol.Sweep) -> tuple[str, str]:
    """Of the starts those that end with anti-aligned students, and with such as oppose their own most."""
    families = runs.summary().families
    states = [representative(runs, family) for family in families]
    some = sum(f.count for f, state in zip(families, states, strict=True) if len(opposed(state)[1]))
    one = sum(f.count for f, state in zip(families, states, strict=True) if single(state))
    return interval(some, len(runs)), interval(one, len(runs))


def panel(runs: ol.Sweep, family: FamilyRow, name: str) -> tuple[str, ol.OrderParameters]:
    """A family's caption, and an end state in the order of its blocks."""
    state, _ = grouped(runs, family)
    loss = "0" if family.outcome == "global_minimum" else f"{family.loss:.6f}"
    return f"{name}\nL = {loss}\n{100 * family.fraction:.3g} % of starts", state
