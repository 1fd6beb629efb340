r"""The loss of a block ansatz and its first variation, in ball arithmetic (Arb).

Every number is a ball that encloses the exact one, so what is computed here is proved. Units come in groups
of equal ones (`groups`). With $a$ the signed readouts (of teachers with a minus), the loss is $L = \frac12
\sum_{ij} a_i a_j f(w_i, w_j)$ over all units. For ReLU, with θ the angle between $w$ and $w'$, and $p$ a
direction of $w$ (Cho and Saul 2009; Safran and Shamir 2018),

- $2\pi f = |w||w'| (\sin\theta + (\pi - \theta) \cos\theta)$,
- $2\pi f[p] = (|w'|/|w|) \sin\theta\; p·w + (\pi - \theta)\; p·w'$.

Leaky ReLU of slope s has $(1 - s)^2 f + s\, w·w'$ instead of $f$, so $\frac{1 + s^2}2 |w|^2$ for a unit
with itself. Second variations: `ball_hessian`.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, final

from .balls import arb, ball_sum
from .groups import (
    Groups,
    Matrix,
    Rows,
    SplitDirections,
    directions_beyond,
    split_directions,
)


class PairKernel(NamedTuple):
    """The geometry of two units w, w': |w|, |w'|, cos θ, sin θ, π − θ, and 1 / sin θ (None where sin θ may be
    0)."""

    norm: arb
    other_norm: arb
    cos: arb
    sin: arb
    pi_minus_theta: arb
    inverse_sine: arb | None


def _pair_kernel(square: arb, other_square: arb, product: arb) -> PairKernel:
    """Return the kernel of two units from |w|², |w'|² and w·w'."""
    norm, other_norm = square.sqrt(), other_square.sqrt()
    area_square = square * other_square - product * product
    distinct = area_square > 0
    area = area_square.sqrt() if distinct else area_square.nonnegative_part().sqrt()
    norms = norm * other_norm
    return PairKernel(
        norm=norm,
        other_norm=other_norm,
        cos=product / norms,
        sin=area / norms,
        pi_minus_theta=arb.pi() - arb.atan2(area, product),
        inverse_sine=norms / area if distinct else None,
    )


class UnitPairs(NamedTuple):
    """The pairs of a student of one group with units of another.

    - `other`: the other group. `same_index`: whether the units of a pair have one index.
    - `weight`: a a' times the number of pairs. `kernel`: of any of these pairs.
    """

    other: int
    same_index: bool
    weight: arb
    kernel: PairKernel


class ProductWeights(NamedTuple):
    """What the gradient, and the part of the Hessian that isn't the kernel's curvature, has of each scalar
    product with a direction.

    - `own` (students): of the direction of a student with that student, or with its direction.
    - `const`, `same` (students, units): with another unit of another, or of the same, index.
    """

    own: list[arb]
    const: Matrix
    same: Matrix


@final
class BallPoint:
    """Students of a block ansatz, in balls: a point of weight space, or a box of them.

    - `sizes`: of the teacher blocks. `matched`, `free`: of the ansatz.
    - `students`: constants, and what the diagonals have in addition.
    - `readout`, `teacher_readout`: of each group. `slope`: of leaky ReLU, 0 for ReLU.
    - `curvature`: (1 − slope)² / 2π, the factor of the ReLU formulas.
    """

    def __init__(
        self,
        sizes: list[arb],
        matched: tuple[int, ...],
        free: int,
        students: Rows,
        readout: list[arb],
        teacher_readout: list[arb],
        slope: arb,
    ):
        self.sizes, self.matched, self.free = sizes, matched, free
        self.students, self.readout, self.teacher_readout = students, readout, teacher_readout
        self.slope = slope
        self.curvature = (1 - slope) * (1 - slope) / (2 * arb.pi())
        self._self_kernel = (1 + slope * slope) / 2  # f(w, w) / |w|²
        self._signed_readout = [*readout, *(-w for w in teacher_readout)]
        S, B = len(readout), len(sizes)
        self._groups = Groups(sizes, (*matched, *[None] * free), tuple(range(S + B)))
        self._units = self.units(range(S), range(B))
        self._products = self._groups.scalar_products(self._units, self._units)
        self._kernels: dict[tuple[int, int, bool], PairKernel] = {}

    def units(self, students: Iterable[int], blocks: Iterable[int]) -> Rows:
        """Return students and teachers in groups and blocks that are parts of the ansatz's: `students` and
        `blocks` list of which."""
        blocks = list(blocks)
        const = [[self.students.const[s][b] for b in blocks] for s in students]
        same = [self.students.same[s] for s in students]
        return Rows([*const, *[[0] * len(blocks)] * len(blocks)], [*same, *[1] * len(blocks)])

    def groups_of(self, directions: SplitDirections) -> Groups:
        """Return the groups of the ansatz, split as far as these directions distinguish units."""
        sizes = [arb(1) if k == 1 else self.sizes[b] + k for b, k in directions.parts]
        S = len(self.readout)
        kind = (*directions.students, *(S + b for b, _ in directions.parts))
        return Groups(sizes, directions.matched_to, kind)

    def unit_pairs(self, groups: Groups, g: int) -> Iterator[UnitPairs]:
        """Yield the pairs of different units with a student of group g whose weight isn't exactly 0."""
        g_kind = groups.kind[g]
        for h, h_kind in enumerate(groups.kind):
            weight = self._signed_readout[g_kind] * self._signed_readout[h_kind]
            if weight == 0:
                continue
            for same_index, count in groups.pairs(g, h):
                if not count == 0:  # `!=` is false of every ball that contains 0
                    kernel = self._kernel(g_kind, h_kind, same_index)
                    yield UnitPairs(h, same_index, weight * count, kernel)

    def _square(self, g: int) -> arb:
        return self._products.of(g, g, True)

    def _kernel(self, g: int, h: int, same_index: bool) -> PairKernel:
        key = g, h, same_index
        if key not in self._kernels:
            product = self._products.of(g, h, same_index)
            self._kernels[key] = _pair_kernel(self._square(g), self._square(h), product)
        return self._kernels[key]

    @property
    def lengths(self) -> list[arb]:
        """The norms of the students of each group."""
        return [self._square(s).sqrt() for s in range(len(self.readout))]

    def norm(self) -> arb:
        """Return the norm of all students' weights."""
        squares = (self._groups.unit_count(s) * x * x for s, x in enumerate(self.lengths))
        return ball_sum(squares).sqrt()

    def loss(self) -> arb:
        """Return the population loss."""
        total = arb(0)
        for g, a in enumerate(self._signed_readout):
            total += a * a * self._groups.unit_count(g) * self._self_kernel * self._square(g)
            for h, same_index, weight, k in self.unit_pairs(self._groups, g):
                product = self._products.of(g, h, same_index)
                bent = k.norm * k.other_norm * self.curvature
                f = bent * (k.sin + k.pi_minus_theta * k.cos)
                total += weight * (f + self.slope * product)
        return total / 2

    @property
    def directions(self) -> tuple[SplitDirections, ...]:
        """The directions of every representation, those of the ansatz itself (the trivial one) first."""
        return split_directions(self.matched, len(self.sizes), self.free)

    def gradient(self, students_only: bool = False) -> list[arb]:
        r"""Return the derivatives of the loss along the directions of the ansatz.

        - `students_only`: of the part of the loss without teachers, $\frac12 \sum_{ij} v_i v_j f(w_i, w_j)$
          over students.
        """
        groups, own_directions = self._groups, self.directions[0]
        weights = self.product_weights(groups, len(own_directions.matched_to), students_only)
        found = []
        for direction in own_directions.rows:
            const, same = groups.scalar_products(direction, self._units)
            total = arb(0)
            for g in range(len(const)):
                if direction.vanishes(g):
                    continue
                total += weights.own[g] * (const[g][g] + same[g][g])
                for h, product in enumerate(const[g]):
                    both = weights.const[g][h] + weights.same[g][h]
                    total += both * product + weights.same[g][h] * same[g][h]
            found.append(total)
        return found

    def trace(self) -> arb:
        """Return the trace of the full Hessian in the weights.

        Over the unit vectors p, f[p, p] sums to M |w'| / |w| sin θ / 2π.
        """
        weights = self.product_weights(self._groups, len(self.readout))
        return ball_sum(self.sizes) * ball_sum(weights.own)

    def product_weights(
        self, groups: Groups, students: int, students_only: bool = False
    ) -> ProductWeights:
        """Return the weights of scalar products for groups that may be split, the first `students` of which
        are of students. `students_only`: see `gradient`."""
        own = []
        const, same = ([[arb(0)] * len(groups.block) for _ in range(students)] for _ in range(2))
        for g in range(students):
            a = self._signed_readout[groups.kind[g]]
            total = a * a * groups.unit_count(g) * self._self_kernel
            for h, same_index, weight, k in self.unit_pairs(groups, g):
                if students_only and h >= students:
                    continue
                total += weight * self.curvature * k.sin * k.other_norm / k.norm
                of = same if same_index else const
                of[g][h] = weight * (self.curvature * k.pi_minus_theta + self.slope)
            own.append(total)
        return ProductWeights(own, const, same)

    def beyond(self) -> "tuple[BallPoint, tuple[SplitDirections, ...]]":
        """Return the same students with one input more, which is written as a teacher of readout 0, and the
        directions along it."""
        students = Rows([[*row, 0] for row in self.students.const], self.students.same)
        point = BallPoint(
            [*self.sizes, arb(1)],
            self.matched,
            self.free,
            students,
            self.readout,
            [*self.teacher_readout, arb(0)],
            self.slope,
        )
        return point, directions_beyond(self.matched, len(self.sizes), self.free)
