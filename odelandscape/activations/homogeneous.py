r"""$I_4$ of every positively homogeneous activation, by parity.

Such an activation is $\sigma(x) = m x + h |x|$, and $\sigma'(x) = m + h \operatorname{sgn} x$: ReLU has
m = h = ½, a leak a has m = (1+a)/2 and h = (1−a)/2. Multiplied out, of the terms of
$\sigma'(u)\sigma'(v)\sigma(s)\sigma(t)$ those of odd parity vanish. All that remain are elementary by Stein's
lemma but one, $E[\operatorname{sgn} u \operatorname{sgn} v |s| |t|]$ of four different units (`signs`):

- $E|s||t| = \frac2\pi(n_s n_t \sin_{st} + c_{st}\arcsin\rho_{st})$,
- $E[\operatorname{sgn} u\, s\, |t|] = \frac2\pi(c_{st}\arcsin\rho_{ut} + n_s n_t\rho_{us}\sin_{ut})$,
- $E[\operatorname{sgn} u \operatorname{sgn} v\, s\, t] =
  \frac2\pi(c_{st}\arcsin\rho_{uv} + n_s n_t\kappa_{uv})$,

with $\kappa_{uv}\sin_{uv} = \rho_{us}\rho_{vt} + \rho_{ut}\rho_{vs} - \rho_{uv}(\rho_{us}\rho_{ut} +
\rho_{vs}\rho_{vt})$, 0 where u = ±v.
"""

from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .angles import arcsine, cosine, norm, safe_reciprocal, sine_with_slope
from .signs import EDGE, EDGES, ROUNDING, ratio, signed_products

_TWO_OVER_PI = 2 / np.pi


class Quadruples(NamedTuple):
    """Sets of four units, and for each of their pairs of students the other two units."""

    units: np.ndarray  # (4, n)
    first: np.ndarray  # (r,) students i < j of each role
    second: np.ndarray
    rest: np.ndarray  # (2, r) the other two units
    edge: np.ndarray  # (r,) which of the six pairs (i, j) is, …
    of: np.ndarray  # (r,) … in which quadruple


def quadruples(students: int, units: int) -> Quadruples:
    """Return all sets of four units with two students or more.

    There are C(K,2) C(M,2) + C(K,3) M + C(K,4) of them: 53 at K = M = 4, 3,435 at K = M = 10. One integral
    serves all pairs of students of a set, since J is symmetric in the four.
    """
    sets = [q for q in combinations(range(units), 4) if q[1] < students]
    roles = [
        (q[i], q[j], *(q[k] for k in EDGES[5 - e]), e, n)
        for n, q in enumerate(sets)
        for e, (i, j) in enumerate(EDGES)
        if q[j] < students
    ]
    first, second, *rest, edge, of = np.array(roles, int).reshape(-1, 6).T
    return Quadruples(np.array(sets, int).reshape(-1, 4).T, first, second, np.stack(rest), edge, of)


def _cosines(C: Float[Array, "n n"], n: Float[Array, " n"]) -> Float[Array, "n n"]:
    """Return the cosines, ±1 where they are within rounding of ±1 (an angle of 1e-8), with the derivatives of
    the cosines before that."""
    rho = cosine(C, n[:, None], n[None, :])
    close = (1 - rho) * (1 + rho) < ROUNDING
    return rho + jax.lax.stop_gradient(jnp.where(close, jnp.sign(rho) - rho, 0))


def fourth_moment(m, h, C: Float[Array, "4 4"], tolerance: float = 1e-13) -> Float[Array, ""]:
    """Return I4 of m x + h |x|."""
    n = norm(jnp.diagonal(C))
    rho = _cosines(C, n)
    six = [rho[i, j] for i, j in EDGES]
    sin, A = [sine_with_slope(r) for r in six], [arcsine(r) for r in six]
    (u, v), st = (0, 1), EDGE[2, 3]
    kappa = six[EDGE[u, 2]] * six[EDGE[v, 3]] + six[EDGE[u, 3]] * six[EDGE[v, 2]]
    kappa -= six[0] * sum(six[EDGE[x, 2]] * six[EDGE[x, 3]] for x in (u, v))
    mixed = sin[st] + ratio(kappa, sin[0])
    for x in (u, v):
        mixed += six[EDGE[x, 3]] * sin[EDGE[x, 2]] + six[EDGE[x, 2]] * sin[EDGE[x, 3]]
    mixed = _TWO_OVER_PI * (six[st] * sum(A) + mixed)
    signed = signed_products(six, tolerance)[0]
    return n[2] * n[3] * (m**4 * six[st] + (m * h) ** 2 * mixed + h**4 * signed)


def slope_products(
    m, h, a: Float[Array, " n"], covariance: Float[Array, "n n"], students: int, tolerance: float
) -> Float[Array, "{students} {students}"]:
    r"""Return $E[\sigma'_i \sigma'_j \Delta^2]$ of m x + h |x|, $\Delta = mX + hY$.

    $X = \sum a_l \lambda_l$ and $Y = \sum a_l |\lambda_l|$. All sums but that over four different units are
    products of matrices.
    """
    K, C = students, covariance
    n = norm(jnp.diagonal(C))
    rho = _cosines(C, n)
    sin, A = sine_with_slope(rho), arcsine(rho)
    an = a * n
    field = C @ a  # E[λ_i X]
    projection = field * safe_reciprocal(n)
    XX = a @ field
    YY = _TWO_OVER_PI * (an @ (sin + rho * A) @ an)
    # E[sgn_i X Y], of students.
    signed_XY = _TWO_OVER_PI * (A[:K] @ (a * field) + projection[:K] * (sin[:K] @ an))
    variance = m**2 * XX + h**2 * YY
    diagonal = (m**2 + h**2) * variance + 4 * (m * h) ** 2 * signed_XY

    r, s, A_students, g = rho[:K, :K], sin[:K, :K], A[:K, :K], projection[:K]
    squares = g * g
    kappa = 2 * g[:, None] * g[None, :] - r * (squares[:, None] + squares[None, :])
    signed_XX = _TWO_OVER_PI * (XX * A_students + ratio(kappa, s))
    # E[sgn_i sgn_j Y²]. First l = m, of any unit: E[sgn_i sgn_j λ_l²], and E[sgn_j λ_i|λ_i|] for l = i.
    scaled = rho[:K] * an[None, :]
    shared = scaled @ scaled.T
    lengths = jnp.sum(scaled * scaled, axis=1)
    kappa = 2 * shared - r * (lengths[:, None] + lengths[None, :])
    signed_YY = _TWO_OVER_PI * (jnp.sum(an * an) * A_students + ratio(kappa, s))
    # The line above holds for l = i, too. Then l = i, any m but i and j, twice: E[sgn_j λ_i |λ_m|].
    all_m = scaled @ A[:K].T + r * (sin[:K] @ an)[None, :]  # [i, j], all m
    m_is_i = an[:K, None] * (A_students + r * s)  # m = i
    m_is_j = an[None, :K] * (r * np.pi / 2)  # m = j
    cross = an[:K, None] * (all_m - m_is_i - m_is_j)
    signed_YY += 2 * _TWO_OVER_PI * (cross + cross.T)
    signed_YY += 2 * an[:K, None] * an[None, :K] * r  # l = i, m = j
    q = quadruples(K, len(a))
    if q.units.size:
        six = signed_products([rho[q.units[i], q.units[j]] for i, j in EDGES], tolerance)
        four = 2 * an[q.rest[0]] * an[q.rest[1]] * jnp.stack(six)[q.edge, q.of]
        signed_YY = signed_YY.at[q.first, q.second].add(four)
        signed_YY = signed_YY.at[q.second, q.first].add(four)
    mixed = YY + 2 * (signed_XY[:, None] + signed_XY[None, :]) + signed_XX
    products = m**4 * XX + (m * h) ** 2 * mixed + h**4 * signed_YY
    return jnp.where(np.eye(K, dtype=bool), jnp.diag(diagonal), products)
