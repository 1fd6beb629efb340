r"""Units in groups of equal ones, and the directions of each representation, in ball arithmetic.

A block ansatz has few different numbers, since most units are equal up to a permutation of the teachers.
Units come in *groups*: the students matched to a block of teachers (one student for each teacher of the
block), a free student alone, and each block of teachers. A group of students has a constant on each block
of teachers and another number, in addition, on the teacher of the same index. A scalar product of two units
then depends on their groups and on whether they have one index, and sums over all units are sums over pairs
of groups times numbers of pairs (`Groups.pairs`).

Directions in weight space that span copies of a representation of the permutations (`ansatz.isotypic`)
change only the first few units of a block; so they are written in the same form, with these units split off
the block as groups of one (`SplitDirections`).
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from ..ansatz.isotypic import Component, components
from .balls import arb, arb_mat, ball_sum

Matrix = list[list]  # of balls, or 0 and ±1


class Rows(NamedTuple):
    """Units by teachers, in groups.

    - `const` (groups, blocks): the constants on the blocks. `same` (groups): what is added on the teacher
      of the same index. Numbers are balls, or 0 and ±1.
    """

    const: list[list]
    same: list

    def vanishes(self, g: int) -> bool:
        """Return whether all numbers of group g are exactly 0."""
        return not (any(self.const[g]) or self.same[g])


class ScalarProducts(NamedTuple):
    """Scalar products of units of two sets of groups.

    - `const` (groups, groups): of units of different indices. `same`: what an equal index adds.
    """

    const: Matrix
    same: Matrix

    def of(self, g: int, h: int, same_index: bool) -> arb:
        """Return the scalar product of a unit of group g with one of group h."""
        return self.const[g][h] + self.same[g][h] if same_index else self.const[g][h]


class Groups(NamedTuple):
    """Students in groups and teachers in blocks.

    - `sizes`: of the blocks, balls (the rest of a split block may be 0). `matched_to`: of each group of
      students the block that it is matched to; None for a free student, who is alone.
    - `kind`: of each group, students first, the group of the unsplit ansatz that it is a part of: at the
      point itself all units of one kind are equal.
    """

    sizes: list[arb]
    matched_to: tuple[int | None, ...]
    kind: tuple[int, ...]

    @property
    def block(self) -> tuple[int | None, ...]:
        """The block whose indices number the units of each group, students first; None for a free student."""
        return (*self.matched_to, *range(len(self.sizes)))

    def unit_count(self, g: int) -> arb:
        """Return how many units a group has."""
        block = self.block[g]
        return arb(1) if block is None else self.sizes[block]

    def pairs(self, g: int, h: int) -> Iterator[tuple[bool, arb]]:
        """Yield the ordered pairs of different units of two groups: whether of one index, and how many."""
        block = self.block
        one_block = block[g] is not None and block[g] == block[h]
        count = self.unit_count(g)
        if one_block and g != h:
            yield True, count
        if one_block:
            yield False, count * (count - 1)
        elif g != h:
            yield False, count * self.unit_count(h)

    def scalar_products(self, P: Rows, R: Rows) -> ScalarProducts:
        """Return the scalar products of P's rows with R's, both in the order of the groups, as many as they
        have."""
        block = self.block
        const, same = [], []
        for p_block, p, p_same in zip(block, P.const, P.same, strict=False):
            weighted = [(b, x * d) for b, (x, d) in enumerate(zip(p, self.sizes, strict=True)) if x]
            const.append([])
            same.append([])
            for r_block, r, r_same in zip(block, R.const, R.same, strict=False):
                x = ball_sum(w * r[b] for b, w in weighted)
                if p_same and p_block is not None:
                    x += p_same * r[p_block]
                if r_block is not None and r_same:
                    x += p[r_block] * r_same
                one_block = p_block is not None and p_block == r_block
                const[-1].append(x)
                same[-1].append(p_same * r_same if one_block else arb(0))
        return ScalarProducts(const, same)


class SplitDirections(NamedTuple):
    """Directions that span copies of a representation, with blocks split as far as they distinguish units.

    - `parts`: for each part of a block: the block, and 1 for a single unit, or minus the number of units that
      were split off for what is left of it.
    - `matched_to`, `students`: of each group of students, the part it is matched to, and which group of the
      ansatz it is a part of.
    - `rows`: of each direction, its numbers.
    - `const`, `same`: for each part, the directions' constants on it (directions, groups of students), and
      what groups matched to it have in addition there: the same numbers as matrices.
    """

    component: Component
    parts: list[tuple[int, int]]
    matched_to: tuple[int | None, ...]
    students: tuple[int, ...]
    rows: list[Rows]
    const: list[arb_mat]
    same: list[arb_mat]

    @property
    def name(self) -> str:
        """The representation and the blocks that it lives on."""
        return " ".join([self.component.name, *map(str, self.component.blocks)])


def _split(
    component: Component, matched: tuple[int, ...], blocks: int, free: int
) -> SplitDirections:
    singles = [component.singles if b in component.blocks else 0 for b in range(blocks)]
    # Patterns have five parts for each block: which of these are kept, and where the parts of a block begin.
    kept = [[*range(k), 4] if k else [0] for k in singles]
    begin = np.cumsum([0, *map(len, kept)])
    parts = [(b, 1 if i < k else -k) for b, k in enumerate(singles) for i in range(len(kept[b]))]
    matched_to: list[int | None] = []
    students: list[int] = []
    first = []
    for s in range(len(matched) + free):
        first.append(len(matched_to))
        own = range(begin[matched[s]], begin[matched[s] + 1]) if s < len(matched) else [None]
        matched_to += own
        students += [s] * len(own)
    const = np.zeros((len(component.patterns), len(matched_to), len(parts)), int)
    same = np.zeros((len(component.patterns), len(matched_to)), int)
    for index, (s, b, entries, diagonal) in enumerate(component.patterns):
        units = kept[matched[s]] if s < len(matched) else [0]
        groups = slice(first[s], first[s] + len(units))
        const[index, groups, begin[b] : begin[b + 1]] = entries[np.ix_(units, kept[b])]
        if diagonal is not None:
            same[index, groups] = diagonal[units]
    return SplitDirections(
        component,
        parts,
        tuple(matched_to),
        tuple(students),
        [Rows(c.tolist(), d.tolist()) for c, d in zip(const, same, strict=True)],
        [arb_mat(const[:, :, b].tolist()) for b in range(len(parts))],
        [arb_mat((same * [int(of == b) for of in matched_to]).tolist()) for b in range(len(parts))],
    )


@cache
def split_directions(
    matched: tuple[int, ...], blocks: int, free: int
) -> tuple[SplitDirections, ...]:
    """Return the directions of every representation in an ansatz.

    The first representation, the trivial one, has the directions of the ansatz itself: for each group of
    students and each block the constant, followed by what the diagonal has in addition if the group is
    matched to it.
    """
    shape = matched, blocks, free
    return tuple(_split(component, *shape) for component in components(*shape))


@cache
def directions_beyond(
    matched: tuple[int, ...], blocks: int, free: int
) -> tuple[SplitDirections, ...]:
    """Return the directions along one input more, which stands as a last block of one teacher (`blocks`
    doesn't count it)."""
    found = []
    for component in components(matched, blocks + 1, free):
        patterns = [pattern for pattern in component.patterns if pattern.block == blocks]
        if patterns and blocks not in component.blocks:
            outer = component._replace(patterns=patterns)
            found.append(_split(outer, matched, blocks + 1, free))
    return tuple(found)
