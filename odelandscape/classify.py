"""Which family an end state belongs to.

Permuting students changes no network, so end states are first aligned: each teacher is given one
student so that the sum of absolute overlaps is largest (paper, Appendix B.1). A student is
*anti-aligned* if its overlap with its teacher is negative. The number of anti-aligned students and
the level of the loss name the family.

`block_structure` finds the blocks that an end state lies in, so that it can be solved for as a fixed
point of a few numbers (`ansatz`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from . import results
from .ansatz import BlockAnsatz
from .problem import Problem, Weights
from .stability import SILENT

LEVEL_WIDTH = 1e-7
"""End states whose losses are closer than this are one level."""


class Alignment(NamedTuple):
    """`order` (K,): students in the order of their teachers, surplus ones after; `teacher` (K,): the
    teacher each of those has, −1 if none (K > M and silent); `anti_aligned`: how many point away."""

    order: np.ndarray
    teacher: np.ndarray
    anti_aligned: int


def align(R: np.ndarray, norms: np.ndarray) -> Alignment:
    """Align students to teachers by assignment on |R|.

    `R` (K, M) are the overlaps and `norms` (K,) the students' lengths. A surplus student (K > M) is
    counted with the teacher it overlaps most with.
    """
    students, teachers = linear_sum_assignment(-np.abs(R))
    by_teacher = np.argsort(teachers)
    students, teachers = students[by_teacher], teachers[by_teacher]
    free = np.ones(len(R), bool)
    free[students] = False
    surplus = np.flatnonzero(free)
    strongest = np.argmax(np.abs(R[surplus]), axis=1) if len(surplus) else np.zeros(0, int)
    order = np.concatenate([students, surplus])
    teacher = np.concatenate([teachers, strongest])
    loud = norms[order] > SILENT
    teacher = np.where(loud, teacher, -1)
    anti = loud & (R[order, teacher] < 0)
    return Alignment(order, teacher, int(anti.sum()))


def count_anti_aligned(R: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """The number of anti-aligned students in each of N end states; R (N, K, M), norms (N, K)."""
    return np.array([align(r, n).anti_aligned for r, n in zip(R, norms, strict=True)], dtype=int)


class Family(NamedTuple):
    """A level of the loss: how many end states reach it, and one of them to look at."""

    outcome: str
    anti_aligned: int
    loss: float  # of its representative
    count: int
    smallest_eigenvalue: float
    representative: int  # its first seed
    levels: tuple[float, float]  # lowest and highest loss


def families(
    seed: np.ndarray,
    outcome: np.ndarray,
    anti_aligned: np.ndarray,
    loss: np.ndarray,
    smallest: np.ndarray,
) -> list[Family]:
    """Group converged end states by outcome, anti-aligned students and loss level, lowest loss first.

    All global minima are one family: overparameterised students reach zero loss in many ways.
    """
    found: list[Family] = []

    def add(members: np.ndarray) -> None:
        first = members[np.argmin(seed[members])]
        found.append(
            Family(
                str(outcome[first]),
                int(anti_aligned[first]),
                float(loss[first]),
                len(members),
                float(smallest[members].min()),
                int(seed[first]),
                (float(loss[members].min()), float(loss[members].max())),
            )
        )

    zero = np.flatnonzero(outcome == results.GLOBAL_MINIMUM)
    if len(zero):
        add(zero)
    for name in (results.LOCAL_MINIMUM, results.SADDLE):
        for alpha in np.unique(anti_aligned[outcome == name]):
            index = np.flatnonzero((outcome == name) & (anti_aligned == alpha))
            index = index[np.argsort(loss[index], kind="stable")]
            cuts = np.flatnonzero(np.diff(loss[index]) > LEVEL_WIDTH) + 1
            for members in np.split(index, cuts):
                add(members)
    return _sorted(found)


def merged(parts: Iterable[list[Family]]) -> list[Family]:
    """The families of parts of a sweep, as if all end states had been grouped at once."""
    found: list[Family] = []
    # A level is a run of losses without a gap, so levels join where their ranges come close enough.
    for one in sorted((f for part in parts for f in part), key=_kind_and_level):
        last = found[-1] if found else None
        if last is None or not _joins(last, one):
            found.append(one)
            continue
        first = min(last, one, key=lambda family: family.representative)
        found[-1] = first._replace(
            count=last.count + one.count,
            smallest_eigenvalue=min(last.smallest_eigenvalue, one.smallest_eigenvalue),
            levels=(last.levels[0], max(last.levels[1], one.levels[1])),
        )
    return _sorted(found)


def _kind(family: Family) -> tuple[str, int]:
    one_kind = family.outcome == results.GLOBAL_MINIMUM
    return family.outcome, 0 if one_kind else family.anti_aligned


def _kind_and_level(family: Family):
    return *_kind(family), family.levels


def _joins(last: Family, one: Family) -> bool:
    near = one.levels[0] - last.levels[1] <= LEVEL_WIDTH
    return _kind(last) == _kind(one) and (near or one.outcome == results.GLOBAL_MINIMUM)


def _sorted(found: list[Family]) -> list[Family]:
    return sorted(found, key=lambda family: (family.loss, family.outcome))


# --- blocks -------------------------------------------------------------------------------------


class BlockStructure(NamedTuple):
    r"""An end state in blocks.

    - `ansatz`: the blocks, with the parameters as its `start`.
    - `students` (K,), `teachers` (M,): its order. With A the coefficients of $w_i = \sum_n A_{in} w^*_n$,
      `A[students][:, teachers]` is what the ansatz writes out.
    - `problem`: the problem with its teachers in that order; another one only if their readouts differ.
    """

    ansatz: BlockAnsatz
    problem: Problem
    students: np.ndarray
    teachers: np.ndarray


def block_structure(problem: Problem, weights: Weights, tolerance: float = 1e-5) -> BlockStructure:
    """The coarsest blocks of an end state, in whatever order its students and teachers are.

    Two teachers are of one block if exchanging them does no more than permute students. That may need
    students that are neither matched to teachers nor free (one for each pair of them, say); then teachers
    are taken out of the block, one at a time, until the rest needs none. At the latest, each teacher is a
    block. Blocks with students along their teachers come first, then those with students against them, then
    single teachers; of each kind, large ones before small ones.

    - `weights`: W (K, d). Coordinates beyond the M of the teachers are left out and must be 0.
    - `tolerance`: numbers closer than this are one number. The blocks give v, and W's coefficients in the
      teachers, to within it.

    Raises ValueError if `weights` and the problem don't fit, are not finite or reach beyond the teachers,
    `tolerance` is not positive, or T is not (1 − c) I + c 11ᵀ.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive; got {tolerance!r}")
    A, v = _coefficients(problem, weights, tolerance), np.asarray(weights.v)
    basis = problem.teacher_weights(problem.teachers)
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
        given = A[np.ix_(students, teachers)]
        z = ansatz.restrict(Weights(jnp.asarray(given) @ basis, jnp.asarray(v[students])))
        lifted = np.asarray(ansatz.expand(ansatz.coefficients(z)))
        missed = np.abs(
            np.column_stack([lifted - given, np.asarray(ansatz.lift(z).v) - v[students]])
        )
        if missed.max() <= tolerance:
            return BlockStructure(ansatz.replace(start=z), ordered, students, teachers)
        home = np.repeat([*ansatz.matched, -1], [*(len(m) for _, m in matched), len(free)])
        blocks = _split(blocks, home, missed > tolerance)


def _coefficients(problem: Problem, weights: Weights, tolerance: float) -> np.ndarray:
    """A (K, M) of the students in the teachers."""
    K, M = problem.students, problem.teachers
    W = np.asarray(weights.W)
    if W.shape[0] != K or W.shape[1] < M:
        raise ValueError(f"weights must be (K = {K}, d ≥ M = {M}); got {W.shape}")
    if not (np.isfinite(W).all() and np.isfinite(np.asarray(weights.v)).all()):
        raise ValueError("weights must be finite to have blocks")
    beyond = np.abs(W[:, M:]).max(initial=0)
    if beyond > tolerance:
        raise ValueError(
            f"weights must lie in the span of the M = {M} teachers to have blocks; "
            f"a coordinate beyond it is {beyond:.3g}"
        )
    L = np.asarray(problem.teacher_weights(M))
    return solve_triangular(L.T, W[:, :M].T, lower=False).T


def _interchangeable(
    A: np.ndarray, v: np.ndarray, readout: np.ndarray, tolerance: float
) -> list[np.ndarray]:
    """Teachers in blocks. If exchanging m and n permutes students, and n and k too, so does m and k:
    each needs to be compared with the first of its block only."""
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
    """What blocks are ordered by: a single teacher or not, the sign of its strongest coefficient, size.

    Of students that tell the block's teachers apart, where there are such: a free one that overlaps all
    of them says nothing of those matched to them.
    """
    telling = np.ptp(A[:, block], axis=1) > tolerance
    column = A[telling if telling.any() else slice(None), block[0]]
    strongest = column[np.argmax(np.abs(column))]
    return len(block) == 1, strongest < -tolerance, -len(block), -strongest


def _arrange(
    A: np.ndarray, v: np.ndarray, blocks: list[np.ndarray], tolerance: float
) -> tuple[list[tuple[int, np.ndarray]], np.ndarray]:
    """Students that can be matched, as (block, students in the order of its teachers), and the others."""
    varying = np.stack([np.ptp(A[:, block], axis=1) for block in blocks], axis=1) > tolerance
    # What is left of a student when teachers are permuted within their blocks.
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
    """Indices of points that are, in every coordinate, within `tolerance` of the first of them."""
    left = np.arange(len(points))
    while len(left):
        near = np.abs(points[left] - points[left[0]]).max(axis=1) <= tolerance
        yield left[near]
        left = left[~near]


def _split(blocks: list[np.ndarray], home: np.ndarray, wrong: np.ndarray) -> list[np.ndarray]:
    """One teacher taken out of the smallest block that has a part in what is wrong.

    `home` (K,): the block that each student is matched to, −1 if none; `wrong` (K, M + 1): which
    coefficients, and readouts, the blocks do not give. Both in the order of the blocks.
    """
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    blamed = {*block_of[wrong[:, :-1].any(axis=0)], *home[wrong.any(axis=1)]}
    # A single teacher is never to blame: a mean of one number is that number.
    choice = [b for b in blamed if b >= 0 and len(blocks[b]) > 1]
    b = min(choice, key=lambda b: (len(blocks[b]), b))
    worst = np.argmax(wrong[:, :-1].sum(axis=0)[block_of == b])
    apart = [blocks[b][[worst]], np.delete(blocks[b], worst)]
    return [*blocks[:b], *apart, *blocks[b + 1 :]]


def describe(ansatz: BlockAnsatz) -> str:
    """The blocks in words, such as `15+1+1: matched 15, free 3`: the sizes of the teacher blocks, which
    of them have students matched to them, and how many students are free."""
    sizes = [f"{size:.12g}" for size in np.asarray(ansatz.sizes)]
    runs = [(size, len(list(run))) for size, run in groupby(sizes)]
    # Many single teachers are counted and not written out.
    written = "+".join(f"{n}×{size}" if n > 4 else "+".join([size] * n) for size, n in runs)
    copies = [(sizes[b], ansatz.matched.count(b)) for b in dict.fromkeys(ansatz.matched)]
    students = [f"{size} ×{n}" if n > 1 else size for size, n in copies]
    parts = [f"matched {', '.join(students)}"] if students else []
    parts += [f"free {ansatz.free}"] if ansatz.free else []
    return f"{written}: {', '.join(parts)}"
