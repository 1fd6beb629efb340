"""Proofs that a fixed point exists, is isolated, and is a local minimum or a saddle.

Here a numerical fixed point becomes a statement (`statement`): its parameters are refined by Newton's
method in as many bits as the proof computes with, and a box is put about them. All that is proved follows
from the statement (`certify`).
"""

from collections.abc import Sequence

from ..activations.base import AbstractActivation
from ..activations.relu import as_leaky_relu
from ..landscape.fixed_points import FixedPoint
from ..runtime.errors import UserError
from .ball_hessian import gram, hessian
from .balls import approximate_inverse, arb, box, column, ctx
from .certificate import REFUTED, Certificate
from .certify import certify
from .statement import Statement, as_floats, box_radii, from_dyadic, to_dyadic

NEAR = 1e-6
"""How far from the given point, in the weights and as a part of their norm, the proved one may lie."""
_STEPS = 10  # of Newton's method with one inverse


def provable_slope(activation: AbstractActivation) -> float:
    """Return the slope for x < 0 of an activation that proofs are for: ReLU or leaky ReLU.

    Raises UserError for other activations.
    """
    leaky = as_leaky_relu(activation)
    if leaky is None:
        raise UserError(f"activation must be ReLU or LeakyReLU for a proof; got {activation!r}")
    return float(leaky.slope)


def statement_of(point: FixedPoint, bits: int) -> Statement:
    """Return the statement about a point's ansatz; the centre of its box is still missing."""
    ansatz = point.ansatz
    slope = provable_slope(ansatz.activation)
    if float(ansatz.correlation) != 0:
        raise UserError(
            f"teachers must be orthonormal for a proof; got correlation {float(ansatz.correlation):g}"
        )
    return Statement(
        sizes=as_floats(ansatz.sizes),
        matched=ansatz.matched,
        free=ansatz.free,
        readout=as_floats(ansatz.readout),
        teacher_readout=as_floats(ansatz.teacher_readout),
        slope=slope,
        names=ansatz.names,
        centre=(),
        radius=f"1p{-(5 * bits // 8)}",
        bits=bits,
    )


def given_coefficients(point: FixedPoint, s: Statement) -> list[arb]:
    """Return a point's coefficients along the directions of its ansatz, as balls of radius 0."""
    return s.coefficients([arb(float(x)) for x in point.z])


def newton_refined(s: Statement, y: list[arb], sizes: Sequence[arb] = ()) -> list[arb]:
    """Refine coefficients by Newton's method with one inverse, until the steps are far below the box's
    radius or the gradient is indistinguishable from 0. Nothing is claimed of the result.

    - `sizes`: of the blocks, if others than the statement's.
    """
    point = s.point_at(y, sizes)
    C = approximate_inverse(hessian(point, point.directions[0]))
    if C is None:
        return y
    for _ in range(_STEPS):
        gradient = point.gradient()
        if all(x.contains(0) for x in gradient):
            break  # a step would be mere rounding, and would separate units that coincide
        step = C * column(gradient)
        if not all(entry.is_finite() for entry in step.entries()):
            break
        y = [(x - step[i, 0]).mid() for i, x in enumerate(y)]
        if all(abs(entry) < from_dyadic(s.radius) / 2**8 for entry in step.entries()):
            break
        point = s.point_at(y, sizes)
    return y


def _distance(s: Statement, y: list[arb], other: list[arb]) -> arb:
    """Return an upper bound of the distance of two points in the full weights."""
    point = s.point_at(y)
    difference = column([a - b for a, b in zip(y, other, strict=True)])
    square = (difference.transpose() * gram(point, point.directions[0]) * difference)[0, 0]
    return square.abs_upper().sqrt()


def _refuted(s: Statement, y: list[arb], near: arb) -> bool:
    """Return whether it is proved that no fixed point of the ansatz lies in a box about the one given."""
    surroundings = s.point_at(box(y, box_radii(s.point_at(y), near)))
    return any(not x.contains(0) for x in surroundings.gradient() if x.is_finite())


def prove(point: FixedPoint, bits: int = 128) -> Certificate:
    r"""Prove what can be proved of a numerical fixed point of gradient flow in a block ansatz.

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
       with its `multiplicity`, and there are no others: their number is K·M. (For real sizes it is the
       continuation in them.)
    3. *Verdict*: `local minimum` if all of them are positive: the point is then a strict local minimum for
       d = M. `saddle` if one is negative: it is none; `index` counts the negative ones. Else `undecided`:
       where units can be exchanged against each other, as surplus ones for K > M may be, eigenvalues are
       exactly 0, and no enclosure separates 0 from a number close to it.
    4. For d > M the Hessian has besides, for each further dimension, the eigenvalues `beyond`
       (`in_any_dimension`).

    Without an `index` there is one verdict that is a proof: `global minimum` if, at the box's centre (and
    for whole sizes), the students are exactly the teachers, some of them in several parallel parts or
    inactive. Then L is 0, its least value, for any d; where surplus students make the Hessian singular that
    is all that is proved.

    Nothing is assumed of `point` but where to look: a certificate follows from its `statement` alone. What
    is trusted: Arb's ball arithmetic, the formulas of `ball_loss` and `ball_hessian`, and the list of
    representations (`ansatz.isotypic`), whose dimensions are checked to add up, and whose Hessians to have
    the trace and the homogeneity that they must have.

    - `point`: from `ol.families` or `ol.fixed_point`. The proved one must be within 1e-6 of it, as a part
      of the norm of its weights; else the verdict is `undecided`, or `refuted` if none is there.
    - `bits`: of the arithmetic's mantissas.

    Raises UserError for other activations, for correlated teachers, and for bits that aren't a whole
    number of at least 2; ImportError without python-flint (`pip install "odelandscape[proof]"`).
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or bits < 2:
        raise UserError(f"bits must be a whole number of at least 2; got {bits!r}")
    s = statement_of(point, bits)
    with ctx.workprec(bits):
        given = given_coefficients(point, s)
        centre = newton_refined(s, given)
        near = NEAR * s.point_at(given).norm()
        if not _distance(s, given, centre) < near:
            centre = given  # Newton's method has converged to another point, or not at all
        certificate = certify(s._replace(centre=tuple(map(to_dyadic, centre))))
        if not certificate.proved and _refuted(s, given, near):
            radius = near.str(3, radius=False)
            reason = f"no fixed point of the ansatz is within {radius} of the one given"
            return Certificate.unproved(REFUTED, reason)
    return certificate
