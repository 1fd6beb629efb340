"""ReLU and leaky ReLU."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..runtime.compiler import materialize
from ..runtime.errors import UserError
from . import homogeneous
from .angles import (
    ARCCOS_REMAINDER_AT_ONE,
    arccos_remainder,
    arccos_remainder_deficit,
    arcsine,
    cosine,
    norm,
    safe_reciprocal,
    sine_with_slope,
)
from .base import AbstractActivation, GroupedUnits
from .regularity import is_concrete


class ReLU(AbstractActivation):
    r"""σ(x) = max(x, 0).

    With norms $n_1, n_2$ and $c = \cos\theta$, the arc-cosine kernel (Cho and Saul 2009) is
    $I_2 = n_1 n_2 (\sin\theta + (\pi-\theta)\cos\theta)/2\pi$. It is written here as
    $c_{12}/4 + n_1 n_2 (1 + g(c))/2\pi$ with $g(c) = O(c^2)$ (`angles.arccos_remainder`): the same number,
    but the linear part is exact where a norm is 0. There the derivative is the central one,
    σ'(0) = 1/2: a unit of norm 0 has $s = 1/4$ with every other unit and no direction.
    """

    def __call__(self, x):
        return jax.nn.relu(x)

    @property
    def positively_homogeneous(self) -> bool:
        return True

    @property
    def leak(self):
        return 0.0

    @property
    def even(self) -> bool:
        return False

    @property
    def odd(self) -> bool:
        return False

    @property
    def continuous(self) -> bool:
        return True

    @property
    def smooth_at_zero(self) -> bool:
        return False

    def second_moment(self, c11, c12, c22):
        n1, n2 = norm(c11), norm(c22)
        return c12 / 4 + n1 * n2 * (1 + arccos_remainder(cosine(c12, n1, n2))) / (2 * np.pi)

    def mixing_scalars(self, c11, c12, c22):
        # One division for each unit instead of one for each pair of units.
        n1, n2 = materialize(norm(c11)), materialize(norm(c22))
        inverse_n1 = materialize(safe_reciprocal(n1))
        c = c12 * (inverse_n1 * materialize(safe_reciprocal(n2)))
        return sine_with_slope(c) * (n2 * inverse_n1 / (2 * np.pi)), 0.25 + arcsine(c) / (2 * np.pi)

    def I4_error(self, length):
        return 0.0

    def I4(self, C):
        """Return I4 by algebra, arcsines and one integral (`signs`).

        The error is 1e-12, near and at coincident units too, or what rounding of the covariance makes of it:
        2e-16/ε for u and v at an angle ε; at angles below 1e-7 they count as coincident.
        """
        return homogeneous.fourth_moment(0.5, 0.5, C)

    def slope_products(self, a, covariance, students, tolerance):
        return homogeneous.slope_products(0.5, 0.5, a, covariance, students, tolerance)

    def quadratic_form(self, a, covariance):
        # The parts of I2 that are products sum to squares: (Σ a n)²/2π and |Σ a w|²/4. Only g is
        # summed over pairs, so that no terms of order K² cancel to a loss of order 1/K.
        c = jnp.diagonal(covariance)
        an = a * norm(c)
        n = norm(c)
        g = arccos_remainder(cosine(covariance, n[:, None], n[None, :]))
        return (jnp.sum(an) ** 2 + an @ g @ an) / (2 * np.pi) + (a @ covariance @ a) / 4

    def grouped_quadratic_form(self, units: GroupedUnits):
        # As above, with the common part of a student and its teacher subtracted before the sum over K units:
        # norms as excess over the teacher's, g at the same index as its deficit from g(1), so that
        # Σ a a' n n' g = g(1) (Σ a n)² − Σ a a' n n' (g(1) − g) within a group.
        off, same = units.pairs()
        n = units.norm
        nn = n[:, None] * n[None, :]
        aa = units.a[:, None] * units.a[None, :]
        net = (units.a * units.excess) @ units.member
        net = net + units.reference * (units.a @ units.member)
        excess = units.excess[:, None] - units.excess[None, :]
        versine = cosine((units.gap - excess**2) / 2, n[:, None], n[None, :])
        g = off * arccos_remainder(
            cosine(units.off, n[:, None], n[None, :])
        ) - same * arccos_remainder_deficit(versine)
        bent = (
            (units.size @ net) ** 2
            + ARCCOS_REMAINDER_AT_ONE * (units.size @ net**2)
            + jnp.sum(aa * nn * g)
        )
        return bent / (2 * np.pi) + units.total / 4


_LARGEST_SLOPE = 1e50  # fourth moments have its fourth power


def _checked_slope(slope: Any) -> Any:
    if np.shape(slope) == ():
        if not is_concrete(slope):
            return slope
        number = np.asarray(slope)
        if number.dtype.kind in "iuf" and np.isfinite(number):
            if abs(number) > _LARGEST_SLOPE:
                raise UserError(f"slope must be at most {_LARGEST_SLOPE:g} in size; got {slope!r}")
            return slope if number.dtype.kind == "f" else float(slope)
    raise UserError(f"slope must be one finite number; got {slope!r}")


class LeakyReLU(AbstractActivation):
    r"""$\sigma(x) = a x + (1-a) \max(x, 0)$ with slope $a$: 0 is ReLU, 1 the linear network.

    Its moments are sums of those of x and of ReLU: $I_2 = a\,c_{12} + (1-a)^2 I_2^{ReLU}$, and likewise p and
    s (paper, Appendix E.1).
    The slope is a number, not a part of the program: it may be an array, traced and differentiated.

    Raises UserError unless it is one finite number, of at most 1e50.
    """

    slope: float | Float[Array, ""] = eqx.field(converter=_checked_slope, default=0.1)

    def __call__(self, x):
        return self.slope * x + (1 - self.slope) * jax.nn.relu(x)

    @property
    def positively_homogeneous(self) -> bool:
        return True

    @property
    def leak(self):
        return self.slope

    @property
    def even(self) -> bool:
        return is_concrete(self) and float(self.slope) == -1

    @property
    def odd(self) -> bool:
        return is_concrete(self) and float(self.slope) == 1

    @property
    def continuous(self) -> bool:
        return True

    @property
    def smooth_at_zero(self) -> bool:
        """False, at slope 1 too: the slope may be traced, and the answer may not."""
        return False

    def second_moment(self, c11, c12, c22):
        return self.slope * c12 + (1 - self.slope) ** 2 * ReLU().second_moment(c11, c12, c22)

    def mixing_scalars(self, c11, c12, c22):
        p, s = ReLU().mixing_scalars(c11, c12, c22)
        return (1 - self.slope) ** 2 * p, self.slope + (1 - self.slope) ** 2 * s

    @property
    def _halves(self):
        return (1 + self.slope) / 2, (1 - self.slope) / 2

    def I4_error(self, length):
        return 0.0

    def I4(self, C):
        """Return I4 as for ReLU: a polynomial in the slope, of the same moments."""
        return homogeneous.fourth_moment(*self._halves, C)

    def slope_products(self, a, covariance, students, tolerance):
        return homogeneous.slope_products(*self._halves, a, covariance, students, tolerance)

    def quadratic_form(self, a, covariance):
        bent = ReLU().quadratic_form(a, covariance)
        return self.slope * (a @ covariance @ a) + (1 - self.slope) ** 2 * bent

    def grouped_quadratic_form(self, units: GroupedUnits):
        bent = ReLU().grouped_quadratic_form(units)
        return self.slope * units.total + (1 - self.slope) ** 2 * bent


def as_leaky_relu(activation: AbstractActivation) -> LeakyReLU | None:
    """Return the same function as a LeakyReLU, of slope 0 for ReLU; None if it is none."""
    return None if activation.leak is None else LeakyReLU(activation.leak)
