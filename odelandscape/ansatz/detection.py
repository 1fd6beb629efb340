"""The blocks that a state lies in, found from its weights.

Permuting students changes no network, so blocks are looked for whatever the order of students and teachers
is. A state in blocks can be solved for as a fixed point of a few numbers (`block_ansatz`), and is named by
its blocks (`describe`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ..ansatz.ansatz_point import AnsatzPoint, ansatz_of
from ..model.problem import Problem
from ..model.state import Weights
from ..runtime.arguments import check_instance, check_positive_number
from ..runtime.errors import UserError
from .block_ansatz import BlockAnsatz
from .lifting import block_means, write_matrix


class BlockStructure(NamedTuple):
    r"""A state in blocks.

    - `point`: the blocks and their parameters, as `ol.fixed_point` takes them.
    - `students` (K,), `teachers` (M,): its order. With A the coefficients of $w_i = \sum_n A_{in} w^*_n$,
      `A[students][:, teachers]` is the matrix that the point stands for.
    - `problem`: the problem with its teachers in that order; another one only if their readouts differ.
    """

    point: AnsatzPoint
    problem: Problem
    students: np.ndarray
    teachers: np.ndarray

    @property
    def ansatz(self) -> BlockAnsatz:
        """The blocks."""
        return self.point.ansatz

    def __repr__(self) -> str:
        order = (
            np.array2string(x, threshold=12, edgeitems=5) for x in (self.students, self.teachers)
        )
        return "BlockStructure of students {}, teachers {}\n".format(*order) + repr(self.point)


def block_structure(problem: Problem, weights: Weights, tolerance: float = 1e-5) -> BlockStructure:
    """Return the coarsest blocks of a state, in whatever order its students and teachers are.

    Two teachers are of one block if exchanging them does no more than permute students. That may need
    students that are neither matched to teachers nor free (one for each pair of them, say); then teachers
    are taken out of the block, one at a time, until the others need none. In the last resort each teacher is
    a block. Blocks with students along their teachers come first, then those with students against them, then
    single teachers; of each kind, large ones before small ones.

    - `weights`: W (K, d). Coordinates beyond the M of the teachers are left out and must be 0.
    - `tolerance`: numbers closer than this are taken as equal. The blocks give v, and W's coefficients in
      the teachers, to within it.

    Raises UserError if `weights` and the problem don't fit, are not finite or reach beyond the teachers,
    `tolerance` is not positive, or T is not (1 − c) I + c 11ᵀ.
    """
    check_positive_number("tolerance", tolerance)
    A, v = _coefficients(problem, weights, tolerance), np.asarray(weights.v)
    blocks = _interchangeable(A, v, np.asarray(problem.readout), tolerance)
    while True:
        blocks = sorted(blocks, key=lambda block: _rank(A, block, tolerance))
        matched, free = _arrange(A, v, blocks, tolerance)
        teachers = np.concatenate(blocks)
        students = np.concatenate([*(members for _, members in matched), free])
        ordered = problem
        if problem.teacher_readout is not None:
            ordered = replace(problem, teacher_readout=problem.teacher_readout[teachers])
        ansatz = BlockAnsatz(
            ordered,
            tuple(len(block) for block in blocks),
            tuple(b for b, _ in matched),
            len(free),
            readout=[*(v[members].mean() for _, members in matched), *v[free]],
        )
        # In NumPy: each matrix has another shape, for which JAX would compile each operation.
        given = A[np.ix_(students, teachers)]
        means = block_means(ansatz, given)
        sizes = [*(len(members) for _, members in matched), *(1 for _ in free)]
        missed = np.repeat(np.asarray(ansatz.readout), sizes) - v[students]
        error = np.abs(np.column_stack([write_matrix(ansatz, means) - given, missed]))
        if error.max() <= tolerance:
            diagonals = means.diagonal[np.arange(len(matched)), list(ansatz.matched)]
            z = jnp.asarray(np.concatenate([diagonals, means.const.ravel()]))
            return BlockStructure(AnsatzPoint(ansatz, z), ordered, students, teachers)
        home = np.repeat([*ansatz.matched, -1], [*sizes[: len(matched)], len(free)])
        blocks = _without_one_teacher(blocks, home, error > tolerance)


def _coefficients(problem: Problem, weights: Weights, tolerance: float) -> np.ndarray:
    """Return A (K, M), the students' coefficients in the teachers."""
    K, M = problem.students, problem.teachers
    W = np.asarray(weights.W)
    if W.shape[0] != K or W.shape[1] < M:
        raise UserError(f"weights must be (K = {K}, d ≥ M = {M}); got {W.shape}")
    if not (np.isfinite(W).all() and np.isfinite(np.asarray(weights.v)).all()):
        raise UserError("weights must be finite to have blocks")
    beyond = np.abs(W[:, M:]).max(initial=0)
    if beyond > tolerance:
        raise UserError(
            f"weights must lie in the span of the M = {M} teachers to have blocks; "
            f"a coordinate beyond it is {beyond:.3g}"
        )
    L = np.asarray(problem.teacher_weights(M))
    return solve_triangular(L.T, W[:, :M].T, lower=False).T


def _interchangeable(
    A: np.ndarray, v: np.ndarray, readout: np.ndarray, tolerance: float
) -> list[np.ndarray]:
    """Return the teachers in blocks. If exchanging m and n permutes students, and n and k too, so does m and
    k: each needs to be compared with the first of its block only."""
    values = np.sort(A, axis=0)
    rows = np.column_stack([A, v])

    def alike(m: int, n: int) -> bool:
        if readout[m] != readout[n] or np.abs(values[:, m] - values[:, n]).max() > tolerance:
            return False
        moved = rows[np.abs(A[:, m] - A[:, n]) > tolerance]
        exchanged = moved.copy()
        exchanged[:, [m, n]] = moved[:, [n, m]]
        far = cdist(moved, exchanged, "chebyshev") > tolerance
        return not far[linear_sum_assignment(far)].any()

    blocks: list[list[int]] = []
    for n in range(A.shape[1]):
        home = next((block for block in blocks if alike(block[0], n)), None)
        if home is None:
            blocks.append([n])
        else:
            home.append(n)
    return [np.array(block) for block in blocks]


def _rank(A: np.ndarray, block: np.ndarray, tolerance: float) -> tuple:
    """Return what blocks are ordered by: a single teacher or not, sign of its strongest coefficient, size.

    Of students whose coefficients differ within the block, where there are such: a free one that overlaps
    all of its teachers is no sign of those matched to them.
    """
    varying = np.ptp(A[:, block], axis=1) > tolerance
    column = A[varying if varying.any() else slice(None), block[0]]
    strongest = column[np.argmax(np.abs(column))]
    return len(block) == 1, strongest < -tolerance, -len(block), -strongest


def _arrange(
    A: np.ndarray, v: np.ndarray, blocks: list[np.ndarray], tolerance: float
) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
    """Return the students that can be matched, as (block, students in the order of its teachers), and the
    others."""
    varying = np.stack([np.ptp(A[:, block], axis=1) for block in blocks], axis=1) > tolerance
    # The part of a student that permutations of teachers within their blocks leave unchanged.
    invariant = np.column_stack([*(np.sort(A[:, block], axis=1) for block in blocks), v])
    matched = []
    for b, block in enumerate(blocks):
        members = np.flatnonzero(varying[:, b] & (varying.sum(axis=1) == 1))
        for cluster in _clusters(invariant[members], tolerance):
            alike = members[cluster]
            copies, rest = divmod(len(alike), len(block))
            if rest:
                continue
            odd = A[np.ix_(alike, block)]
            # Of two numbers either may be the odd one: the larger is, as in `align`.
            odd = np.abs(odd - (np.median(odd, axis=1, keepdims=True) if len(block) > 2 else 0))
            _, teacher = linear_sum_assignment(-np.tile(odd, copies))
            in_order = alike[np.argsort(teacher)]
            matched += [(b, students) for students in np.split(in_order, copies)]
    matched.sort(key=lambda pair: (pair[0], -A[pair[1], blocks[pair[0]]].mean()))
    free = np.setdiff1d(np.arange(len(A)), [i for _, students in matched for i in students])
    # Free students in the order of the block that they have most of, those along it first.
    mean = np.stack([A[free][:, block].mean(axis=1) for block in blocks], axis=1)
    most = np.argmax(np.abs(mean), axis=1)
    return matched, free[np.lexsort([-mean[np.arange(len(free)), most], most])]


def _clusters(points: np.ndarray, tolerance: float) -> Iterator[np.ndarray]:
    """Yield indices of points that are, in every coordinate, within `tolerance` of the first of them."""
    pending = np.arange(len(points))
    while len(pending):
        close = np.abs(points[pending] - points[pending[0]]).max(axis=1) <= tolerance
        yield pending[close]
        pending = pending[~close]


def _without_one_teacher(
    blocks: list[np.ndarray], home: np.ndarray, wrong: np.ndarray
) -> list[np.ndarray]:
    """Return the blocks with one teacher taken out of the smallest of those that miss the weights.

    `home` (K,): the block that each student is matched to, −1 if none; `wrong` (K, M + 1): which
    coefficients, and readouts, the blocks do not give. Both in the order of the blocks.
    """
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    wrong_blocks = {*block_of[wrong[:, :-1].any(axis=0)], *home[wrong.any(axis=1)]}
    # A single teacher misses nothing: a mean of one number is that number.
    divisible = [b for b in wrong_blocks if b >= 0 and len(blocks[b]) > 1]
    b = min(divisible, key=lambda b: (len(blocks[b]), b))
    worst = np.argmax(wrong[:, :-1].sum(axis=0)[block_of == b])
    parts = [blocks[b][[worst]], np.delete(blocks[b], worst)]
    return [*blocks[:b], *parts, *blocks[b + 1 :]]


def describe(ansatz: BlockAnsatz | AnsatzPoint) -> str:
    """Return the blocks in words, such as `15+1+1: matched 15, free 3`: `BlockAnsatz.name`.

    Raises UserError for anything but blocks or a point in them.
    """
    allowed = "a block ansatz, or a point in one such as ol.family(problem, 1)"
    check_instance("ansatz", ansatz, (BlockAnsatz, AnsatzPoint), allowed)
    return ansatz_of(ansatz).name
