"""Functions with jumps and kinks away from 0, against integrals over u in mpmath.

For a function that is linear between its breaks the means of σ(w) and of its slope, given u, are error
functions.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import odelandscape as ol


class Linear:
    """σ = A + B x between breaks: as a JAX function, and its integrals in mpmath."""

    def __init__(self, breaks, pieces):
        self.breaks, self.pieces = breaks, pieces
        self.library = ol.Quadrature(self.function, breaks=breaks)

    def function(self, x):
        index = jnp.searchsorted(jnp.asarray(self.breaks), x)
        A, B = (jnp.asarray(part)[index] for part in zip(*self.pieces, strict=True))
        return A + B * x

    def given(self, m, s):
        """E[σ(m + s y)] and its derivative in m."""
        ends = [-mp.inf, *((b - m) / s for b in self.breaks), mp.inf]
        value = slope = mp.mpf(0)
        for low, high, (A, B) in zip(ends, ends[1:], self.pieces, strict=False):
            inside = mp.ncdf(high) - mp.ncdf(low)
            value += (A + B * m) * inside + B * s * (mp.npdf(low) - mp.npdf(high))
            slope += B * inside
        for x, jump in zip(ends[1:], self.jumps(), strict=False):
            slope += jump * mp.npdf(x) / s
        return value, slope

    def jumps(self):
        pairs = zip(self.breaks, self.pieces, self.pieces[1:], strict=False)
        return [A1 + B1 * b - A0 - B0 * b for b, (A0, B0), (A1, B1) in pairs]

    def moments(self, c11, c12, c22):
        """I2, p and s in mpmath."""
        n1, n2 = mp.sqrt(c11), mp.sqrt(c22)
        c = c12 / (n1 * n2)
        sine = mp.sqrt((1 - c) * (1 + c)) if abs(c) < 1 else mp.mpf(10) ** -25
        given = lambda z: self.given(c * n2 * z, sine * n2)  # noqa: E731
        layers = (
            [b / (c * n2) + k * sine / c for b in self.breaks for k in (-8, -2, 0, 2, 8)]
            if c
            else []
        )
        I2 = s = stretch = mp.mpf(0)
        ends = [mp.mpf(-12), *(b / n1 for b in self.breaks), mp.mpf(12)]
        for low, high, (A, B) in zip(ends, ends[1:], self.pieces, strict=False):
            points = [low, *sorted(x for x in {*layers, mp.mpf(0)} if low < x < high), high]

            def integrands(z, A=A, B=B):
                value, slope = given(z)
                density = mp.npdf(z)
                return mp.matrix([(A + B * n1 * z) * value, B * slope, B * z * value]) * density

            for part in range(3):
                if part == 0 or B != 0:
                    term = mp.quad(lambda z, part=part: integrands(z)[part], points)
                    I2, s, stretch = (
                        old + (term if k == part else 0) for k, old in enumerate((I2, s, stretch))
                    )
        for b, jump in zip(self.breaks, self.jumps(), strict=True):
            if jump:
                value, slope = given(b / n1)
                density = jump * mp.npdf(b / n1) / n1
                s, stretch = s + density * slope, stretch + density * b / n1 * value
        return I2, (stretch - s * c * n2) / n1, s


HARDTANH = Linear((-1.0, 1.0), ((-1.0, 0.0), (0.0, 1.0), (1.0, 0.0)))
BENT = Linear((-0.4, 0.5), ((0.3, 0.2), (0.3, 0.2), (0.05, 0.7)))  # no break at −0.4: harmless
STEP = Linear((0.3,), ((0.0, 0.0), (1.0, 0.0)))
SAW = Linear((-0.5, 0.8), ((0.0, 1.0), (1.0, 0.5), (-1.4, 1.0)))  # jumps and changes its slope
EACH = {"hardtanh": HARDTANH, "bent": BENT, "step": STEP, "saw": SAW}
GENERIC = (
    (1.69, 0.41, 0.49),
    (0.3, -0.35, 1.2),
    (1.0, 0.0, 1.0),
    (1.0, 0.999, 1.2),
    (0.01, 0.05, 4.0),
)


@pytest.mark.parametrize("sigma", EACH.values(), ids=EACH)
def test_moments_and_their_derivatives_are_those_of_mpmath(sigma):
    act, (dx, h) = sigma.library, (np.array([0.3, -0.2, 0.5]), 1e-4)
    covariances = jnp.asarray(GENERIC)
    both = jax.jit(lambda *c: (act.second_moment(*c), *act.mixing_scalars(*c)))
    tangent = jnp.broadcast_to(jnp.asarray(dx)[:, None], covariances.T.shape)
    got, change = jax.jvp(both, tuple(covariances.T), tuple(tangent))
    for k, entries in enumerate(GENERIC):
        at = lambda t, c=entries: [  # noqa: E731
            float(x)
            for x in sigma.moments(*(mp.mpf(a) + t * b for a, b in zip(c, dx, strict=True)))
        ]
        np.testing.assert_allclose([x[k] for x in got], at(0.0), rtol=1e-9, atol=1e-10)
        if k in (0, 1, 2):  # differences have no digits to lose there
            near, far = (np.subtract(at(t), at(-t)) / (2 * t) for t in (h, 2 * h))
            np.testing.assert_allclose(
                [x[k] for x in change], (4 * near - far) / 3, rtol=1e-7, atol=1e-7
            )


def test_values_known_from_elsewhere():
    """Step: θ/2π and 1/(2π √(c11 c22 − c12²)). Hardtanh: by an independent program."""
    step = ol.Quadrature(lambda x: jnp.where(x > 0, 1.0, 0.0))
    problem, v = ol.Problem(1, 1, step), jnp.ones(1)
    angle = 1.1
    weights = ol.Weights(1.3 * jnp.asarray([[np.cos(angle), np.sin(angle)]]), v)
    np.testing.assert_allclose(
        ol.population_loss(problem, weights), angle / (2 * np.pi), rtol=1e-12
    )
    covariance = [jnp.asarray(x) for x in (1.69, 1.3 * 0.7 * np.cos(angle), 0.49)]
    np.testing.assert_allclose(step.mixing_scalars(*covariance)[1], 0.19624562, rtol=2e-8)
    weights = ol.Weights(jnp.asarray([[0.6, 0.8]]), v)
    problem = ol.Problem(1, 1, HARDTANH.library)
    gradient = -ol.GradientFlow()(0.0, weights, problem).W
    np.testing.assert_allclose(gradient, [[-0.26438, 0.33266]], atol=1e-5)
    np.testing.assert_allclose(ol.population_loss(problem, weights), 0.2273322, atol=1e-6)


W, ACROSS = np.array([0.6, -0.8, 0.0]), np.array([0.8, 0.6, 0.0])
PAIRS = (W, -W, 1.7 * W, -0.5 * W, np.cos(1e-6) * W + np.sin(1e-6) * ACROSS)


def test_a_kinked_unit_at_and_near_coincidence_has_the_derivatives_of_mpmath():
    """Gradient p w + s u, and its difference along a direction, of E[σ(w·x) σ(u·x)]."""
    act, t = HARDTANH.library, np.array([0.3, -0.2, 0.5])

    def gradient(w, u):
        return jax.grad(lambda w: act.second_moment(w @ w, w @ u, u @ u))(w)

    along = jax.jit(
        jax.vmap(lambda w, u: jax.jvp(lambda w: gradient(w, u), (w,), (jnp.asarray(t),)))
    )
    got = along(jnp.broadcast_to(jnp.asarray(W), (len(PAIRS), 3)), jnp.asarray(PAIRS))
    with mp.workdps(30):
        vector = lambda x: mp.matrix([mp.mpf(float(a)) for a in x])  # noqa: E731

        def truth(w, u):
            _, p, s = HARDTANH.moments(mp.fdot(w, w), mp.fdot(w, u), mp.fdot(u, u))
            return p * w + s * u

        h = mp.mpf(10) ** -9
        for u, value, change in zip(PAIRS, *got, strict=True):
            w, u, d = vector(W), vector(u), vector(t)
            np.testing.assert_allclose(
                value, np.array(truth(w, u), float).ravel(), rtol=1e-10, atol=1e-10
            )
            slope = (truth(w + h * d, u) - truth(w - h * d, u)) / (2 * h)
            np.testing.assert_allclose(change, np.array(slope, float).ravel(), rtol=1e-7, atol=1e-7)


def test_a_kinked_unit_of_length_zero_has_a_hessian_where_sigma_has():
    """σ(x) = x near 0: E[σ(w·x) σ(u·x)] has gradient E[x σ(u·x)] at w = 0, and Hessian σ''(0) E[σ(u)] = 0."""
    act, u = HARDTANH.library, jnp.asarray(W)
    f = lambda w: act.second_moment(w @ w, w @ u, u @ u)  # noqa: E731
    zero = jnp.zeros(3)
    slope = float(mp.erf(1 / mp.sqrt(2)))  # E[σ'(u)], |u| = 1
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
    np.testing.assert_allclose(ol.GradientFlow()(0.0, weights, problem).W, 0, atol=1e-14)
    np.testing.assert_allclose(ol.population_loss(problem, weights), 0, atol=1e-14)
    # Away from 0 the norm counts: ½E[(θ(u − b) − θ(u* − b))²] = |Φ(b) − Φ(b/n)|/2, a cone at n = 1 only.
    problem = ol.Problem(1, 1, STEP.library)
    np.testing.assert_allclose(
        ol.population_loss(problem, weights), float(mp.ncdf(0.3) - mp.ncdf(0.15)) / 2, atol=1e-12
    )
    slope = -0.15 / 2 * float(mp.npdf(0.15)) / 2
    np.testing.assert_allclose(
        -ol.GradientFlow()(0.0, weights, problem).W, [[-slope, 0]], atol=1e-10
    )
