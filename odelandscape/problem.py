r"""The teacher-student problem: its state in weights and in order parameters, and the population loss.

Students $w_i$ with readouts $v_i$ learn a teacher $\sum_n v^*_n \sigma(w^*_n \cdot x)$ on inputs
$x \sim N(0, I_d)$. The loss depends on the weights through the order parameters alone,
$Q_{ij} = w_i \cdot w_j$, $R_{in} = w_i \cdot w^*_n$, $T_{nm} = w^*_n \cdot w^*_m$ (paper, Eq. 5).

Weights are written in a basis in which the teacher is $W^* = [\,L \;\; 0\,]$ with $T = LL^\top$: the
first M coordinates span the teacher, the others are its complement.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from .activations import AbstractActivation, ReLU


def _count(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def _floats(x) -> Array | None:
    return None if x is None else jnp.asarray(x, dtype=float)


def _concrete(x: object) -> bool:
    return not isinstance(x, Tracer)


def check_float64(why: str) -> None:
    """Raises ValueError, beginning with `why`, unless JAX computes in float64."""
    if not jax.config.read("jax_enable_x64"):
        raise ValueError(
            f"{why}, which float32 cannot give: call "
            'jax.config.update("jax_enable_x64", True) before anything else'
        )


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
        self.students = _count("students", students, 1)
        self.teachers = _count("teachers", teachers, 1)
        self.activation = ReLU() if activation is None else activation
        if not isinstance(self.activation, AbstractActivation):
            raise ValueError(
                f"activation must be an activation such as ol.ReLU(); got {activation!r}"
            )
        self.teacher_overlaps = _floats(teacher_overlaps)
        self.teacher_readout = _floats(teacher_readout)
        M = self.teachers
        T, v = self.teacher_overlaps, self.teacher_readout
        if T is not None and T.shape != (M, M):
            raise ValueError(f"teacher_overlaps must have shape {(M, M)}; got {T.shape}")
        if v is not None and v.shape != (M,):
            raise ValueError(f"teacher_readout must have shape {(M,)}; got {v.shape}")
        if T is not None and _concrete(T):
            t = np.asarray(T)
            if not np.isfinite(t).all() or np.abs(t - t.T).max() > 1e-6 * np.abs(t).max():
                raise ValueError("teacher_overlaps must be finite and symmetric")
            least = np.linalg.eigvalsh(t)[0]
            if least <= 0:
                raise ValueError(
                    "teacher_overlaps must be positive definite; "
                    f"its smallest eigenvalue is {least:.3g}"
                )
        if v is not None and _concrete(v) and not np.isfinite(np.asarray(v)).all():
            raise ValueError("teacher_readout must be finite")

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


class OrderParameters(eqx.Module):
    """Q (K, K), R (K, M) and the students' readout v (K,)."""

    Q: Float[Array, "K K"]
    R: Float[Array, "K M"]
    v: Float[Array, " K"]


class Weights(eqx.Module):
    """Students' weights W (K, d), teacher coordinates first, and their readout v (K,).

    Solvers hold many with lanes behind: W (K, d, n), v (K, n).
    """

    W: Float[Array, "K d *lanes"]
    v: Float[Array, "K *lanes"]


State = OrderParameters | Weights


def project_on_teacher(problem: Problem, W: Float[Array, "K d"]) -> Float[Array, "K M"]:
    """R = W W*ᵀ; for an orthonormal teacher the first M columns of W, with no arithmetic."""
    if problem.teacher_overlaps is None:
        return W[:, : problem.teachers]
    return W @ problem.teacher_weights(W.shape[1]).T


def overlaps(problem: Problem, weights: Weights) -> OrderParameters:
    """The order parameters of weights: Q = W Wᵀ, R = W W*ᵀ (paper, Eq. 5)."""
    W = weights.W
    return OrderParameters(W @ W.T, project_on_teacher(problem, W), weights.v)


def realisability(problem: Problem, state: OrderParameters) -> Float[Array, ""]:
    """Smallest eigenvalue of Q − R T⁻¹ Rᵀ: weights with these overlaps exist iff it is not negative."""
    span = state.R @ jnp.linalg.solve(problem.T, state.R.T)
    return jnp.linalg.eigvalsh((state.Q - span + (state.Q - span).T) / 2)[0]


def weights_of(problem: Problem, state: OrderParameters) -> Weights:
    """Weights (d = M + K) with the given order parameters: W = [R L⁻ᵀ, U], U Uᵀ = Q − R T⁻¹ Rᵀ.

    Raises ValueError, outside `jit`, if no weights have these overlaps.
    """
    if _concrete(state.Q):
        least = float(realisability(problem, state))
        scale = float(jnp.max(jnp.abs(state.Q)))
        if not least >= -np.sqrt(np.finfo(state.Q.dtype).eps) * max(scale, 1e-30):
            raise ValueError(
                "these order parameters belong to no weights: Q − R T⁻¹ Rᵀ must be positive "
                f"semidefinite; its smallest eigenvalue is {least:.3g}"
            )
    L = problem.teacher_weights(problem.teachers)
    span = jax.scipy.linalg.solve_triangular(L, state.R.T, lower=True).T
    rest = state.Q - span @ span.T
    values, vectors = jnp.linalg.eigh((rest + rest.T) / 2)
    complement = vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]
    return Weights(jnp.concatenate([span, complement], axis=1), state.v)


def population_loss(problem: Problem, state: State) -> Float[Array, ""]:
    r"""$L = \frac12 E[(\sum_i v_i \sigma(\lambda_i) - \sum_n v^*_n \sigma(\rho_n))^2]$ (paper, Eq. 28)."""
    if isinstance(state, Weights):
        state = overlaps(problem, state)
    a = jnp.concatenate([state.v, -problem.readout])
    covariance = jnp.block([[state.Q, state.R], [state.R.T, problem.T]])
    return problem.activation.quadratic_form(a, covariance) / 2


def check_dimension(problem: Problem, dimension: int | None) -> int:
    """The input dimension d: M unless given. Raises ValueError below M."""
    if dimension is None:
        return problem.teachers
    d = _count("dimension", dimension, 1)
    if d < problem.teachers:
        raise ValueError(
            f"dimension must be at least the number of teachers, {problem.teachers}; got {d}"
        )
    return d


def random_weights(key: PRNGKeyArray, problem: Problem, dimension: int | None = None) -> Weights:
    """A start: rows w_i ~ N(0, I_d / d), readouts 1; d = M unless given (paper, Sec. 3.1)."""
    d = check_dimension(problem, dimension)
    W = jax.random.normal(key, (problem.students, d)) / np.sqrt(d)
    return Weights(W, jnp.ones(problem.students))
