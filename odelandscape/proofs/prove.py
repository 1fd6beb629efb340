"""Proofs that a fixed point exists, is isolated, and is a minimum or a saddle.

Here a numerical fixed point becomes a statement (`statement`): its parameters are refined by Newton's
method in as many bits as the proof computes with, and a box is put about them. All that is proved follows
from the statement (`certify`).
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ..activations.base import AbstractActivation
from ..activations.relu import as_leaky_relu
from ..landscape.fixed_points import CONVERGED, FixedPoint
from ..model.problem import check_concrete
from ..runtime.arguments import check_whole_number
from ..runtime.compiler import known_numbers
from ..runtime.errors import UserError
from . import MOST_BITS, MOST_PARAMETERS
from .ball_hessian import gram, hessian
from .balls import approximate_inverse, arb, box, column, ctx
from .certificate import REFUTED, Certificate
from .certify import certify
from .statement import Statement, as_floats, box_radii, from_dyadic, to_dyadic
from .zero_loss import nearest_zero

NEAR = 1e-6
"""How far from the given point, in the weights and as a part of their norm, the proved one may lie."""
_ROUNDED = 1e-13
"""How far, in the same units, a point may be from one of loss 0 to be this one but for rounding."""
_STEPS = 12  # of Newton's method, each of which doubles the correct bits, from 53 or fewer


def provable_slope(activation: AbstractActivation) -> float:
    """Return the slope for x < 0 of an activation that proofs are for: ReLU or leaky ReLU.

    Raises UserError for other activations.
    """
    leaky = as_leaky_relu(activation)
    if leaky is None:
        raise UserError(f"activation must be ReLU or LeakyReLU for a proof; got {activation!r}")
    return float(leaky.slope)


@known_numbers()
def statement_of(point: FixedPoint, bits: int, argument: str = "point") -> Statement:
    """Return the statement about a point's ansatz; the centre of its box is still missing.

    - `argument`: what messages call the point.

    Raises UserError for what is no fixed point or one of a problem that proofs aren't for, and for `bits`.
    """
    bits = check_whole_number("bits", bits, 2)
    if bits > MOST_BITS:
        raise UserError(f"bits must be a whole number from 2 to {MOST_BITS}; got {bits}")
    if not isinstance(point, FixedPoint):
        raise UserError(
            f"{argument} must be a fixed point in a block ansatz, from ol.families or "
            "ol.fixed_point(problem, ol.family(…)) (of weights, ol.block_structure(problem, "
            f"weights).point is the block point to give to ol.fixed_point); got {type(point).__name__}"
        )
    check_concrete(argument, point)
    if not np.isfinite(np.asarray(point.z)).all() or point.result != CONVERGED:
        raise UserError(
            f"{argument} must be a fixed point that has converged; got one with a gradient norm of "
            f"{float(point.residual):.1e} (ol.fixed_point from another start, or from ol.family)"
        )
    ansatz = point.ansatz
    if ansatz.count > MOST_PARAMETERS:
        raise UserError(
            f"{argument} must have at most {MOST_PARAMETERS} parameters for a proof, whose cost grows like "
            f"their cube; got {ansatz.count} (surplus students are units of their own)"
        )
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
        centre=(),
        radius=f"1p{-(5 * bits // 8)}",
        bits=bits,
    )


def expected_seconds(parameters: int, bits: int) -> float:
    """Return how long a proof takes, to a factor of some: on one core of 2024."""
    return (0.02 + 3e-5 * parameters**3) * (1 + (bits / 1500) ** 1.5)


def given_coefficients(point: FixedPoint, s: Statement) -> list[arb]:
    """Return a point's coefficients along the directions of its ansatz, as balls of radius 0."""
    return s.coefficients([arb(float(x)) for x in np.asarray(point.z)])


def newton_refined(s: Statement, y: list[arb], sizes: Sequence[arb] = ()) -> list[arb]:
    """Refine coefficients by Newton's method, until the steps are far below the box's radius or the gradient
    is indistinguishable from 0. Nothing is claimed of the result.

    - `sizes`: of the blocks, if others than the statement's.
    """
    for _ in range(_STEPS):
        point = s.point_at(y, sizes)
        gradient = point.gradient()
        if all(x.contains(0) for x in gradient):
            break  # a step would be mere rounding, and would separate units that coincide
        inverse = approximate_inverse(hessian(point, point.directions[0]))
        if inverse is None:
            break
        step = inverse * column(gradient)
        if not all(entry.is_finite() for entry in step.entries()):
            break
        y = [(x - step[i, 0]).mid() for i, x in enumerate(y)]
        if all(abs(entry) < from_dyadic(s.radius) / 2**8 for entry in step.entries()):
            break
    return y


def _rounded_zero(s: Statement, given: list[arb]) -> list[arb] | None:
    """Return the point of loss 0 that the one given is but for rounding; None if there is none."""
    zero = nearest_zero(s, given)
    if zero is None:
        return None
    centre = [_nearest_dyadic(x) for x in zero]
    near = _ROUNDED * s.point_at(given).norm()
    return centre if _distance(s, given, centre) < near else None


def _nearest_dyadic(x: Fraction) -> arb:
    return (arb(x.numerator) / x.denominator).mid()


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
    3. *Verdict*: `global minimum` if the box holds a point where the students are exactly the teachers, some
       of them in several parallel parts: L is 0 there, its least value, so it is the one critical point; the
       loss is then 0 exactly. `local minimum` if all eigenvalues are positive: the point is then a strict
       local minimum for d = M. `saddle` if one is negative: it is none; `index` counts the negative ones.
       Else `undecided`: where units can be exchanged against each other, as surplus ones for K > M may be,
       eigenvalues are exactly 0, and no enclosure separates 0 from a number close to it.
    4. For d > M the Hessian has besides, for each further dimension, the eigenvalues `beyond`
       (`in_any_dimension`).

    Without an `index` there is one verdict that is a proof: `global minimum` if, for whole sizes, the box
    holds a point where the students are exactly the teachers, some of them in several parallel parts or
    inactive. Then L is 0 there, its least value, for any d; where surplus students make the Hessian singular
    that is all that is proved.

    Nothing is assumed of `point` but where to look: a certificate follows from its `statement` alone. What
    is trusted: Arb's ball arithmetic, the formulas of `ball_loss` and `ball_hessian`, and the list of
    representations (`ansatz.isotypic`), whose dimensions are checked to add up, and whose Hessians to have
    the trace and the homogeneity that they must have.

    - `point`: from `ol.families` or `ol.fixed_point`. The proved one must be within 1e-6 of it, as a part
      of the norm of its weights; else the verdict is `undecided`, or `refuted` if none is there.
    - `bits`: of the arithmetic's mantissas, up to 10,000; the cost grows like their square.

    Raises UserError for what is no converged FixedPoint, for other activations, for correlated teachers, and
    for bits that aren't a whole number from 2 to 10,000; ImportError without python-flint
    (`pip install "odelandscape[proof]"`).
    """
    s = statement_of(point, bits)
    with ctx.workprec(s.bits):
        given = given_coefficients(point, s)
        centre = _rounded_zero(s, given) or newton_refined(s, given)
        near = NEAR * s.point_at(given).norm()
        if not _distance(s, given, centre) < near:
            centre = given  # Newton's method has converged to another point, or not at all
        certificate = certify(s._replace(centre=tuple(map(to_dyadic, centre))))
        if not certificate.proved and _refuted(s, given, near):
            radius = near.str(3, radius=False)
            reason = f"no fixed point of the ansatz is within {radius} of the one given"
            return Certificate.unproved(REFUTED, reason)
    return certificate
