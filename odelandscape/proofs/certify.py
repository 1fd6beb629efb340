r"""From a statement alone, whatever is proved of its fixed point: existence, Hessian, verdict.

A fixed point is proved by Krawczyk's inclusion test (`balls.krawczyk_image`) for the reduced gradient on
the statement's box. The Hessian there is known on each representation of the symmetry as a small matrix of
balls (`ball_hessian`), whose eigenvalues are enclosed after an approximate diagonalisation (Weyl,
Ostrowski; `balls.enclosed_eigenvalues`). They are then checked against identities that the Hessian must
satisfy: the number of eigenvalues, the trace, and what homogeneity makes of the Hessian along the students.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from .ball_hessian import gram, hessian
from .ball_loss import BallPoint
from .balls import (
    arb,
    arb_mat,
    ball_sum,
    box,
    column,
    ctx,
    enclosed_eigenvalues,
    independent_directions,
    krawczyk_image,
)
from .certificate import (
    GLOBAL,
    MINIMUM,
    SADDLE,
    UNDECIDED,
    Certificate,
    Eigenvalue,
    enclosure,
)
from .groups import SplitDirections
from .statement import Statement, box_radii, from_dyadic
from .zero_loss import box_holds_zero

_ZERO_IN_BOX = (
    "the loss is exactly 0 at a point of the box; that no other fixed point is near isn't proved"
)


class _UndecidedError(Exception):
    """A step of the proof fails; the message is the certificate's reason."""


class _Matrices(NamedTuple):
    """Of a representation: its name, its dimension, the Hessian and scalar products of some directions."""

    name: str
    dimension: Fraction
    H: arb_mat
    G: arb_mat


class _EnclosedEigenvalue(NamedTuple):
    value: arb
    multiplicity: Fraction
    representation: str


class _EnclosedPoint(NamedTuple):
    """A proved fixed point.

    - `coefficients`: balls that enclose it along the directions of the ansatz.
    - `box`: the box that it is the only fixed point in. `matrices`: the Hessian on that box.
    """

    coefficients: list[arb]
    box: BallPoint
    matrices: list[_Matrices]


def _matrices(
    point: BallPoint, sizes: Sequence[float], every: Sequence[SplitDirections]
) -> list[_Matrices]:
    exact = [Fraction(size) for size in sizes]  # of real sizes, real multiplicities
    found = []
    for directions in every:
        dimension = Fraction(directions.component.dimension(exact))
        if dimension > 0:
            H, G = hessian(point, directions), gram(point, directions)
            found.append(_Matrices(directions.name, dimension, H, G))
    return found


def _enclosed_point(s: Statement) -> _EnclosedPoint:
    """Return the only fixed point in the statement's box, by Krawczyk's test."""
    centre = s.centre_balls()
    centre_point = s.point_at(centre)
    radii = box_radii(centre_point, from_dyadic(s.radius))
    box_point = s.point_at(box(centre, radii))
    for index, length in enumerate(box_point.lengths):
        if not length > 0:
            raise _UndecidedError(f"students {index} may have length 0, where the loss has a kink")
    matrices = _matrices(box_point, s.sizes, box_point.directions)
    gradient = centre_point.gradient()
    image = krawczyk_image(centre, radii, gradient, matrices[0].H)
    if image is None:
        units = box_radii(centre_point, arb(1))
        square = ball_sum(x * x * unit * unit for x, unit in zip(gradient, units, strict=True))
        raise _UndecidedError(
            "no fixed point is proved, as Krawczyk's test fails (where surplus students can be exchanged "
            "against others, fixed points aren't isolated; or this is none, or bits are too few). Proved "
            f"of the box's centre: its loss is {centre_point.loss().str(15)}, and no derivative within the "
            f"ansatz is above {square.abs_upper().sqrt().str(3, radius=False)}"
        )
    return _EnclosedPoint(image, box_point, matrices)


def _spectrum(matrices: Sequence[_Matrices]) -> list[_EnclosedEigenvalue]:
    """Return enclosures of all eigenvalues, ascending by their midpoints."""
    found = []
    for name, dimension, H, G in matrices:
        some = independent_directions(G)
        if not some:
            continue
        H, G = (arb_mat([[x[i, j] for j in some] for i in some]) for x in (H, G))
        values = enclosed_eigenvalues(H, G)
        if values is None:
            raise _UndecidedError(f"the eigenvalues on the representation {name!r} aren't enclosed")
        found += [_EnclosedEigenvalue(value, dimension, name) for value in values]
    return sorted(found, key=lambda row: float(row.value.mid()))


def _ball(x: Fraction) -> arb:
    return arb(x.numerator) / x.denominator


def _student_count(s: Statement) -> Fraction:
    return sum((Fraction(s.sizes[b]) for b in s.matched), Fraction(s.free))


def _count(rows: Iterable[_EnclosedEigenvalue]) -> Fraction:
    return sum((row.multiplicity for row in rows), Fraction(0))


def _check_count(spectrum: Sequence[_EnclosedEigenvalue], wanted: Fraction) -> None:
    count = _count(spectrum)
    if count != wanted:
        raise _UndecidedError(f"{float(count):g} eigenvalues were found of {float(wanted):g}")


def _check_identities(
    s: Statement, point: _EnclosedPoint, spectrum: Sequence[_EnclosedEigenvalue]
) -> None:
    """Check what the Hessian must satisfy, by other sums than those that it was made of."""
    _check_count(spectrum, _student_count(s) * sum(map(Fraction, s.sizes)))
    trace = ball_sum(row.value * _ball(row.multiplicity) for row in spectrum)
    if not trace.overlaps(point.box.trace()):
        raise _UndecidedError("the eigenvalues don't add up to the Hessian's trace")
    # The part of the loss without teachers is homogeneous of degree 2 in W, the rest of degree 1 and 0. By
    # Euler's theorem the Hessian along W is the gradient of the first part.
    along = point.matrices[0].H * column(point.coefficients)
    wanted = point.box.gradient(students_only=True)
    if not all(along[i, 0].overlaps(x) for i, x in enumerate(wanted)):
        raise _UndecidedError("the Hessian along the students isn't what homogeneity makes it")


def _rows(spectrum: Sequence[_EnclosedEigenvalue]) -> tuple[Eigenvalue, ...]:
    return tuple(Eigenvalue(enclosure(x), float(many), name) for x, many, name in spectrum)


def verdict_of(low: float, high: float) -> str:
    """Return what a fixed point is that has from `low` to `high` negative eigenvalues."""
    return SADDLE if low > 0 else MINIMUM if high == 0 else UNDECIDED


def certify(s: Statement) -> Certificate:
    """Return all that is proved of a statement."""
    with ctx.workprec(s.bits):
        zero = box_holds_zero(s)
        try:
            point = _enclosed_point(s)
            spectrum = _spectrum(point.matrices)
            _check_identities(s, point, spectrum)
            outside, directions = point.box.beyond()
            beyond = _spectrum(_matrices(outside, [*s.sizes, 1.0], directions))
            _check_count(beyond, _student_count(s))
        except _UndecidedError as why:
            if zero:
                loss = enclosure(arb(0))
                return Certificate(GLOBAL, _ZERO_IN_BOX, None, loss, {}, (), (), s)
            return Certificate.unproved(UNDECIDED, str(why), s)
        low = float(_count(row for row in spectrum if row.value < 0))
        high = float(_count(row for row in spectrum if not row.value > 0))
        unsigned = {row.representation for row in spectrum if not (row.value > 0 or row.value < 0)}
        reason = f"an eigenvalue may be 0 on: {', '.join(sorted(unsigned))}" if unsigned else ""
        # The box's only fixed point is where the loss is 0, its least value, if that is in the box.
        loss = arb(0) if zero else s.point_at(point.coefficients).loss()
        parameters = map(enclosure, s.ansatz_parameters(point.coefficients))
        return Certificate(
            GLOBAL if zero else verdict_of(low, high),
            reason,
            (low, high),
            enclosure(loss),
            dict(zip(s.names, parameters, strict=True)),
            _rows(spectrum),
            _rows(beyond),
            s,
        )
