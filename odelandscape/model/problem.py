r"""The teacher-student problem: its state in weights and in order parameters, and the population loss.

Students $w_i$ with readouts $v_i$ learn a teacher $\sum_n v^*_n \sigma(w^*_n \cdot x)$ on inputs
$x \sim N(0, I_d)$. The loss depends on the weights through the order parameters alone,
$Q_{ij} = w_i \cdot w_j$, $R_{in} = w_i \cdot w^*_n$, $T_{nm} = w^*_n \cdot w^*_m$ (paper, Eq. 5).

Weights are written in a basis in which the teacher is $W^* = [\,L \;\; 0\,]$ with $T = LL^\top$: the
first M coordinates span the teacher, the others are its complement.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..activations.base import AbstractActivation
from ..activations.relu import ReLU
from ..runtime.errors import UserError


def check_whole_number(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def _floats(x) -> Array | None:
    return None if x is None else jnp.asarray(x, dtype=float)


def is_concrete(x: object) -> bool:
    return not isinstance(x, Tracer)


class Problem(eqx.Module):
    """A teacher with M units and a student with K.

    - `students`, `teachers`: K and M, at least 1. Static: another size is another program.
    - `teacher_overlaps`: T, (M, M), symmetric positive definite; None is the identity.
    - `teacher_readout`: v*, (M,), any sign; None is all ones.

    Raises ValueError naming the argument for sizes below 1, wrong shapes, or T not positive definite.
    """

    students: int = eqx.field(static=True)
    teachers: int = eqx.field(static=True)
    activation: AbstractActivation = ReLU()
    teacher_overlaps: Float[Array, "M M"] | None = None
    teacher_readout: Float[Array, " M"] | None = None

    def __init__(
        self,
        students: int,
        teachers: int,
        activation: AbstractActivation | None = None,
        teacher_overlaps=None,
        teacher_readout=None,
    ):
        self.students = check_whole_number("students", students, 1)
        self.teachers = check_whole_number("teachers", teachers, 1)
        self.activation = ReLU() if activation is None else activation
        if not isinstance(self.activation, AbstractActivation):
            raise UserError(
                f"activation must be an activation such as ol.ReLU(); got {activation!r}"
            )
        self.teacher_overlaps = _floats(teacher_overlaps)
        self.teacher_readout = _floats(teacher_readout)
        M = self.teachers
        T, v = self.teacher_overlaps, self.teacher_readout
        if T is not None and T.shape != (M, M):
            raise UserError(f"teacher_overlaps must have shape {(M, M)}; got {T.shape}")
        if v is not None and v.shape != (M,):
            raise UserError(f"teacher_readout must have shape {(M,)}; got {v.shape}")
        if T is not None and is_concrete(T):
            t = np.asarray(T)
            if not np.isfinite(t).all() or np.abs(t - t.T).max() > 1e-6 * np.abs(t).max():
                raise UserError("teacher_overlaps must be finite and symmetric")
            least = np.linalg.eigvalsh(t)[0]
            if least <= 0:
                raise UserError(
                    "teacher_overlaps must be positive definite; "
                    f"its smallest eigenvalue is {least:.3g}"
                )
        if v is not None and is_concrete(v) and not np.isfinite(np.asarray(v)).all():
            raise UserError("teacher_readout must be finite")

    @property
    def T(self) -> Float[Array, "M M"]:
        """Teacher overlaps, the identity unless given."""
        return jnp.eye(self.teachers) if self.teacher_overlaps is None else self.teacher_overlaps

    @property
    def readout(self) -> Float[Array, " M"]:
        """Teacher readout v*, ones unless given."""
        return jnp.ones(self.teachers) if self.teacher_readout is None else self.teacher_readout

    def teacher_weights(self, dimension: int) -> Float[Array, "M d"]:
        """W* = [L 0] with T = L Lᵀ."""
        L = (
            jnp.eye(self.teachers)
            if self.teacher_overlaps is None
            else jnp.linalg.cholesky(self.teacher_overlaps)
        )
        return jnp.pad(L, ((0, 0), (0, dimension - self.teachers)))


def check_dimension(problem: Problem, dimension: int | None) -> int:
    """The input dimension d: M unless given. Raises ValueError below M."""
    if dimension is None:
        return problem.teachers
    d = check_whole_number("dimension", dimension, 1)
    if d < problem.teachers:
        raise UserError(
            f"dimension must be at least the number of teachers, {problem.teachers}; got {d}"
        )
    return d
