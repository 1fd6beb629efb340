r"""The teacher-student problem: activation, sizes, teacher overlaps and teacher readout.

Students $w_i$ with readouts $v_i$ learn a teacher $\sum_n v^*_n \sigma(w^*_n \cdot x)$ on inputs
$x \sim N(0, I_d)$. The loss depends on the weights through the order parameters alone,
$Q_{ij} = w_i \cdot w_j$, $R_{in} = w_i \cdot w^*_n$, $T_{nm} = w^*_n \cdot w^*_m$ (paper, Eq. 5).

Weights are written in a basis in which the teacher is $W^* = [\,L \;\; 0\,]$ with $T = LL^\top$: the
first M coordinates span the teacher, the others are its complement.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..activations.base import AbstractActivation
from ..activations.relu import ReLU
from ..runtime.arguments import check_instance, check_real_numbers, check_whole_number, shown
from ..runtime.errors import UserError

PROBLEM = "a problem such as ol.Problem(3, 3)"
"""What messages say that an argument must be."""


def is_concrete(x: object) -> bool:
    """Return whether x, of whichever structure, holds no tracer of `jit`, `vmap` or `grad`."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(x))


def check_concrete(name: str, x: object) -> None:
    """Raise UserError, naming the argument, for one that holds tracers."""
    if not is_concrete(x):
        raise UserError(f"{name} must be numbers, and is traced by jit, vmap or grad")


def _real_array(name: str, x: Any) -> Array:
    if is_concrete(x):
        x = check_real_numbers(name, x, "an array of real numbers")
    return jnp.asarray(x, dtype=float)


def _checked_overlaps(T: Any, M: int) -> Float[Array, "M M"]:
    T = _real_array("teacher_overlaps", T)
    if T.shape != (M, M):
        raise UserError(f"teacher_overlaps must have shape {(M, M)}; got {T.shape}")
    if is_concrete(T):
        t = np.asarray(T)
        if not np.isfinite(t).all() or np.abs(t - t.T).max() > 1e-6 * np.abs(t).max():
            raise UserError(
                f"teacher_overlaps must be finite and symmetric; got {shown(t.tolist())}"
            )
        least = np.linalg.eigvalsh(t)[0]
        if least <= 0:
            raise UserError(
                "teacher_overlaps must be positive definite; "
                f"its smallest eigenvalue is {least:.3g}"
            )
    return T


def _checked_readout(v: Any, M: int) -> Float[Array, " M"]:
    v = _real_array("teacher_readout", v)
    if v.shape != (M,):
        raise UserError(f"teacher_readout must have shape {(M,)}; got {v.shape}")
    if is_concrete(v) and not np.isfinite(np.asarray(v)).all():
        raise UserError(f"teacher_readout must be finite; got {shown(np.asarray(v).tolist())}")
    return v


class Problem(eqx.Module):
    """A teacher network of M units and a student network of K.

    - `students`, `teachers`: K and M, at least 1. Static: another size is another program.
    - `teacher_overlaps`: T, (M, M), symmetric positive definite; None is the identity.
    - `teacher_readout`: v*, (M,), any sign; None is all ones.

    Raises UserError, naming the argument, for sizes below 1, wrong shapes, T not positive definite, or
    teachers too long for the activation (`AbstractActivation.accurate_at`).
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
        allowed = "an activation such as ol.ReLU()"
        check_instance("activation", self.activation, AbstractActivation, allowed)
        T, v, M = teacher_overlaps, teacher_readout, self.teachers
        self.teacher_overlaps = None if T is None else _checked_overlaps(T, M)
        self.teacher_readout = None if v is None else _checked_readout(v, M)
        if self.teacher_overlaps is not None and is_concrete((T, self.activation)):
            lengths = np.sqrt(np.diagonal(np.asarray(T, float)))  # numbers under `jit`, too
            check_lengths("teacher_overlaps", self, float(lengths.max()), float(lengths.min()))

    @property
    def T(self) -> Float[Array, "M M"]:
        """The teacher overlaps, the identity unless given."""
        return jnp.eye(self.teachers) if self.teacher_overlaps is None else self.teacher_overlaps

    @property
    def readout(self) -> Float[Array, " M"]:
        """The teacher readout v*, ones unless given."""
        return jnp.ones(self.teachers) if self.teacher_readout is None else self.teacher_readout

    def teacher_weights(self, dimension: int) -> Float[Array, "M d"]:
        """Return W* = [L 0] with T = L Lᵀ, in `dimension` ≥ M coordinates."""
        L = (
            jnp.eye(self.teachers)
            if self.teacher_overlaps is None
            else jnp.linalg.cholesky(self.teacher_overlaps)
        )
        return jnp.pad(L, ((0, 0), (0, dimension - self.teachers)))


def check_lengths(name: str, problem: Problem, *lengths: float) -> None:
    """Raise UserError, naming the argument, if the activation's moments are not accurate at these lengths."""
    for length in lengths:
        if not problem.activation.accurate_at(length):
            raise UserError(
                f"{name} must have {'shorter' if length > 1 else 'longer'} units: at the length {length:.3g} "
                "the error of the activation's integrals is above its tolerance; a larger one may be given "
                "(ol.Quadrature(…, tolerance=1e-4))"
            )


def check_dimension(problem: Problem, dimension: int | None) -> int:
    """Return the input dimension d, M unless given. Raises UserError unless it is a whole number ≥ M."""
    check_instance("problem", problem, Problem, PROBLEM)
    if dimension is None:
        return problem.teachers
    d = check_whole_number("dimension", dimension, 1)
    if d < problem.teachers:
        raise UserError(
            f"dimension must be at least the number of teachers, {problem.teachers}; got {d}"
        )
    return d
