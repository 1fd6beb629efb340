r"""Fixed points of gradient flow in a block ansatz, by Newton's method.

Newton alone jumps between branches that lie close together. So a known point is *followed* in small
steps to where it is wanted: a predictor along the branch, a corrector, and a step that is refused unless
the corrections shrink fast and the Jacobian's determinant keeps its sign. The root at the end is found
by optimistix from there, so that derivatives pass through it implicitly.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ..ansatz.block_ansatz import BlockAnsatz
from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from ..runtime.precision import check_float64
from .homotopy import carry, check_arrival, scaled_rates

CONVERGED, NOT_CONVERGED = "converged", "not_converged"
COMPENSATED, HIDDEN = "compensated", "hidden"
RESIDUAL = 1e-12
"""A fixed point's gradient norm, beyond what rounding its parameters makes of it."""
_STEPS = 50  # of Newton's method


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


@eqx.filter_jit
def _solve(ansatz: BlockAnsatz, z: Float[Array, " P"]):
    unit = ansatz.unit
    # A step this small is the last: the next would be its square, or rounding, which grows with K.
    small = jax.lax.stop_gradient(1e-11 + 1e-15 * jnp.sum(ansatz.student_sizes) ** 1.5)
    # well_posed=False: a singular Jacobian gets the least-squares step and not NaN.
    linear_solver = lx.AutoLinearSolver(well_posed=False)
    solver = optx.Newton(small, small, linear_solver=linear_solver)  # pyright: ignore
    x = optx.root_find(
        scaled_rates,
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
        raise UserError(
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
