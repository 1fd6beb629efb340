"""Moments of two Gaussians by Mehler's series, which needs values of σ alone."""

from collections.abc import Callable

import numpy as np

CASES = ((0.3, 0.5, 1.0), (1.0, -0.4, 0.7), (1.4, 0.3, 2.0), (2.0, 0.5, 2.0))
"""Two lengths with the cosine between them."""
_DEGREES = 62  # 0.5 to this power is 2e-19


def _hermite_coefficients(values: Callable, breaks: tuple[float, ...], n: float):
    """Return the coefficients of σ(n z) in normalised Hermite polynomials of z, and E[σ(n z)²]."""
    x, weights = np.polynomial.legendre.leggauss(16)
    ends = np.unique([*np.arange(-12, 12.1, 0.5), *(b / n for b in breaks if abs(b) < 12 * n)])
    half = np.diff(ends)[:, None] / 2
    z, weights = (ends[:-1, None] + half * (1 + x)).ravel(), (half * weights).ravel()
    weights = weights * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    sigma = values(n * z)
    h, last, coefficients = np.ones_like(z), np.zeros_like(z), []
    for k in range(_DEGREES):
        coefficients.append(np.sum(weights * sigma * h))
        h, last = (z * h - np.sqrt(k) * last) / np.sqrt(k + 1), h
    return np.array(coefficients), np.sum(weights * sigma**2)


def mehler(values: Callable, breaks: tuple[float, ...], n1: float, c: float, n2: float):
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
    return (c**k * terms).sum(axis=1), np.sqrt(aa * bb)
