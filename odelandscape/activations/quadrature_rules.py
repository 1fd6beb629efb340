"""Gaussian moments of any scalar function by numerical integration, with exact derivatives.

`second_moment` and `mixing_scalars` are integrals in the plane of two units; their function is a part of the
program. `fourth_moment` is a sum over a grid in four dimensions; its function may be a pytree with arrays,
such as an activation with a traced slope.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .angles import arcsine, cosine, norm

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(48)


# ∫₀^∞ f(r) r e^{-r²/2} dr by Gauss–Legendre on [0, 9], beyond which e^{-r²/2} < 3e-18.
_RADII = 4.5 * (_NODES + 1)
_RADIUS_WEIGHTS = 4.5 * _NODE_WEIGHTS * _RADII * np.exp(-(_RADII**2) / 2)
_ANGLES, _ANGLE_WEIGHTS = np.polynomial.legendre.leggauss(24)


def _expectation(f: Callable, n1, c, n2):
    """Return E[f(z, u, w)] for u = n1 z, w of norm n2 and correlation c with u.

    In polar coordinates of the plane of u and w, f is smooth in the angle on each of the four sectors
    between the lines u = 0 and w = 0 even if it has kinks at 0, so Gauss–Legendre converges fast.
    """
    right = np.pi / 2
    theta = right - arcsine(c)
    total = jnp.zeros_like(theta)
    for low, width in (
        (-right, theta),
        (theta - right, np.pi - theta),
        (right, theta),
        (theta + right, np.pi - theta),
    ):
        angle = low + width * ((_ANGLES + 1) / 2)
        z = _RADII[:, None] * jnp.cos(angle)[None, :]
        y = _RADII[:, None] * jnp.cos(angle - theta)[None, :]
        total += width / 2 * (_RADIUS_WEIGHTS @ f(z, n1 * z, n2 * y) @ _ANGLE_WEIGHTS)
    return total / (2 * np.pi)


def _derivative(sigma: Callable, order: int) -> Callable:
    for _ in range(order):
        sigma = jax.grad(sigma)
    return jnp.vectorize(sigma)


def _mixing_by_nodes(sigma: Callable, c11, c12, c22):
    values, slopes, bends = (_derivative(sigma, order) for order in range(3))
    n1, n2 = norm(c11), norm(c22)
    c = cosine(c12, n1, n2)
    s = _expectation(lambda z, u, w: slopes(u) * slopes(w), n1, c, n2)
    # E[σ'(u) z σ(w)] = p n1 + s c n2 (Stein); at n1 = 0, p = σ''(0) E[σ(w)].
    stretch = _expectation(lambda z, u, w: slopes(u) * z * values(w), n1, c, n2)
    at_zero = bends(jnp.zeros_like(n1)) * _expectation(lambda z, u, w: values(w), n1, c, n2)
    positive = n1 > 0
    p = jnp.where(positive, (stretch - s * c * n2) / jnp.where(positive, n1, 1), at_zero)
    return p, s


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def mixing_scalars(sigma: Callable, c11, c12, c22):
    """Return (p, s) of `AbstractActivation.mixing_scalars` for scalars."""
    return _mixing_by_nodes(sigma, c11, c12, c22)


@mixing_scalars.defjvp
def _mixing_scalars_jvp(sigma, primals, tangents):
    rule = partial(_mixing_by_nodes, sigma)
    values, (dp, ds) = jax.jvp(rule, primals, tangents)
    # At a unit of norm 0 the angle is not differentiable: there the derivatives are those of Price's theorem.
    (c11, c12, c22), (d11, d12, d22) = primals, tangents
    n1, n2 = norm(c11), norm(c22)
    order = [_derivative(sigma, k) for k in range(5)]

    def moment(i, j):
        return _expectation(lambda z, u, w: order[i](u) * order[j](w), n1, cosine(c12, n1, n2), n2)

    dp_zero = moment(4, 0) * d11 / 2 + moment(3, 1) * d12 + moment(2, 2) * d22 / 2
    ds_zero = moment(3, 1) * d11 / 2 + moment(2, 2) * d12 + moment(1, 3) * d22 / 2
    angle = n1 * n2 > 0
    return values, (jnp.where(angle, dp, dp_zero), jnp.where(angle, ds, ds_zero))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def second_moment(sigma: Callable, c11, c12, c22):
    """Return I2 of `AbstractActivation.second_moment` for scalars."""
    values = jnp.vectorize(sigma)
    n1, n2 = norm(c11), norm(c22)
    return _expectation(lambda z, u, w: values(u) * values(w), n1, cosine(c12, n1, n2), n2)


@second_moment.defjvp
def _second_moment_jvp(sigma, primals, tangents):
    # Price's theorem: exact, where differentiating the nodes through the angle would divide by sin θ.
    (c11, c12, c22), (d11, d12, d22) = primals, tangents
    p, s = mixing_scalars(sigma, c11, c12, c22)
    q, _ = mixing_scalars(sigma, c22, c12, c11)
    return second_moment(sigma, c11, c12, c22), p * d11 / 2 + s * d12 + q * d22 / 2


# E[f(z)] of four normal numbers by the trapezoidal rule in each: beyond 7, e^{-z²/2} < 3e-11.
_STEP = 0.4
_GRID = np.arange(-7, 7 + _STEP / 2, _STEP)
_GRID_WEIGHTS = np.exp(-(_GRID**2) / 2) * _STEP / np.sqrt(2 * np.pi)


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


def _product_of_four(functions: tuple[Callable, ...], C):
    """Return E[f(u) g(v) h(s) k(t)]: nested sums over one normal number after the other."""
    f, g, h, k = (jnp.vectorize(function) for function in functions)
    L = _cholesky(C)
    z = _GRID
    w = _GRID_WEIGHTS

    def slab(total, first):
        z1, w1 = first
        v = g(L[1, 0] * z1 + L[1, 1] * z) * w
        s = h(L[2, 0] * z1 + L[2, 1] * z[:, None] + L[2, 2] * z[None, :]) * w[None, :]
        field = L[3, 0] * z1 + L[3, 1] * z[:, None, None] + L[3, 2] * z[None, :, None]
        t = k(field + L[3, 3] * z[None, None, :]) @ w
        return total + w1 * f(L[0, 0] * z1) * (v @ jnp.sum(s * t, axis=1)), None

    return jax.lax.scan(slab, jnp.zeros((), C.dtype), (z, w))[0]


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
