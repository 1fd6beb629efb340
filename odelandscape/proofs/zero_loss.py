r"""Points where the loss is exactly 0: the students are the teachers, some of them in several parts.

σ is positively homogeneous, so students $x_s w^*$ with $x_s ≥ 0$ and readouts $v_s$ are together a teacher
$w^*$ of readout $v^*$ if $\sum_s v_s x_s = v^*$. Where surplus students may share a teacher in many ways,
such points are no isolated fixed points, and that the loss is 0 there is all that is proved of them.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from .balls import arb, fraction_of
from .statement import Statement, box_radii, from_dyadic


class _Part(NamedTuple):
    """What each student of a group is of one teacher: `size` times it.

    - `block`: of that teacher. `students`: how many of the group each teacher of the block has.
    - `own`: whether it is the teacher of the student's index.
    """

    size: Fraction
    block: int
    students: int
    own: bool = False


_NONE = _Part(Fraction(0), -1, 1)  # of a free student where no block is of one teacher


def _largest_part(
    s: Statement, student: int, const: Sequence[Fraction], same: Fraction | int, even: bool
) -> _Part:
    """Return what a student is of that teacher, of all it may be a multiple of, that it is most of."""
    matched = s.matched[student] if student < len(s.matched) else None
    count = 1 if matched is None else int(s.sizes[matched])
    found = [_Part(x, b, count) for b, x in enumerate(const) if s.sizes[b] == 1]
    if matched is not None:
        found.append(_Part(const[matched] + same, matched, 1, own=True))
        if count == 2:  # each of the two may be the other's teacher
            found.append(_Part(const[matched], matched, 1))
    if even:
        return max(found, key=lambda part: abs(part.size), default=_NONE)
    best = max(found, default=_NONE)
    return best._replace(size=max(best.size, Fraction(0)))


def _coefficients(s: Statement, parts: Sequence[_Part]) -> list[Fraction]:
    """Return coefficients along the directions of the ansatz of students that are these parts."""
    y = []
    for student, part in enumerate(parts):
        for b in range(len(s.sizes)):
            here = part.size if part.block == b else Fraction(0)
            y.append(Fraction(0) if part.own else here)
            if student < len(s.matched) and s.matched[student] == b:
                # On its own teacher a student has the constant and this number.
                y.append(here if part.own else -here)
    return y


def _completed(parts: list[_Part], block: int, readout: Sequence[float], whole: float) -> bool:
    """Change the largest part of a block's teachers so that all parts add up to its readout, `whole`; return
    whether they can."""
    members = [i for i, part in enumerate(parts) if part.block == block]
    weights = {i: Fraction(readout[i]) * parts[i].students for i in members}
    left = Fraction(whole) - sum(weights[i] * abs(parts[i].size) for i in members)
    if left == 0:
        return True
    largest = max(members, key=lambda i: abs(weights[i] * parts[i].size), default=None)
    if largest is None or weights[largest] == 0:
        return False
    part = parts[largest]
    size = abs(part.size) + left / weights[largest]
    parts[largest] = part._replace(size=-size if part.size < 0 else size)
    return size >= 0


def nearest_zero(s: Statement, y: Sequence[arb]) -> list[Fraction] | None:
    """Return coefficients at which the loss is exactly 0, near y if y is near such a point.

    Each student is taken for a part of the teacher that it is most of; over each teacher, the largest part
    is what the others leave. None if these parts are no teachers, or if the sizes aren't whole, where L isn't
    a mean square and 0 not its least value.
    """
    if not all(size.is_integer() for size in s.sizes) or not all(x.is_finite() for x in y):
        return None
    const, same = s.students_at([fraction_of(x) for x in y])
    even = s.slope == -1  # σ(x) = |x| doesn't distinguish a student from its opposite
    rows = zip(const, same, strict=True)
    parts = [_largest_part(s, i, row, own, even) for i, (row, own) in enumerate(rows)]
    if not all(_completed(parts, b, s.readout, x) for b, x in enumerate(s.teacher_readout)):
        return None
    return _coefficients(s, parts)


def box_holds_zero(s: Statement) -> bool:
    """Return whether the statement's box is proved to hold a point where the loss is 0."""
    centre = s.centre_balls()
    zero = nearest_zero(s, centre)
    if zero is None:
        return False
    radii = [x.lower() for x in box_radii(s.point_at(centre), from_dyadic(s.radius))]
    exact = zip(zero, map(fraction_of, centre), radii, strict=True)
    return all(r.is_finite() and abs(x - c) <= fraction_of(r) for x, c, r in exact)
