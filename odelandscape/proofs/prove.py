r"""Proofs that a fixed point exists, is isolated, and is a local minimum or a saddle.

Ball arithmetic (Arb, Johansson 2017) encloses all rounding. A fixed point is proved by Krawczyk's test: with
$g$ the reduced gradient, $C$ near the inverse of its Jacobian and $X$ a box about $x$, if
$x - C g(x) + (1 - C g'(X))(X - x)$ lies inside $X$, then $X$ holds exactly one zero of $g$. The Hessian
there is known on each representation of the symmetry as a small matrix of balls (`variations`), whose
eigenvalues are enclosed after an approximate diagonalisation (Weyl, Ostrowski).
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..activations.relu import LeakyReLU, ReLU
from ..landscape.fixed_points import FixedPoint
from ..runtime.errors import UserError
from .ball_loss import Point
from .balls import arb, arb_mat, column, ctx, eigenvalues, independent, inverse, krawczyk
from .certificate import (
    GLOBAL,
    MINIMUM,
    REFUTED,
    SADDLE,
    UNDECIDED,
    Certificate,
    Eigenvalue,
    Statement,
    ball,
    enclosure,
    exact,
)
from .groups import Rows, Split

NEAR = 1e-6
"""How far from the given point, in the weights and as a part of their norm, the proved one may lie."""
_LEARNED = (
    "the loss is exactly 0 at the box's centre; that no other fixed point is near isn't proved"
)
_STEPS = 10  # of Newton's method with one inverse


def _students(s: Statement, y: Sequence[arb]) -> Rows:
    """Constants and what diagonals have more, from numbers in the order of the first split."""
    B, matched = len(s.sizes), len(s.matched)
    const = [[arb(0)] * B for _ in range(matched + s.free)]
    same: list = [0] * (matched + s.free)
    rest = iter(y)
    for row in range(matched + s.free):
        for b in range(B):
            const[row][b] = next(rest)
            if row < matched and s.matched[row] == b:
                same[row] = next(rest)
    return Rows(const, same)


def point_at(s: Statement, y: Sequence[arb], sizes: Sequence[arb] = ()) -> Point:
    """`sizes`: other ones than the statement's."""
    whole, readout, teachers = (
        [arb(x) for x in of] for of in (s.sizes, s.readout, s.teacher_readout)
    )
    return Point(
        list(sizes) or whole, s.matched, s.free, _students(s, y), readout, teachers, arb(s.slope)
    )


def _parameters(s: Statement, y: Sequence[arb]) -> list[arb]:
    """As `BlockAnsatz` has them: diagonals, then constants."""
    const, same = _students(s, y)
    diagonal = [same[i] + const[i][b] for i, b in enumerate(s.matched)]
    return [*diagonal, *(x for row in const for x in row)]


class _Undecided(Exception):
    """Why nothing more can be said."""


class _Matrices(NamedTuple):
    """Of a representation: its name, its dimension, the Hessian and scalar products of some directions."""

    name: str
    many: arb
    H: arb_mat
    G: arb_mat


def _matrices(point: Point, splits: Sequence[Split]) -> list[_Matrices]:
    found = []
    for split in splits:
        many = arb(split.component.dimension(point.sizes))
        if not many <= 0:
            name = " ".join([split.component.name, *map(str, split.component.blocks)])
            found.append(_Matrices(name, many, point.hessian(split), point.gram(split)))
    return found


def box_radii(point: Point, radius: arb) -> list[arb]:
    """Of a box: a radius over the length of each direction of the ansatz in weight space."""
    G = point.gram(point.splits[0])
    return [radius / G[k, k].sqrt() for k in range(G.nrows())]


def _box(s: Statement) -> tuple[list[arb], Point, list[_Matrices]]:
    """Balls that hold the parameters of exactly one fixed point; all Hessians of a box about them."""
    centre, r = [ball(x) for x in s.centre], ball(s.radius)
    thin = point_at(s, centre)
    radii = box_radii(thin, r)
    box = point_at(s, [arb(x, radius) for x, radius in zip(centre, radii, strict=True)])
    for index, length in enumerate(box.lengths):
        if not length > 0:
            raise _Undecided(f"students {index} may have length 0, where the loss has a kink")
    matrices = _matrices(box, box.splits)
    gradient = thin.gradient()
    image = krawczyk(centre, radii, gradient, matrices[0].H)
    if image is None:
        units = box_radii(thin, arb(1))
        norm = sum((x * x * unit * unit for x, unit in zip(gradient, units, strict=True)), arb(0))
        raise _Undecided(
            "no fixed point is proved, as Krawczyk's test fails (where surplus students can be exchanged "
            "against others, fixed points aren't isolated; or this is none, or bits are too few). Proved "
            f"of the box's centre: its loss is {thin.loss().str(15)}, and no derivative within the "
            f"ansatz is above {norm.abs_upper().sqrt().str(3, radius=False)}"
        )
    return image, box, matrices


def _spectrum(matrices: Sequence[_Matrices]) -> list[tuple[arb, arb, str]]:
    found = []
    for name, many, H, G in matrices:
        some = independent(G)
        if not some:
            continue
        H, G = (arb_mat([[x[i, j] for j in some] for i in some]) for x in (H, G))
        values = eigenvalues(H, G)
        if values is None:
            raise _Undecided(f"the eigenvalues on the representation {name!r} aren't enclosed")
        found += [(value, many, name) for value in values]
    return sorted(found, key=lambda row: float(row[0].mid()))


def _check_identities(s: Statement, y: Sequence[arb], point: Point, H: arb_mat, found) -> None:
    """What the Hessian must satisfy, from other sums than those that it was made of."""
    students = sum((point.sizes[b] for b in s.matched), arb(s.free))
    wanted, count = students * sum(point.sizes, arb(0)), sum((row[1] for row in found), arb(0))
    if not count.overlaps(wanted):
        raise _Undecided(f"{float(count):g} eigenvalues were found of {float(wanted):g}")
    trace = sum((value * many for value, many, _ in found), arb(0))
    if not trace.overlaps(point.trace()):
        raise _Undecided("the eigenvalues don't add up to the Hessian's trace")
    # Of the loss, what teachers have no part in is homogeneous of degree 2, the rest of degree 1 and 0.
    along, wanted = H * column(y), point.gradient(of_students=True)
    if not all(along[i, 0].overlaps(x) for i, x in enumerate(wanted)):
        raise _Undecided("the Hessian along the students isn't what homogeneity makes it")


def _nothing(verdict: str, reason: str, statement: Statement | None = None) -> Certificate:
    return Certificate(verdict, reason, None, None, {}, (), (), statement)


def _rows(found: list[tuple[arb, arb, str]]) -> tuple[Eigenvalue, ...]:
    return tuple(Eigenvalue(enclosure(x), float(many), name) for x, many, name in found)


def certify(s: Statement) -> Certificate:
    """All that is proved of a statement."""
    with ctx.workprec(s.bits):
        try:
            y, box, matrices = _box(s)
            found = _spectrum(matrices)
            _check_identities(s, y, box, matrices[0].H, found)
            outside, splits = box.beyond()
            beyond = _spectrum(_matrices(outside, splits))
        except _Undecided as why:
            whole = all(
                size.is_integer() for size in s.sizes
            )  # else L is no mean square, and not ≥ 0
            if whole and point_at(s, [ball(x) for x in s.centre]).learns:
                return Certificate(GLOBAL, _LEARNED, None, enclosure(arb(0)), {}, (), (), s)
            return _nothing(UNDECIDED, str(why), s)
        low = float(sum((many for value, many, _ in found if value < 0), arb(0)))
        high = float(sum((many for value, many, _ in found if not value > 0), arb(0)))
        verdict = SADDLE if low > 0 else MINIMUM if high == 0 else UNDECIDED
        open_ = {name for value, _, name in found if not (value > 0 or value < 0)}
        reason = f"an eigenvalue may be 0 on: {', '.join(sorted(open_))}" if open_ else ""
        return Certificate(
            verdict,
            reason,
            (low, high),
            enclosure(point_at(s, y).loss()),
            dict(zip(s.names, map(enclosure, _parameters(s, y)), strict=True)),
            _rows(found),
            _rows(beyond),
            s,
        )


def statement_of(point: FixedPoint, bits: int) -> Statement:
    """The box to be tested is still missing."""
    ansatz = point.ansatz
    activation = ansatz.activation
    if not isinstance(activation, ReLU | LeakyReLU):
        raise UserError(f"activation must be ReLU or LeakyReLU for a proof; got {activation!r}")
    if float(ansatz.correlation) != 0:
        raise UserError(
            f"teachers must be orthonormal for a proof; got correlation {float(ansatz.correlation):g}"
        )
    return Statement(
        sizes=_floats(ansatz.sizes),
        matched=ansatz.matched,
        free=ansatz.free,
        readout=_floats(ansatz.readout),
        teacher_readout=_floats(ansatz.teacher_readout),
        slope=float(activation.slope) if isinstance(activation, LeakyReLU) else 0.0,
        names=ansatz.names,
        centre=(),
        radius=f"1p{-(5 * bits // 8)}",
        bits=bits,
    )


def _floats(x) -> tuple[float, ...]:
    return tuple(float(value) for value in x)


def given_parameters(point: FixedPoint, s: Statement) -> list[arb]:
    """Its parameters in the order of the first split."""
    z, n, B = [arb(float(x)) for x in point.z], len(s.matched), len(s.sizes)
    y = []
    for row in range(n + s.free):
        for b in range(B):
            const = z[n + row * B + b]
            y.append(const)
            if row < n and s.matched[row] == b:
                y.append((z[row] - const).mid())
    return y


def newton_refined(s: Statement, y: list[arb], sizes: Sequence[arb] = ()) -> list[arb]:
    """Newton's method with one inverse, as far as it comes."""
    at = point_at(s, y, sizes)
    C = inverse(at.hessian(at.splits[0]))
    if C is None:
        return y
    for _ in range(_STEPS):
        gradient = at.gradient()
        if all(x.contains(0) for x in gradient):
            break  # a step would only be rounding, and part units that coincide
        step = C * column(gradient)
        if not all(entry.is_finite() for entry in step.entries()):
            break
        y = [(x - step[i, 0]).mid() for i, x in enumerate(y)]
        if all(abs(entry) < ball(s.radius) / 2**8 for entry in step.entries()):
            break
        at = point_at(s, y, sizes)
    return y


def _distance(s: Statement, y: list[arb], other: list[arb]) -> arb:
    """In the full weights."""
    at = point_at(s, y)
    difference = column([a - b for a, b in zip(y, other, strict=True)])
    return (difference.transpose() * at.gram(at.splits[0]) * difference)[0, 0].abs_upper().sqrt()


def _refuted(s: Statement, y: list[arb], near: arb) -> bool:
    """Whether no fixed point of the ansatz lies in a box about the one given."""
    radii = box_radii(point_at(s, y), near)
    box = point_at(s, [arb(x, r) for x, r in zip(y, radii, strict=True)])
    return any(not value.contains(0) for value in box.gradient() if value.is_finite())


def prove(point: FixedPoint, bits: int = 128) -> Certificate:
    r"""What can be proved of a numerical fixed point of gradient flow in a block ansatz.

    The claims are about the population loss $L(W) = \frac12 E[(\sum_i v_i σ(w_i·x) - \sum_n v^*_n
    σ(w^*_n·x))^2]$, x standard Gaussian, σ ReLU or leaky ReLU, orthonormal teachers, readouts v fixed, all
    numbers of the ansatz (sizes, readouts, slope) taken as the exact binary numbers that they are. If a
    certificate has an `index`,

    1. *Existence, local uniqueness*: in the box of `statement` (in the directions of the ansatz, `radius`
       over the length of each) there is exactly one critical point of L restricted to the ansatz, by
       Krawczyk's test. It lies in `parameters`, its loss in `loss`. It is critical for L itself, since the
       ansatz is what a group of permutations leaves fixed (Palais 1979), and no student has length 0 there,
       so L is twice continuously differentiable about it.
    2. *Hessian*: for whole sizes, each eigenvalue of the full KM × KM Hessian in W lies in its enclosure,
       as often as told, and there are no others: their number is K·M. (For real sizes it is the
       continuation in them.)
    3. *Verdict*: `local minimum` if all of them are positive: the point is then a strict local minimum for
       d = M. `saddle` if one is negative: it is none; `index` counts the negative ones. Else `undecided`:
       where units can be exchanged against each other, as surplus ones for K > M may be, eigenvalues are
       exactly 0, and no enclosure tells 0 from a number close to it.
    4. For d > M the Hessian has besides, for each further dimension, the eigenvalues `beyond`
       (`in_any_dimension`).

    Without an `index` there is one verdict that is a proof: `global minimum` if, at the box's centre (and
    for whole sizes), the students are exactly the teachers, some of them in several parallel parts or
    silent. Then L is 0, its least value, for any d; where surplus students make the Hessian singular that
    is all that is proved.

    Nothing is assumed of `point` but where to look: a certificate follows from its `statement` alone. What is
    trusted: Arb's ball arithmetic, the formulas of `variations`, and the list of representations
    (`isotypic`), whose dimensions are checked to add up, and whose Hessians to have the trace and the
    homogeneity that they must have.

    - `point`: from `ol.families` or `ol.fixed_point`. The proved one must be within 1e-6 of it, as a part
      of the norm of its weights; else the verdict is `undecided`, or `refuted` if none is there.
    - `bits`: of the arithmetic's mantissas.

    Raises ValueError for other activations, for correlated teachers, and for bits that aren't a whole
    number of at least 2; ImportError without python-flint (`pip install "odelandscape[proof]"`).
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or bits < 2:
        raise UserError(f"bits must be a whole number of at least 2; got {bits!r}")
    s = statement_of(point, bits)
    with ctx.workprec(bits):
        given = given_parameters(point, s)
        found = newton_refined(s, given)
        near = NEAR * point_at(s, given).norm()
        if not _distance(s, given, found) < near:
            found = given  # Newton's method leads elsewhere
        certificate = certify(s._replace(centre=tuple(map(exact, found))))
        if not certificate.proved and _refuted(s, given, near):
            reason = f"no fixed point of the ansatz is within {near.str(3, radius=False)} of the one given"
            return _nothing(REFUTED, reason)
    return certificate
