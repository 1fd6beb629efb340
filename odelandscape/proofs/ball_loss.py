r"""The loss of a block ansatz and its first and second variations, in ball arithmetic (Arb).

Every number is a ball that contains the true one, so what is read off here is proved. Units come in
*groups* of equal ones; a group of students has a constant on each block of teachers and a number more on the
teacher of the same index, if it has one. With $a$ the signed readouts, the loss is
$L = \frac12 \sum_{ij} a_i a_j f(w_i, w_j)$ over all units. For ReLU, with θ the angle between $w$ and $w'$,
unit vectors $e$ and $e'$ along them, $n$ along $e' - \cos\theta\, e$, and $p, r$ directions of $w$, $r'$ of
$w'$ (Cho and Saul 2009; Safran and Shamir 2018),

- $2\pi f = |w||w'| (\sin\theta + (\pi - \theta) \cos\theta)$,
- $2\pi f[p] = (|w'|/|w|) \sin\theta\; p·w + (\pi - \theta)\; p·w'$,
- $2\pi f[p, r] = (|w'|/|w|) \sin\theta\, (p·r - p·e\; r·e + p·n\; r·n)$,
- $2\pi f[p, r'] = (\pi - \theta)\, p·r' + \sin\theta \cos\theta\, (p·e\; r'·e - p·n\; r'·n)
  + \sin^2\theta\, (p·e\; r'·n + p·n\; r'·e)$.

They are continuous where units coincide: n has no direction there, but sin θ multiplies it, and |p·n| ≤ |p|
is all that is needed. Leaky ReLU of slope s has $(1 - s)^2 f + s\, w·w'$.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .balls import arb, arb_mat
from .groups import Groups, Matrix, Rows, Split, beyond_splits, splits


class _Kernel(NamedTuple):
    """Of two units w, w': |w|, |w'|, cos θ, sin θ, π − θ, and 1 / sin θ (None where sin θ may be 0)."""

    length: arb
    other: arb
    cos: arb
    sin: arb
    turn: arb
    over: arb | None


def _kernel(square: arb, other: arb, product: arb) -> _Kernel:
    a, b = square.sqrt(), other.sqrt()
    area = square * other - product * product
    apart = area > 0
    s = area.sqrt() if apart else area.nonnegative_part().sqrt()
    return _Kernel(
        length=a,
        other=b,
        cos=product / (a * b),
        sin=s / (a * b),
        turn=arb.pi() - arb.atan2(s, product),
        over=a * b / s if apart else None,
    )


class Point:
    """Students of a block ansatz, in balls.

    - `sizes`: of the teacher blocks. `matches`, `free`: of the ansatz.
    - `students`: constants, and what the diagonals have more.
    - `readout`, `teacher_readout`: of each group. `slope`: of leaky ReLU, 0 for ReLU.
    """

    def __init__(
        self,
        sizes: list[arb],
        matches: tuple[int, ...],
        free: int,
        students: Rows,
        readout: list[arb],
        teacher_readout: list[arb],
        slope: arb,
    ):
        self.sizes, self.matches, self.free = sizes, matches, free
        self.students, self.readout, self.teacher_readout = students, readout, teacher_readout
        self.slope = slope
        self._bent = (1 - slope) * (1 - slope) / (2 * arb.pi())
        self._square = (1 + slope * slope) / 2  # f(w, w) / |w|²
        self._a = [*readout, *(-w for w in teacher_readout)]
        S, B = len(readout), len(sizes)
        self._groups = Groups(sizes, (*matches, *[None] * free), tuple(range(S + B)))
        self._units = self._written(range(S), range(B))
        self._apart, self._more = self._groups.products(self._units, self._units)
        self._known: dict[tuple[int, int, bool], _Kernel] = {}

    def _written(self, students: Iterable[int], blocks: Iterable[int]) -> Rows:
        """Students and teachers in groups and blocks that are parts of these."""
        blocks = list(blocks)
        const = [[self.students.const[s][b] for b in blocks] for s in students]
        same = [self.students.same[s] for s in students]
        return Rows([*const, *[[0] * len(blocks)] * len(blocks)], [*same, *[1] * len(blocks)])

    def _kernel(self, g: int, h: int, together: bool) -> _Kernel:
        if (g, h, together) not in self._known:
            square, other = (self._apart[i][i] + self._more[i][i] for i in (g, h))
            product = self._apart[g][h] + (self._more[g][h] if together else 0)
            self._known[g, h, together] = _kernel(square, other, product)
        return self._known[g, h, together]

    def _pairs(self, groups: Groups, g: int):
        """Pairs with a student of group g: the other group, whether of one index, a a' times their number,
        and the kernel."""
        for h in range(len(groups.block)):
            G, H = groups.kind[g], groups.kind[h]
            weight = self._a[G] * self._a[H]
            if weight == 0:
                continue
            for together, count in groups.pairs(g, h):
                if not count == 0:  # != would hold of no ball with 0 in it
                    yield h, together, weight * count, self._kernel(G, H, together)

    @property
    def learns(self) -> bool:
        """Whether students are the teachers, some in several parts or silent, exactly: the loss is 0.

        Sufficient is that each student is a multiple, at least 0 times, of one teacher, and that over each
        teacher these multiples, times their readouts, add up to its own readout.
        """
        learned = [arb(0) for _ in self.sizes]
        for s, (const, readout) in enumerate(zip(self.students.const, self.readout, strict=True)):
            there = [b for b, x in enumerate(const) if not x == 0]
            if s < len(self.matches):  # each student on the teacher of its index
                alone, parts = not there, [(self.matches[s], self.students.same[s])]
            else:
                alone = len(there) <= 1 and all(self.sizes[b] == 1 for b in there)
                parts = [(b, const[b]) for b in there]
            if not alone or not all(x >= 0 for _, x in parts):
                return False
            for b, x in parts:
                learned[b] += readout * x
        return all(x == y for x, y in zip(learned, self.teacher_readout, strict=True))

    @property
    def lengths(self) -> list[arb]:
        """Of the students of each group."""
        S = len(self.readout)
        return [(self._apart[s][s] + self._more[s][s]).sqrt() for s in range(S)]

    def norm(self) -> arb:
        """Of all students' weights."""
        squares = (self._groups.count(s) * x * x for s, x in enumerate(self.lengths))
        return sum(squares, arb(0)).sqrt()

    def loss(self) -> arb:
        """The population loss."""
        total = arb(0)
        for g in range(len(self._a)):
            square = self._apart[g][g] + self._more[g][g]
            total += self._a[g] * self._a[g] * self._groups.count(g) * self._square * square
            for h, together, weight, k in self._pairs(self._groups, g):
                product = self._apart[g][h] + (self._more[g][h] if together else 0)
                f = k.length * k.other * self._bent * (k.sin + k.turn * k.cos)
                total += weight * (f + self.slope * product)
        return total / 2

    @property
    def splits(self) -> tuple[Split, ...]:
        """Of every representation, that of the ansatz's own directions first."""
        return splits(self.matches, len(self.sizes), self.free)

    def gradient(self, of_students: bool = False) -> list[arb]:
        """Derivatives of the loss along the directions of the ansatz; `of_students`: of the part of it that
        teachers have no part in."""
        groups, split = self._groups, self.splits[0]
        own, apart, together = self._weights(groups, len(split.own), of_students)
        found = []
        for direction in split.directions:
            pa, pm = groups.products(direction, self._units)
            total = arb(0)
            for g, (p, more) in enumerate(zip(pa, pm, strict=True)):
                if not (any(direction.const[g]) or direction.same[g]):
                    continue
                total += own[g] * (p[g] + more[g])
                for h in range(len(p)):
                    total += (apart[g][h] + together[g][h]) * p[h] + together[g][h] * more[h]
            found.append(total)
        return found

    def trace(self) -> arb:
        """Of the full Hessian in the weights: f[p, p] sums to M |w'| / |w| sin θ / 2π over the unit vectors
        p."""
        own, _, _ = self._weights(self._groups, len(self.readout))
        return sum(self.sizes, arb(0)) * sum(own, arb(0))

    def _weights(
        self, groups: Groups, students: int, of_students: bool = False
    ) -> tuple[list[arb], Matrix, Matrix]:
        """What the gradient, and the Hessian besides what bends it, has of each scalar product: of a
        student's direction with itself, and with another unit of another, or the same, index."""
        own = []
        apart, together = ([[arb(0)] * len(groups.block) for _ in range(students)] for _ in "ab")
        for g in range(students):
            total = (
                self._a[groups.kind[g]] * self._a[groups.kind[g]] * groups.count(g) * self._square
            )
            for h, of_one_index, weight, k in self._pairs(groups, g):
                if of_students and h >= students:
                    continue
                total += weight * self._bent * k.sin * k.other / k.length
                of = together if of_one_index else apart
                of[g][h] = weight * (self._bent * k.turn + self.slope)
            own.append(total)
        return own, apart, together

    def beyond(self) -> "tuple[Point, tuple[Split, ...]]":
        """The same students with one input more, a teacher of readout 0, and the directions along it."""
        students = Rows([[*row, 0] for row in self.students.const], self.students.same)
        sizes, teachers = [*self.sizes, arb(1)], [*self.teacher_readout, arb(0)]
        of = self.matches, self.free, students, self.readout, teachers, self.slope
        return Point(sizes, *of), beyond_splits(self.matches, len(self.sizes), self.free)

    def _parts(self, split: Split) -> Groups:
        sizes = [arb(1) if k == 1 else self.sizes[b] + k for b, k in split.parts]
        S = len(self.readout)
        return Groups(sizes, split.own, (*split.students, *(S + b for b, _ in split.parts)))

    def hessian(self, split: Split) -> arb_mat:
        """Second derivatives of the loss between directions (a symmetric matrix lies in it)."""
        groups = self._parts(split)
        smooth = _inner(split, groups.sizes, *self._weights(groups, len(split.own)))
        left, right = self._bending(split, groups)
        return smooth + left * right

    def gram(self, split: Split) -> arb_mat:
        """Scalar products of directions in weight space."""
        groups, students = self._parts(split), len(split.own)
        none = [[arb(0)] * students] * students
        counts = [groups.count(g) for g in range(students)]
        return _inner(split, groups.sizes, counts, none, none)

    def _bending(self, split: Split, groups: Groups) -> tuple[arb_mat, arb_mat]:
        """Two matrices, (directions, n) and (n, directions), whose product is what sin θ multiplies but for
        the scalar products of directions."""
        units = self._written(split.students, (b for b, _ in split.parts))
        along = [groups.products(direction, units) for direction in split.directions]
        students = range(len(split.own))
        live = [any(any(d.const[g]) or d.same[g] for d in split.directions) for g in students]
        size = [_sizes(groups, direction) for direction in split.directions]

        def product(i: int, g: int, h: int, together: bool) -> arb:
            apart, more = along[i]
            return apart[g][h] + more[g][h] if together else apart[g][h]

        left, right = [], []
        for g in students:
            if not live[g]:
                continue
            for h, together, weight, k in self._pairs(groups, g):
                weight = weight * self._bent * k.sin
                ratio = k.other / k.length
                both = h < len(live) and live[h]
                e, n, de, dn = [], [], [], []
                for i in range(len(along)):
                    pe = product(i, g, g, True) / k.length
                    pn = size[i][g]
                    if k.over is not None:
                        pn = (product(i, g, h, together) / k.other - k.cos * pe) * k.over
                    to_e, to_n = -ratio * pe, ratio * pn
                    if both:
                        re = product(i, h, g, together) / k.length
                        rn = size[i][h]
                        if k.over is not None:
                            rn = (product(i, h, h, True) / k.other - k.cos * re) * k.over
                        to_e += k.cos * re + k.sin * rn
                        to_n += k.sin * re - k.cos * rn
                    e.append(pe)
                    n.append(pn)
                    de.append(weight * to_e)
                    dn.append(weight * to_n)
                left += [e, n]
                right += [de, dn]
        if not left:
            return arb_mat(len(along), 1), arb_mat(1, len(along))
        return arb_mat(left).transpose(), arb_mat(right)


def _sizes(groups: Groups, direction: Rows) -> list[arb]:
    """[−|p|, |p|] for what a direction does to a student of each group."""
    apart, more = groups.products(direction, direction)
    squares = (apart[g][g] + more[g][g] for g in range(len(apart)))
    return [arb(0, square.abs_upper().sqrt().abs_upper()) for square in squares]


def _inner(
    split: Split, sizes: list[arb], own: list[arb], apart: Matrix, together: Matrix
) -> arb_mat:
    """Σ of weights times scalar products of what directions do to students: of each with itself, and
    pairs."""
    S = range(len(split.own))
    equal = arb_mat([[together[g][h] + (own[g] if g == h else 0) for h in S] for g in S])
    every = arb_mat([[apart[g][h] for h in S] for g in S]) + equal
    n = len(split.directions)
    total = arb_mat(n, n)
    for size, const, matched in zip(sizes, split.const, split.matched, strict=True):
        by_const = every * const.transpose()
        across = matched * by_const
        total += const * by_const * size + across + across.transpose()
        total += matched * equal * matched.transpose()
    return total
