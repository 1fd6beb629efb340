"""The sigmoidal activation of Saad and Solla."""

import jax
import jax.numpy as jnp
import numpy as np

from .angles import arcsine
from .base import AbstractActivation


class Erf(AbstractActivation):
    r"""σ(x) = erf(x/√2), with $I_2 = (2/\pi)\arcsin(c_{12}/\sqrt{(1+c_{11})(1+c_{22})})$.

    The Saad–Solla activation: smooth everywhere, at units of norm 0 and at coincident units too (Saad and
    Solla 1995; paper, E.3).
    """

    def __call__(self, x):
        return jax.scipy.special.erf(x / np.sqrt(2))

    @property
    def even(self) -> bool:
        return False

    @property
    def odd(self) -> bool:
        return True

    @property
    def smooth(self) -> bool:
        return True

    def second_moment(self, c11, c12, c22):
        return (2 / np.pi) * arcsine(c12 / jnp.sqrt((1 + c11) * (1 + c22)))

    def mixing_scalars(self, c11, c12, c22):
        # (1 + c11)(1 + c22) − c12², of which 1 + c11 + c22 is not lost where long units coincide.
        given = 1 + c11 + c22 + (c11 * c22 - c12 * c12)
        s = (2 / np.pi) / jnp.sqrt(jnp.where(given >= 1, given, 1))
        return -c12 / (1 + c11) * s, s

    def I4_error(self, length):
        return 0.0

    def I4(self, C):
        """Return I4 in closed form (Saad and Solla 1995): σ'(u) σ'(v) is a Gaussian in (u, v), a weight that
        only replaces C by another covariance."""
        (a, b, c, d), (e, f, g), (h, i), k = C[0], C[1, 1:], C[2, 2:], C[3, 3]
        given = 1 + a + e + (a * e - b * b)  # as above

        # The covariance under that Gaussian weight is C less a matrix of rank two, here times `given`.
        def correction(x1, x2, y1, y2):
            return (1 + e) * x1 * y1 + (1 + a) * x2 * y2 - b * (x1 * y2 + x2 * y1)

        sine = given * i - correction(c, f, d, g)
        lengths = (given * (1 + h) - correction(c, f, c, f)) * (
            given * (1 + k) - correction(d, g, d, g)
        )
        return (4 / np.pi**2) / jnp.sqrt(given) * arcsine(sine / jnp.sqrt(lengths))
