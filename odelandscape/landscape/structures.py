"""The block ansätze in which families are searched."""

from collections.abc import Iterator
from itertools import combinations

from ..ansatz.block_ansatz import BlockAnsatz
from ..model.problem import Problem
from ..runtime.errors import NoSuchFamilyError, UserError

MOST_TEACHERS = {3: 24, 2: 100}
"""Up to which M ansätze of so many blocks are searched unless a number of blocks is given."""
_MOST_ANSATZE = 2000
_MOST_PARAMETERS = 64
_MOST_AVERAGING = 3  # free students that stand on blocks of several teachers


def _partitions(total: int, parts: int, least: int = 1) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write `total` as that many parts of at least `least`, largest first."""
    if parts == 1:
        if total >= least:
            yield (total,)
        return
    for last in range(least, total // parts + 1):
        for head in _partitions(total - last, parts - 1, last):
            yield (*head, last)


def structures(problem: Problem, blocks: int = 3) -> list[BlockAnsatz]:
    """Return the block ansätze of that many blocks.

    - Students are matched to each block of two or more teachers, the others free; where K < M one more block
      of M − K teachers has no students.
    - Where K ≥ M + p, another ansatz has as many students as there are matched to the largest block of p
      teachers, several to each.
    - Where K < M, others have up to three free students that average blocks of several teachers.

    Left out are ansätze within whose blocks the teacher's readout differs, and those of more than 64 parameters
    (each free student has one for each block).
    """
    return [
        ansatz
        for shape in dict.fromkeys(_shapes(problem.students, problem.teachers, blocks))
        if (ansatz := _ansatz(problem, *shape)) is not None
    ]


_Shape = tuple[tuple[int, ...], tuple[int, ...], int]  # sizes, matched, free


def _shapes(K: int, M: int, blocks: int) -> Iterator[_Shape]:
    missing = max(M - K, 0)
    for sizes in _partitions(M - missing, min(blocks, M - missing)):
        matched = tuple(b for b, size in enumerate(sizes) if size > 1)
        free = K - sum(sizes[b] for b in matched)
        yield (*sizes, missing) if missing else sizes, matched, free
        largest = sizes[0]
        copies = (free - (len(sizes) - len(matched))) // largest if largest > 1 else 0
        if copies > 0:
            yield sizes, (0,) * copies + matched, free - copies * largest
    if not missing:
        return
    for sizes in _partitions(M, min(blocks, M)):
        several = [b for b, size in enumerate(sizes) if size > 1]
        for n in range(len(several) + 1):
            for matched in combinations(several, n):
                free = K - sum(sizes[b] for b in matched)
                if 0 <= free <= _MOST_AVERAGING:
                    yield sizes, matched, free


def _parameters(shape: _Shape) -> int:
    sizes, matched, free = shape
    return len(matched) + (len(matched) + free) * len(sizes)


def _ansatz(
    problem: Problem, sizes: tuple[int, ...], matched: tuple[int, ...], free: int
) -> BlockAnsatz | None:
    """Return an ansatz, or None if there is no such one that is searched."""
    if _parameters((sizes, matched, free)) > _MOST_PARAMETERS:
        return None
    try:
        return BlockAnsatz(problem, sizes, matched, free)
    except NoSuchFamilyError:
        return None


def structures_up_to(problem: Problem, blocks: int | None) -> list[BlockAnsatz]:
    """Return the ansätze of up to so many blocks, coarsest first. None: as many as M allows.

    Raises UserError if they are more than 2,000, or if each has too many parameters.
    """
    K, M = problem.students, problem.teachers
    if blocks is None:
        blocks = max((b for b, most in MOST_TEACHERS.items() if most >= M), default=0)
    if not blocks:
        return []
    count = 0
    for b in range(1, min(blocks, M) + 1):
        for _ in _partitions(M, b):
            count += 1
            if count > _MOST_ANSATZE:
                raise UserError(
                    f"blocks must be such that at most {_MOST_ANSATZE:,} ansätze are to be searched (up to a "
                    f"minute each); got {blocks}, of which M = {M} has more (0 searches none, and the named "
                    "families are found at any width)"
                )
    found = [ansatz for b in range(1, blocks + 1) for ansatz in structures(problem, b)]
    if not found:
        BlockAnsatz(problem, (M,), (), K)  # raises if the teacher's readouts are the reason
        raise UserError(
            f"students must be fewer for a search: each ansatz has more than {_MOST_PARAMETERS} parameters, as "
            f"the students that are not matched to teachers have one for each block; got K = {K}, M = {M} "
            "(blocks = 0 searches none)"
        )
    return found
