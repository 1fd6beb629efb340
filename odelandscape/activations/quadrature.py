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
from ..runtime.registry import is_from_this_package
from . import quadrature_rules, regularity
from .base import AbstractActivation
from .plane_nodes import plane_nodes


class Quadrature(AbstractActivation):
    r"""Any scalar function σ, piecewise smooth: I2, p and s by quadrature in the plane.

    - `function` takes and returns a scalar and is made of JAX operations (`jnp.tanh`, `jax.nn.gelu`, your
      own). It is a part of the program: another function compiles anew.
    - `breaks`: the points where it jumps or has a kink, or a derivative does: (−1, 1) for
      `lambda x: jnp.clip(x, -1, 1)`. 0 is always one.
    - `homogeneous=True` declares that σ(a x) = a σ(x) for a > 0 (see `AbstractActivation`).
    - `tolerance`: the largest `error` that is accepted.

    `error` is estimated when the object is made: the largest difference of I2, s and p from their series in
    Hermite polynomials (Mehler), which need values of σ alone, for four covariances with lengths from 0.3 to
    2, relative to E[σ²] and with s and p times the lengths. For functions that vary on the scale of 1 or more
    it is some 1e-12 or less; where a break is missing it is 1e-1 to 1e-6.

    It grows with the lengths: of tanh to 2e-9 at 4 and 4e-7 at 8. `accurate_at(length)` tells whether it is
    still within `tolerance`: longer teachers and starts are refused, and end states of longer students are
    `not_converged`.

    It costs 4,608 evaluations of σ per pair of units, thousands of times a closed form: for trying an
    activation out on small networks, and the truth that closed forms are tested against. With b breaks other
    than 0 it costs 640 (2b + 3)(b² + 2b + 2): 16,000 for one, 44,800 for two.

    Derivatives in the weights are those of the integrals, at coincident units and units of length 0 too, and
    of any order for a smooth σ. Where a kink leaves them undefined they are the mean of both sides, as for
    ReLU. A jump adds a density to s that is infinite at coincident units: there this part counts as 0. Of a
    loss with such cones no end state can be certified (`AbstractActivation.continuous`).

    I4 is that of `AbstractActivation`: 1.7 million evaluations, 10 to 20 ms, accurate to 1e-9 for analytic
    functions that vary on the scale of 1 or more, and to no more than 1e-3 for one with a kink.

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
            self._error = max(_estimate_error(table, self._sigma, *case) for case in _CASES)
            if not self._error <= tolerance:
                raise UserError(_too_large(self._error, tolerance))
            if homogeneous and not _is_homogeneous(table.values):
                raise UserError("homogeneous must be False: σ(2x) is not 2σ(x) for this function")

    def __call__(self, x):
        return jnp.vectorize(self.function)(x)

    @property
    def error(self) -> float:
        """The estimated relative error of the integrals."""
        return self._error

    def accurate_at(self, length: float) -> bool:
        """Return whether the estimated error is at most `tolerance` for units of this length, too."""
        if length <= max(max(n1, n2) for n1, _, n2 in _CASES):
            return True
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            table = _table(self.function)
            cases = ((length, 0.5, length), (length, 0.5, 1.0))
            return all(
                _estimate_error(table, self._sigma, *case) <= self.tolerance for case in cases
            )

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
    if np.ptp(value) == 0:
        raise UserError(f"function must not be a constant: it is {value[0]:g} everywhere")
    return _Table(both)


_CHUNK = 4096


def _check_growth(table: _Table) -> None:
    """Raise UserError for a function whose second moment is infinite, or lost in the tails, at length 2."""
    z = np.linspace(-12, 12, 97)
    with np.errstate(over="ignore"):
        density = table.values(2 * z) ** 2 * np.exp(-z * z / 2)
    if not max(density[0], density[-1]) <= 1e-6 * np.max(density):
        raise UserError(
            "function must have a finite second moment for units of length 2: it must grow more slowly than "
            "exp(x²/16)"
        )


def _checked_breaks(breaks: object) -> tuple[float, ...]:
    try:
        points = np.atleast_1d(np.asarray(breaks, dtype=float))
    except (TypeError, ValueError):
        points = np.array([np.nan])
    if points.ndim != 1 or not np.isfinite(points).all():
        raise UserError(f"breaks must be finite numbers, such as (-1, 1); got {breaks!r}")
    return tuple(np.unique(points).tolist())


def _is_homogeneous(values: Callable) -> bool:
    x = np.concatenate([-regularity.PARITY_POINTS, regularity.PARITY_POINTS])
    return np.allclose(values(2 * x), 2 * values(x), rtol=1e-12, atol=0)


_CASES = ((0.3, 0.5, 1.0), (1.0, -0.4, 0.7), (1.4, 0.3, 2.0), (2.0, 0.5, 2.0))
"""Two lengths with the cosine between them."""
_USERS_TOLERANCE = 1e-3
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


def _mehler(values: Callable, breaks: tuple[float, ...], n1: float, c: float, n2: float):
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


def check_moments(activation: AbstractActivation) -> None:
    """Raise UserError unless the moments that a user's class gives are those of its σ (to 1e-3, so that kinks
    anywhere are allowed), and finite where two units coincide.

    An activation of this package, and one with traced numbers, is not evaluated.
    """
    if is_from_this_package(activation) or not regularity.is_concrete(activation):
        return
    name = type(activation).__name__
    wrong = regularity.wrong_field(activation)
    if wrong is not None:
        raise UserError(f"activation {name} contradicts itself: {wrong}")
    values = partial(regularity.evaluate, activation)
    _check_declarations(activation, values)
    with jax.ensure_compile_time_eval():
        for n1, c, n2 in _CASES:
            wanted, scale = _mehler(values, (), n1, c, n2)
            covariance = tuple(map(jnp.asarray, (n1 * n1, c * n1 * n2, n2 * n2)))
            p, s = activation.mixing_scalars(*covariance)
            given = np.array([activation.second_moment(*covariance), s * n1 * n2, p * n1 * n1])
            wrong = ~(np.abs(given - wanted) <= _USERS_TOLERANCE * scale)
            if np.isfinite(wanted).all() and wrong[: 3 if activation.continuous else 1].any():
                what = ("second_moment", "s of mixing_scalars", "p of mixing_scalars")[
                    np.argmax(wrong)
                ]
                covariance = ", ".join(f"{x:.3g}" for x in covariance)
                raise UserError(
                    f"activation {name} contradicts itself: {what} at the covariance c11, c12, c22 = "
                    f"{covariance} must be that of its values"
                )
        _check_quadratic_form(activation)
        one = jnp.ones(())
        moments = (
            activation.second_moment(one, one, one),
            *activation.mixing_scalars(one, one, one),
        )
    if not np.isfinite(np.array(moments)).all():
        raise UserError(
            f"activation {name} must have finite moments where units coincide, c11 = c12 = c22 (derivatives "
            "of √(1 − c²) and arcsin c are not: define mixing_scalars, or use ol.Quadrature)"
        )


def _check_quadratic_form(activation: AbstractActivation) -> None:
    """Raise UserError if a user's class overrides sums or fourth moments by what its second moments, or its
    values, don't give."""
    units = jnp.array([[0.8, 0.1, 0.0], [-0.3, 0.6, 0.2], [0.4, 0.0, 1.1], [0.2, 0.5, -0.6]])
    C, a = units @ units.T, jnp.array([1.0, -0.7, 0.4, 1.3])
    for name, given, wanted, tolerance in (
        (
            "quadratic_form",
            lambda: activation.quadratic_form(a, C),
            lambda: AbstractActivation.quadratic_form(activation, a, C),
            _USERS_TOLERANCE,
        ),
        (
            "I4",
            lambda: activation.I4(C),
            lambda: AbstractActivation.I4(activation, C),
            10 * _USERS_TOLERANCE,  # by nodes that don't know of kinks
        ),
    ):
        if getattr(type(activation), name) is getattr(AbstractActivation, name):
            continue
        if not abs(given() - wanted()) <= tolerance * (abs(wanted()) + tolerance):
            raise UserError(
                f"activation {type(activation).__name__} contradicts itself: {name} must be that of its "
                f"{'values' if name == 'I4' else 'second_moment'}"
            )


def _check_declarations(activation: AbstractActivation, values: regularity.Values) -> None:
    """Raise UserError if a property that a user's class declares is not one of its values."""
    x = np.concatenate([-regularity.PARITY_POINTS, regularity.PARITY_POINTS])
    leak = None if activation.leak is None else float(activation.leak)
    false = {
        "even": activation.even and not regularity.is_even(values),
        "odd": activation.odd and not regularity.is_odd(values),
        "positively_homogeneous": (
            activation.positively_homogeneous and not _is_homogeneous(values)
        ),
        "smooth": activation.smooth and not regularity.is_twice_differentiable_at_zero(values),
        "smooth_at_zero": (
            activation.smooth_at_zero and not regularity.is_twice_differentiable_at_zero(values)
        ),
        "continuous": activation.continuous and regularity.jumps_anywhere(values),
        "leak": (
            leak is not None
            and not np.allclose(values(x), np.maximum(x, 0) + leak * np.minimum(x, 0))
        ),
    }
    for name, wrong in false.items():
        if wrong:
            raise UserError(
                f"activation {type(activation).__name__} contradicts itself: {name} is "
                f"{getattr(activation, name)!r}, and its values are not so"
            )


def _estimate_error(table: _Table, sigma: quadrature_rules.Sigma, n1, c, n2) -> float:
    """Return the largest difference of I2, s and p between their rules and Mehler's series.

    Of a σ that jumps I2 alone: s and p are derivatives of it, of the same nodes.
    """
    series, scale = _mehler(table.values, sigma.breaks, n1, c, n2)
    weights, z, u, w = map(np.asarray, plane_nodes(sigma.breaks, *map(jnp.asarray, (n1, c, n2))))
    (value, slope), (value_w, slope_w) = table.both(u), table.both(w)
    s = n1 * n2 * np.sum(weights * slope * slope_w)
    rule = np.array(
        [np.sum(weights * value * value_w), s, n1 * np.sum(weights * slope * z * value_w) - c * s]
    )
    differences = np.abs(rule - series)[: 1 if sigma.jumps else 3]
    return float(np.max(differences) / scale)


def _too_large(error: float, tolerance: float) -> str:
    return (
        f"function must be integrable with a relative error of tolerance={tolerance:g}: the estimated one is "
        f"{error:.1e}; give the points where it jumps or has kinks, such as breaks=(-1, 1), or a larger "
        "tolerance"
    )
