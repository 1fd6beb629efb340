"""Units in groups and directions split by representation, in ball arithmetic."""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from ..ansatz.isotypic import Component, components
from .balls import arb, arb_mat

Matrix = list[list]  # of balls, or 0 and ±1


class Rows(NamedTuple):
    """Units by teachers, in groups: constants on the blocks (groups, blocks), and what is added on the
    teacher of the same index (groups). Numbers are balls, or 0 and ±1."""

    const: list[list]
    same: list


class Groups(NamedTuple):
    """Students in groups and teachers in blocks.

    - `sizes`: of the blocks, balls (the rest of a split block may be 0). `own`: of each group of students
      the block that it is matched to; None for a free student, who is alone.
    - `kind`: of each group, students first; at the point itself those of one kind are equal.
    """

    sizes: list[arb]
    own: tuple[int | None, ...]
    kind: tuple[int, ...]

    @property
    def block(self) -> tuple[int | None, ...]:
        """By which block's indices the units of each group are told apart."""
        return (*self.own, *range(len(self.sizes)))

    def count(self, g: int) -> arb:
        """How many units a group has."""
        block = self.block[g]
        return arb(1) if block is None else self.sizes[block]

    def pairs(self, g: int, h: int) -> Iterator[tuple[bool, arb]]:
        """Ordered pairs of different units of two groups: whether of one index, and how many."""
        alike = self.block[g] is not None and self.block[g] == self.block[h]
        if alike and g != h:
            yield True, self.count(g)
        if alike:
            yield False, self.count(g) * (self.count(g) - 1)
        elif g != h:
            yield False, self.count(g) * self.count(h)

    def products(self, P: Rows, R: Rows) -> tuple[Matrix, Matrix]:
        """Scalar products of P's rows with R's, both in the order of the groups, as many as they have: for
        different indices, and what an equal index adds."""
        apart, more = [], []
        for own, p, same in zip(self.block, P.const, P.same, strict=False):
            weighted = [(b, x * d) for b, (x, d) in enumerate(zip(p, self.sizes, strict=True)) if x]
            apart.append([])
            more.append([])
            for of, r, r_same in zip(self.block, R.const, R.same, strict=False):
                x = sum((w * r[b] for b, w in weighted), arb(0))
                if same and own is not None:
                    x += same * r[own]
                if of is not None and r_same:
                    x += p[of] * r_same
                apart[-1].append(x)
                more[-1].append(same * r_same if own == of and own is not None else arb(0))
        return apart, more


class Split(NamedTuple):
    """Directions that span copies of a representation, with blocks split as far as they tell units apart.

    - `parts`: for each part of a block: the block, and 1 for a single unit, or minus the number of units
      that were taken off the rest.
    - `own`, `students`: of each group of students, the part it is matched to, and what of the ansatz it is.
    - `directions`: their numbers.
    - `const`, `matched`: for each part, their constants on it (directions, students), and what students
      matched to it have more there.
    """

    component: Component
    parts: list[tuple[int, int]]
    own: tuple[int | None, ...]
    students: tuple[int, ...]
    directions: list[Rows]
    const: list[arb_mat]
    matched: list[arb_mat]


def _split(component: Component, matches: tuple[int, ...], blocks: int, free: int) -> Split:
    singles = [component.singles if b in component.blocks else 0 for b in range(blocks)]
    # Which of the five parts that patterns are written in are kept, and where the parts of a block begin.
    kept = [[*range(k), 4] if k else [0] for k in singles]
    begin = np.cumsum([0, *map(len, kept)])
    parts = [(b, 1 if i < k else -k) for b, k in enumerate(singles) for i in range(len(kept[b]))]
    own: list[int | None] = []
    students: list[int] = []
    first = []
    for s in range(len(matches) + free):
        first.append(len(own))
        mine = range(begin[matches[s]], begin[matches[s] + 1]) if s < len(matches) else [None]
        own += mine
        students += [s] * len(mine)
    const = np.zeros((len(component.patterns), len(own), len(parts)), int)
    same = np.zeros((len(component.patterns), len(own)), int)
    for index, (s, b, entries, diagonal) in enumerate(component.patterns):
        units = kept[matches[s]] if s < len(matches) else [0]
        here = slice(first[s], first[s] + len(units))
        const[index, here, begin[b] : begin[b + 1]] = entries[np.ix_(units, kept[b])]
        if diagonal is not None:
            same[index, here] = diagonal[units]
    return Split(
        component,
        parts,
        tuple(own),
        tuple(students),
        [Rows(c.tolist(), d.tolist()) for c, d in zip(const, same, strict=True)],
        [arb_mat(const[:, :, b].tolist()) for b in range(len(parts))],
        [arb_mat((same * [int(at == b) for at in own]).tolist()) for b in range(len(parts))],
    )


@cache
def splits(matches: tuple[int, ...], blocks: int, free: int) -> tuple[Split, ...]:
    """Of every representation. The first, trivial one has the directions of the ansatz: constants, and what
    diagonals have more."""
    shape = matches, blocks, free
    return tuple(_split(component, *shape) for component in components(*shape))


@cache
def beyond_splits(matches: tuple[int, ...], blocks: int, free: int) -> tuple[Split, ...]:
    found = []
    for component in components(matches, blocks + 1, free):
        some = [pattern for pattern in component.patterns if pattern.block == blocks]
        if some and blocks not in component.blocks:
            found.append(_split(component._replace(patterns=some), matches, blocks + 1, free))
    return tuple(found)
