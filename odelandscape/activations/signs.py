r"""Moments with the signs of four Gaussians: the one integral of $I_4$ that isn't elementary.

For unit variances, six correlations $\rho$, and each of the six pairs $(u, v)$, with $(s, t)$ the other two,
this module computes

$$z_{uv} = E[\operatorname{sgn} u \operatorname{sgn} v\, |s|\,|t|].$$

Stein's lemma, twice, leaves $z$ as algebra in the six *partial angles*
$\beta_{xy} = \arcsin(\text{correlation of the other two, given } x = y = 0)$ and in
$E[\operatorname{sgn} u \operatorname{sgn} v \operatorname{sgn} s \operatorname{sgn} t] = 4J/\pi^2$:

$$\tfrac{\pi^2}{4} z_{uv} = \rho_{st} J + \kappa_{uv}\beta_{uv} + \sin_{st}\beta_{st}
  + \sum_{a = u, v} (\rho_{ta}\sin_{as}\beta_{as} + \rho_{sa}\sin_{at}\beta_{at}), \qquad
  \kappa_{uv}\sin_{uv} = \rho_{tu}\rho_{sv} + \rho_{tv}\rho_{su}
  - \rho_{uv}(\rho_{tu}\rho_{su} + \rho_{tv}\rho_{sv}).$$

J is symmetric in all four and by Price's theorem has $\partial J/\partial\rho_{xy} =
\beta_{xy}/\sin_{xy}$. Scaling the correlations of one of the four by $\tau$, from 0 to 1, makes it an
integral of arctangents over $\tau$: even in $\tau$, analytic but for $|\tau| \ge 1$ on the real line, where
its branch points approach 1 as the four approach linear dependence. With $\tau = \tanh(s)$ the error of the
trapezoidal rule has a bound that does not depend on their distance from 1 (`rule`), and it needs fewer nodes
if the arctangents are measured from their values at the last node.

**Degenerate covariances.** Where units (nearly) coincide, differences of $\rho$ decide angles. All angles
are therefore taken from *one* set of vectors, a Cholesky factor with pivoting, whose rounding amounts to
changing $\rho$ by an ulp or so: errors of single terms, as large as ulp/angle, then cancel in z where z is
insensitive to them. A pivot within rounding of 0 is 0.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..runtime.errors import UserError
from .angles import arcsine

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""The six pairs of four units; the opposite pair of edge e is edge 5 − e."""
EDGE = {pair: e for e, (i, j) in enumerate(EDGES) for pair in ((i, j), (j, i))}
ROUNDING = float(32 * np.finfo(np.float64).eps)
"""A squared sine below this may be the rounding error of 0."""
_LEAST_ANGLE = float(np.sqrt(ROUNDING))
_ZERO_PIVOT = 1e-17  # below this a squared pivot is 0: coincident units have cosines of exactly ±1
_TINY_PIVOT = (
    1e-40  # stands for a pivot of 0 in divisions: its square and its inverse are finite and not 0
)
Six = list[Float[Array, "..."]]


@functools.cache
def rule(tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Return $\tau$, $1 - \tau^2$ and weights of the trapezoidal rule in s, for an error `tolerance` of J.

    The integrand is analytic where $|\operatorname{Im} s| < \pi/2$ and some 30 large there, so that steps of
    h leave an error of $30\, e^{-\pi^2/h}$ at most. What is beyond the last node is below
    $(1-\tau^2)^2/\varepsilon^3$ for units at an angle of $\varepsilon$ or more; smaller ones count as 0.
    Where a pair is closer than 1e-6 the error is 1e-10 nevertheless. Two nearly coincident pairs reach the
    tolerance; four units in general position need half as many nodes.
    """
    h = np.pi**2 / np.log(30 / tolerance)
    last = np.log(16 / (tolerance * _LEAST_ANGLE**3)) / 4
    s = h * np.arange(np.ceil(last / h) + 1)
    rest = 1 / np.cosh(s) ** 2
    weights = h * rest
    weights[0] /= 2  # the integrand is even: half of a rule on the line
    return np.tanh(s), rest, weights


def _atan(y: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return arctan(y/x) for x ≥ 0, 0 at 0/0."""
    high = jnp.abs(y)
    length = jnp.sqrt(x * x + y * y)
    least = jnp.minimum(high, x) / jnp.where(length > 0, length, 1)
    angle = arcsine(least)
    return jnp.sign(y) * jnp.where(high <= x, angle, np.pi / 2 - angle)


def _swap(flag, six: Six, i: int, j: int) -> Six:
    """Return the six with units i and j exchanged where `flag`."""
    other = {i: j, j: i}
    moved = [EDGE[other.get(a, a), other.get(b, b)] for a, b in EDGES]
    return [jnp.where(flag, six[moved[e]], six[e]) for e in range(6)]


def ratio(x, y):
    """Return x / y for y ≥ 0, and 0 where y is 0."""
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1), 0)


def _pivoted_cholesky(rho: Six):
    """Return four unit vectors with these cosines, rows of a Cholesky factor with the largest remaining pivot
    first; the pivots; and the exchanges of units that were made, last first."""

    def pivot(square):
        return jnp.where(square > _ZERO_PIVOT, jnp.sqrt(jnp.maximum(square, _ZERO_PIVOT)), 0)

    left = [(1 - rho[e]) * (1 + rho[e]) for e in range(3)]
    second = (left[1] >= left[0]) & (left[1] >= left[2])
    third = ~second & (left[2] > left[0])
    rho = _swap(third, _swap(second, rho, 1, 2), 1, 3)
    l10, l20, l30 = rho[:3]
    left = [(1 - x) * (1 + x) for x in (l10, l20, l30)]
    d1 = pivot(left[0])
    l21 = ratio(rho[EDGE[1, 2]] - l10 * l20, d1)
    l31 = ratio(rho[EDGE[1, 3]] - l10 * l30, d1)
    left = [left[1] - l21 * l21, left[2] - l31 * l31]
    last = left[1] > left[0]
    l20, l30 = jnp.where(last, l30, l20), jnp.where(last, l20, l30)
    l21, l31 = jnp.where(last, l31, l21), jnp.where(last, l21, l31)
    d2 = pivot(jnp.maximum(*left))
    l32 = ratio(rho[EDGE[2, 3]] - l20 * l30 - l21 * l31, d2)
    d3 = pivot(jnp.minimum(*left) - l32 * l32)
    zero = jnp.zeros_like(d3)
    d = [zero + 1, *(jnp.maximum(x, _TINY_PIVOT) for x in (d1, d2, d3))]
    rows = [[d[0], zero, zero, zero], [l10, d[1], zero, zero], [l20, l21, d[2], zero]]
    rows.append([l30, l31, l32, d[3]])
    return rows, d, ((last, 2, 3), (third, 1, 3), (second, 1, 2))


def _duals(rows, d):
    """Return N, unit upper triangular: N over d is the inverse transpose, the coordinates of the duals."""
    zero = jnp.zeros_like(d[0])
    N = [[zero + float(i == j) for j in range(4)] for i in range(4)]
    for i in range(4):
        for j in range(i + 1, 4):
            N[i][j] = -sum((N[i][k] * (rows[j][k] / d[k]) for k in range(i, j)), zero)
            # Over a pivot of 0, entries below rounding are 0.
            none = (d[j] == _TINY_PIVOT) & (jnp.abs(N[i][j]) < _LEAST_ANGLE)
            N[i][j] = jnp.where(none, 0, N[i][j])
    return N


def _sines_and_cosines(rows) -> tuple[Six, Six]:
    """Return sine and cosine of each pair, from the lengths of their difference and sum (Kahan)."""

    def square(x):  # of a coordinate, 0 if it is below rounding
        return jnp.where((jnp.abs(x) < ROUNDING) & (x != _TINY_PIVOT), 0, x * x)

    sin, cos = [], []
    for i, j in EDGES:
        differ = sum(square(b - a) for a, b in zip(rows[i], rows[j], strict=True))
        agree = sum(square(b + a) for a, b in zip(rows[i], rows[j], strict=True))
        sin.append(jnp.sqrt(differ * agree) / 2)
        cos.append((agree - differ) / 4)
    return sin, cos


def _angles(rho: Six, tolerance: float):
    """Return J, the six partial angles β, the six sines, and √det of the correlations."""
    rows, d, swaps = _pivoted_cholesky(rho)
    N = _duals(rows, d)
    sin, cos = _sines_and_cosines(rows)

    # Partial angles: from the duals of the other two, scaled so that nothing overflows.
    volume = d[1] * d[2] * d[3]
    beta = []
    for e in range(6):
        i, j = EDGES[5 - e]
        dot = [N[i][k] * N[j][k] * (volume / d[k]) * (1 / d[k]) for k in range(max(i, j), 4)]
        beta.append(_atan(-sum(dot[1:], dot[0]), sin[e]))

    # J: the last unit's correlations scaled by τ; c runs over the first three, x and y are the others.
    tau, rest, weights = rule(tolerance)
    area = d[1] * d[2]

    def arctangents(tau2, rest):
        """Yield the three arctangents, each with numerator and denominator of its factor of dτ."""
        q2 = rest + tau2 * d[3] ** 2
        q = jnp.sqrt(q2)
        for c in range(3):
            x, y = (k for k in range(3) if k != c)
            constant = sum(
                N[x][k] * N[y][k] * (area / d[k]) * (1 / d[k]) for k in range(max(x, y), 3)
            )
            length = jnp.sqrt(rest + tau2 * sin[EDGE[c, 3]] ** 2)
            linear = area * N[x][3] * N[y][3]
            yield _atan(-(q2 * constant + tau2 * linear), q * length), cos[EDGE[c, 3]], length

    ends = [angle for angle, _, _ in arctangents(tau[-1] ** 2, rest[-1])]
    J = sum(_atan(cos[EDGE[c, 3]], sin[EDGE[c, 3]]) * ends[c] for c in range(3))

    def add(J, node):
        tau2, rest, weight = node
        terms = zip(arctangents(tau2, rest), ends, strict=True)
        return J + weight * sum(r / y * (angle - end) for (angle, r, y), end in terms), None

    J, _ = jax.lax.scan(add, J, (tau[:-1] ** 2, rest[:-1], weights[:-1]), unroll=4)

    for flag, i, j in swaps:
        beta, sin = _swap(flag, beta, i, j), _swap(flag, sin, i, j)
    return J, beta, sin, volume


def _products(rho: Six, J, beta: Six, sin: Six) -> Six:
    z = []
    for e, (u, v) in enumerate(EDGES):
        s, t = EDGES[5 - e]
        r = lambda x, y: rho[EDGE[x, y]]  # noqa: E731
        edge = lambda x, y: sin[EDGE[x, y]] * beta[EDGE[x, y]]  # noqa: E731
        kappa = r(t, u) * r(s, v) + r(t, v) * r(s, u)
        kappa -= r(u, v) * (r(t, u) * r(s, u) + r(t, v) * r(s, v))
        total = r(s, t) * J + ratio(kappa, sin[e]) * beta[e] + edge(s, t)
        for a in (u, v):
            total += r(t, a) * edge(a, s) + r(s, a) * edge(a, t)
        z.append(4 / np.pi**2 * total)
    return z


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def signed_products(rho: Six, tolerance: float = 1e-13) -> Six:
    r"""Return $z_{uv} = E[\operatorname{sgn} u \operatorname{sgn} v |s||t|]$ for each of the `EDGES` (u, v).

    `rho`: six correlations of four unit Gaussians, arrays of any one shape; the absolute error is
    `tolerance` (of J) and rounding. Derivatives are those of Price's theorem; where they are infinite,
    at u = ±v, they are set to 0.

    Raises UserError for arrays of another dtype than float64.
    """
    if rho[0].dtype != np.float64:
        raise UserError(
            f"covariance must be float64: fourth moments of ReLU need float64; got {rho[0].dtype}: call "
            'jax.config.update("jax_enable_x64", True) before anything else'
        )
    J, beta, sin, _ = _angles(rho, tolerance)
    return _products(rho, J, beta, sin)


@signed_products.defjvp
def _signed_products_jvp(tolerance, primals, tangents):
    (rho,), (drho,) = primals, tangents
    J, beta, sin, volume = _angles(rho, tolerance)
    r = lambda x, y: 1.0 if x == y else rho[EDGE[x, y]]  # noqa: E731

    def derivative_of_sign(a, d):
        """Return π²/4 times E[2 δ(a) sgn b sgn c |d|], b and c the other two."""
        return sum(
            ratio(r(d, k) - r(d, a) * r(a, k), sin[EDGE[a, k]]) * beta[EDGE[a, k]]
            for k in range(4)
            if k != a
        )

    out = []
    for e, (u, v) in enumerate(EDGES):
        s, t = EDGES[5 - e]
        square = sin[e] ** 2
        common = r(s, u) * r(t, u) + r(s, v) * r(t, v)
        common -= r(u, v) * (r(s, u) * r(t, v) + r(s, v) * r(t, u))
        given = (r(s, t) - ratio(common, square)) * beta[e]
        change = J * drho[5 - e] + ratio(ratio(volume, sin[e]) + given, sin[e]) * drho[e]
        for a in (u, v):
            change += (
                derivative_of_sign(a, t) * drho[EDGE[a, s]]
                + derivative_of_sign(a, s) * drho[EDGE[a, t]]
            )
        out.append(4 / np.pi**2 * change)
    return _products(rho, J, beta, sin), out
