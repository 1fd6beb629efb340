r"""Where a branch turns or its stability changes, as roots of their own equations.

At a fold the derivative of the rates F(x, μ) in x is singular, at a change of stability the Hessian of one
representation. Either is a root of $F(x, \mu) = 0$, $A(x, \mu)\,\varphi = 0$, $c \cdot \varphi = 1$ (Seydel
1979; Moore and Spence 1980), which is regular there: so μ is a differentiable function of the numbers of the
problem, by the implicit function theorem.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..ansatz.block_ansatz import size_free_numbers
from ..ansatz.isotypic import Part, critical_part, hessian_forms
from ..landscape.fixed_points import FixedPoint
from ..model.problem import Problem
from ..runtime.arguments import check_instance
from ..runtime.errors import UserError
from .continuation import FOLD, STABILITY, BranchPoint, continue_family
from .corrector import branch_rates, row_lengths
from .line import ParameterLine, parameter_line

_SMALL = 1e-9  # what the equations of an event leave at it


def critical_value(
    problem: Problem, point: FixedPoint, parameter: str = "teachers", stop: float | int = 40.0
) -> float | None:
    """Return the parameter at the first change of stability along the branch, or None if there is none.

    Arguments and errors are those of `continue_family`.
    """
    for branch_point in continue_family(problem, point, parameter, stop):
        if branch_point.event == STABILITY or (
            branch_point.event == FOLD and branch_point.sign == 0
        ):
            return branch_point.value
    return None


def _singular_part(
    line: ParameterLine, part: Part | None, X: Float[Array, " n"], phi: Float[Array, " m"]
) -> Float[Array, " m"]:
    """Return A φ: A is the rates' derivative in x (`part` None), or the Hessian of a representation."""
    x, value = X[:-1], X[-1]
    if part is None:
        return jax.jvp(lambda x: branch_rates(line, jnp.append(x, value)), (x,), (phi,))[1]
    ansatz = line.at(value)
    H, _, _ = hessian_forms(ansatz, x / row_lengths(ansatz))
    return part.reduced(H) @ phi


@eqx.filter_jit
def _null_vector(line: ParameterLine, X: Float[Array, " n"]) -> Float[Array, " P"]:
    """Return the direction in x that the rates' derivative makes shortest."""
    J = jax.jacfwd(lambda x: branch_rates(line, jnp.append(x, X[-1])))(X[:-1])
    return jnp.linalg.svd(J)[2][-1]


def _solve_dense(linear, right: Float[Array, " N"]) -> Float[Array, " N"]:
    """Solve a linear system that is given as a function."""
    return jnp.linalg.solve(jax.vmap(linear)(jnp.eye(right.size)).T, right)


@eqx.filter_jit
def _event_value(
    line: ParameterLine, part: Part | None, X: Float[Array, " n"], phi: Float[Array, " m"]
) -> Float[Array, ""]:
    """Return the parameter at an event that is known, nan if it isn't one on this line."""

    def residual(y: Float[Array, " N"]) -> Float[Array, " N"]:
        X, psi = jnp.split(y, [n])
        return jnp.concatenate(
            [branch_rates(line, X), _singular_part(line, part, X, psi), (phi @ psi - 1)[None]]
        )

    n, known = X.size, jnp.concatenate([X, phi])
    size = jnp.max(jnp.abs(residual(known)))
    # The root is known; what is wanted are its derivatives.
    found = jax.lax.custom_root(residual, known, lambda _, y: y, _solve_dense)
    # A factor and no choice, so that derivatives are nan too.
    return found[n - 1] * jnp.where(size < _SMALL, 1.0, jnp.nan)


def event_value(
    problem: Problem, branch_point: BranchPoint, parameter: str = "teachers"
) -> Float[Array, ""]:
    """Return the value of the parameter at a fold or a change of stability: a differentiable function of the
    slope and the correlation of `problem`.

    - `branch_point`: the event, found by `continue_family` at these numbers. Sizes and readouts are its own.
    - `parameter`: the one of its branch.

    For example, of a critical width, the `event` of `continue_family(problem, point, "teachers", …)`:
    `jax.grad(lambda slope: ol.event_value(ol.Problem(K, M, ol.LeakyReLU(slope)), event))(0.0)`.

    Raises UserError for a point that is no such event at the problem's numbers, and where a representation
    begins at a size and no eigenvalue is 0; where the numbers are traced, value and derivatives are nan.
    """
    check_instance("problem", problem, Problem, "a Problem")
    kind = "a point of ol.continue_family with the event 'fold' or 'stability'"
    check_instance("branch_point", branch_point, BranchPoint, kind)
    if branch_point.event not in (FOLD, STABILITY):
        raise UserError(
            f"branch_point must be {kind}; got one with the event {branch_point.event!r}"
        )
    at = branch_point.point.ansatz
    line, _ = parameter_line(at.replace(**size_free_numbers(problem)), parameter)
    with jax.ensure_compile_time_eval():  # the event is known, inside `jit` too
        z = branch_point.point.z
        X = jnp.append(row_lengths(at) * z, branch_point.value)
        if branch_point.event == FOLD:
            part, phi = None, _null_vector(parameter_line(at, parameter)[0], X)
        else:
            H, G, C = (np.asarray(form) for form in hessian_forms(at, z))
            part, phi = critical_part(at, branch_point.component, (H, G, C))
    found = _event_value(line, part, X, jnp.asarray(phi))
    if not isinstance(found, Tracer) and not np.isfinite(float(found)):
        raise UserError(
            f"branch_point must be an event of a branch in {parameter!r} at the numbers of problem, at which "
            f"an eigenvalue is 0 and not one at which a representation begins; got {branch_point}"
        )
    return found
