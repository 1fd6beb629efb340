r"""The block ansatz: a few numbers that stand for a state of any width.

The symmetric fixed points have teachers in blocks, and students that are either *matched* to the
teachers of a block one by one or *free*. In the coefficients A of $w_i = \sum_n A_{in} w^*_n$ a matched
block of students has one number on the diagonal of its own block and constants elsewhere; a free
student is constant on every block (paper, Eq. 7 and Appendix B, which writes the same in Q and R:
`overlap_ansatz`). Sizes enter only as multiplicities. So nothing here grows with the width, sizes may
be any real number, and a family is continued in them as in any other number.

This file has the structure alone. Its loss and rates are in `reduced_loss`, the full weights in `lifting`,
other blocks with the same weights in `padding` and `isotypic`, a point of it in `ansatz_point`.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..activations.base import AbstractActivation
from ..model.problem import PROBLEM, Problem, is_concrete
from ..runtime.arguments import check_instance, check_real_numbers, check_whole_number, shown
from ..runtime.errors import NoSuchFamilyError, UserError
from .block_matrix import BlockMatrix


def is_written_out(module: eqx.Module) -> bool:
    """Return whether all leaves of a module are numbers that can be printed: none is traced or missing."""
    return all(
        is_concrete(x) and not isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(module)
    )


def parameter_names(matched: tuple[int, ...], free: int, blocks: int) -> tuple[str, ...]:
    """Return a name for each parameter of an ansatz with that many blocks of teachers, in their order."""
    rows = [f"block {block}" for block in matched]
    if len(set(matched)) < len(matched):
        rows = [f"students {s}" for s in range(len(matched))]
    diagonal = [f"{row}, diagonal" for row in rows]
    rows += [f"free {s}" for s in range(free)]
    return (*diagonal, *(f"{row}, on block {b}" for row in rows for b in range(blocks)))


class AbstractBlocks(eqx.Module):
    """Students and teachers in blocks, and the numbers of the problem that they need.

    - `matched`: for each block of matched students, the teacher block. Static, as is `free`, the
      number of free students.
    - `sizes`: of the B teacher blocks.
    - `activation`: σ.
    - `correlation`: c of the teacher's T = (1 − c) I + c 11ᵀ.
    - `readout`, `teacher_readout`: v of each of the S student blocks, v* of each teacher block.

    The P parameters z are, in this order, the diagonals of the matched blocks, then for each block of
    students (matched, then free) its constants on all teacher blocks.
    """

    matched: eqx.AbstractVar[tuple[int, ...]]
    free: eqx.AbstractVar[int]
    sizes: eqx.AbstractVar[Float[Array, " B"]]
    activation: eqx.AbstractVar[AbstractActivation]
    correlation: eqx.AbstractVar[Float[Array, ""]]
    readout: eqx.AbstractVar[Float[Array, " S"]]
    teacher_readout: eqx.AbstractVar[Float[Array, " B"]]

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
    def students(self) -> float:
        """K, from sizes that are numbers: one under `jit`, too, where JAX's operations on them are not."""
        return float(np.sum(np.asarray(self.sizes)[list(self.matched)])) + self.free

    @property
    def count(self) -> int:
        """The number of parameters, P."""
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
        return parameter_names(self.matched, self.free, self.sizes.shape[0])

    @property
    def name(self) -> str:
        """The blocks in words, such as `15+1+1: matched 15, free 3`: the sizes of the teacher blocks, which
        of them have students matched to them, and how many students are free."""
        sizes = [f"{size:.12g}" for size in np.asarray(self.sizes)]
        runs = [(size, len(list(run))) for size, run in groupby(sizes)]
        # Many single teachers are counted and not written out.
        written = "+".join(f"{n}×{size}" if n > 4 else "+".join([size] * n) for size, n in runs)
        copies = [(sizes[b], self.matched.count(b)) for b in dict.fromkeys(self.matched)]
        students = [f"{size} ×{n}" if n > 1 else size for size, n in copies]
        parts = [f"matched {', '.join(students)}"] if students else []
        parts += [f"free {self.free}"] if self.free else []
        return f"{written}: {', '.join(parts)}"

    def __repr__(self) -> str:
        if not is_written_out(self):
            return eqx.tree_pformat(self)
        return f"{type(self).__name__}({self.name}; {self.activation!r})"

    @property
    def teacher_overlaps(self) -> BlockMatrix:
        """T = (1 − c) I + c 11ᵀ (teachers by teachers)."""
        B = self.sizes.shape[0]
        c = self.correlation
        return BlockMatrix(jnp.broadcast_to(c, (B, B)), (1 - c) * jnp.eye(B))

    def coefficients(self, z: Float[Array, " P"]) -> BlockMatrix:
        """Return A as a matrix in blocks (students by teachers)."""
        S, B = self.own.shape
        const = z[len(self.matched) :].reshape(S, B)
        diagonal = jnp.pad(z[: len(self.matched)], (0, self.free))
        return BlockMatrix(const, jnp.asarray(self.own) * (diagonal[:, None] - const))

    def parameters_of(self, A: BlockMatrix) -> Float[Array, " P"]:
        """Return z of these coefficients."""
        rows = np.arange(len(self.matched))
        return jnp.concatenate([A.diagonal[rows, list(self.matched)], A.const.ravel()])


class FormalBlocks(AbstractBlocks):
    """Blocks of whatever sizes, 0 and negative ones too, with every field as it is given.

    What is compiled works on these: the loss is a polynomial in the sizes, so blocks of no units (`padding`)
    and of fewer than none (`isotypic.refined`) have one. See `AbstractBlocks` for the fields.
    """

    matched: tuple[int, ...] = eqx.field(static=True)
    free: int = eqx.field(static=True)
    sizes: Float[Array, " B"]
    activation: AbstractActivation
    correlation: Float[Array, ""]
    readout: Float[Array, " S"]
    teacher_readout: Float[Array, " B"]


class BlockAnsatz(AbstractBlocks):
    r"""Students and teachers in blocks, in the coefficients $w_i = \sum_n A_{in} w^*_n$.

    `BlockAnsatz(problem, teachers=(15, 1, 1), matched=(0,), free=3)`: blocks of 15, 1 and 1 teachers;
    a block of students matched to block 0; 3 free students. Their parameters z are, in this order, the
    diagonals of the matched blocks, then for each block of students (matched, then free) its constants
    on all teacher blocks. `names` has a name for each.

    - `teachers`: sizes of the teacher blocks, may be real. A block of one has free students only: a matched
      block of one would have a constant that no student has.
    - `matched`: for each block of matched students, the teacher block.
    - `free`: the number of free students.
    - `readout`: v of each block of students (matched, then free); ones unless given.

    Raises UserError if the sizes don't add up to the problem's K and M, a matched block is too small,
    T is not (1 − c) I + c 11ᵀ, or the teacher's readout differs within a block.
    """

    matched: tuple[int, ...] = eqx.field(static=True)
    free: int = eqx.field(static=True)
    sizes: Float[Array, " B"]
    activation: AbstractActivation
    correlation: Float[Array, ""]
    readout: Float[Array, " S"]
    teacher_readout: Float[Array, " B"]

    def __init__(
        self,
        problem: Problem,
        teachers: Sequence[int | float] = (),
        matched: Sequence[int] = (0,),
        free: int = 0,
        readout=None,
    ):
        check_instance("problem", problem, Problem, PROBLEM)
        if isinstance(teachers, tuple | list) and not teachers:
            teachers = (problem.teachers,)
        sizes = tuple(check_real_numbers("teachers", teachers, "a list of sizes").ravel().tolist())
        if not isinstance(matched, tuple | list):
            raise UserError(f"matched must be a list of teacher blocks; got {shown(matched)}")
        matched = [check_whole_number("matched", block, 0) for block in matched]
        free = check_whole_number("free", free, 0)
        _check_blocks(problem, sizes, matched, free)
        self.matched, self.free = tuple(int(block) for block in matched), int(free)
        self.sizes = jnp.asarray(sizes, dtype=float)
        self.activation = problem.activation
        self.correlation = _common_correlation(problem)
        S = len(self.matched) + self.free
        self.readout = jnp.ones(S) if readout is None else _readout_of_students(readout, S)
        self.teacher_readout = _readout_of_blocks(problem, sizes)

    def of(self, problem: Problem, argument: str = "ansatz") -> "BlockAnsatz":
        """Return the same blocks with the numbers of another problem: its activation, T and readout.

        Raises UserError, naming the argument, if the problem has other numbers of students or teachers.
        """
        return self.replace(**self.numbers_of(problem, argument))

    def numbers_of(self, problem: Problem, argument: str = "ansatz") -> dict[str, Any]:
        """Return what `of` replaces, by name: `activation`, `correlation` and `teacher_readout`.

        Raises UserError, naming the argument, if the problem has other numbers of students or teachers.
        """
        # In NumPy, so that under `jit` too they are numbers: sizes are, where only the problem is traced.
        sizes = np.asarray(self.sizes)
        K, M = self.students, float(np.sum(sizes))
        if np.abs(np.subtract((K, M), (problem.students, problem.teachers))).max() > 1e-6:
            raise UserError(
                f"{argument} must have the problem's K = {problem.students} students and M = "
                f"{problem.teachers} teachers; got {K:g} and {M:g}"
            )
        readout = _readout_of_blocks(problem, tuple(sizes.tolist()))
        return {**size_free_numbers(problem), "teacher_readout": readout}

    def replace(self, **numbers) -> "BlockAnsatz":
        """Return the ansatz with other numbers: `sizes`, `activation`, `correlation`, `readout` or
        `teacher_readout`. They are taken as they are."""
        return eqx.tree_at(
            lambda ansatz: [getattr(ansatz, name) for name in numbers], self, [*numbers.values()]
        )


def size_free_numbers(problem: Problem) -> dict[str, Any]:
    """Return the numbers of a problem that blocks of any sizes have: `activation` and `correlation`.

    Raises UserError for a T that is not (1 − c) I + c 11ᵀ.
    """
    return {"activation": problem.activation, "correlation": _common_correlation(problem)}


def formal(ansatz: AbstractBlocks) -> FormalBlocks:
    """Return the same blocks as `FormalBlocks`, every number an array of floats.

    So all that is compiled for blocks of one structure is compiled once, whatever they come from.
    """
    numbers = (
        ansatz.sizes,
        ansatz.activation,
        ansatz.correlation,
        ansatz.readout,
        ansatz.teacher_readout,
    )
    arrays = jax.tree.map(lambda x: jnp.asarray(x, dtype=float), numbers)
    return FormalBlocks(ansatz.matched, ansatz.free, *arrays)


def _check_blocks(
    problem: Problem, sizes: tuple[float, ...], matched: Sequence[int], free: int
) -> None:
    """Raise UserError if these blocks are none of the problem's."""
    if (
        not min(sizes, default=0) > 0
        or not abs(sum(sizes) - problem.teachers) <= 1e-9 * problem.teachers
    ):
        raise UserError(
            f"teachers must be positive sizes that add up to M = {problem.teachers}; got {sizes!r}"
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


def _readout_of_students(readout, S: int) -> Float[Array, " S"]:
    if is_concrete(readout):
        readout = check_real_numbers("readout", readout, "one finite number a student block")
        if not np.isfinite(readout).all():
            raise UserError(f"readout must be finite; got {shown(readout.tolist())}")
    readout = jnp.asarray(readout, dtype=float)
    if readout.shape != (S,):
        raise UserError(f"readout must have one number a student block, {S}; got {shown(readout)}")
    return readout


def _common_correlation(problem: Problem) -> Float[Array, ""]:
    """Return c of T = (1 − c) I + c 11ᵀ. Raises UserError for another T."""
    T = problem.teacher_overlaps
    if T is None:
        return jnp.asarray(0.0)
    T = np.asarray(T) if is_concrete(T) else T  # its entries are numbers under `jit`, too
    c = T[0, 1] if problem.teachers > 1 else 0.0
    if not isinstance(T, Tracer):
        M = problem.teachers
        exchangeable = (1 - float(c)) * np.eye(M) + float(c)
        if np.abs(T - exchangeable).max() > 1e-12:
            raise UserError(
                "teacher_overlaps must be (1 − c) I + c 11ᵀ for a block ansatz (teachers of length 1 "
                "that any permutation leaves as they are); got another matrix"
            )
    return jnp.asarray(c, float)


def _readout_of_blocks(problem: Problem, sizes: tuple[float, ...]) -> Float[Array, " B"]:
    """Return v* of each block. Raises NoSuchFamilyError if it differs within one: the teachers of that block
    cannot be exchanged, and no fixed point has to have such blocks."""
    given = problem.teacher_readout
    if given is None:
        return jnp.ones(len(sizes))
    ends = np.cumsum(np.round(np.asarray(sizes)).astype(int))
    starts = np.concatenate([[0], ends[:-1]])
    if not isinstance(given, Tracer):
        for a, b in zip(starts, ends, strict=True):
            values = np.asarray(given)[a:b]
            if np.ptp(values) > 0:
                raise NoSuchFamilyError(
                    "teacher_readout must be constant on each block of teachers; got "
                    f"{values.min():g} to {values.max():g} on teachers {a} to {b - 1} (blocks are of "
                    "teachers side by side: those of equal readouts must be)"
                )
    return given[starts]
