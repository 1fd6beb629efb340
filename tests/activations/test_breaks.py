"""Functions with jumps and kinks away from 0, against integrals over u alone.

For a function that is linear between its breaks the means of σ(w) and of its slope, given u, are error
functions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import odelandscape as ol

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)


class Linear:
    """σ = A + B x between breaks: as a JAX function, and its integrals in NumPy."""

    def __init__(self, breaks, pieces):
        self.breaks, self.pieces = breaks, pieces
        pairs = zip(breaks, pieces, pieces[1:], strict=False)
        self.jumps = [A1 + B1 * b - A0 - B0 * b for b, (A0, B0), (A1, B1) in pairs]
        self.library = ol.Quadrature(self.function, breaks=breaks)

    def function(self, x):
        index = jnp.searchsorted(jnp.asarray(self.breaks), x)
        A, B = (jnp.asarray(part)[index] for part in zip(*self.pieces, strict=True))
        return A + B * x

    def given(self, m, s):
        """E[σ(m + s y)] and its derivative in m."""
        ends = [
            np.full_like(m, -np.inf),
            *((b - m) / s for b in self.breaks),
            np.full_like(m, np.inf),
        ]
        value, slope = np.zeros_like(m), np.zeros_like(m)
        for low, high, (A, B) in zip(ends, ends[1:], self.pieces, strict=False):
            inside = norm.cdf(high) - norm.cdf(low)
            value += (A + B * m) * inside + B * s * (norm.pdf(low) - norm.pdf(high))
            slope += B * inside
        for x, jump in zip(ends[1:], self.jumps, strict=False):
            slope += jump * norm.pdf(x) / s
        return value, slope

    def moments(self, w, u):
        """I2, p and s of E[σ(w·x) σ(u·x)]."""
        n1, n2 = np.linalg.norm(w), np.linalg.norm(u)
        c, sine = w @ u / (n1 * n2), np.linalg.norm(np.cross(w, u)) / (n1 * n2)
        sine = max(sine, 1e-12)
        # Given u, all is smooth but in layers of the width sin θ.
        layers = [k * sine for k in range(-8, 9, 2)]
        ends = [(b / n2 + x) / c for b in self.breaks for x in layers if c] + [
            b / n1 for b in self.breaks
        ]
        ends = np.unique(np.clip([*ends, *range(-10, 11)], -10, 10))
        half = np.diff(ends)[:, None] / 2
        z = (ends[:-1, None] + half * (1 + NODES)).ravel()
        weights = (half * NODE_WEIGHTS).ravel() * norm.pdf(z)
        A, B = np.array(self.pieces)[np.searchsorted(self.breaks, n1 * z)].T
        value, slope = self.given(c * n2 * z, sine * n2)
        I2, s, stretch = (
            np.sum(weights * x) for x in ((A + B * n1 * z) * value, B * slope, B * z * value)
        )
        for b, jump in zip(self.breaks, self.jumps, strict=True):
            if abs(jump) > 1e-12:
                value, slope = self.given(np.array(c * n2 * b / n1), sine * n2)
                density = jump * norm.pdf(b / n1) / n1
                s, stretch = s + density * slope, stretch + density * b / n1 * value
        return np.array([I2, (stretch - s * c * n2) / n1, s])

    def gradient(self, w, u):
        _, p, s = self.moments(w, u)
        return p * w + s * u


HARDTANH = Linear((-1.0, 1.0), ((-1.0, 0.0), (0.0, 1.0), (1.0, 0.0)))
BENT = Linear((-0.4, 0.5), ((0.3, 0.2), (0.3, 0.2), (0.05, 0.7)))  # no break at −0.4: harmless
STEP = Linear((0.3,), ((0.0, 0.0), (1.0, 0.0)))
SAW = Linear((-0.5, 0.8), ((0.0, 1.0), (1.0, 0.5), (-1.4, 1.0)))  # jumps and changes its slope
EACH = {"hardtanh": HARDTANH, "bent": BENT, "step": STEP, "saw": SAW}
W, ACROSS = np.array([0.6, -0.8, 0.0]), np.array([0.8, 0.6, 0.0])
OTHERS = {
    "generic": np.array([0.3, 0.7, 0.2]),
    "obtuse": np.array([-0.9, 0.4, 1.1]),
    "orthogonal": ACROSS,
    "short": np.array([0.01, 0.02, -0.03]),
    "near": np.cos(0.1) * W + np.sin(0.1) * ACROSS,
    "equal": W,
    "opposite": -W,
    "of one direction": 1.7 * W,
    "of opposite directions": -0.5 * W,
}
JUMPING = (
    "generic",
    "obtuse",
    "orthogonal",
    "short",
    "near",
)  # at coincidence a jump leaves no derivative


rates = jax.jit(lambda problem, weights: ol.GradientFlow()(0.0, weights, problem).W)
loss = jax.jit(ol.population_loss)


def difference(f, h):
    return (f(h) - f(-h)) / (2 * h)


@pytest.mark.parametrize(
    "sigma",
    [
        pytest.param(s, marks=pytest.mark.slow if s in (BENT, SAW, EACH["step"]) else ())
        for s in EACH.values()
    ],
    ids=EACH,
)
def test_derivatives_in_the_weights(sigma):
    """Value, gradient p w + s u, and its derivative along t, of w ↦ E[σ(w·x) σ(u·x)]."""
    act, t = sigma.library, np.array([0.3, -0.2, 0.5])
    names = OTHERS if max(np.abs(sigma.jumps)) < 1e-12 else JUMPING
    others = np.stack([OTHERS[name] for name in names])

    def all_three(w, u):
        f = lambda w: act.second_moment(w @ w, w @ u, u @ u)  # noqa: E731
        p, s = act.mixing_scalars(w @ w, w @ u, u @ u)
        gradient, along = jax.jvp(jax.grad(f), (w,), (jnp.asarray(t),))
        return f(w), gradient, p * w + s * u, along

    got = jax.jit(jax.vmap(all_three, (None, 0)))(jnp.asarray(W), jnp.asarray(others))
    for name, u, value, gradient, mixed, along in zip(names, others, *got, strict=True):
        np.testing.assert_allclose(
            value, sigma.moments(W, u)[0], rtol=1e-10, atol=1e-12, err_msg=name
        )
        truth = sigma.gradient(W, u)
        np.testing.assert_allclose(gradient, truth, rtol=1e-9, atol=1e-11, err_msg=name)
        np.testing.assert_allclose(mixed, truth, rtol=1e-9, atol=1e-11, err_msg=name)
        # At coincidence the gradient has a term δ|δ|, and central differences an error of order h.
        h = 1e-5
        near, far = (difference(lambda h: sigma.gradient(W + h * t, u), k * h) for k in (1, 2))  # noqa: B023
        np.testing.assert_allclose(along, 2 * near - far, rtol=1e-6, atol=1e-7, err_msg=name)


def test_values_known_from_elsewhere():
    """Step: θ/2π and 1/(2π √(c11 c22 − c12²)). Hardtanh: by an independent program."""
    step = ol.Quadrature(lambda x: jnp.where(x > 0, 1.0, 0.0))
    problem, v = ol.Problem(1, 1, step), jnp.ones(1)
    angle = 1.1
    weights = ol.Weights(1.3 * jnp.asarray([[np.cos(angle), np.sin(angle)]]), v)
    np.testing.assert_allclose(loss(problem, weights), angle / (2 * np.pi), rtol=1e-12)
    covariance = [jnp.asarray(x) for x in (1.69, 1.3 * 0.7 * np.cos(angle), 0.49)]
    np.testing.assert_allclose(step.mixing_scalars(*covariance)[1], 0.19624562, rtol=2e-8)
    weights = ol.Weights(jnp.asarray([[0.6, 0.8]]), v)
    problem = ol.Problem(1, 1, HARDTANH.library)
    gradient = -rates(problem, weights)
    np.testing.assert_allclose(gradient, [[-0.26438, 0.33266]], atol=1e-5)
    np.testing.assert_allclose(loss(problem, weights), 0.2273322, atol=1e-6)


def test_a_kinked_unit_of_length_zero_has_a_hessian_where_sigma_has():
    """σ(x) = x near 0: E[σ(w·x) σ(u·x)] has gradient E[x σ(u·x)] at w = 0, and Hessian σ''(0) E[σ(u)] = 0."""
    act, u = HARDTANH.library, jnp.asarray(W)
    f = lambda w: act.second_moment(w @ w, w @ u, u @ u)  # noqa: E731
    zero = jnp.zeros(3)
    slope = 2 * norm.cdf(1) - 1  # E[σ'(u)], |u| = 1
    np.testing.assert_allclose(jax.jit(jax.grad(f))(zero), slope * W, atol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.hessian(f))(zero), 0, atol=1e-10)
    # Where the other has length 0: E[σ(w·x) u·x] is linear in u, and 0.
    np.testing.assert_allclose(
        jax.jit(jax.grad(lambda u: act.second_moment(jnp.ones(()), u @ jnp.asarray(W), u @ u)))(
            zero
        ),
        slope * W,
        atol=1e-12,
    )


def test_loss_and_rates_of_units_that_coincide_are_finite_where_sigma_jumps():
    """At coincidence the loss of a step has a cone: the rate there is 0, the mean of both sides."""
    problem = ol.Problem(1, 1, ol.Quadrature(lambda x: jnp.where(x > 0, 1.0, 0.0)))
    weights = ol.Weights(jnp.asarray([[2.0, 0.0]]), jnp.ones(1))
    np.testing.assert_allclose(rates(problem, weights), 0, atol=1e-14)
    np.testing.assert_allclose(loss(problem, weights), 0, atol=1e-14)
    # Away from 0 the norm counts: ½E[(θ(u − b) − θ(u* − b))²] = |Φ(b) − Φ(b/n)|/2, a cone at n = 1 only.
    problem = ol.Problem(1, 1, STEP.library)
    np.testing.assert_allclose(
        loss(problem, weights), (norm.cdf(0.3) - norm.cdf(0.15)) / 2, atol=1e-12
    )
    slope = -0.15 / 2 * norm.pdf(0.15) / 2
    np.testing.assert_allclose(-rates(problem, weights), [[-slope, 0]], atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("n1", "n2"), [(0.05, 1.2), (1.2, 0.05), (0.03, 0.05)])
@pytest.mark.parametrize("jump", [0.0, 0.2])
def test_derivatives_beside_a_short_unit_are_those_of_the_values(n1, n2, jump):
    """A unit short of the kinks has derivatives of all orders: those of the other are moved to it."""
    sine = ol.Quadrature(
        lambda x: jnp.sin(jnp.clip(x, -1, 1)) + 0.3 * jnp.cos(x) + jnp.where(x > 1, jump, 0.0),
        breaks=(-1, 1),
    )
    covariance = jnp.array([n1**2, 0.4 * n1 * n2, n2**2])
    scalars = lambda c: jnp.stack(sine.mixing_scalars(*c))  # noqa: E731
    derivatives = jax.jacfwd(scalars)(covariance)
    steps = 1e-4 * jnp.diag(covariance)
    ends = [(scalars(covariance + h) - scalars(covariance - h)) / (2 * h.sum()) for h in steps]
    np.testing.assert_allclose(derivatives, jnp.stack(ends, axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at", [1.9, 2.0])
def test_a_function_may_be_constant_between_minus_two_and_two(at):
    """The loss of σ = max(x − b, 0) with one student at 60°, by two nested integrals."""
    activation = ol.Quadrature(lambda x: jnp.maximum(x - at, 0.0), breaks=(at,))
    problem = ol.Problem(1, 1, activation)
    weights = ol.Weights(jnp.array([[0.5, np.sqrt(0.75)]]), jnp.ones(1))

    def density(x):
        return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

    def product(x):
        mean, left = x / 2, np.sqrt(0.75)
        inner = quad(lambda z: (mean + left * z - at) * density(z), (at - mean) / left, 12)[0]
        return (x - at) * inner * density(x)

    square = quad(lambda x: (x - at) ** 2 * density(x), at, 12)[0]
    loss = square - quad(product, at, 12, epsabs=1e-14)[0]
    assert float(ol.population_loss(problem, weights)) == pytest.approx(loss, rel=1e-7)
