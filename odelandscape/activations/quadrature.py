"""Any scalar activation, by numerical integration."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..runtime.arguments import check_positive_number
from ..runtime.errors import UserError
from . import quadrature_rules, regularity
from .base import AbstractActivation, fourth_moment_error
from .plane_nodes import plane_nodes


class Quadrature(AbstractActivation):
    r"""Any scalar function σ, piecewise smooth: I2, p and s by quadrature in the plane.

    - `function` takes and returns a scalar and is made of JAX operations (`jnp.tanh`, `jax.nn.gelu`, your
      own). It is a part of the program: another function compiles anew.
    - `breaks`: the points where it jumps or has a kink, or a derivative does: (−1, 1) for
      `lambda x: jnp.clip(x, -1, 1)`. 0 is always one.
    - `homogeneous=True` declares that σ(a x) = a σ(x) for a > 0 (see `AbstractActivation`).
    - `tolerance`: the largest `error` that is accepted.

    `error` is estimated when the object is made: the largest difference of I2, s and p from what values of σ
    alone give, relative to E[σ²] and with s and p times the lengths. These are series in Hermite polynomials
    (Mehler) for four covariances with lengths from 0.3 to 2, and integrals along a line for two units of
    length 2 that coincide or are opposite, where the error is largest. For functions that vary on the scale
    of 1 or more it is some 1e-12 or less; where a break is missing it is 1e-1 to 1e-6.

    It grows with the lengths: of tanh to 3e-9 at 4 and 1e-6 at 8. `accurate_at(length)` tells whether it is
    still within `tolerance`: longer teachers and starts are refused, and end states of longer students are
    `not_converged`. So are teachers that are too short to reach beyond where σ is 0. Curvatures, of a
    derivative more, have some tens of times the error.

    It costs 7,040 evaluations of σ per pair of units, thousands of times a closed form: for trying an
    activation out on small networks, and the truth that closed forms are tested against. With b breaks other
    than 0 it costs 640 (2b + 3)(b² + 2b + 2): 16,000 for one, 44,800 for two.

    Derivatives in the weights are those of the integrals, at coincident units and units of length 0 too, and
    of any order for a smooth σ. Where a kink leaves them undefined they are the mean of both sides, as for
    ReLU. A jump adds a density to s that is infinite at coincident units: there p and s mean nothing on their
    own, only p c11 + s c12 does, which the rates are made of; `error` is that of I2 alone. Of a loss with
    such cones no end state can be certified (`AbstractActivation.continuous`).

    I4 is that of `AbstractActivation`: 2.7 million evaluations, 10 to 30 ms, and less accurate (`I4_error`):
    flows with noise are refused for units at whose length its error is above a hundredth.

    Raises UserError if `function` is not a scalar → scalar of JAX operations, finite and not constant, if
    `breaks` are not finite numbers, if `error` is above `tolerance`, and if `homogeneous` is wrong.
    """

    function: Callable = eqx.field(static=True)
    homogeneous: bool = eqx.field(static=True)
    breaks: tuple[float, ...] = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    _error: float = eqx.field(static=True)
    _even: bool = eqx.field(static=True)
    _odd: bool = eqx.field(static=True)
    _smooth_at_zero: bool = eqx.field(static=True)
    _sigma: quadrature_rules.Sigma = eqx.field(static=True)

    def __init__(
        self,
        function: Callable,
        homogeneous: bool = False,
        breaks: Sequence[float | int] = (),
        tolerance: float = 1e-8,
    ):
        if not callable(function):
            raise UserError(f"function must be a callable scalar -> scalar; got {function!r}")
        check_positive_number("tolerance", tolerance)
        self.function, self.homogeneous, self.tolerance = function, homogeneous, tolerance
        self.breaks = _checked_breaks(breaks)
        away = tuple(b for b in self.breaks if b != 0)
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            table = _table(function)
            _check_growth(table)
            self._odd, self._even = (
                regularity.is_odd(table.values),
                regularity.is_even(table.values),
            )
            smooth = regularity.is_twice_differentiable_at_zero(table.values)
            self._smooth_at_zero = smooth and 0 not in self.breaks
            jumps = regularity.has_jumps(table.values, np.array([0.0, *away]))
            smooth = 0 not in self.breaks and regularity.is_analytic_near_zero(table.values)
            self._sigma = quadrature_rules.Sigma(function, away, smooth, jumps)
            self._error = max(
                _largest_error(table, self._sigma, _LENGTH),
                *(_estimate_error(table, self._sigma, *case) for case in regularity.CASES),
            )
            if not self._error <= tolerance:
                raise UserError(_too_large(self._error, tolerance))
            if homogeneous and not regularity.is_homogeneous(table.values):
                raise UserError("homogeneous must be False: σ(2x) is not 2σ(x) for this function")

    def __call__(self, x):
        return jnp.vectorize(self.function)(x)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        breaks = f", breaks={self.breaks}" if self.breaks else ""
        return f"Quadrature({name}{breaks})"

    @property
    def error(self) -> float:
        """The estimated relative error of the integrals."""
        return self._error

    def accurate_at(self, length: float) -> bool:
        """Return whether the estimated error is at most `tolerance` for units of this length, too."""
        if _SHORTEST <= length <= _LENGTH or length == 0:
            return True
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            return _largest_error(_table(self.function), self._sigma, length) <= self.tolerance

    @property
    def nodes(self) -> int:
        unit = jax.ShapeDtypeStruct((), jnp.float64)
        return jax.eval_shape(partial(plane_nodes, self.breaks), unit, unit, unit).weights.size

    @property
    def positively_homogeneous(self) -> bool:
        return self.homogeneous

    @property
    def even(self) -> bool:
        return self._even

    @property
    def odd(self) -> bool:
        return self._odd

    @property
    def continuous(self) -> bool:
        return not self._sigma.jumps

    @property
    def smooth(self) -> bool:
        return self._smooth_at_zero and not self.breaks

    @property
    def smooth_at_zero(self) -> bool:
        return self._smooth_at_zero

    def second_moment(self, c11, c12, c22):
        rule = partial(quadrature_rules.second_moment, self._sigma)
        return jnp.vectorize(rule, signature="(),(),()->()")(c11, c12, c22)

    def mixing_scalars(self, c11, c12, c22):
        rule = partial(quadrature_rules.mixing_scalars, self._sigma)
        return jnp.vectorize(rule, signature="(),(),()->(),()")(c11, c12, c22)

    def I4_error(self, length):
        return fourth_moment_error(self, length, self.breaks)

    def I4(self, C):
        return quadrature_rules.fourth_moment(self.function, C)


# --- what is found out when a function is given ----------------------------------------------------


class _Table(NamedTuple):
    """A scalar function and its derivative by JAX, at points in arrays of any shape, as numbers."""

    both: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def values(self, points: np.ndarray) -> np.ndarray:
        return self.both(points)[0]


def _table(function: Callable) -> _Table:
    """Return the table of a function. Raises UserError unless it is a finite scalar one of JAX operations."""
    scalar = jax.ShapeDtypeStruct((), jnp.float64)
    try:
        out = jax.eval_shape(function, scalar)
    except TypeError as error:
        reason = str(error).splitlines()[0].rstrip(".:")
        raise UserError(
            f"function must be a scalar -> scalar of JAX operations, such as jnp.tanh; {function!r} raises "
            f"{type(error).__name__}: {reason}"
        ) from None
    if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.floating):
        raise UserError(f"function must return one real number for a number; got {out!r}")
    # One program, of one shape: compiling takes the time.
    program = jax.jit(jax.vmap(jax.value_and_grad(function)))

    def both(points):
        flat = np.asarray(points, float).ravel()
        chunks = np.pad(flat, (0, -len(flat) % _CHUNK)).reshape(-1, _CHUNK)
        pairs = np.array([program(jnp.asarray(chunk)) for chunk in chunks])
        value, slope = pairs.transpose(1, 0, 2).reshape(2, -1)[:, : len(flat)]
        return value.reshape(np.shape(points)), slope.reshape(np.shape(points))

    x = np.linspace(-2, 2, 101)
    try:
        value = both(x)[0]
    except jax.errors.TracerArrayConversionError:
        raise UserError(
            "function must not depend on traced numbers: an AbstractActivation of your own may have them as "
            "fields"
        ) from None
    if not np.isfinite(value).all():
        bad = int(np.argmin(np.isfinite(value)))
        raise UserError(f"function must be finite; its value at {x[bad]:g} is {value[bad]}")
    if np.ptp(both(_WIDE)[0]) == 0:
        raise UserError(
            f"function must not be a constant: it is {value[0]:g} for |x| up to {_WIDE[-1]:g}"
        )
    return _Table(both)


_CHUNK = 4096
_WIDE = np.linspace(-24, 24, 961)
"""12 standard deviations of the input of a unit of length 2."""


def _check_growth(table: _Table) -> None:
    """Raise UserError for a function whose second moment is infinite, or lost in the tails, at length 2."""
    with np.errstate(over="ignore"):
        density = table.values(_WIDE) ** 2 * np.exp(-(_WIDE**2) / 8)
    ends = max(density[0], density[-1])
    if not (np.isfinite(density).all() and ends <= 1e-6 * np.max(density)):
        raise UserError(
            "function must have a second moment for units of length 2 that is finite and comes from |x| < "
            f"{_WIDE[-1]:g}: it grows too fast (exp(x²/16) has none)"
        )


def _checked_breaks(breaks: object) -> tuple[float, ...]:
    try:
        points = np.atleast_1d(np.asarray(breaks, dtype=float))
    except (TypeError, ValueError):
        points = np.array([np.nan])
    if points.ndim != 1 or not np.isfinite(points).all():
        raise UserError(f"breaks must be finite numbers, such as (-1, 1); got {breaks!r}")
    return tuple(np.unique(points).tolist())


_SHORTEST, _LENGTH = 0.3, 2.0
"""The lengths between which `error` is that of any two units."""


def _largest_error(table: _Table, sigma: quadrature_rules.Sigma, length: float) -> float:
    """Return the largest error of units of this length."""
    cases = (
        (length, 0.5, length),
        (length, 0.5, 1.0),
        (length, 1.0, length),
        (length, -1.0, length),
    )
    return max(_estimate_error(table, sigma, *case) for case in cases)


def _estimate_error(table: _Table, sigma: quadrature_rules.Sigma, n1, c, n2) -> float:
    """Return the largest difference of I2, s and p between their rules and Mehler's series, or the integrals
    of two units that coincide.

    Of a σ that jumps I2 alone: s and p are derivatives of it, of the same nodes.
    """
    if abs(c) == 1:
        series, scale = regularity.coincident(table.values, sigma.breaks, n1, c)
    else:
        series, scale = regularity.mehler(table.values, sigma.breaks, n1, c, n2)
    weights, z, u, w = map(np.asarray, plane_nodes(sigma.breaks, *map(jnp.asarray, (n1, c, n2))))
    (value, slope), (value_w, slope_w) = table.both(u), table.both(w)
    s = n1 * n2 * np.sum(weights * slope * slope_w)
    rule = np.array(
        [np.sum(weights * value * value_w), s, n1 * np.sum(weights * slope * z * value_w) - c * s]
    )
    differences = np.abs(rule - series)[: 1 if sigma.jumps else 3]
    # Of a σ that float64 takes for 0 where such units have their input, nothing is known.
    return float(np.max(differences) / scale) if scale > 0 else np.inf


def _too_large(error: float, tolerance: float) -> str:
    if np.isinf(error):
        return (
            f"function must not be 0 where units of length {_SHORTEST:g} to {_LENGTH:g} have their input: "
            "in float64 some of its second moments are 0 or infinite there (those of σ(10x) may not be)"
        )
    return (
        f"function must be integrable with a relative error of tolerance={tolerance:g}: the estimated one is "
        f"{error:.1e}; give the points where it jumps or has kinks, such as breaks=(-1, 1), or a larger "
        "tolerance"
    )
