"""Quadrature at units that coincide, where its nodes are fewest for what varies."""

import itertools
import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol


def _gauss(x):
    return jnp.exp(-x * x)


def _of_gauss(a, b, c):
    """I2 of exp(−x²) in closed form: a Gaussian integral."""
    return ((1 + 2 * a) * (1 + 2 * c) - 4 * b * b) ** -0.5


def _line() -> tuple[np.ndarray, np.ndarray]:
    """z and weights of E[f(z)], Gauss–Legendre in panels of 0.1."""
    x, w = np.polynomial.legendre.leggauss(12)
    z = np.linspace(-12, 12, 241)[:-1, None] + 0.05 * (1 + x)
    return z.ravel(), (0.05 * w * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)).ravel()


@eqx.filter_jit
@partial(jax.vmap, in_axes=(None, 0, 0))
def _moments(sigma, n, c):
    """I2, and p and s times the squared length, of two units of length n."""
    a = n * n
    p, s = sigma.mixing_scalars(a, c * a, a)
    return jnp.stack([sigma.second_moment(a, c * a, a), p * a, s * a])


def test_moments_against_a_closed_form():
    """The kind: an error estimated at one angle (60°) and said to hold at all. exp(−x²) varies within 0.7."""
    sigma = ol.Quadrature(_gauss)
    lengths, cosines = (0.5, 1.5, 2.0, 2.5), (1.0, 0.9999, 0.99, 0.5, -0.999, -1.0)
    n, c = (jnp.asarray(x) for x in zip(*itertools.product(lengths, cosines), strict=True))
    assert sigma.accurate_at(2.5)
    a = n * n
    of_unit, of_pair = (jax.vmap(jax.grad(_of_gauss, i))(a, c * a, a) for i in (0, 1))
    wanted = jnp.stack([_of_gauss(a, c * a, a), 2 * of_unit * a, of_pair * a], axis=1)
    error = jnp.abs(_moments(sigma, n, c) - wanted).max(axis=1) / _of_gauss(a, a, a)
    assert error.max() <= sigma.tolerance


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (jnp.tanh, lambda x: 1 / np.cosh(x) ** 2),
        (jax.nn.sigmoid, lambda x: 1 / (4 * np.cosh(x / 2) ** 2)),
        (lambda x: jnp.cos(x), lambda x: -np.sin(x)),
        (jax.nn.soft_sign, lambda x: 1 / (1 + np.abs(x)) ** 2),
    ],
)
def test_what_is_accurate_is_so_where_units_coincide(function, slope):
    """Siblings: other functions, lengths at which the estimate is and isn't within the tolerance."""
    sigma = ol.Quadrature(function)
    lengths = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0])
    found = np.asarray(_moments(sigma, jnp.asarray(lengths), jnp.ones(len(lengths))))
    wanted, (z, w) = [], _line()
    for n in lengths:
        value, derivative = np.asarray(function(jnp.asarray(n * z))), n * slope(n * z)
        s = w @ derivative**2
        wanted.append([w @ value**2, w @ (value * z * derivative) - s, s])
    wanted = np.array(wanted)
    errors = np.abs(found - wanted).max(axis=1) / wanted[:, 0]
    accurate = np.array([sigma.accurate_at(float(n)) for n in lengths])
    assert accurate[lengths <= 2].all()
    assert np.all(errors[accurate] <= 2 * sigma.tolerance)
    assert np.all(errors[~accurate] >= 0.5 * sigma.tolerance)


def test_an_end_state_of_long_students_is_one_of_the_loss():
    """Two tanh students of one teacher of length 2 and readout 1.5, all along one line: loss, gradient and
    Hessian are integrals over it."""
    problem = ol.Problem(2, 1, ol.Quadrature(jnp.tanh), [[4.0]], [1.5])
    start = ol.Weights(jnp.array([[3.06], [0.40]]), jnp.ones(2))
    end = ol.relax(problem, ol.GradientFlow(), jax.tree.map(lambda x: x[None], start))
    assert end.outcome[0] == "local_minimum"
    w = end.weights[0, :, 0]
    x, weights = _line()
    delta = np.tanh(np.outer(w, x)).sum(axis=0) - 1.5 * np.tanh(2 * x)
    slope = 1 - np.tanh(np.outer(w, x)) ** 2
    bend = -2 * np.tanh(np.outer(w, x)) * slope
    gradient = (slope * x * delta) @ weights
    hessian = (slope[:, None] * slope[None, :] * x**2) @ weights + np.diag(
        (bend * x**2 * delta) @ weights
    )
    assert np.abs(gradient).max() < 1e-9
    np.testing.assert_allclose(end.loss[0], (delta**2 @ weights) / 2, rtol=0, atol=1e-10)
    smallest = np.linalg.eigvalsh(hessian)[0]
    np.testing.assert_allclose(end.smallest_eigenvalue[0], smallest, rtol=0, atol=1e-7)


def test_what_is_zero_where_units_have_their_input_is_refused():
    """0/0 in the estimate, and moments 0 that are 1e-26: a student of length 0.3 was a teacher of 0.4."""
    with pytest.raises(
        ol.UserError, match=r"function must not be 0 where units of length 0\.3 to 2"
    ):
        ol.Quadrature(lambda x: jnp.maximum(x - 4, 0), breaks=(4,))
    shifted = ol.Quadrature(lambda x: jnp.maximum(x - 2, 0), breaks=(2,), tolerance=1e-6)
    assert shifted.accurate_at(0.3)
    assert not shifted.accurate_at(0.1)
    with pytest.raises(ol.UserError, match="teacher_overlaps must have longer units"):
        ol.Problem(1, 2, shifted, np.diag([1.0, 0.01]))
    tanh = ol.Quadrature(jnp.tanh)
    assert all(tanh.accurate_at(length) for length in (0.0, 1e-100, 1e-8, 0.1))


def _along_a_line(function, slope, n):
    """E[σ'² σ²], and E[σ'²] E[σ²], of a unit of length n."""
    z, w = _line()
    value, derivative = np.asarray(function(jnp.asarray(n * z))), slope(n * z)
    return w @ (value**2 * derivative**2), (w @ derivative**2) * (w @ value**2)


COINCIDENT = np.ones((4, 4))
PAIRS = np.kron(np.eye(2), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("function", "slope", "errors"),
    [
        (jnp.tanh, lambda x: 1 / np.cosh(x) ** 2, {0.5: 1e-11, 1.0: 1e-9, 2.0: 1e-3, 3.0: 2e-2}),
        (jax.nn.softplus, lambda x: 1 / (1 + np.exp(-x)), {0.5: 1e-9, 1.0: 1e-9, 3.0: 1e-8}),
        (_gauss, lambda x: -2 * x * np.exp(-x * x), {0.5: 1e-11, 1.0: 1e-9, 1.5: 1e-4}),
        (lambda x: x**3, lambda x: 3 * x**2, {0.5: 1e-6, 1.0: 1e-6, 3.0: 1e-6}),
        (jax.nn.relu, lambda x: 1.0 * (x > 0), {1.0: 1e-3, 3.0: 1e-3}),
    ],
)
def test_fourth_moments_where_units_coincide(function, slope, errors):
    """The kind: an accuracy said of all lengths. The noise of one student is E[σ'² Δ²], of σ'(u)² σ(u)²; the
    estimate is that of the same two, from values alone."""
    sigma = ol.Quadrature(function)
    I4 = jax.jit(jax.vmap(sigma.I4))
    for n, allowed in errors.items():
        whole, product = _along_a_line(function, slope, n)
        found = np.asarray(I4(n * n * jnp.asarray([COINCIDENT, PAIRS])))
        error = np.abs(found - [whole, product]).max() / product
        assert error <= allowed
        assert abs(sigma.I4_error(n) - error) <= 1e-9 + 0.1 * error


def test_fourth_moments_of_a_kink_and_their_estimate():
    """clip: σ' is 1 within ±1, so that E[σ'² σ²] = E[u²; |u| < 1] and E[σ'²] = P(|u| < 1)."""
    clip = ol.Quadrature(lambda x: jnp.clip(x, -1, 1), breaks=(-1, 1))
    for n in (0.4, 0.7, 1.1, 1.6):
        inside = math.erf(1 / n / math.sqrt(2))
        density = math.exp(-0.5 / n**2) / math.sqrt(2 * math.pi)
        within = n * n * (inside - 2 / n * density)
        product = inside * (within + 1 - inside)
        found = [float(clip.I4(n * n * jnp.asarray(C))) for C in (COINCIDENT, PAIRS)]
        error = np.abs(np.subtract(found, [within, product])).max() / product
        np.testing.assert_allclose(clip.I4_error(n), error, rtol=1e-6, atol=1e-9)


def test_noise_that_is_not_accurate_is_refused_by_name():
    clip = ol.Quadrature(lambda x: jnp.clip(x, -1, 1), breaks=(-1, 1))
    step = ol.Quadrature(jnp.sign)
    flow = ol.OnlineSGD(0.1)
    start = ol.Weights(jnp.full((1, 1), 0.5), jnp.ones(1))
    state = ol.overlaps(ol.Problem(1, 1), start)
    for problem, one, what in (
        (ol.Problem(1, 1, clip, [[4.0]]), state, "teacher_overlaps"),
        (ol.Problem(1, 1, step), state, "teacher_overlaps"),
        (
            ol.Problem(1, 1, ol.Quadrature(jnp.tanh)),
            ol.OrderParameters(jnp.full((1, 1), 14.0), jnp.zeros((1, 1)), jnp.ones(1)),
            "state",
        ),
    ):
        with pytest.raises(ol.UserError, match=f"{what} must have shorter units for a flow with"):
            ol.trajectory(problem, flow, one, [0.0, 1.0])
        ol.trajectory(problem, ol.GradientFlow(), one, [0.0, 1e-3])
    # Where the flow alone is traced, lengths are numbers.
    tanh = ol.Problem(1, 1, ol.Quadrature(jnp.tanh))
    losses = jax.jit(lambda rate: ol.trajectory(tanh, ol.OnlineSGD(rate), state, [0.0, 0.1]).loss)
    assert np.isfinite(losses(0.1)).all()
    long = ol.Problem(1, 1, clip, [[4.0]])
    with pytest.raises(ol.UserError, match="teacher_overlaps must have shorter units"):
        jax.jit(lambda rate: ol.trajectory(long, ol.OnlineSGD(rate), state, [0.0, 0.1]).loss)(0.1)
    with pytest.raises(ol.UserError, match="teacher_overlaps must have shorter units"):
        ol.largest_learning_rate(ol.Problem(1, 1, clip, [[4.0]], [1.0]))
    assert ol.Erf().I4_error(1e3) == ol.ReLU().I4_error(1e3) == 0
