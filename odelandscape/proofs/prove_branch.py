r"""Proofs that one branch joins two fixed points.

On an interval of block sizes, Krawczyk's inclusion test with the sizes as balls proves that for each of
these sizes a box holds exactly one fixed point; as the Jacobian is regular on the box, that point moves
smoothly with the sizes (implicit function theorem). If the box holds the proved fixed points of both ends,
they lie on one branch. Otherwise the interval is halved.
"""

from typing import NamedTuple

from ..landscape.fixed_points import FixedPoint
from ..runtime.errors import UserError
from .ball_hessian import hessian
from .balls import approximate_inverse, arb, box, column, ctx, krawczyk_image
from .prove import given_coefficients, newton_refined, statement_of
from .statement import Statement, box_radii, from_dyadic

_HALVINGS = 8


class _BranchPoint(NamedTuple):
    """A fixed point at some sizes of the blocks: coefficients near it, and balls that enclose it."""

    sizes: list[arb]
    near: list[arb]
    enclosure: list[arb]


def _branch_point(s: Statement, sizes: list[arb], y: list[arb]) -> _BranchPoint | None:
    """Return the proved fixed point near y; None if Krawczyk's test fails."""
    y = newton_refined(s, y, sizes)
    centre_point = s.point_at(y, sizes)
    radii = box_radii(centre_point, from_dyadic(s.radius))
    box_point = s.point_at(box(y, radii), sizes)
    H = hessian(box_point, box_point.directions[0])
    image = krawczyk_image(y, radii, centre_point.gradient(), H)
    return None if image is None else _BranchPoint(sizes, y, image)


def _joined_by_one_box(
    s: Statement, start: _BranchPoint, end: _BranchPoint, centre: list[arb]
) -> bool:
    """Return whether a box about `centre` is proved to hold both points, and exactly one fixed point for all
    sizes between theirs."""
    sizes = [a.union(b) for a, b in zip(start.sizes, end.sizes, strict=True)]
    centre_point = s.point_at(centre, sizes)
    gradient = centre_point.gradient()
    C = approximate_inverse(hessian(centre_point, centre_point.directions[0]))
    if C is None:
        return False
    # As wide as the ends are apart, and as the gradient for all these sizes moves the centre.
    step = (C * column(gradient)).entries()
    widths = [abs(x).max(abs(a - b)) for x, a, b in zip(step, start.near, end.near, strict=True)]
    units = box_radii(centre_point, arb(1))
    radius = max((4 * x / unit).upper() for x, unit in zip(widths, units, strict=True))
    radii = [radius * unit for unit in units]
    balls = box(centre, radii)
    box_point = s.point_at(balls, sizes)
    holds_ends = all(
        x.contains(y) for of in (start, end) for x, y in zip(balls, of.enclosure, strict=True)
    )
    if not holds_ends or not all(length > 0 for length in box_point.lengths):
        return False
    H = hessian(box_point, box_point.directions[0])
    return krawczyk_image(centre, radii, gradient, H) is not None


def _connected(s: Statement, start: _BranchPoint, end: _BranchPoint, halvings: int) -> bool:
    """Return whether one branch is proved to join two points, after up to so many halvings of the
    interval."""
    centre = [((a + b) / 2).mid() for a, b in zip(start.near, end.near, strict=True)]
    if _joined_by_one_box(s, start, end, centre):
        return True
    if halvings == 0:
        return False
    half = [((a + b) / 2).mid() for a, b in zip(start.sizes, end.sizes, strict=True)]
    middle = _branch_point(s, half, centre)
    return middle is not None and all(
        _connected(s, *pair, halvings - 1) for pair in ((start, middle), (middle, end))
    )


def prove_between(start: FixedPoint, end: FixedPoint, bits: int = 128) -> bool:
    """Return whether it is proved that one branch joins two fixed points of one family, at two sizes of its
    blocks.

    If so, there is a fixed point in the ansatz for all sizes between theirs, which moves smoothly with them:
    in boxes that follow one another it is the only one, by Krawczyk's test with the sizes as balls. An
    eigenvalue that is negative at one end and positive at the other is then 0 somewhere between. The
    interval is halved up to 8 times, so the ends must be close (a relative change of sizes of 1e-5 is).

    Raises UserError if the points are of different ansätze, and what `prove` raises.
    """
    s, other = statement_of(start, bits, "start"), statement_of(end, bits, "end")
    if s._replace(sizes=()) != other._replace(sizes=()) or len(s.sizes) != len(other.sizes):
        raise UserError(
            "start and end must be of the same blocks of one problem, but for the sizes"
        )
    with ctx.workprec(s.bits):
        first, last = (
            _branch_point(s, [arb(x) for x in of.sizes], given_coefficients(point, s))
            for of, point in ((s, start), (other, end))
        )
        return first is not None and last is not None and _connected(s, first, last, _HALVINGS)
