"""How a start can end, by name.

`diffrax.RESULTS` and `optimistix.RESULTS` say how an integration or a root search went; an outcome
says what the end state *is*. In arrays an outcome is its name (NumPy strings), so that files and
tables can be read without this package.
"""

from typing import NamedTuple

import numpy as np

GLOBAL_MINIMUM = "global_minimum"
LOCAL_MINIMUM = "local_minimum"
SADDLE = "saddle"
NOT_CONVERGED = "not_converged"
FAILED = "failed"
OUTCOMES = (GLOBAL_MINIMUM, LOCAL_MINIMUM, SADDLE, NOT_CONVERGED, FAILED)
MEANING = {
    GLOBAL_MINIMUM: "gradient ≤ 1e-10 and loss zero: the student equals the teacher",
    LOCAL_MINIMUM: "gradient ≤ 1e-10, loss above zero, no unstable direction",
    SADDLE: "gradient ≤ 1e-10 and a negative Hessian eigenvalue",
    NOT_CONVERGED: "still moving when its time ended",
    FAILED: "the numbers became infinite or undefined, or three workers were lost over them",
}
LEVEL_WIDTH = 1e-7
"""End states whose losses are closer than this are one level."""


class EndStates(NamedTuple):
    """What became of N starts, as NumPy arrays; see `relax`."""

    outcome: np.ndarray  # (N,) names from results.OUTCOMES
    loss: np.ndarray  # (N,)
    gradient_norm: np.ndarray  # (N,) Frobenius norm of the flow's rates
    smallest_eigenvalue: np.ndarray  # (N,) of the Hessian on the directions that count
    anti_aligned: np.ndarray  # (N,) number of students that point away from their teacher
    time: np.ndarray  # (N,) at which the rates fell below 1e-3 for good, or the start was given up
    evaluations: np.ndarray  # (N,) until then
    weights: np.ndarray  # (N, K, d)
    readout: np.ndarray  # (N, K)


def blank(count: int, students: int, dimension: int) -> EndStates:
    """End states to be filled in."""
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
