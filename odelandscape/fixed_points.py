r"""Fixed points of gradient flow in a block ansatz, by Newton's method.

Newton alone jumps between branches that lie close together. So a known point is *followed* in small
steps to where it is wanted: a predictor along the branch, a corrector, and a step that is refused unless
the corrections shrink fast and the Jacobian's determinant keeps its sign. The root at the end is found
by optimistix from there, so that derivatives pass through it implicitly.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from .activations import LeakyReLU, ReLU
from .ansatz import BlockAnsatz
from .problem import OrderParameters, Problem, Weights, check_float64

CONVERGED, NOT_CONVERGED = "converged", "not_converged"
COMPENSATED, HIDDEN = "compensated", "hidden"

RESIDUAL = 1e-12
"""A fixed point's gradient norm, beyond what rounding its parameters makes of it."""

_STEPS = 50  # of Newton's method
_CORRECTIONS = 6
_SMALLEST_STEP = 1e-5  # of a path from 0 to 1


class FixedPoint(eqx.Module):
    """A fixed point of gradient flow in a block ansatz.

    - `ansatz`, `z`: the blocks and their parameters; `parameters` has them by name.
    - `loss`: population loss. `residual`: norm of ∂L/∂W in the full weights, evaluated at `z`.
    - `result`: `converged` or `not_converged`, by the residual.
    - `branch`, `anti_aligned`: the family's name ("" if it has none) and its α.
    - `weights`, `overlaps`: written out, where they are not too many to be.
    """

    ansatz: BlockAnsatz
    z: Float[Array, " P"]
    loss: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, ""]

    @property
    def branch(self) -> str:
        """The name of the family."""
        return self.ansatz.branch

    @property
    def anti_aligned(self) -> int:
        """α: on the paper's and the hidden branch the size of the last block, elsewhere the students
        counted by their overlaps."""
        if self.branch in (COMPENSATED, HIDDEN):
            return round(float(self.ansatz.sizes[-1]))
        return self.ansatz.anti_aligned(self.z)

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name."""
        return dict(zip(self.ansatz.names, self.z, strict=True))

    @property
    def weights(self) -> Weights:
        """W (K, M) and v. Raises ValueError if K·M is above 2²⁶ or a size is not whole."""
        return self.ansatz.lift(self.z)

    @property
    def overlaps(self) -> OrderParameters:
        """Q (K, K), R (K, M) and v. Raises what `weights` raises."""
        Q, R = self.ansatz.overlaps(self.z)
        return self.ansatz.write_overlaps(Q, R)

    @property
    def tolerance(self) -> float:
        """What the residual may be: RESIDUAL, and what parameters near 1 rounded to their last digit
        make of it (they are multiplied by curvatures of order K/4, √K at a time)."""
        K = float(jnp.sum(self.ansatz.student_sizes))
        return RESIDUAL + np.finfo(float).eps * K**1.5

    @property
    def result(self) -> str:
        """`converged` if the residual is within `tolerance`."""
        return CONVERGED if float(self.residual) <= self.tolerance else NOT_CONVERGED


def _gradient(x: Float[Array, " P"], ansatz: BlockAnsatz) -> Float[Array, " P"]:
    """Rates in units in which the lifted weights' norm is that of x (for orthonormal teachers): the
    Jacobian is then as well conditioned as the Hessian is."""
    return ansatz.unit * ansatz.field(x / ansatz.unit)


class Path(NamedTuple):
    """Where following a branch has come: t of the way, the parameters there, accepted steps."""

    t: Float[Array, ""]
    z: Float[Array, " P"]
    steps: Int[Array, ""]
    arrived: Bool[Array, ""]


def between(start: BlockAnsatz, end: BlockAnsatz, t: Float[Array, ""]) -> BlockAnsatz:
    """The ansatz a part t of the way: sizes geometrically, every other number in proportion."""
    middle = jax.tree.map(lambda a, b: (1 - t) * a + t * b, start, end)
    there = start.sizes > 0
    a, b = (jnp.log(jnp.where(there, sizes, 1)) for sizes in (start.sizes, end.sizes))
    return middle.replace(sizes=jnp.where(there, jnp.exp((1 - t) * a + t * b), 0))


def _correct(ansatz: BlockAnsatz, x: Float[Array, " P"]):
    """A few Newton steps. Returns the point, the first correction's length, the largest ratio of one
    correction to the one before, and the sign of the Jacobian's determinant."""

    idle = jnp.diag((ansatz.multiplicity == 0).astype(x.dtype))

    def body(_, carry):
        x, first, last, worst, _ = carry
        J = jax.jacfwd(_gradient)(x, ansatz) + idle
        dx = -jnp.linalg.solve(J, _gradient(x, ansatz))
        size = jnp.linalg.norm(dx)
        noise = 1e-11 * (1 + jnp.linalg.norm(x))
        ratio = jnp.where((last > noise) & (last < jnp.inf), size / last, 0.0)
        sign = jnp.linalg.slogdet(J)[0]
        return x + dx, jnp.minimum(first, size), size, jnp.maximum(worst, ratio), sign

    far = jnp.asarray(jnp.inf)
    x, _, last, worst, sign = jax.lax.fori_loop(
        0, _CORRECTIONS, body, (x, far, far, jnp.asarray(0.0), jnp.asarray(0.0))
    )
    settled = last < 1e-9 * (1 + jnp.linalg.norm(x))
    return x, jnp.where(settled, worst, jnp.inf), sign


@eqx.filter_jit
def follow(start: BlockAnsatz, end: BlockAnsatz, z: Float[Array, " P"]) -> Path:
    """Follow the branch through z at `start` to `end`. It stops short (`arrived` is False) at a fold."""

    def going(carry):
        path, step, _, _ = carry
        return (path.t < 1) & (step > _SMALLEST_STEP)

    def attempt(carry):
        path, step, before, sign = carry
        # The first attempt stays at t = 0 and only corrects z: a start is near a fixed point, not on it.
        begun = path.steps > 0
        t = jnp.where(begun, jnp.minimum(path.t + step, 1.0), 0.0)
        here = between(start, end, t)
        unit = here.unit
        # Through the last two points, in the logarithm where that exists: parameters follow powers of sizes.
        stretch = jnp.where(
            path.steps > 1, (t - path.t) / jnp.maximum(path.t - before[0], 1e-12), 0.0
        )
        ratio = path.z / jnp.where(before[1] == 0, 1, before[1])
        power = jnp.where((ratio > 0.1) & (ratio < 10), path.z * jnp.abs(ratio) ** stretch, path.z)
        guess = jnp.where(stretch > 0, power, path.z)
        x, worst, new_sign = _correct(here, guess * unit)
        good = (worst < jnp.where(begun, 0.25, 1.0)) & jnp.all(jnp.isfinite(x))
        good &= ~begun | (new_sign == sign)
        new = Path(t, x / unit, path.steps + 1, ~begun | path.arrived)
        path, before = jax.tree.map(
            lambda a, b: jnp.where(good, a, b), (new, (path.t, path.z)), (path, before)
        )
        step = jnp.where(good, jnp.where(worst < 0.05, 2.0, 1.0) * step, 0.25 * step)
        step = jnp.where(begun | good, step, 0.0)
        return path, step, before, jnp.where(good, new_sign, sign)

    zero = jnp.zeros(())
    path = Path(zero, z, jnp.asarray(0), jnp.asarray(False))
    state = (path, jnp.asarray(0.125), (zero, z), zero)
    path, *_ = jax.lax.while_loop(going, attempt, state)
    return path._replace(arrived=path.arrived & (path.t >= 1))


@eqx.filter_jit
def _solve(ansatz: BlockAnsatz, z: Float[Array, " P"]):
    unit = ansatz.unit
    # A step this small is the last: the next would be its square, or rounding, which grows with K.
    small = jax.lax.stop_gradient(1e-11 + 1e-15 * jnp.sum(ansatz.student_sizes) ** 1.5)
    # well_posed=False: a singular Jacobian gets the least-squares step and not NaN.
    linear_solver = lx.AutoLinearSolver(well_posed=False)
    solver = optx.Newton(small, small, linear_solver=linear_solver)  # pyright: ignore
    x = optx.root_find(
        _gradient,
        solver,
        jax.lax.stop_gradient(z * unit),
        args=ansatz,
        max_steps=_STEPS,
        throw=False,
        adjoint=optx.ImplicitAdjoint(linear_solver=linear_solver),
    )
    z = x.value / unit
    return z, ansatz.loss(z), ansatz.speed(z), x.stats["num_steps"]


def solve(ansatz: BlockAnsatz, z: Float[Array, " P"]) -> FixedPoint:
    """Newton's method from z in an ansatz, and the residual evaluated again at the answer.

    Raises ValueError unless JAX is in float64."""
    check_float64("fixed points are solved to a gradient norm of 1e-12")
    padding = ansatz.padding()
    z, loss, residual, steps = _solve(padding.ansatz, padding.pad(z))
    z = padding.strip(z)
    return FixedPoint(ansatz.replace(start=z), z, loss, residual, steps)


def carry(ansatz: BlockAnsatz, target: BlockAnsatz, z: Float[Array, " P"]) -> Path:
    """`follow` with whatever is traced held fixed: where the root is, not how it moves."""
    # The activation may differ in kind: ReLU is LeakyReLU at slope 0.
    if isinstance(target.activation, LeakyReLU) and isinstance(ansatz.activation, ReLU):
        ansatz = ansatz.replace(activation=LeakyReLU(0.0))
    elif isinstance(ansatz.activation, LeakyReLU) and isinstance(target.activation, ReLU):
        target = target.replace(activation=LeakyReLU(0.0))
    start, end = ansatz.padding(), target.padding()
    if jax.tree.structure(start.ansatz) != jax.tree.structure(end.ansatz):
        raise ValueError(
            "a branch can be followed between ReLU and LeakyReLU and between sizes, correlations and "
            f"readouts of the same blocks; not from {ansatz.activation!r} to {target.activation!r}"
        )
    path = follow(*jax.lax.stop_gradient((start.ansatz, end.ansatz, start.pad(z))))
    return path._replace(z=end.strip(path.z))


def fixed_point(
    problem: Problem, ansatz: BlockAnsatz, start: Float[Array, " P"] | None = None
) -> FixedPoint:
    """The fixed point of gradient flow in an ansatz.

    - `ansatz`: from `ol.family`, or the `.ansatz` of a point or of `ol.block_structure`: its `start` is
      followed from the numbers the ansatz was made for to those of `problem`; or any other.
    - `start`: parameters to begin Newton's method at, where the ansatz brings none.

    Differentiable in the problem's numbers (slope, c, readouts), implicitly: the derivative of a root
    is that of the equations. Raises ValueError if ansatz and problem don't fit, there is no start, or the
    branch ends before the problem is reached (told with where).
    """
    target = ansatz.of(problem)
    if start is not None:
        return solve(target, jnp.asarray(start, dtype=float))
    if ansatz.start is None:
        raise ValueError(
            "start must be given for an ansatz without one: parameters in the order "
            f"{', '.join(ansatz.names)} (ol.explore looks for fixed points from many starts)"
        )
    if _same_numbers(ansatz, target):
        return solve(target, ansatz.start)
    path = carry(ansatz, target, ansatz.start)
    check_arrival(path, ansatz, target, "this branch")
    return solve(target, path.z)


def _same_numbers(a: BlockAnsatz, b: BlockAnsatz) -> bool:
    """Whether two ansätze of the same blocks are known to have the same numbers."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    traced = any(isinstance(x, Tracer) for pair in pairs for x in pair)
    return not traced and all(np.array_equal(x, y) for x, y in pairs)


def check_arrival(path: Path, start: BlockAnsatz, end: BlockAnsatz, what: str) -> None:
    """Raises ValueError, saying where the branch ends, if following it stopped short."""
    if isinstance(path.arrived, Tracer) or path.arrived:
        return
    last = between(start.padding().ansatz, end.padding().ansatz, path.t)

    def told(ansatz):
        sizes = " + ".join(f"{size:.6g}" for size in np.asarray(ansatz.sizes) if size > 0)
        return f"blocks of {sizes} teachers, c = {float(ansatz.correlation):.6g}, {ansatz.activation!r}"

    raise ValueError(
        f"{what} does not exist at {told(end)}: followed from {told(start)}, it ends near {told(last)}"
    )
