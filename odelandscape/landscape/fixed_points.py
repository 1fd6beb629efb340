r"""Fixed points of gradient flow in a block ansatz, by Newton's method.

A known point is followed to the numbers where one is wanted (`homotopy`). The root there is found by
optimistix, so that derivatives pass through it implicitly.
"""

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ..activations.base import AbstractActivation, check_continuous
from ..activations.consistency import check_moments
from ..activations.relu import as_leaky_relu
from ..ansatz.ansatz_point import TEACHER, AnsatzPoint
from ..ansatz.block_ansatz import BlockAnsatz, FormalBlocks, formal, is_written_out
from ..ansatz.padding import in_unit_scale, padded
from ..ansatz.reduced_loss import gradient_norm, loss_rounding, parameter_lengths, reduced_loss
from ..model.problem import PROBLEM, Problem
from ..model.state import OrderParameters, Weights
from ..runtime.arguments import check_instance
from ..runtime.compiler import check_float64
from ..runtime.errors import UserError
from ..runtime.tables import with_digits
from .homotopy import scaled_rates

CONVERGED, NOT_CONVERGED = "converged", "not_converged"
RESIDUAL = 1e-12
"""A fixed point's gradient norm, beyond what rounding its parameters makes of it."""
_MAX_NEWTON_STEPS = 50
LARGEST_WIDTH = 10**12
"""The widest networks whose fixed points are sought, see `check_problem`."""
_ENOUGH = 1e-10  # error of the loss, as a part of it, below which no more digits are computed


class FixedPoint(eqx.Module):
    """A fixed point of gradient flow in a block ansatz.

    - `ansatz_point`: the blocks, their parameters and the family's name; also as `ansatz`, `z` and `branch`.
      `parameters` has the parameters by name.
    - `loss`: population loss. `residual`: norm of ∂L/∂W in the full weights. Both are evaluated at the
      parameters before they are rounded to `z`, where that matters (`in_all_digits`).
    - `steps`: of Newton's method. `loss_error`: an upper estimate of the loss's error by rounding.
    - `result`: `converged` or `not_converged`, by the residual against `tolerance`.
    - `branch`, `anti_aligned`: the family's name and its α, see `AnsatzPoint`.
    - `weights`, `overlaps`: written out, where they are not too many to be.
    """

    ansatz_point: AnsatzPoint
    loss: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, ""]
    loss_error: Float[Array, ""]

    def __repr__(self) -> str:
        if not is_written_out(self) or jnp.ndim(self.loss):
            return eqx.tree_pformat(self)
        found = f"loss {self.loss_text()}, residual {float(self.residual):.1e}, {self.result}"
        return f"FixedPoint {self.ansatz_point.title}\n  {found}\n{self.ansatz_point.numbers}"

    def loss_text(self) -> str:
        """Return the loss with the digits that it has, at most ten; 0 of the teacher."""
        error = float(self.loss_error)
        return "0" if self.branch == TEACHER else with_digits(float(self.loss), error)

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
        """α, the number of anti-aligned students, see `AnsatzPoint`."""
        return self.ansatz_point.anti_aligned

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
        K = self.ansatz.students
        readouts = self.ansatz.teacher_readout, self.ansatz.readout
        # That of `in_unit_scale`, without a program.
        scale = math.prod(float(np.abs(v).max(initial=0)) or 1.0 for v in readouts)
        return (RESIDUAL + np.finfo(float).eps * K**1.5) * scale

    @property
    def result(self) -> str:
        """`converged` if the residual is within `tolerance`."""
        return CONVERGED if float(self.residual) <= self.tolerance else NOT_CONVERGED


def check_problem(problem: Problem) -> None:
    """Raise UserError for anything but a problem, for one that is too wide, for an activation of a user's
    class whose moments are not those of its values, and where JAX is not in float64."""
    check_instance("problem", problem, Problem, PROBLEM)
    check_float64("fixed points are solved to a gradient norm of 1e-12")
    check_moments(problem.activation)
    if max(problem.students, problem.teachers) > LARGEST_WIDTH:
        raise UserError(
            f"problem must have at most {LARGEST_WIDTH:.0e} students and teachers: in wider ones rounding is "
            f"larger than the smallest eigenvalues of the Hessian; got {_short(problem.students)} and "
            f"{_short(problem.teachers)}"
        )


def check_point(problem: Problem, point: AnsatzPoint, varied: str = "") -> None:
    """Raise UserError unless a point has this problem's numbers, but for that of the parameter `varied`.

    Of traced numbers nothing is checked.
    """
    there = point.ansatz.numbers_of(problem, "point")
    here = {name: getattr(point.ansatz, name) for name in there}
    activations = (here.pop("activation"), there.pop("activation"))
    if varied != "slope" or None in (one.leak for one in activations):
        here["activation"], there["activation"] = map(_common, activations)
    if varied == "correlation":
        del here["correlation"]
        del there["correlation"]
    (a, one), (b, other) = jax.tree.flatten(here), jax.tree.flatten(there)
    if any(isinstance(x, Tracer) for x in (*a, *b)):
        return
    if one != other or not all(map(_alike, a, b)):
        raise UserError(
            "point must be one of this problem, and not of another activation, teacher_overlaps or "
            "teacher_readout; ol.fixed_point(problem, point) follows it there"
        )


def _common(activation: AbstractActivation) -> AbstractActivation:
    """Return the activation, as a LeakyReLU if it can be one."""
    return as_leaky_relu(activation) or activation


def _alike(x, y) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    return x.shape == y.shape and bool((np.abs(x - y) <= 1e-12 * (1 + np.abs(y))).all())


def _short(count: int) -> str:
    return f"{count}" if count < 10**18 else f"more than 1e{math.floor(math.log10(count))}"


@eqx.filter_jit
def _root(blocks: FormalBlocks, z: Float[Array, " P"]):
    """Return the parameters of a fixed point and the other fields of `FixedPoint`."""
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
    loss = jnp.maximum(reduced_loss(blocks, z), 0)  # rounding makes a little less of 0
    numbers = loss, gradient_norm(blocks, z), x.stats["num_steps"]
    return z, (*numbers, loss_rounding(blocks, z))


def solve(ansatz: BlockAnsatz, z: Float[Array, " P"], name: str = "") -> FixedPoint:
    """Return the fixed point that Newton's method finds from z, with the residual evaluated again there.

    `name`: of its family. Raises UserError unless JAX is in float64.
    """
    check_continuous(ansatz.activation)
    unit, scale = in_unit_scale(formal(ansatz))
    padding = padded(unit)
    z, (loss, residual, steps, error) = _root(padding.blocks, padding.pad(z / scale.weights))
    point = AnsatzPoint(ansatz, padding.strip(z) * scale.weights, name)
    return FixedPoint(
        point, loss * scale.loss, residual * scale.gradient, steps, error * scale.loss
    )


def in_all_digits(point: FixedPoint) -> FixedPoint:
    """Return the point with loss, residual and parameters in all digits of a float64, of ReLU and leaky ReLU.

    At large widths float64 has not enough of them (`ansatz.many_digits`). A point whose loss has ten digits,
    a traced one, and one next to which Newton's method finds none, is returned as it is.
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves(point)):
        return point
    if not float(point.loss_error) > _ENOUGH * abs(float(point.loss)):
        return point
    from ..ansatz.many_digits import refined_in_digits  # mpmath is imported where it is needed

    refined = refined_in_digits(point.ansatz, np.asarray(point.z))
    if refined is None:
        return point
    z, loss, residual = (jnp.asarray(x) for x in refined)
    error = np.finfo(float).eps * jnp.abs(loss)
    return FixedPoint(replace(point.ansatz_point, parameters=z), loss, residual, point.steps, error)
