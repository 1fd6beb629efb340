r"""Fixed points of gradient flow in a block ansatz, by Newton's method.

A known point is followed to the numbers where one is wanted (`homotopy`). The root there is found by
optimistix, so that derivatives pass through it implicitly.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ..ansatz.ansatz_point import AnsatzPoint, ansatz_of, check_parameter_count
from ..ansatz.block_ansatz import BlockAnsatz, FormalBlocks, formal
from ..ansatz.padding import in_unit_scale, padded
from ..ansatz.reduced_loss import gradient_norm, parameter_lengths, reduced_loss
from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from ..runtime.precision import check_float64
from .homotopy import follow_branch, scaled_rates

CONVERGED, NOT_CONVERGED = "converged", "not_converged"
COMPENSATED, HIDDEN = "compensated", "hidden"
RESIDUAL = 1e-12
"""A fixed point's gradient norm, beyond what rounding its parameters makes of it."""
_MAX_NEWTON_STEPS = 50


class FixedPoint(eqx.Module):
    """A fixed point of gradient flow in a block ansatz.

    - `ansatz_point`: the blocks, their parameters and the family's name; also as `ansatz`, `z` and `branch`.
      `parameters` has the parameters by name.
    - `loss`: population loss. `residual`: norm of ∂L/∂W in the full weights, evaluated at `z`.
    - `steps`: of Newton's method.
    - `result`: `converged` or `not_converged`, by the residual against `tolerance`.
    - `branch`, `anti_aligned`: the family's name ("" if it has none) and its α.
    - `weights`, `overlaps`: written out, where they are not too many to be.
    """

    ansatz_point: AnsatzPoint
    loss: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, ""]

    @property
    def ansatz(self) -> BlockAnsatz:
        """The blocks."""
        return self.ansatz_point.ansatz

    @property
    def z(
        self,
    ):  # `eqx.tree_at` passes what is no array through here: a checked type would refuse it
        """The parameters (P,), in the order of `ansatz.names`."""
        return self.ansatz_point.parameters

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by name."""
        return dict(zip(self.ansatz.names, self.z, strict=True))

    @property
    def branch(self) -> str:
        """The name of the family."""
        return self.ansatz_point.name

    @property
    def anti_aligned(self) -> int | None:
        """α: on the paper's and the hidden branch the size of the last block, elsewhere the students
        counted by their overlaps; None with an even activation, where it is not defined."""
        if self.branch in (COMPENSATED, HIDDEN):
            return round(float(self.ansatz.sizes[-1]))
        return self.ansatz_point.count_anti_aligned()

    @property
    def weights(self) -> Weights:
        """W (K, M) and v. Raises UserError if K·M is above 2²⁶ or a size is not whole."""
        return self.ansatz_point.weights

    @property
    def overlaps(self) -> OrderParameters:
        """Q (K, K), R (K, M) and v. Raises what `weights` raises."""
        return self.ansatz_point.overlaps

    @property
    def tolerance(self) -> float:
        """What the residual may be: RESIDUAL, and what parameters near 1 rounded to their last digit
        make of it (they are multiplied by curvatures of order K/4, √K at a time); times the scale of the
        readouts."""
        K = float(jnp.sum(self.ansatz.student_sizes))
        scale = float(in_unit_scale(formal(self.ansatz))[1].gradient)
        return (RESIDUAL + np.finfo(float).eps * K**1.5) * scale

    @property
    def result(self) -> str:
        """`converged` if the residual is within `tolerance`."""
        return CONVERGED if float(self.residual) <= self.tolerance else NOT_CONVERGED


@eqx.filter_jit
def _root(blocks: FormalBlocks, z: Float[Array, " P"]):
    """Return the parameters of a fixed point, its loss and gradient norm, and the steps that were taken."""
    lengths = parameter_lengths(blocks)
    # A step this small is the last: the next would be its square, or rounding, which grows with K.
    small = jax.lax.stop_gradient(1e-11 + 1e-15 * jnp.sum(blocks.student_sizes) ** 1.5)
    # well_posed=False: a singular Jacobian gets the least-squares step and not NaN.
    linear_solver = lx.AutoLinearSolver(well_posed=False)
    solver = optx.Newton(small, small, linear_solver=linear_solver)  # pyright: ignore
    x = optx.root_find(
        scaled_rates,
        solver,
        jax.lax.stop_gradient(z * lengths),
        args=blocks,
        max_steps=_MAX_NEWTON_STEPS,
        throw=False,
        adjoint=optx.ImplicitAdjoint(linear_solver=linear_solver),
    )
    z = x.value / lengths
    return z, reduced_loss(blocks, z), gradient_norm(blocks, z), x.stats["num_steps"]


def solve(ansatz: BlockAnsatz, z: Float[Array, " P"], name: str = "") -> FixedPoint:
    """Return the fixed point that Newton's method finds from z, with the residual evaluated again there.

    `name`: of its family. Raises UserError unless JAX is in float64.
    """
    check_float64("fixed points are solved to a gradient norm of 1e-12")
    unit, scale = in_unit_scale(formal(ansatz))
    padding = padded(unit)
    z, loss, residual, steps = _root(padding.blocks, padding.pad(z / scale.weights))
    point = AnsatzPoint(ansatz, padding.strip(z) * scale.weights, name)
    return FixedPoint(point, loss * scale.loss, residual * scale.gradient, steps)


def fixed_point(
    problem: Problem,
    ansatz: BlockAnsatz | AnsatzPoint | FixedPoint,
    start: Float[Array, " P"] | None = None,
) -> FixedPoint:
    """Return a fixed point of gradient flow in a block ansatz.

    - `ansatz`: a point, from `ol.family`, the `.point` of `ol.block_structure`, or a fixed point:
      it is followed from the numbers of its ansatz (sizes, slope, c, readouts) to those of `problem`. Or
      an ansatz, with a `start`.
    - `start` (P,): parameters at which Newton's method begins, at the numbers of `problem`, in the order of
      `ansatz.names`. Given along with a point it replaces the point's parameters, and nothing is followed.

    Differentiable in the problem's numbers (slope, c, readouts), implicitly: the derivative of a root
    is that of the equations.

    Raises UserError if ansatz and problem don't fit, and for a start that is missing, of the wrong length or
    not finite; NoSuchFamilyError, with where the branch ends, if it ends before the problem is reached.
    """
    point = ansatz.ansatz_point if isinstance(ansatz, FixedPoint) else ansatz
    blocks = ansatz_of(point)
    target = blocks.of(problem)
    name = point.name if isinstance(point, AnsatzPoint) else ""
    if start is not None:
        return solve(target, _finite("start", target, start), name)
    if not isinstance(point, AnsatzPoint):
        raise UserError(
            "start must be given for an ansatz without a point: parameters in the order "
            f"{'; '.join(blocks.names)} (ol.family and the .point of ol.block_structure are points; "
            "ol.explore finds fixed points from many starts)"
        )
    z = _finite("ansatz", blocks, point.parameters)
    if not _same_numbers(blocks, target):
        z = follow_branch(point, target, "this branch").parameters
    return solve(target, z, name)


def _finite(argument: str, ansatz: BlockAnsatz, values) -> Float[Array, " P"]:
    """Return values as parameters of the ansatz. Raises UserError, naming the argument, if they are not as
    many finite numbers as it has parameters."""
    try:
        z = jnp.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise UserError(f"{argument} must be {ansatz.count} numbers; got {values!r}") from None
    check_parameter_count(argument, ansatz, z)
    if not isinstance(z, Tracer) and not np.isfinite(np.asarray(z)).all():
        raise UserError(f"{argument} must have finite numbers; got {np.asarray(z).tolist()}")
    return z


def _same_numbers(a: BlockAnsatz, b: BlockAnsatz) -> bool:
    """Whether two ansätze of the same blocks are known to have the same numbers."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    traced = any(isinstance(x, Tracer) for pair in pairs for x in pair)
    return not traced and all(np.array_equal(x, y) for x, y in pairs)
