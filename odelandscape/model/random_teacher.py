"""Problems whose teacher vectors are random, and therefore correlated."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ..runtime.arguments import check_key, check_memory, check_whole_number
from .problem import Problem, check_dimension


def random_teacher(
    key: PRNGKeyArray, teachers: int, dimension: int, activation=None, students: int | None = None
) -> Problem:
    """Return a problem whose teacher vectors are drawn from N(0, I_d / d), so that T = I + O(1/√d).

    The ensemble of the paper's Appendix C.

    - `key`: of the teacher vectors; `teachers`: M; `dimension`: d.
    - `activation`: ReLU unless given. `students`: K, as many as teachers unless given.

    Raises UserError for counts below 1, and for a dimension below the number of teachers, in which T would be
    singular.
    """
    check_key("key", key)
    check_whole_number("teachers", teachers, 1)
    K = teachers if students is None else students
    d = check_dimension(Problem(K, teachers), dimension)
    check_memory("teachers and dimension", "their weights", 8 * teachers * (d + teachers))
    rows = jax.random.normal(key, (teachers, d)) / np.sqrt(d)
    return Problem(K, teachers, activation, rows @ rows.T)
