"""Fixed points and blocks of states by the name of their family, whoever has found them.

Named families are recognised by their numbers: other fixed points, saddles next to a minimum say, lie in the
same blocks. `fixed_point` solves for a point, `block_structure` finds the blocks of given weights.
"""

from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..activations.relu import as_leaky_relu
from ..ansatz import detection
from ..ansatz.ansatz_point import (
    COMPENSATED,
    EXTRA,
    HIDDEN,
    SPLIT_UNIT,
    TEACHER,
    AnsatzPoint,
    ansatz_of,
    check_parameter_count,
)
from ..ansatz.block_ansatz import BlockAnsatz
from ..ansatz.detection import BlockStructure, describe
from ..ansatz.reduced_loss import reduced_loss
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.errors import NoSuchFamilyError, UserError
from .fixed_points import FixedPoint, in_all_digits, solve
from .homotopy import follow_branch
from .named_families import family, is_zero_loss

_SAME_POINT = 1e-3
"""Distance in the weights from the family that a point is named after; other fixed points are a hundred times
farther away, and weights that are equal to 1e-5 closer."""


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
    if start is not None:
        found = solve(target, _finite("start", target, start))
        return in_all_digits(_named(problem, found))
    if not isinstance(point, AnsatzPoint):
        raise UserError(
            "start must be given for an ansatz without a point: parameters in the order "
            f"{'; '.join(blocks.names)} (ol.family and the .point of ol.block_structure are points; "
            "ol.explore finds fixed points from many starts)"
        )
    z = _finite("ansatz", blocks, point.parameters)
    if not _same_numbers(blocks, target):
        z = follow_branch(point, target, "this branch").parameters
    return in_all_digits(solve(target, z, point.name))


def _named(problem: Problem, point: FixedPoint) -> FixedPoint:
    """Return the point with its name, if its numbers are known outside `jit`."""
    traced = any(isinstance(x, Tracer) for x in jax.tree.leaves((problem, point)))
    name = "" if traced else name_of(problem, point.ansatz_point)
    return replace(point, ansatz_point=replace(point.ansatz_point, name=name))


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


def block_structure(problem: Problem, weights: Weights, tolerance: float = 1e-5) -> BlockStructure:
    """Return the coarsest blocks of a state, in whatever order its students and teachers are.

    The `.point` has the name of the family if the state is one of a named family (`name_of`). See
    `ansatz.detection.block_structure` for how the blocks are found.

    - `weights`: W (K, d). Coordinates beyond the M of the teachers are left out and must be 0.
    - `tolerance`: numbers closer than this are taken as equal. The blocks give v, and W's coefficients in
      the teachers, to within it.

    Raises UserError if `weights` and the problem don't fit, are not finite or reach beyond the teachers,
    `tolerance` is not positive, or T is not (1 − c) I + c 11ᵀ.
    """
    found = detection.block_structure(problem, weights, tolerance)
    name = name_of(found.problem, found.point)
    return found._replace(point=replace(found.point, name=name))


def name_of(problem: Problem, point: AnsatzPoint) -> str:
    """Return the name of the branch that a point lies on: `teacher` where its loss is 0, one of `BRANCHES` if
    its coefficients are those of that family but for permutations, else its blocks in words (`describe`)."""
    if is_zero_loss(point.ansatz, float(reduced_loss(point.ansatz, point.parameters))):
        return TEACHER
    for branch, alpha in _candidates(problem, point.ansatz):
        try:
            near = family(problem, alpha, branch)
        except NoSuchFamilyError:
            continue
        named = solve(near.ansatz, near.parameters, branch)
        if coefficients_differ_by(point, named.ansatz_point) < _SAME_POINT:
            return branch
    return describe(point.ansatz)


def _candidates(problem: Problem, ansatz: BlockAnsatz) -> Iterator[tuple[str, int]]:
    """Yield (branch, α) of the named families that have such blocks."""
    sizes, surplus = np.asarray(ansatz.sizes), problem.students - problem.teachers
    copies = len(set(ansatz.matched)) < len(ansatz.matched)
    if as_leaky_relu(problem.activation) is None or len(sizes) > 2 or copies:
        return
    alphas = sorted({round(size) for size in sizes.tolist()})
    if surplus == 0:
        for alpha in alphas:
            yield HIDDEN, alpha
            yield COMPENSATED, alpha
    elif surplus == 1 and len(sizes) == 2:
        yield from ((EXTRA, alpha) for alpha in alphas)
        yield SPLIT_UNIT, 2


def coefficients_differ_by(point: AnsatzPoint, other: AnsatzPoint) -> float:
    """Return the largest distance in the weights that one parameter makes between two points of the same
    blocks in any order; infinite if the blocks are others."""
    sorted_points = []
    for p in (point, other):
        z, n = np.asarray(p.parameters), np.asarray(p.ansatz.multiplicity)
        order = np.lexsort([z, n])
        sorted_points.append((z[order], n[order]))
    (z, n), (values, counts) = sorted_points
    if n.shape != counts.shape or not np.allclose(n, counts):
        return np.inf
    return float(np.max(np.abs(z - values) * np.sqrt(np.maximum(n, 0))))
