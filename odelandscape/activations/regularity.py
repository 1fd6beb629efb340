"""What the values of σ show of it: whether it is even, odd, twice differentiable at 0, and its moments of two
Gaussians by Mehler's series; of two that coincide, by an integral.

The answers are Python bools, of numbers computed when they are asked for, inside `jit` and `grad` too.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from ..runtime.arguments import shown
from ..runtime.errors import UserError

PARITY_POINTS = 0.0013 * 2.0 ** (np.arange(60) / 4)
"""Points x > 0, up to 36: a quarter of an octave apart, so that 2x is four further on."""
_PARITY_TOLERANCE = 64  # in units of the last place of the largest |σ| up to that point


Values = Callable[[np.ndarray], np.ndarray]
"""The values of σ at points, as numbers."""


def is_concrete(tree: object) -> bool:
    """Return whether a pytree holds numbers alone, and no tracer of `jit`, `vmap` or `grad`."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def is_real_array(found: object, shape: tuple[int, ...]) -> bool:
    """Return whether what a method returns is an array of real numbers of this shape."""
    return getattr(found, "shape", None) == shape and any(
        jnp.issubdtype(getattr(found, "dtype", object), kind)
        for kind in (jnp.floating, jnp.integer)
    )


def wrong_field(module: eqx.Module) -> str | None:
    """Say which field of a user's class holds what compiled programs cannot take, or no number."""
    for leaf in jax.tree.leaves(module):
        if not eqx.is_array_like(leaf):
            return (
                f"a field holds {shown(leaf)}: one that is no number must be eqx.field(static=True)"
            )
        number = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and is_concrete(leaf)
        if number and np.isnan(leaf).any():
            return f"a field holds {shown(leaf)}"
    return None


def evaluate(function: Callable, points: np.ndarray) -> np.ndarray:
    """Return the values of an elementwise JAX function at points, as numbers inside `jit`, too.

    Raises UserError for a function that is not elementwise.
    """
    with jax.ensure_compile_time_eval():
        values = np.asarray(function(jnp.asarray(points)))
    if values.shape != np.shape(points) or values.dtype.kind != "f":
        raise UserError(
            f"activation must return a real number for each of x; got, for x of shape {np.shape(points)}, "
            f"{shown(values)}"
        )
    return values


def _has_parity(values: Values, sign: int) -> bool:
    x = PARITY_POINTS
    right, left = np.split(values(np.concatenate([x, -x])), 2)
    if not (np.isfinite(right).all() and np.isfinite(left).all()):
        return False
    scale = np.maximum.accumulate(np.maximum(np.abs(right), np.abs(left)))
    rounding = _PARITY_TOLERANCE * np.finfo(right.dtype).eps * scale
    return bool((np.abs(right - sign * left) <= rounding).all())


def is_even(values: Values) -> bool:
    """Return whether σ(−x) = σ(x) at 60 points, to rounding."""
    return _has_parity(values, 1)


def is_odd(values: Values) -> bool:
    """Return whether σ(−x) = −σ(x) at 60 points, to rounding."""
    return _has_parity(values, -1)


def is_twice_differentiable_at_zero(values: Values) -> bool:
    """Return whether difference quotients from both sides agree, to second order, as the step goes to 0.

    With e = σ(h) + σ(−h) − 2σ(0) and o = σ(h) − σ(−h), e/h² converges and (o(h) − 2 o(h/2))/h² goes to 0. Of
    a jump, a kink or different curvatures on the two sides, one of the two doesn't. Kinks below 1e-9 of σ and
    a curvature's jump below 1e-6 are beyond what rounding lets differences show.
    """
    last = np.finfo(jnp.result_type(float)).eps ** 0.25
    h = last * np.array([16.0, 8, 4, 2, 1, 0.5])
    at_zero, *sides = np.split(values(np.concatenate([[0.0], h, -h])), [1, 1 + len(h)])
    right, left = sides
    if not np.isfinite([right, left]).all() or not np.isfinite(at_zero).all():
        return False
    even, odd = right + left - 2 * at_zero, right - left
    bend = even / h**2
    lean = (odd[:-1] - 2 * odd[1:]) / h[:-1] ** 2
    defect = np.abs(bend[:-1] - bend[1:]) + np.abs(lean)  # O(h) of three derivatives
    rounding = 64 * np.finfo(right.dtype).eps * np.max(np.abs([right, left])) / h[-1] ** 2
    return bool(defect[-1] <= max(rounding, defect[0] / 2))


def has_jumps(values: Values, points: np.ndarray) -> bool:
    """Return whether σ jumps at one of the points: its values on both sides, extrapolated from h and 2h."""
    h = 1e-8 * (1 + np.abs(points))
    right, right2, left, left2 = values(
        np.stack([points + h, points + 2 * h, points - h, points - 2 * h])
    )
    jump = (2 * right - right2) - (2 * left - left2)
    return bool(np.any(np.abs(jump) > 1e-11 * (1 + np.abs(right) + np.abs(left))))


def jumps_anywhere(values: Values) -> bool:
    """Return whether σ jumps between −8 and 8, by more than 1e-4 of its values within 0.004 of the jump.

    The steepest part of each of the eight steepest cells is divided again and again, down to rounding.
    """
    edges = np.linspace(-8, 8, 4097)
    sigma = values(edges)
    if not np.isfinite(sigma).all():
        return False
    cells = np.argsort(np.abs(np.diff(sigma)))[-8:]
    scale = np.maximum(np.abs(sigma[cells]), np.abs(sigma[cells + 1]))
    left, right = edges[cells], edges[cells + 1]
    steps = np.zeros((1, len(cells)))
    for _ in range(7):  # 64 parts: cells of 4e-3 end at 1e-15
        points = np.linspace(left, right, 65)
        steps = np.abs(np.diff(values(points), axis=0))
        steepest = np.argmax(steps, axis=0)
        lanes = np.arange(len(steepest))
        left, right = points[steepest, lanes], points[steepest + 1, lanes]
    return bool(np.any(steps.max(axis=0) > 1e-4 * scale))


def is_analytic_near_zero(values: Values) -> bool:
    """Return whether a polynomial of degree 12 has the values of σ in [−1/8, 1/8], to 1e-12 of the largest.

    No derivative, of any order that matters, then has a jump at 0.
    """
    x = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    sigma = values(x / 8)
    fit = np.polynomial.chebyshev.chebfit(x, sigma, 12)
    residual = np.abs(np.polynomial.chebyshev.chebval(x, fit) - sigma)
    return bool(residual.max() <= 1e-12 * np.abs(sigma).max())


def is_homogeneous(values: Values) -> bool:
    """Return whether σ(2x) = 2 σ(x), as of every positively homogeneous σ."""
    x = np.concatenate([-PARITY_POINTS, PARITY_POINTS])
    return np.allclose(values(2 * x), 2 * values(x), rtol=1e-12, atol=0)


CASES = ((0.3, 0.5, 1.0), (1.0, -0.4, 0.7), (1.4, 0.3, 2.0), (2.0, 0.5, 2.0))
"""Two lengths with the cosine between them."""
_DEGREES = 62  # 0.5 to this power is 2e-19
_REACH = 12.0
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)  # of a panel


class _Panels(NamedTuple):
    """Nodes and weights of E[f(z)], a row for each panel, and half the panels' widths."""

    z: Float[np.ndarray, "panels nodes"]
    weights: Float[np.ndarray, "panels nodes"]
    half: Float[np.ndarray, "panels 1"]


def _panels(ends: list[float], width: float) -> _Panels:
    """Return panels of at most this width, between some `ends`, too."""
    within = [end for end in ends if abs(end) < _REACH]
    grid = np.unique([*np.linspace(-_REACH, _REACH, 1 + int(np.ceil(2 * _REACH / width))), *within])
    half = np.diff(grid)[:, None] / 2
    z = grid[:-1, None] + half * (1 + _NODES)
    weights = half * _NODE_WEIGHTS * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return _Panels(z, weights, half)


def _hermite_coefficients(values: Values, breaks: tuple[float, ...], n: float):
    """Return the coefficients of σ(n z) in normalised Hermite polynomials of z, and E[σ(n z)²]."""
    z, weights = (x.ravel() for x in _panels([b / n for b in breaks], 0.5)[:2])
    sigma = values(n * z)
    h, last, coefficients = np.ones_like(z), np.zeros_like(z), []
    for k in range(_DEGREES):
        coefficients.append(np.sum(weights * sigma * h))
        h, last = (z * h - np.sqrt(k) * last) / np.sqrt(k + 1), h
    return np.array(coefficients), np.sum(weights * sigma**2)


def mehler(values: Values, breaks: tuple[float, ...], n1: float, c: float, n2: float):
    """Return I2, s n1 n2 and p n1² from Mehler's series in values of σ, and the root of E[σ²] of both."""
    (a, aa), (b, bb) = (_hermite_coefficients(values, breaks, n) for n in (n1, n2))
    k = np.arange(_DEGREES - 2)
    terms = np.stack(
        [
            a[:-2] * b[:-2],
            (k + 1) * a[1:-1] * b[1:-1],
            np.sqrt((k + 1) * (k + 2)) * a[2:] * b[:-2],
        ]
    )
    return (c**k * terms).sum(axis=1), np.sqrt(aa) * np.sqrt(bb)


def coincident(values: Values, breaks: tuple[float, ...], n: float, sign: float):
    """Return I2, s n² and p n² of two units of length n with the cosine `sign`, ±1, and E[σ²].

    From values of σ: derivatives are those of polynomials of degree 15 in panels between `breaks` and 0.
    """
    ends = [side * b / n for b in (0.0, *breaks) for side in (1, -1)]
    z, weights, half = _panels(ends, 0.5 / np.clip(n, 1, _NARROWEST))
    f, g = values(n * z), values(sign * n * z)
    df, dg = (sigma @ _slopes().T / half for sigma in (f, g))
    s = sign * np.sum(weights * df * dg)
    stretch = np.sum(weights * df * z * g)
    moments = np.array([np.sum(weights * f * g), s, stretch - sign * s])
    return moments, np.sum(weights * f * f)


def fourth_moments(values: Values, breaks: tuple[float, ...], n: float) -> tuple[float, float]:
    """Return E[σ'(u)² σ(u)²] and E[σ'(u)²] E[σ(u)²] of a unit of length n, as in `coincident`."""
    z, weights, half = _panels([b / n for b in (0.0, *breaks)], 0.5 / np.clip(n, 1, _NARROWEST))
    squares = values(n * z) ** 2
    slopes = (values(n * z) @ _slopes().T / (n * half)) ** 2
    whole = float(np.sum(weights * slopes * squares))
    return whole, float(np.sum(weights * slopes) * np.sum(weights * squares))


_NARROWEST = 32.0


def _slopes() -> Float[np.ndarray, "nodes nodes"]:
    """Return the matrix that takes a polynomial's values at the nodes on [−1, 1] to its derivative's."""
    legendre = np.polynomial.legendre
    degrees = np.eye(len(_NODES))
    derivatives = legendre.legval(_NODES, legendre.legder(degrees)).T
    return derivatives @ np.linalg.inv(legendre.legvander(_NODES, len(_NODES) - 1))
