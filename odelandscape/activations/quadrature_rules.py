"""Gaussian moments of any scalar function by numerical integration, with exact derivatives.

`second_moment` and `mixing_scalars` are integrals in the plane of two units; their function is a part of the
program. `fourth_moment` is a sum over a grid in four dimensions; its function may be a pytree with arrays,
such as an activation with a traced slope.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .angles import cosine, norm
from .plane_nodes import REACH, line_nodes, plane_nodes


class Sigma(NamedTuple):
    """A scalar function and where it is not smooth; static, and equal to itself alone."""

    function: Callable
    breaks: tuple[float, ...]
    """Points other than 0 where it jumps or has a kink."""
    smooth_near_zero: bool
    """Whether derivatives of all orders that are asked for are functions, without jumps, near 0."""
    jumps: bool

    @property
    def smooth(self) -> bool:
        """Whether they are everywhere."""
        return self.smooth_near_zero and not self.breaks


def _derivative(function: Callable, order: int) -> Callable:
    for _ in range(order):
        function = jax.grad(function)
    return jnp.vectorize(function)


def _product(sigma: Sigma, i: int, j: int, n1, c, n2):
    """Return E[σ⁽ⁱ⁾(u) σ⁽ʲ⁾(w)], derivatives without what jumps and kinks add."""
    weights, _, u, w = plane_nodes(sigma.breaks, n1, c, n2)
    f, g = _derivative(sigma.function, i), _derivative(sigma.function, j)
    return jnp.sum(weights * f(u) * g(w))


def _of_one_unit(sigma: Sigma, order: int, n):
    """Return E[σ⁽ᵏ⁾(n z)], with what jumps and kinks away from 0 add: E[σ(n z) He_k(z)]/nᵏ."""
    z, weights = line_nodes(sigma.breaks, n)
    derivative = jnp.sum(weights * _derivative(sigma.function, order)(n * z))
    if not sigma.breaks:
        return derivative
    hermite = (1.0 + 0 * z, z, z**2 - 1, z**3 - 3 * z, z**4 - 6 * z**2 + 3)[order]
    far = n * REACH > min(map(abs, sigma.breaks))
    by_parts = jnp.sum(weights * jnp.vectorize(sigma.function)(n * z) * hermite)
    return jnp.where(far, by_parts / jnp.where(far, n, 1) ** order, derivative)


def _is_short(sigma: Sigma, n):
    """Return whether a unit doesn't reach the breaks."""
    return n * REACH < min(map(abs, sigma.breaks), default=np.inf)


def _moment_beside_short(sigma: Sigma, i: int, j: int, n1, c, n2):
    """Return E[σ⁽ⁱ⁾(u) σ⁽ʲ⁾(w)] where at least one unit is short, with what kinks add to the other."""
    of_u = _by_parts_along(sigma, i, j, n1, c, n2)
    of_w = _by_parts_along(sigma, j, i, n2, c, n1)
    both = _is_short(sigma, n1) & _is_short(sigma, n2)
    one = jnp.where(_is_short(sigma, n1), of_w, of_u)
    return jnp.where(both, _product(sigma, i, j, n1, c, n2), one)


def _by_parts_along(sigma: Sigma, i: int, j: int, n1, c, n2):
    """Return E[σ⁽ⁱ⁾(u) σ⁽ʲ⁾(w)] of a short w by σ'(u), which has no more than jumps, or by σ(u) for i = 0 and
    where σ itself jumps (Stein)."""
    k = i if sigma.jumps else max(i - 1, 0)
    weights, z, u, w = plane_nodes(sigma.breaks, n1, c, n2)
    f = _derivative(sigma.function, i - k)(u)
    hermite = (1.0 + 0 * z, z, z**2 - 1, z**3 - 3 * z, z**4 - 6 * z**2 + 3)
    terms = (
        math.comb(k, r)
        * (-c * n2) ** r
        * jnp.sum(weights * hermite[k - r] * f * _derivative(sigma.function, j + r)(w))
        for r in range(k + 1)
    )
    return sum(terms) / jnp.where(n1 > 0, n1, 1) ** k


_APART = 1e-9
"""Derivatives are taken at lengths that differ by this, so that no lines of u and w are the same."""


def _mixing_by_nodes(sigma: Sigma, c11, c12, c22):
    n1, n2 = norm(c11), norm(c22)
    c = cosine(c12, n1, n2)
    angle = n1 * n2 > 0
    if sigma.jumps:
        # The lines of a jump carry weight: it is in the derivative of I2, whose nodes move with them. Where
        # lines of u and w are the same, this is the mean of the derivatives on both sides.
        def moment(n1, c):
            both = (_product(sigma, 0, 0, n1, c, n2 * (1 + apart)) for apart in (_APART, -_APART))
            return sum(both) / 2

        stretch, by_cosine = jax.grad(moment, argnums=(0, 1))(n1, c)
        s = by_cosine / jnp.where(angle, n1 * n2, 1)
    else:
        weights, z, u, w = plane_nodes(sigma.breaks, n1, c, n2)
        slope = _derivative(sigma.function, 1)
        s = jnp.sum(weights * slope(u) * slope(w))
        stretch = jnp.sum(weights * slope(u) * z * jnp.vectorize(sigma.function)(w))
    if sigma.breaks:
        s = jnp.where(angle, s, _of_one_unit(sigma, 1, n1) * _of_one_unit(sigma, 1, n2))
    # E[σ'(u) z σ(w)] = p n1 + s c n2 (Stein). For a short unit that is rounding divided by its length.
    if sigma.smooth_near_zero:
        short = _is_short(sigma, n1)
        at_short = _product(sigma, 2, 0, n1, c, n2)
    else:
        short = n1 == 0
        at_short = _derivative(sigma.function, 2)(jnp.zeros_like(n1)) * _of_one_unit(sigma, 0, n2)
    p = jnp.where(short, at_short, (stretch - s * c * n2) / jnp.where(short, 1, n1))
    return p, s


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def mixing_scalars(sigma: Sigma, c11, c12, c22):
    """Return (p, s) of `AbstractActivation.mixing_scalars` for scalars."""
    return _mixing_by_nodes(sigma, c11, c12, c22)


def _by_price(moment: Callable, i: int, j: int, tangents):
    """Return the differential of E[σ⁽ⁱ⁾(u) σ⁽ʲ⁾(w)] in the covariance (Price)."""
    d11, d12, d22 = tangents
    return moment(i + 2, j) * d11 / 2 + moment(i + 1, j + 1) * d12 + moment(i, j + 2) * d22 / 2


@mixing_scalars.defjvp
def _mixing_scalars_jvp(sigma, primals, tangents):
    c11, c12, c22 = primals
    if sigma.smooth:
        moment = lambda i, j: derivative_moment(sigma, i, j, *primals)  # noqa: E731
        orders = ((2, 0), (1, 1))
        values = mixing_scalars(sigma, *primals)
        return values, tuple(_by_price(moment, i, j, tangents) for i, j in orders)
    values = mixing_scalars(sigma, *primals)
    apart = _APART if sigma.breaks and not sigma.jumps else 0.0  # of jumps it is done already
    shifted = (c11, c12 * (1 + apart), c22 * (1 + apart) ** 2)
    _, (dp, ds) = jax.jvp(partial(_mixing_by_nodes, sigma), shifted, tangents)
    n1, n2 = norm(c11), norm(c22)
    if sigma.smooth_near_zero:
        short = _is_short(sigma, n1) | _is_short(sigma, n2)
        moment = partial(_moment_beside_short, sigma, n1=n1, c=cosine(c12, n1, n2), n2=n2)
    else:
        # At a unit of norm 0 the angle is not differentiable: there both are products.
        short = n1 * n2 == 0
        moment = lambda i, j: _of_one_unit(sigma, i, n1) * _of_one_unit(sigma, j, n2)  # noqa: E731
    dp_short, ds_short = (_by_price(moment, i, j, tangents) for i, j in ((2, 0), (1, 1)))
    return values, (jnp.where(short, dp_short, dp), jnp.where(short, ds_short, ds))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def derivative_moment(sigma: Sigma, i: int, j: int, c11, c12, c22):
    """Return E[σ⁽ⁱ⁾(u) σ⁽ʲ⁾(w)] of a smooth σ, for scalars."""
    n1, n2 = norm(c11), norm(c22)
    return _product(sigma, i, j, n1, cosine(c12, n1, n2), n2)


@derivative_moment.defjvp
def _derivative_moment_jvp(sigma, i, j, primals, tangents):
    moment = lambda i, j: derivative_moment(sigma, i, j, *primals)  # noqa: E731
    return moment(i, j), _by_price(moment, i, j, tangents)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def second_moment(sigma: Sigma, c11, c12, c22):
    """Return I2 of `AbstractActivation.second_moment` for scalars."""
    n1, n2 = norm(c11), norm(c22)
    return _product(sigma, 0, 0, n1, cosine(c12, n1, n2), n2)


@second_moment.defjvp
def _second_moment_jvp(sigma, primals, tangents):
    # Price's theorem: exact, where differentiating the nodes through the angle would divide by sin θ.
    (c11, c12, c22), (d11, d12, d22) = primals, tangents
    p, s = mixing_scalars(sigma, c11, c12, c22)
    q, _ = mixing_scalars(sigma, c22, c12, c11)
    return second_moment(sigma, c11, c12, c22), p * d11 / 2 + s * d12 + q * d22 / 2


# E[f(z)] of four normal numbers by the trapezoidal rule in each: beyond 7, e^{-z²/2} < 3e-11. The grid is
# turned, so that a function of one number, as of units that coincide, or of two has nodes twice as close; and
# half a step off along the first axis, so that kinks at 0 lie between them.
_STEP = 0.5
_FIRST, _OTHERS = _STEP * (np.arange(-14, 14) + 0.5), _STEP * np.arange(-14, 15.0)
_TURN = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def _cholesky(C):
    """Return L, lower triangular with L Lᵀ = C, also where C is singular: the column of a direction without
    variance is 0."""
    rows, rest = [], C
    for k in range(4):
        square = rest[k, k]
        positive = square > 1e-14 * (1 + C[k, k])
        column = jnp.where(positive, rest[:, k] / jnp.sqrt(jnp.where(positive, square, 1)), 0)
        column = jnp.where(np.arange(4) >= k, column, 0)
        rows.append(column)
        rest = rest - column[:, None] * column[None, :]
    return jnp.stack(rows, axis=1)


def _weights(z: np.ndarray) -> np.ndarray:
    return np.exp(-z * z / 2) * _STEP / np.sqrt(2 * np.pi)


def _product_of_four(functions: tuple[Callable, ...], C):
    """Return E[f(u) g(v) h(s) k(t)]: a sum over a grid, one layer across its first axis after the other."""
    L = _cholesky(C) @ _TURN
    others = np.stack(np.meshgrid(_OTHERS, _OTHERS, _OTHERS, indexing="ij"))
    within = jnp.tensordot(L[:, 1:], others, 1)
    weights = np.prod(_weights(others), axis=0)

    def layer(total, first):
        z, weight = first
        units = within + (L[:, 0] * z)[:, None, None, None]
        product = weights
        for function, unit in zip(functions, units, strict=True):
            product = product * jnp.vectorize(function)(unit)
        return total + weight * jnp.sum(product), None

    first = _FIRST, _weights(_FIRST)
    return jax.lax.scan(layer, jnp.zeros((), C.dtype), first)[0]


def _fourth_by_nodes(sigma: Callable, C):
    slope = _derivative(sigma, 1)
    return _product_of_four((slope, slope, sigma, sigma), C)


@eqx.filter_custom_jvp
def fourth_moment(sigma: Callable, C):
    """Return E[σ'(u) σ'(v) σ(s) σ(t)] for a covariance C (4, 4) of (u, v, s, t)."""
    return _fourth_by_nodes(sigma, C)


@fourth_moment.def_jvp
def _fourth_moment_jvp(primals, tangents):
    # Price's theorem: ∂/∂c_xy is the moment with a derivative more at x and at y.
    (sigma, C), (dsigma, dC) = primals, tangents
    value, change = eqx.filter_jvp(lambda s: _fourth_by_nodes(s, C), (sigma,), (dsigma,))
    change = jnp.zeros((), C.dtype) if change is None else change
    if dC is None:
        return value, change
    for x, y in zip(*np.triu_indices(4), strict=True):
        orders = [1, 1, 0, 0]
        orders[x] += 1
        orders[y] += 1
        moment = _product_of_four(tuple(_derivative(sigma, order) for order in orders), C)
        change += moment * (dC[x, x] / 2 if x == y else (dC[x, y] + dC[y, x]) / 2)
    return value, change
