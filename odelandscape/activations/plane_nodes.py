r"""Nodes in the plane of two units, between the lines on which σ(u) or σ(w) is not smooth.

$E[f]$ is the sum of `weights` times f at the nodes, which move with the covariance so that no line crosses a
panel: derivatives of the sums, too, are those of the integrals.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .angles import arcsine, norm


class Nodes(NamedTuple):
    """Weights, z, u = n1 z, and w of norm n2 and correlation c with u, in arrays of one shape."""

    weights: Float[Array, "..."]
    z: Float[Array, "..."]
    u: Float[Array, "..."]
    w: Float[Array, "..."]


# ∫₀^∞ f(r) r e^{-r²/2} dr by Gauss–Legendre on [0, 9], beyond which e^{-r²/2} < 3e-18.
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(44)
_RADII = 4.5 * (_NODES + 1)
_RADIUS_WEIGHTS = 4.5 * _NODE_WEIGHTS * _RADII * np.exp(-(_RADII**2) / 2)
# Where two units coincide σ'² varies within 1/(n r) of one line, in a sector of π.
_ANGLES, _ANGLE_WEIGHTS = np.polynomial.legendre.leggauss(40)

REACH = 8.5
"""Beyond it e^{-z²/2} < 3e-16."""
# Along a line that crosses σ's breaks, and across, where the integral along it has made σ smoother.
_ALONG, _ACROSS = (np.polynomial.legendre.leggauss(n) for n in (32, 20))


def plane_nodes(breaks: tuple[float, ...], n1, c, n2) -> Nodes:
    """Return nodes for a σ that is smooth but at 0 and at `breaks`, of units of norms n1, n2 and cosine c."""
    # Cosines within rounding of ±1 are ±1, with the derivatives of the cosines before that.
    close = (1 - c) * (1 + c) < 8 * np.finfo(np.float64).eps
    c = c + jax.lax.stop_gradient(jnp.where(close, jnp.sign(c) - c, 0))
    return _between_lines(breaks, n1, c, n2) if breaks else _in_sectors(n1, c, n2)


def _in_sectors(n1, c, n2) -> Nodes:
    """Polar coordinates: f is smooth in the angle on the four sectors between the lines u = 0 and w = 0."""
    right = np.pi / 2
    theta = right - arcsine(c)
    low = jnp.stack([0 * theta - right, theta - right, 0 * theta + right, theta + right])
    width = jnp.stack([theta, np.pi - theta, theta, np.pi - theta])
    angle = low[:, None, None] + width[:, None, None] * ((_ANGLES[None, None, :] + 1) / 2)
    z = jnp.cos(angle) * _RADII[None, :, None]
    y = jnp.cos(angle - theta) * _RADII[None, :, None]
    plane = _RADIUS_WEIGHTS[None, :, None] * _ANGLE_WEIGHTS / (4 * np.pi)
    return Nodes(width[:, None, None] * plane, z, n1 * z, n2 * y)


def _between_lines(breaks, n1, c, n2) -> Nodes:
    """Panels along the bisector of u and w, between the lines; and across it, between where lines meet.

    With u = n1 (a cos θ/2 + t sin θ/2) and w = n2 (a cos θ/2 − t sin θ/2), θ ≤ π/2 (else −w takes the place
    of w), lines are crossed by a at no less than 45°: coincident units need no limit.
    """
    b = np.unique([0.0, *breaks])
    sign = jnp.where(c < 0, -1.0, 1.0)
    cos, sin = jnp.sqrt((1 + sign * c) / 2), norm((1 - sign * c) / 2)
    first, second = distances(b, n1), distances(jnp.where(sign < 0, -b[::-1], b), n2)

    gap = (first[:, None] - second[None, :]).ravel()
    scale = jnp.maximum(2 * sin, jnp.abs(gap) / (2 * REACH))
    meet = jnp.where(scale > 0, gap / jnp.where(scale > 0, scale, 1), 0)
    t, t_weights = (x[None, :] for x in _panels(jnp.sort(jnp.clip(meet, -REACH, REACH)), _ACROSS))
    lines = ((first[:, None] - t * sin) / cos, (second[:, None] + t * sin) / cos)
    a, a_weights = _panels(
        jnp.sort(jnp.clip(jnp.concatenate(lines), -REACH, REACH), axis=0), _ALONG
    )
    z = cos * a + sin * t
    weights = a_weights * t_weights * jnp.exp(-(a * a + t * t) / 2) / (2 * np.pi)
    return Nodes(weights, z, n1 * z, n2 * sign * (cos * a - sin * t))


def line_nodes(breaks, n) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """Return z and weights of E[f(z)] for a σ(n z) that is smooth but at 0 and at `breaks`."""
    ends = distances(np.unique([0.0, *breaks]), n)
    z, weights = _panels(jnp.clip(ends, -REACH, REACH), _ALONG)
    return z, weights * jnp.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def distances(b, n):
    """Return b/n, ±2 REACH where it is beyond: also for n = 0."""
    least = jnp.maximum(n, jnp.abs(b) / (2 * REACH))
    return jnp.where(b == 0, 0.0, b / jnp.where(b == 0, 1.0, least))


def _panels(ends, rule):
    """Return Gauss–Legendre nodes and weights, (panels · nodes, …), between ascending ends and ±REACH."""
    edge = jnp.full((1, *ends.shape[1:]), REACH)
    ends = jnp.concatenate([-edge, ends, edge])
    low, half = ends[:-1, None], (ends[1:, None] - ends[:-1, None]) / 2
    x, weights = (part.reshape(1, -1, *(1 for _ in ends.shape[1:])) for part in rule)
    nodes, weights = low + half * (1 + x), half * weights
    return nodes.reshape(-1, *ends.shape[1:]), weights.reshape(-1, *ends.shape[1:])
