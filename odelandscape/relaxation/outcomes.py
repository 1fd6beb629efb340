"""Outcomes of a start, by name, and the table of end states.

`diffrax.RESULTS` and `optimistix.RESULTS` report how an integration or a root search went; an outcome
classifies the end state itself. In arrays an outcome is its name (NumPy strings), so that files and
tables can be read without this package. This module needs NumPy alone.
"""

from typing import NamedTuple

import numpy as np

GLOBAL_MINIMUM = "global_minimum"
LOCAL_MINIMUM = "local_minimum"
MARGINAL = "marginal"
SADDLE = "saddle"
NOT_CONVERGED = "not_converged"
FAILED = "failed"
OUTCOMES = (GLOBAL_MINIMUM, LOCAL_MINIMUM, MARGINAL, SADDLE, NOT_CONVERGED, FAILED)
"""Of a fixed point of loss 0; of another one by its second-order information: positive, too close to 0 to
decide, negative; of a start that has not come to one; of one whose numbers became infinite or undefined."""
LEVEL_WIDTH = 1e-7
"""End states whose losses are closer than this are one level."""
TEACHER_DISTANCE = 1e-6
"""Distance of students from teachers at which they are the teachers, where the loss is lost in rounding."""


class EndStates(NamedTuple):
    """End states of N starts, as NumPy arrays; see `relax`."""

    outcome: np.ndarray  # (N,) names from OUTCOMES
    loss: np.ndarray  # (N,)
    gradient_norm: np.ndarray  # (N,) Frobenius norm of the flow's rates
    smallest_eigenvalue: np.ndarray  # (N,) of the Hessian on the directions that count
    anti_aligned: np.ndarray  # (N,) students that point away from their teacher; −1: not defined
    time: np.ndarray  # (N,) at which the rates fell below 1e-3 for good; with noise, of its end
    evaluations: np.ndarray  # (N,) of the rates until then
    weights: np.ndarray  # (N, K, d)
    readout: np.ndarray  # (N, K)


def blank(count: int, students: int, dimension: int) -> EndStates:
    """Return end states to be filled in: all failed, with infinite losses and weights 0."""
    return EndStates(
        outcome=np.full(count, FAILED, dtype="<U14"),
        loss=np.full(count, np.inf),
        gradient_norm=np.full(count, np.inf),
        smallest_eigenvalue=np.full(count, np.inf),
        anti_aligned=np.zeros(count, int),
        time=np.zeros(count),
        evaluations=np.zeros(count, int),
        weights=np.zeros((count, students, dimension)),
        readout=np.zeros((count, students)),
    )
