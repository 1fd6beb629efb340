r"""Second variations of the loss of a block ansatz, in ball arithmetic (Arb).

With the notation of `ball_loss`, unit vectors $e$ and $e'$ along $w$ and $w'$, $n$ along
$e' - \cos\theta\, e$, and $p, r$ directions of $w$, $r'$ of $w'$ (Cho and Saul 2009; Safran and Shamir 2018),

- $2\pi f[p, r] = (|w'|/|w|) \sin\theta\, (p·r - p·e\; r·e + p·n\; r·n)$,
- $2\pi f[p, r'] = (\pi - \theta)\, p·r' + \sin\theta \cos\theta\, (p·e\; r'·e - p·n\; r'·n)
  + \sin^2\theta\, (p·e\; r'·n + p·n\; r'·e)$.

They are continuous where units coincide: n has no direction there, but sin θ multiplies it, and |p·n| ≤ |p|
is all that is needed.

The terms in $p·r$ and $p·r'$ are scalar products with the weights that the gradient has too
(`_inner_products`). The others depend on the directions only by their components along $e$ and $n$, so over
all pairs of units they are a product of two thin matrices (`_curvature_factors`).
"""

from .ball_loss import BallPoint, PairKernel, ProductWeights
from .balls import arb, arb_mat
from .groups import Groups, Rows, SplitDirections


def hessian(point: BallPoint, directions: SplitDirections) -> arb_mat:
    """Return the second derivatives of the loss between directions (a symmetric matrix lies in the balls)."""
    groups = point.groups_of(directions)
    weights = point.product_weights(groups, len(directions.matched_to))
    left, right = _curvature_factors(point, directions, groups)
    return _inner_products(directions, groups.sizes, weights) + left * right


def gram(point: BallPoint, directions: SplitDirections) -> arb_mat:
    """Return the scalar products of directions in weight space."""
    groups, students = point.groups_of(directions), len(directions.matched_to)
    none = [[arb(0)] * students] * students
    counts = [groups.unit_count(g) for g in range(students)]
    return _inner_products(directions, groups.sizes, ProductWeights(counts, none, none))


def _curvature_factors(
    point: BallPoint, directions: SplitDirections, groups: Groups
) -> tuple[arb_mat, arb_mat]:
    """Return two matrices, (directions, n) and (n, directions), whose product is the kernel's curvature:
    all terms of the Hessian but the scalar products of directions.

    Each set of pairs of units adds two to n: the components of directions along e and n on the left, and what
    multiplies them in the second variation on the right.
    """
    units = point.units(directions.students, (b for b, _ in directions.parts))
    products = [groups.scalar_products(row, units) for row in directions.rows]
    bounds = [_component_bounds(groups, row) for row in directions.rows]
    students = range(len(directions.matched_to))
    moved = [not all(row.vanishes(g) for row in directions.rows) for g in students]
    left, right = [], []
    for g in students:
        if not moved[g]:
            continue
        for h, same_index, weight, k in point.unit_pairs(groups, g):
            weight = weight * point.curvature * k.sin
            ratio = k.other_norm / k.norm
            both = h < len(moved) and moved[h]
            along_e, along_n, by_e, by_n = [], [], [], []
            for product, bound in zip(products, bounds, strict=True):
                p = product.of(g, g, True), product.of(g, h, same_index)
                pe, pn = _plane_components(k, *p, bound[g])
                to_e, to_n = -ratio * pe, ratio * pn
                if both:
                    r = product.of(h, g, same_index), product.of(h, h, True)
                    re, rn = _plane_components(k, *r, bound[h])
                    to_e += k.cos * re + k.sin * rn
                    to_n += k.sin * re - k.cos * rn
                along_e.append(pe)
                along_n.append(pn)
                by_e.append(weight * to_e)
                by_n.append(weight * to_n)
            left += [along_e, along_n]
            right += [by_e, by_n]
    if not left:
        n = len(directions.rows)
        return arb_mat(n, 1), arb_mat(1, n)
    return arb_mat(left).transpose(), arb_mat(right)


def _plane_components(
    k: PairKernel, with_unit: arb, with_other: arb, bound: arb
) -> tuple[arb, arb]:
    """Return p·e and p·n from p·w and p·w'; `bound` encloses p·n, for units that may coincide."""
    along = with_unit / k.norm
    if k.inverse_sine is None:
        return along, bound
    return along, (with_other / k.other_norm - k.cos * along) * k.inverse_sine


def _component_bounds(groups: Groups, direction: Rows) -> list[arb]:
    """Return [−|p|, |p|] of what a direction does to a student of each group."""
    products = groups.scalar_products(direction, direction)
    squares = (products.of(g, g, True) for g in range(len(products.const)))
    return [arb(0, square.abs_upper().sqrt().abs_upper()) for square in squares]


def _inner_products(
    directions: SplitDirections, sizes: list[arb], weights: ProductWeights
) -> arb_mat:
    """Return the sum of weights times scalar products of what directions do to students: of each student with
    itself, and of pairs."""
    S = range(len(directions.matched_to))
    own, const, same = weights
    equal = arb_mat([[same[g][h] + (own[g] if g == h else 0) for h in S] for g in S])
    every = arb_mat([[const[g][h] for h in S] for g in S]) + equal
    n = len(directions.rows)
    total = arb_mat(n, n)
    parts = zip(sizes, directions.const, directions.same, strict=True)
    for size, of_const, of_same in parts:
        by_const = every * of_const.transpose()
        across = of_same * by_const
        total += of_const * by_const * size + across + across.transpose()
        total += of_same * equal * of_same.transpose()
    return total
