"""How a start can end, by name.

`diffrax.RESULTS` and `optimistix.RESULTS` say how an integration or a root search went; an outcome
says what the end state *is*. In arrays an outcome is its name (NumPy strings), so that files and
tables can be read without this package.
"""

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
