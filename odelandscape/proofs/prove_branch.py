"""Proofs that one branch joins two fixed points."""

from typing import NamedTuple

from ..landscape.fixed_points import FixedPoint
from ..runtime.errors import UserError
from .balls import arb, column, ctx, inverse, krawczyk
from .certificate import Statement, ball
from .prove import box_radii, given_parameters, newton_refined, point_at, statement_of


class _End(NamedTuple):
    """A fixed point at some sizes: near it, and a box that holds it."""

    sizes: list[arb]
    near: list[arb]
    box: list[arb]


def _end(s: Statement, sizes: list[arb], y: list[arb]) -> _End | None:
    y = newton_refined(s, y, sizes)
    thin = point_at(s, y, sizes)
    radii = box_radii(thin, ball(s.radius))
    wide = point_at(s, [arb(x, r) for x, r in zip(y, radii, strict=True)], sizes)
    image = krawczyk(y, radii, thin.gradient(), wide.hessian(wide.splits[0]))
    return None if image is None else _End(sizes, y, image)


def _connected(s: Statement, start: _End, end: _End, halvings: int) -> bool:
    sizes = [a.union(b) for a, b in zip(start.sizes, end.sizes, strict=True)]
    centre = [((a + b) / 2).mid() for a, b in zip(start.near, end.near, strict=True)]
    thin = point_at(s, centre, sizes)
    gradient, C = thin.gradient(), inverse(thin.hessian(thin.splits[0]))
    if C is not None:
        # As wide as the ends are apart, and as the gradient for all these sizes moves the centre.
        step = (C * column(gradient)).entries()
        wide = [abs(x).max(abs(a - b)) for x, a, b in zip(step, start.near, end.near, strict=True)]
        units = box_radii(thin, arb(1))
        radius = max((4 * x / unit).upper() for x, unit in zip(wide, units, strict=True))
        radii = [radius * unit for unit in units]
        box = [arb(x, r) for x, r in zip(centre, radii, strict=True)]
        point = point_at(s, box, sizes)
        held = all(x.contains(y) for of in (start, end) for x, y in zip(box, of.box, strict=True))
        if held and all(length > 0 for length in point.lengths):
            H = point.hessian(point.splits[0])
            if krawczyk(centre, radii, gradient, H) is not None:
                return True
    if halvings == 0:
        return False
    half = [((a + b) / 2).mid() for a, b in zip(start.sizes, end.sizes, strict=True)]
    middle = _end(s, half, centre)
    return middle is not None and all(
        _connected(s, *pair, halvings - 1) for pair in ((start, middle), (middle, end))
    )


def prove_between(start: FixedPoint, end: FixedPoint, bits: int = 128) -> bool:
    """Whether it is proved that one branch joins two fixed points of one family, at two sizes of its blocks.

    If so, there is a fixed point in the ansatz for all sizes between theirs, which moves smoothly with them:
    in boxes that follow one another it is the only one, by Krawczyk's test with the sizes as balls. An
    eigenvalue that is negative at one end and positive at the other is then 0 somewhere between. The
    interval is halved up to 8 times, so the ends must be close (a relative change of sizes of 1e-5 is).

    Raises ValueError if the points are of different ansätze, and what `prove` raises.
    """
    s, other = statement_of(start, bits), statement_of(end, bits)
    if s._replace(sizes=()) != other._replace(sizes=()) or len(s.sizes) != len(other.sizes):
        raise UserError(
            "start and end must be of the same blocks of one problem, but for the sizes"
        )
    with ctx.workprec(bits):
        first, last = (
            _end(s, [arb(x) for x in of.sizes], given_parameters(point, s))
            for of, point in ((s, start), (other, end))
        )
        return first is not None and last is not None and _connected(s, first, last, halvings=8)
