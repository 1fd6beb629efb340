r"""The families of fixed points that have a name, and points by the name of their family.

At K = M a family is named by its branch and its number α of anti-aligned students. On the paper's branch,
`compensated`, the M − α others compensate for them: the loss falls like 1/K. On the `hidden` one α
students are reflected against their teachers, almost a problem of α units of its own, and the loss stays.
Both are followed from a point at K = M = 10. With one student more there are the families of an `extra
student` and of a `split student`, followed from K = 18. The students that equal the teacher are the family
`teacher`. `search` looks for others.

Families are recognised by their numbers (`name_of`): other fixed points, saddles next to a minimum say, lie
in the same blocks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..activations.relu import as_leaky_relu
from ..ansatz import detection
from ..ansatz.ansatz_point import (
    BRANCHES,
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
from ..ansatz.padding import padded
from ..ansatz.reduced_loss import reduced_loss
from ..model.loss import zero_loss_share
from ..model.problem import Problem, check_concrete
from ..model.state import Weights, check_shapes
from ..runtime.arguments import check_choice, check_instance, shown
from ..runtime.errors import NoSuchFamilyError, UserError
from .fixed_points import CONVERGED, FixedPoint, check_problem, in_all_digits, solve
from .homotopy import follow_branch

ZERO_LOSS = 1e-12  # a loss below this is the teacher's, at widths up to 100
_ZERO_LOSS_TIMES_WIDTH = 1e-9  # of a teacher with readouts 1; other named families have 0.2 or more
_WEIGHTS = "Weights such as ol.Weights(W, v) or the .weights of a point"
_SAME_POINT = 1e-3
"""Distance in the weights from the family that a point is named after; other fixed points are a hundred times
farther away, and weights that are equal to 1e-5 closer."""


class _Anchor(NamedTuple):
    """A point at a small width that a branch is followed from; its parameters are to four digits."""

    sizes: tuple[int, ...]
    matched: tuple[int, ...]
    free: int
    z: tuple[float, ...]

    def point(self) -> AnsatzPoint:
        """Return the point, near a fixed point of ReLU and orthonormal teachers."""
        students = sum(self.sizes[b] for b in self.matched) + self.free
        problem = Problem(students, sum(self.sizes))
        ansatz = BlockAnsatz(problem, self.sizes, self.matched, self.free)
        return AnsatzPoint(ansatz, jnp.asarray(self.z))


_COMPENSATED_ONE = _Anchor((9, 1), (0,), 1, (1.0044, -0.0158, 0.1824, 0.1260, -0.6990))
_COMPENSATED = _Anchor((8, 2), (0, 1), 0, (0.9976, -0.7298, -0.0374, 0.1910, 0.1355, 0.1533))
_HIDDEN_ALL = _Anchor((10,), (0,), 0, (-0.8003, 0.1985))
_HIDDEN_BUT_ONE = _Anchor((1, 9), (1,), 1, (-0.7745, -0.0079, 0.2179, 1.0646, 0.0194))
_HIDDEN = _Anchor((4, 6), (0, 1), 0, (1.0516, -0.6473, 0.0008, 0.0135, -0.0093, 0.3174))
_EXTRA = _Anchor((14, 3), (0, 1), 1, (1.002, -0.639, -0.001, 0.058, 0.023, 0.165, -0.063, 0.469))
_SPLIT_ONE = _Anchor((16, 1), (0,), 2, (0.998, -0.006, 0.111, 0.037, -0.633, 0.054, -0.182))


def _anchor(problem: Problem, alpha: int, branch: str) -> tuple[_Anchor, tuple[int, ...]]:
    """Return where to follow from, and the block sizes to follow to. Raises NoSuchFamilyError where there is
    no such family."""
    M, surplus = problem.teachers, problem.students - problem.teachers
    required = {COMPENSATED: 0, HIDDEN: 0, EXTRA: 1, SPLIT_UNIT: 1}[branch]
    if surplus != required:
        raise NoSuchFamilyError(
            f"branch {branch!r} is one of K = M{' + 1' if required else ''}; got K = {problem.students}, "
            f"M = {M} (ol.families looks for others)"
        )
    if branch == COMPENSATED:
        if alpha > M - 3:
            raise NoSuchFamilyError(
                f"anti_aligned must be at most M − 3 = {M - 3} on the compensated branch: at M − 2 its "
                "two aligned students have changed places, and it is the hidden family α = M"
            )
        return (_COMPENSATED_ONE if alpha == 1 else _COMPENSATED), (M - alpha, alpha)
    if branch == HIDDEN:
        if alpha < 3:
            raise NoSuchFamilyError(
                f"anti_aligned must be at least 3 on the hidden branch; got {alpha}: two students "
                "reflected against their teachers are these teachers, changed over"
            )
        if alpha == M:
            return _HIDDEN_ALL, (M,)
        return (_HIDDEN_BUT_ONE if alpha == M - 1 else _HIDDEN), (M - alpha, alpha)
    if branch == EXTRA:
        if not 2 <= alpha <= M - 2:
            raise NoSuchFamilyError(
                f"anti_aligned must be from 2 to M − 2 = {M - 2} with an extra student; got {alpha}"
            )
        return _EXTRA, (M - alpha, alpha)
    if alpha != 2 or M < 3:
        raise NoSuchFamilyError(
            "anti_aligned must be 2 (the two parts) where an anti-aligned student is split, and "
            f"M at least 3; got {alpha} and M = {M}"
        )
    return _SPLIT_ONE, (M - 1, 1)


def check_anti_aligned(problem: Problem, anti_aligned: Any) -> None:
    """Raise UserError unless `anti_aligned` is a whole number from 0 to M."""
    M = problem.teachers
    whole = isinstance(anti_aligned, int | np.integer) and not isinstance(anti_aligned, bool)
    if not whole or not 0 <= anti_aligned <= M:
        raise UserError(
            f"anti_aligned must be a whole number from 0 to M = {M}; got {shown(anti_aligned)}"
        )


def family(problem: Problem, anti_aligned: int, branch: str | None = None) -> AnsatzPoint:
    """Return a point on a named family of fixed points; `ol.fixed_point` makes it exact.

    - `anti_aligned`: α, from 0 (the teacher itself) to M.
    - `branch`: `compensated` (the paper's; the default for K = M) or `hidden`; for K = M + 1 `extra student`
      (α anti-aligned students and one more that overlaps their teachers; the default) or `split student`
      (one anti-aligned student in two parts). See the module's docstring.

    The point is followed from a known one at small width, through LeakyReLU slopes and teacher correlations
    too; a fold on the way is an error and not another branch. Its `name` is the
    branch. Sources: paper, Sec. 3.1 and Appendix B; Arjevani and Field (2019).

    Raises NoSuchFamilyError if there is no such family, with where it ends; UserError for an `anti_aligned`
    or `branch` that no problem of this width has, and for a teacher that no block ansatz has.
    """
    check_problem(problem)
    M = problem.teachers
    check_anti_aligned(problem, anti_aligned)
    if branch is None:
        branch = EXTRA if problem.students == M + 1 else COMPENSATED
    check_choice("branch", branch, BRANCHES)
    if anti_aligned == 0:
        return teacher_point(problem)
    anchor, sizes = _anchor(problem, int(anti_aligned), branch)
    target = BlockAnsatz(problem, sizes, anchor.matched, anchor.free)
    # One block after the other, so that where it stops short is where the family ends: hidden families exist
    # at narrow widths and reach this α there, the others at wide ones.
    first, second = (anchor.sizes, sizes) if branch == HIDDEN else (sizes, anchor.sizes)
    corner = jnp.array([*first[:1], *second[1:]], dtype=float)
    legs = [target.replace(sizes=corner), target] if sizes[1:] != anchor.sizes[1:] else [target]
    point = anchor.point()
    for leg in legs:
        point = follow_branch(point, leg, f"the {branch} family with {anti_aligned} anti-aligned")
    return AnsatzPoint(point.ansatz, point.parameters, branch)


def teacher_point(problem: Problem) -> AnsatzPoint:
    """Return the students that equal the teacher.

    Where there are more, they share the last teacher with a positively homogeneous σ, and have length 0 with
    another one. Raises NoSuchFamilyError for K < M, and where a student of length 0 has an output.
    """
    check_problem(problem)
    M, surplus = problem.teachers, problem.students - problem.teachers
    if surplus < 0:
        raise NoSuchFamilyError(
            f"anti_aligned = 0 needs K ≥ M; got K = {problem.students}, M = {M}"
        )
    homogeneous = problem.activation.positively_homogeneous
    if surplus and not homogeneous and float(problem.activation(jnp.zeros(()))) != 0:
        raise NoSuchFamilyError(
            f"anti_aligned = 0 needs σ(0) = 0 where K > M; got {problem.activation!r}"
        )
    if M > 1 and surplus == 0:
        ansatz, z = BlockAnsatz(problem, (M,), (0,), 0), [1.0, 0.0]
    else:
        sizes, matched, free = (
            ((M - 1, 1), (0,), surplus + 1) if M > 2 else ((1,) * M, (), M + surplus)
        )
        ansatz = BlockAnsatz(problem, sizes, matched, free)
        last = len(sizes) - 1
        single = last - len(matched)  # free students of teachers that they don't share
        shares = np.zeros((free, len(sizes)))
        shares[:single, :last] = np.eye(last)[len(matched) :]
        if homogeneous:
            shares[single:, last] = 1 / (surplus + 1)
        else:
            shares[single, last] = 1
        z = [*([1.0, 0.0, 0.0] if matched else []), *shares.ravel()]
    return AnsatzPoint(ansatz, jnp.asarray(z), TEACHER)


def is_zero_loss(ansatz: BlockAnsatz, loss: float) -> bool:
    """Return whether a loss is 0 but for rounding, on the scale of what tells a teacher from others, of these
    many."""
    unit = float(jnp.max(jnp.square(ansatz.teacher_readout)))
    unit *= 2 * zero_loss_share(ansatz.activation)  # 1 for ReLU
    return loss * float(jnp.sum(ansatz.student_sizes)) < _ZERO_LOSS_TIMES_WIDTH * unit


def named_points(problem: Problem, alphas: Iterable[int]) -> tuple[list[FixedPoint], list[str]]:
    """Return the fixed points of the named families that exist, hidden ones first, and why others don't."""
    found, reasons = [], []
    surplus = problem.students - problem.teachers
    for branch in {0: (HIDDEN, COMPENSATED), 1: (EXTRA, SPLIT_UNIT)}.get(surplus, ()):
        for alpha in alphas:
            try:
                near = family(problem, alpha, branch)
            except NoSuchFamilyError as error:
                reasons.append(str(error))
                continue
            point = in_all_digits(solve(near.ansatz, near.parameters, near.name))
            if point.result == CONVERGED and not is_zero_loss(point.ansatz, float(point.loss)):
                found.append(point)
            else:
                reasons.append(
                    f"Newton's method has not found the {branch} family with {alpha} anti-aligned"
                )
    return found, reasons


# --- points by the name of their family, whoever has found them -------------------------------


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
    check_problem(problem)
    kinds = "a point such as ol.family(problem, 1) or the .point of ol.block_structure, or a BlockAnsatz"
    check_instance("ansatz", ansatz, (BlockAnsatz, AnsatzPoint, FixedPoint), kinds)
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
    name = "" if traced else name_of(problem, point.ansatz_point, float(point.loss))
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
    check_shapes(problem, check_instance("weights", weights, Weights, _WEIGHTS), "weights")
    check_concrete("problem", problem)
    check_concrete("weights", weights)
    found = detection.block_structure(problem, weights, tolerance)
    padding = padded(found.ansatz)
    loss = float(_loss(padding.blocks, padding.pad(found.point.parameters)))
    name = name_of(found.problem, found.point, loss)
    return found._replace(point=replace(found.point, name=name))


_loss = eqx.filter_jit(reduced_loss)


def name_of(problem: Problem, point: AnsatzPoint, loss: float) -> str:
    """Return the name of the branch that a point lies on: `teacher` where its loss is 0, one of `BRANCHES` if
    its coefficients are those of that family but for permutations, else its blocks in words (`describe`)."""
    if is_zero_loss(point.ansatz, loss):
        return TEACHER
    for branch, alpha in _candidates(problem, point.ansatz):
        try:
            near = family(problem, alpha, branch)
        except NoSuchFamilyError:
            continue
        if coefficients_differ_by(point, near) < _SAME_POINT:
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
