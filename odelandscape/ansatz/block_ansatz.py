r"""The block ansatz: a few numbers that stand for a fixed point of any width.

The symmetric fixed points have teachers in blocks, and students that are either *matched* to the
teachers of a block one by one or *free*. In the coefficients A of $w_i = \sum_n A_{in} w^*_n$ a matched
block of students has one number on the diagonal of its own block and constants elsewhere; a free
student is constant on every block (paper, Eq. 7 and Appendix B, where the same is said of Q and R:
`overlap_ansatz`). Sizes enter only as multiplicities. So nothing here grows with the width, sizes may
be any real number, and a family is continued in them as in any other number.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..activations.angles import norm
from ..activations.base import AbstractActivation
from ..activations.grouped_units import GroupedUnits
from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from .block_matrix import Blocks

LARGEST_LIFT = 2**26
"""Matrices with more numbers than this are not written out."""


def _exchangeable(problem: Problem) -> Float[Array, ""]:
    """c of T = (1 − c) I + c 11ᵀ. Raises ValueError for another T."""
    T = problem.teacher_overlaps
    if T is None or problem.teachers == 1:
        return jnp.asarray(0.0)
    c = T[0, 1]
    if not isinstance(T, Tracer):
        M = problem.teachers
        wanted = (1 - float(c)) * np.eye(M) + float(c)
        if np.abs(np.asarray(T) - wanted).max() > 1e-12:
            raise UserError(
                "teacher_overlaps must be (1 − c) I + c 11ᵀ for a block ansatz (teachers of length 1 "
                "that any permutation leaves as they are); got another matrix"
            )
    return c


def _blockwise(problem: Problem, sizes: tuple[float, ...]) -> Float[Array, " B"]:
    """v* of each block. Raises ValueError if it differs within one."""
    given = problem.teacher_readout
    if given is None:
        return jnp.ones(len(sizes))
    ends = np.cumsum(np.round(np.asarray(sizes)).astype(int))
    starts = np.concatenate([[0], ends[:-1]])
    if not isinstance(given, Tracer) and any(
        np.ptp(np.asarray(given)[a:b]) > 0 for a, b in zip(starts, ends, strict=True)
    ):
        raise UserError("teacher_readout must be constant on each block of teachers")
    return given[starts]


class BlockAnsatz(eqx.Module):
    r"""Students and teachers in blocks, in the coefficients $w_i = \sum_n A_{in} w^*_n$.

    `BlockAnsatz(problem, teachers=(15, 1, 1), matched=(0,), free=3)`: blocks of 15, 1 and 1 teachers;
    a block of students matched to block 0; 3 free students. Their parameters z are, in this order, the
    diagonals of the matched blocks, then for each block of students (matched, then free) its constants
    on all teacher blocks. `names` has a name for each.

    - `sizes`: of the teacher blocks, may be real. A block of one has free students only: a matched
      block of one would have a constant that no student has.
    - `matched`: for each block of matched students, the teacher block. Static, as is `free`, the
      number of free students.
    - `correlation`: c of the teacher's T = (1 − c) I + c 11ᵀ.
    - `readout`, `teacher_readout`: v of each student block, v* of each teacher block.
    - `start`: parameters on or near a fixed point, if one is known (`ol.family` gives it).
    - `branch`: the name of the family, if it has one. Static.

    Raises ValueError if the sizes don't add up to the problem's K and M, a matched block is too small,
    T is not of that form, or the teacher's readout differs within a block.
    """

    matched: tuple[int, ...] = eqx.field(static=True)
    free: int = eqx.field(static=True)
    sizes: Float[Array, " B"]
    activation: AbstractActivation
    correlation: Float[Array, ""]
    readout: Float[Array, " S"]
    teacher_readout: Float[Array, " B"]
    start: Float[Array, " P"] | None
    branch: str = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        teachers: Sequence[int | float] = (),
        matched: Sequence[int] = (0,),
        free: int = 0,
        readout=None,
        start=None,
        branch: str = "",
    ):
        sizes = tuple(float(size) for size in (teachers or (problem.teachers,)))
        if min(sizes) <= 0 or abs(sum(sizes) - problem.teachers) > 1e-9 * problem.teachers:
            raise UserError(
                f"teachers must be positive sizes that add up to M = {problem.teachers}; got {teachers!r}"
            )
        for block in matched:
            if not 0 <= block < len(sizes) or sizes[block] <= 1:
                raise UserError(
                    f"matched must name teacher blocks (from 0) of more than one unit; got {matched!r} "
                    f"for sizes {sizes} (students of a block of one teacher are free)"
                )
        students = sum(sizes[block] for block in matched) + free
        if free < 0 or abs(students - problem.students) > 1e-9 * problem.students:
            raise UserError(
                f"matched and free must add up to K = {problem.students} students; got {students:g}"
            )
        self.matched, self.free = tuple(int(block) for block in matched), int(free)
        self.sizes = jnp.asarray(sizes, dtype=float)
        self.activation = problem.activation
        self.correlation = _exchangeable(problem)
        S = len(self.matched) + self.free
        self.readout = jnp.ones(S) if readout is None else jnp.asarray(readout, dtype=float)
        if self.readout.shape != (S,):
            raise UserError(f"readout must have one number a student block, {S}; got {readout!r}")
        self.teacher_readout = _blockwise(problem, sizes)
        self.start = None if start is None else jnp.asarray(start, dtype=float)
        self.branch = branch
        if self.start is not None and self.start.shape != (self.count,):
            raise UserError(
                f"start must have {self.count} parameters ({', '.join(self.names)}); got {start!r}"
            )

    def of(self, problem: Problem) -> "BlockAnsatz":
        """The same blocks of the numbers of another problem: its activation, T and readout.

        Raises ValueError if the problem has other numbers of students or teachers.
        """
        told = (float(jnp.sum(self.student_sizes)), float(jnp.sum(self.sizes)))
        if np.abs(np.subtract(told, (problem.students, problem.teachers))).max() > 1e-6:
            raise UserError(
                f"ansatz must have the problem's K = {problem.students} students and M = "
                f"{problem.teachers} teachers; got {told[0]:g} and {told[1]:g}"
            )
        sizes = tuple(np.asarray(self.sizes).tolist())
        return self.replace(
            activation=problem.activation,
            correlation=_exchangeable(problem),
            teacher_readout=_blockwise(problem, sizes),
        )

    def replace(self, **values) -> "BlockAnsatz":
        """With other values of some fields."""
        new = object.__new__(BlockAnsatz)
        for name in self.__dataclass_fields__:
            object.__setattr__(new, name, values.get(name, getattr(self, name)))
        return new

    def bare(self) -> "BlockAnsatz":
        """Without start and name, numbers as arrays."""
        return jax.tree.map(
            lambda x: jnp.asarray(x, dtype=float), self.replace(start=None, branch="")
        )

    def padding(self) -> "Padding":
        """The same weights in an ansatz of one of few shapes, so that few programs are compiled.

        Blocks of no units fill the teacher up to two blocks, and a free student stands in each block of
        one teacher as its matched student. Such blocks have parameters that no coefficient has: their
        multiplicity is 0, the loss doesn't see them and the field leaves them where they are. Where teachers
        of a larger block have no student of their own or several, the ansatz stays as it is.
        """
        bare = self.bare()
        B, matched = self.sizes.shape[0], len(self.matched)
        alone = [b for b in range(B) if b not in self.matched]
        regular = len(set(self.matched)) == matched and len(alone) <= self.free
        if isinstance(self.sizes, Tracer) or not (
            regular and np.all(np.asarray(self.sizes)[alone] == 1)
        ):
            return Padding(bare, np.arange(self.count), np.zeros(self.count))
        n, free = max(B, _FEWEST_BLOCKS), self.free - len(alone)
        rows = [*self.matched, *alone, *range(n, n + free)]
        index = list(self.matched)
        for s, row in enumerate(rows):
            index += [b if row == b and s >= matched else n + row * n + b for b in range(B)]
        rest = np.zeros(n + (n + free) * n)
        rest[B:n] = 1
        source = np.full(n + free, len(rows))
        source[rows] = np.arange(len(rows))
        ansatz = bare.replace(
            matched=tuple(range(n)),
            free=free,
            sizes=jnp.pad(bare.sizes, (0, n - B)),
            readout=jnp.take(jnp.pad(bare.readout, (0, 1), constant_values=1), source),
            teacher_readout=jnp.pad(bare.teacher_readout, (0, n - B), constant_values=1),
        )
        return Padding(ansatz, np.array(index, int), rest)

    # --- structure -----------------------------------------------------------------------------

    @property
    def own(self) -> np.ndarray:
        """(S, B): 1 where the students of a block are matched to the teachers of a block."""
        own = np.zeros((len(self.matched) + self.free, self.sizes.shape[0]))
        own[np.arange(len(self.matched)), list(self.matched)] = 1
        return own

    @property
    def student_sizes(self) -> Float[Array, " S"]:
        """How many students each block has."""
        return self.own @ self.sizes + (1 - self.own.sum(axis=1))

    @property
    def count(self) -> int:
        """The number of parameters."""
        S, B = self.own.shape
        return len(self.matched) + S * B

    @property
    def multiplicity(self) -> Float[Array, " P"]:
        """How many coefficients each parameter stands for."""
        of_constants = self.student_sizes[:, None] * (self.sizes[None, :] - self.own)
        diagonals = self.sizes[np.array(self.matched, int)]
        return jnp.concatenate([diagonals, of_constants.ravel()])

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each parameter."""
        S, B = self.own.shape
        matched = len(self.matched)
        rows = [
            f"block {self.matched[s]}" if s < matched else f"free {s - matched}" for s in range(S)
        ]
        if len(set(self.matched)) < matched:
            rows = [f"students {s}" if s < matched else row for s, row in enumerate(rows)]
        diagonal = [f"{row}, diagonal" for row in rows[:matched]]
        return (*diagonal, *(f"{row}, on block {b}" for row in rows for b in range(B)))

    def coefficients(self, z: Float[Array, " P"]) -> Blocks:
        """A as a matrix in blocks (students by teachers)."""
        S, B = self.own.shape
        const = z[len(self.matched) :].reshape(S, B)
        diagonal = jnp.pad(z[: len(self.matched)], (0, self.free))
        return Blocks(const, jnp.asarray(self.own) * (diagonal[:, None] - const))

    def parameters_of(self, A: Blocks) -> Float[Array, " P"]:
        """z of these coefficients."""
        rows = np.arange(len(self.matched))
        return jnp.concatenate([A.diagonal[rows, list(self.matched)], A.const.ravel()])

    @property
    def _teachers(self) -> Blocks:
        """T."""
        B = self.sizes.shape[0]
        c = self.correlation
        return Blocks(jnp.broadcast_to(c, (B, B)), (1 - c) * jnp.eye(B))

    # --- loss and field ------------------------------------------------------------------------

    def units(self, z: Float[Array, " P"]) -> GroupedUnits:
        """All students and teachers by their overlaps."""
        S, B = self.own.shape
        teachers = np.eye(B)
        A, T, m = self.coefficients(z), self._teachers, self.sizes
        W = Blocks(
            jnp.concatenate([A.const, jnp.zeros((B, B))]),
            jnp.concatenate([A.same, jnp.eye(B)]),
        )
        R = W.times(T, m)
        Q = R.times(W.T, m)
        # Groups: the teacher blocks with the students matched to them, then each free student alone.
        alone = np.zeros((S + B, self.free))
        alone[np.arange(len(self.matched), S), np.arange(self.free)] = 1
        matched = np.concatenate([self.own, teachers])
        # What separates a unit from its teacher; a free student from nothing. A diagonal less 1 is exact.
        less = self.coefficients(z.at[: len(self.matched)].add(-1))
        shift = Blocks(W.const, jnp.concatenate([less.same, jnp.zeros((B, B))]))
        away = shift.times(T, m)
        square = jnp.diagonal(Q.diagonal)
        n = norm(square)
        of_pairs = away.times(shift.T, m).diagonal
        own_gap = jnp.diagonal(of_pairs)
        along = jnp.sum(matched * away.diagonal, axis=1)
        excess = jnp.where(matched.sum(axis=1) > 0, (own_gap + 2 * along) / (n + 1), n)
        v, w = self.readout, self.teacher_readout
        # Σ v A − v* for each teacher: what is missing of its linear part.
        net = (v * self.student_sizes) @ A.const + v @ less.same + (v @ self.own - w)
        total = (1 - self.correlation) * (m @ net**2) + self.correlation * (m @ net) ** 2
        return GroupedUnits(
            a=jnp.concatenate([v, -w]),
            member=np.concatenate([matched, alone], axis=1),
            size=jnp.concatenate([m, jnp.ones(self.free)]),
            reference=np.concatenate([np.ones(B), np.zeros(self.free)]),
            excess=excess,
            off=Q.const,
            same=Q.diagonal,
            gap=own_gap[:, None] + own_gap[None, :] - 2 * of_pairs,
            total=total,
        )

    def loss(self, z: Float[Array, " P"]) -> Float[Array, ""]:
        """The population loss of the students that z stands for."""
        return self.activation.grouped_quadratic_form(self.units(z)) / 2

    def field(self, z: Float[Array, " P"]) -> Float[Array, " P"]:
        """The rates of z under gradient flow: those of the lifted weights are their lift.

        With G the gradient in the coefficients, dA/dt = −G T⁻¹; an entry of G is the reduced loss's
        derivative over the entries that share the parameter.
        """
        n = self.multiplicity
        gradient = jnp.where(n == 0, 0, jax.grad(self.loss)(z) / jnp.where(n == 0, 1, n))
        return -self.parameters_of(self._over_teachers(gradient))

    @property
    def unit(self) -> Float[Array, " P"]:
        """Lengths of the lifted parameters' unit vectors in weight space, for orthonormal teachers; 1 where
        a parameter has no coefficient."""
        n = self.multiplicity
        return jnp.where(n > 0, norm(n), 1)

    def _over_teachers(self, g: Float[Array, " P"]) -> Blocks:
        """G T⁻¹."""
        c, B = self.correlation, self.sizes.shape[0]
        share = -c / ((1 - c) * (1 + c * (jnp.sum(self.sizes) - 1)))
        inverse = Blocks(jnp.broadcast_to(share, (B, B)), jnp.eye(B) / (1 - c))
        return self.coefficients(g).times(inverse, self.sizes)

    def speed(self, z: Float[Array, " P"]) -> Float[Array, ""]:
        """Frobenius norm of the full gradient in the weights, ∂L/∂W."""
        return jnp.sqrt(2 * jnp.maximum(self.half_square(self.field(z)), 0))

    def half_square(self, z: Float[Array, " P"]) -> Float[Array, ""]:
        """½|W|² of the lifted weights: the scalar product of weight space, in the parameters."""
        Q, _ = self.overlaps(z)
        return self.student_sizes @ jnp.diagonal(Q.diagonal) / 2

    def anti_aligned(self, z: Float[Array, " P"]) -> int:
        """How many students point away from their teacher: of matched students the one they overlap most
        with in their own block, of free students in any."""
        _, R = self.overlaps(z)
        diagonal, const = np.asarray(R.diagonal), np.asarray(R.const)
        sizes, count = np.asarray(self.sizes), 0.0
        for s, b in enumerate(self.matched):
            swapped = abs(const[s, b]) > abs(diagonal[s, b]) and sizes[b] > 1
            count += sizes[b] * ((const if swapped else diagonal)[s, b] < 0)
        for row in const[len(self.matched) :]:
            count += row[np.argmax(np.abs(row))] < 0
        return round(count)

    def mixing(self, Q: Blocks, R: Blocks) -> tuple[Blocks, Blocks]:
        """X (students by students) and Y (students by teachers) of gradient flow at these overlaps; see
        `flows.gradient`."""
        S = self.own.shape[0]
        T = self._teachers
        q = jnp.concatenate([jnp.diagonal(Q.diagonal), jnp.diagonal(T.diagonal)])
        a = jnp.concatenate([self.readout, -self.teacher_readout])
        # Which types share an index: equal ones, and those of one group.
        groups = np.concatenate([self.own, np.eye(self.own.shape[1])])
        shared = np.maximum(self.own @ groups.T, np.eye(S, len(groups)))
        apart, together = (
            jnp.concatenate(pair, axis=1) for pair in ((Q.const, R.const), (Q.diagonal, R.diagonal))
        )
        p, s = self.activation.mixing_scalars(q[:S, None], apart, q[None, :])
        p_same, s_same = self.activation.mixing_scalars(
            q[:S, None], jnp.where(shared > 0, together, apart), q[None, :]
        )
        size = jnp.concatenate([self.student_sizes, self.sizes])
        stretch = (p * size[None, :] + shared * (p_same - p)) @ a
        vv = self.readout[:, None] * a[None, :]
        const, same = vv * s, vv * shared * (s_same - s)
        same = same + jnp.pad(jnp.diag(self.readout * stretch), ((0, 0), (0, len(groups) - S)))
        return Blocks(const[:, :S], same[:, :S]), Blocks(const[:, S:], same[:, S:])

    def overlaps(self, z: Float[Array, " P"]) -> tuple[Blocks, Blocks]:
        """Q and R of the students that z stands for, in blocks."""
        A = self.coefficients(z)
        R = A.times(self._teachers, self.sizes)
        return R.times(A.T, self.sizes), R

    # --- to full weights and back --------------------------------------------------------------

    def whole_sizes(self) -> tuple[int, ...]:
        """The block sizes as integers. Raises ValueError where they are not, or where the students and
        teachers are too many to be written out."""
        sizes = np.asarray(self.sizes)
        if np.abs(sizes - np.round(sizes)).max() > 1e-9:
            raise UserError(f"only whole block sizes can be lifted; got {sizes.tolist()}")
        students = float(np.sum(np.asarray(self.student_sizes)))
        if students * max(students, sizes.sum()) > LARGEST_LIFT:
            raise UserError(
                f"{students:.0f} students of {sizes.sum():.0f} teachers are too many to be written out; "
                "the parameters say the same"
            )
        return tuple(round(size) for size in sizes)

    def _labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Block and index in its group of each student and each teacher."""
        sizes = self.whole_sizes()
        of_students = [sizes[b] for b in self.matched] + [1] * self.free
        student = np.repeat(np.arange(len(of_students)), of_students)
        teacher = np.repeat(np.arange(len(sizes)), sizes)
        i = np.concatenate([np.arange(n) for n in of_students])
        j = np.concatenate([np.arange(n) for n in sizes])
        return student, i, teacher, j

    def expand(self, A: Blocks) -> Float[Array, "K M"]:
        """Students by teachers, written out."""
        student, i, teacher, j = self._labels()
        at = np.ix_(student, teacher)
        return A.const[at] + jnp.where(i[:, None] == j[None, :], A.same[at], 0)

    def write_overlaps(self, Q: Blocks, R: Blocks) -> OrderParameters:
        """Order parameters written out, students and teachers block by block."""
        student, i, _, _ = self._labels()
        at = np.ix_(student, student)
        same = jnp.where(i[:, None] == i[None, :], Q.same[at], 0)
        return OrderParameters(Q.const[at] + same, self.expand(R), self.readout[student])

    def _basis(self) -> Float[Array, "M M"]:
        """The teachers in the coordinates of `Weights`."""
        M = sum(self.whole_sizes())
        c = self.correlation
        if not isinstance(c, Tracer) and float(c) == 0:
            return jnp.eye(M)
        return jnp.linalg.cholesky((1 - c) * jnp.eye(M) + c)

    def lift(self, z: Float[Array, " P"]) -> Weights:
        """The weights (d = M), students block by block; teachers are ordered by block too."""
        student = self._labels()[0]
        W = self.expand(self.coefficients(z))
        L = self._basis()
        return Weights(W @ L, self.readout[student])

    def restrict(self, weights: Weights) -> Float[Array, " P"]:
        """The parameters of weights ordered like those of `lift`: the mean over the coefficients that
        share a parameter. Coordinates beyond the teachers are left out."""
        student, i, teacher, j = self._labels()
        M = len(teacher)
        A = jax.scipy.linalg.solve_triangular(self._basis().T, weights.W[:, :M].T, lower=False).T
        S, B = self.own.shape
        by_student, by_teacher = np.eye(S)[student], np.eye(B)[teacher]
        own = by_student @ self.own @ by_teacher.T > 0
        equal = own & (i[:, None] == j[None, :])
        const = (by_student.T @ jnp.where(equal, 0, A) @ by_teacher) / np.maximum(
            by_student.T @ ~equal @ by_teacher, 1
        )
        diagonal = (by_student.T @ jnp.where(equal, A, 0) @ by_teacher) / np.maximum(
            by_student.T @ equal @ by_teacher, 1
        )
        return self.parameters_of(Blocks(const, jnp.asarray(self.own) * (diagonal - const)))

    # --- the split for the Hessian -------------------------------------------------------------

    def finer(self) -> "BlockAnsatz":
        """Each block of p teachers, and the students matched to it, split into {1, 1, 1, 1, p − 4}.

        Where p < 4 the last size is not positive: as multiplicities are polynomials in the sizes, second
        derivatives along what changes only the first p are right all the same.
        """
        ones = jnp.ones((self.sizes.shape[0], 4))
        rest = (self.sizes - 4)[:, None]
        return self.replace(
            matched=split_matches(self.matched),
            sizes=jnp.concatenate([ones, rest], axis=1).ravel(),
            readout=self.readout[self._coarse_students()],
            teacher_readout=jnp.repeat(self.teacher_readout, PARTS_PER_BLOCK),
            start=None,
            branch="",
        )

    def _coarse_students(self) -> np.ndarray:
        """For each student block of `finer`, the one it is a part of."""
        matched = len(self.matched)
        return np.concatenate(
            [np.repeat(np.arange(matched), PARTS_PER_BLOCK), matched + np.arange(self.free)]
        )

    def refine(self, z: Float[Array, " P"]) -> Float[Array, " P5"]:
        """The parameters of `finer` for the same weights."""
        A = self.coefficients(z)
        rows, columns = (
            self._coarse_students(),
            np.repeat(np.arange(self.sizes.shape[0]), PARTS_PER_BLOCK),
        )
        fine = self.finer()
        at = np.ix_(rows, columns)
        return fine.parameters_of(Blocks(A.const[at], jnp.asarray(fine.own) * A.same[at]))


_FEWEST_BLOCKS = 2


class Padding(NamedTuple):
    """See `BlockAnsatz.padding`: the ansatz, where its parameters are those of the smaller one, and what the
    others are."""

    ansatz: BlockAnsatz
    index: np.ndarray
    rest: np.ndarray

    def pad(self, z: Float[Array, "... P"]) -> Float[Array, "... N"]:
        """Parameters of the padded ansatz."""
        rest = np.broadcast_to(self.rest, (*z.shape[:-1], len(self.rest)))
        source = len(self.index) + np.arange(len(self.rest))
        source[self.index] = np.arange(len(self.index))
        return jnp.take(jnp.concatenate([z, rest], axis=-1), source, axis=-1)

    def strip(self, z: Float[Array, "... N"]) -> Float[Array, "... P"]:
        """Parameters of the smaller ansatz."""
        return jnp.take(z, self.index, axis=-1)


PARTS_PER_BLOCK = 5
"""Parts that `finer` makes of a block."""


def split_matches(matched: tuple[int, ...]) -> tuple[int, ...]:
    """The parts of the blocks of teachers that `finer` matches its blocks of students to."""
    return tuple(PARTS_PER_BLOCK * b + k for b in matched for k in range(PARTS_PER_BLOCK))
