r"""Arcsine and the function built on it, with derivatives that are finite at $c = \pm 1$.

For two units at angle $\theta$ everything that ReLU needs is a function of $c = \cos\theta$. The
derivative of $\arcsin c$ is $1/\sin\theta$, infinite where two units coincide, which is where the
minima are. In the *weights* nothing is infinite there: $\partial c$ itself vanishes like
$\sin\theta$, and where $1/\sin\theta$ survives it multiplies a difference of directions that
vanishes too. So setting the derivative to 0 at $\sin\theta = 0$ gives the exact limit of the first
and second derivatives of the loss in the weights, where the chain rule alone gives 0/0.

Derivatives of any order, in any nesting of forward and reverse mode, are finite: every function here whose
derivative the chain rule cannot give has a rule made of functions of this file, $1/\sin\theta$ included,
whose own rule is $\partial(1/\sin\theta) = c/\sin^3\theta\,\partial c$, and 0 where that is infinite.
From the third order on, derivatives of ReLU's loss do not exist where two units have one direction, or
opposite ones: there the part that is not smooth is odd along every line, and 0 is the mean of its limits from
both sides. Near such a point, at an angle θ > 6e-8, rounding of c leaves an error of some 1e-16/θ² in the
third; closer units count as coincident.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# arcsin(x) = x + x z P(z), z = x², on |x| ≤ 1/2: Chebyshev interpolation of degree 12 computed in 60
# digits, lowest power first; the largest error in float64 is one unit in the last place. It costs a
# tenth of XLA's own arcsin on CPU, which calls a scalar library function element by element.
_P = (
    0.16666666666666669,
    0.07499999999998433,
    0.04464285714635543,
    0.030381944138531247,
    0.02237217294214989,
    0.017352392720869973,
    0.013971212973552933,
    0.011479177415184906,
    0.01032281435018578,
    0.005457506718640358,
    0.01740087944269402,
    -0.014851887071247204,
    0.028757851367421566,
)


def sine(c: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return $\sin\theta = \sqrt{(1-c)(1+c)}$, 0 where rounding makes $|c|$ larger than 1."""
    return jnp.sqrt(jnp.maximum((1 - c) * (1 + c), 0))


_LARGEST_COSECANT = 2.0**24
"""Cosines that are 1 but for a few units in the last place, as a unit's with itself, have larger ones."""


@jax.custom_jvp
def _safe_cosecant(c: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return $1/\sin\theta$, and 0 where that is infinite."""
    s = sine(c)
    return jnp.where(s > 0, 1 / jnp.where(s > 0, s, 1), 0)


@_safe_cosecant.defjvp
def _safe_cosecant_jvp(primals, tangents):
    # Reverse mode would multiply the infinite slope of the root by the 0 that `where` hands to it.
    (c,), (dc,) = primals, tangents
    inverse = _safe_cosecant(c)
    slope = jnp.where(inverse < _LARGEST_COSECANT, c * inverse * inverse * inverse, 0)
    return inverse, slope * dc


@jax.custom_jvp
def arcsine(c: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return $\arcsin c$, c clipped to [−1, 1]; derivative $1/\sin\theta$, 0 where that is infinite."""
    x = jnp.minimum(jnp.abs(c), 1)
    large = x > 0.5
    z = jnp.where(large, (1 - x) * 0.5, x * x)
    y = jnp.where(large, jnp.sqrt(z), x)
    polynomial = jnp.full_like(z, _P[-1])
    for coefficient in reversed(_P[:-1]):
        polynomial = polynomial * z + coefficient
    small = y + y * z * polynomial  # arcsin y of y ≤ 1/2
    return jnp.sign(c) * jnp.where(large, np.pi / 2 - 2 * small, small)


@arcsine.defjvp
def _arcsine_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    return arcsine(c), _safe_cosecant(c) * dc


@jax.custom_jvp
def sine_with_slope(c: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return $\sin\theta$ with derivative $-c/\sin\theta$, and 0 where $\sin\theta = 0$."""
    return sine(c)


@sine_with_slope.defjvp
def _sine_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    return sine_with_slope(c), -c * _safe_cosecant(c) * dc


@jax.custom_jvp
def arccos_remainder(c: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return $g(c) = \sqrt{1-c^2} + c \arcsin c - 1 = O(c^2)$: $g' = \arcsin$ and $g'' = 1/\sin\theta$."""
    # √(1−c²) − 1 = −c²/(1 + √(1−c²)): in this form no digits are lost by cancellation at small c.
    return c * (arcsine(c) - c / (1 + sine(c)))


@arccos_remainder.defjvp
def _arccos_remainder_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    return arccos_remainder(c), arcsine(c) * dc


ARCCOS_REMAINDER_AT_ONE = np.pi / 2 - 1


def _angle_from_versine(h: Float[Array, "..."]) -> Float[Array, "..."]:
    return 2 * arcsine(jnp.sqrt(jnp.maximum(h, 0) / 2))


@jax.custom_jvp
def _arccos_remainder_slope(h: Float[Array, "..."]) -> Float[Array, "..."]:
    slope = np.pi / 2 - _angle_from_versine(jnp.minimum(h, 2 - h))
    return jnp.where(h > 1, -slope, slope)


@_arccos_remainder_slope.defjvp
def _arccos_remainder_slope_jvp(primals, tangents):
    (h,), (dh,) = primals, tangents
    return _arccos_remainder_slope(h), -_safe_cosecant_of_versine(h) * dh


@jax.custom_jvp
def _safe_cosecant_of_versine(h: Float[Array, "..."]) -> Float[Array, "..."]:
    s = jnp.sqrt(jnp.maximum(h * (2 - h), 0))
    return jnp.where(s > 0, 1 / jnp.where(s > 0, s, 1), 0)


@_safe_cosecant_of_versine.defjvp
def _safe_cosecant_of_versine_jvp(primals, tangents):
    (h,), (dh,) = primals, tangents
    inverse = _safe_cosecant_of_versine(h)
    return inverse, -(1 - h) * inverse * inverse * inverse * dh


@jax.custom_jvp
def arccos_remainder_deficit(h: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return $g(1) - g(1-h)$ of `arccos_remainder`, from $h = 1 - \cos\theta$.

    At small angles h has digits that c = 1 − h has lost.
    """
    h = jnp.minimum(h, 2 - h)  # g is even; near 2 the angle would lose half of all digits
    theta = _angle_from_versine(h)
    s = jnp.sqrt(jnp.maximum(h * (2 - h), 0))
    return (np.pi / 2) * h - (s - theta * (1 - h))


@arccos_remainder_deficit.defjvp
def _arccos_remainder_deficit_jvp(primals, tangents):
    (h,), (dh,) = primals, tangents
    return arccos_remainder_deficit(h), _arccos_remainder_slope(h) * dh


def norm(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the square root with derivative 0 at 0: the norm of a unit whose squared norm is `square`."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def safe_reciprocal(n: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return 1/n of a norm n, and 0 for n = 0."""
    positive = n > 0
    return jnp.where(positive, 1 / jnp.where(positive, n, 1), 0)


def cosine(
    c12: Float[Array, "..."], n1: Float[Array, "..."], n2: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return `c12 / (n1 n2)`, and 0 where either norm is 0."""
    product = n1 * n2
    positive = product > 0
    return jnp.where(positive, c12 / jnp.where(positive, product, 1), 0)
