"""Gaussian integrals and their derivatives against angle integrals, grids and samples."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from systems import (
    ERF,
    LEAKY,
    RELU,
    RELU_AT_ANGLE,
    SIGMAS,
    SOFTPLUS,
    covariance,
    each_sigma,
    expectation,
    relu_moment_mp,
    within,
)

from odelandscape.activations.angles import arcsine
from odelandscape.activations.quadrature import Quadrature
from odelandscape.activations.relu import LeakyReLU, ReLU

GENERIC = [covariance(np.random.default_rng(seed), 3) for seed in range(3)]
each_covariance = pytest.mark.parametrize("C", GENERIC, ids=range(len(GENERIC)))
UW = np.ix_([0, 2], [0, 2])
BLOCKS = (slice(None), *UW)


# --- values ---------------------------------------------------------------------------------------


@each_sigma
def test_integrals_equal_angle_or_grid_integrals(sigma):
    C = jnp.asarray(GENERIC)
    I2, I3 = jax.jit(
        lambda C: (jax.vmap(sigma.library.I2)(C[BLOCKS]), jax.vmap(sigma.library.I3)(C))
    )(C)
    for C, i2, i3 in zip(GENERIC, I2, I3, strict=True):
        # v enters I3 through its conditional mean α u + β w.
        alpha, beta = np.linalg.solve(C[UW], C[1, [0, 2]])
        truth2 = expectation(lambda u, w: sigma.value(u) * sigma.value(w), C[UW], sigma)
        truth3 = expectation(
            lambda u, w: sigma.slope(u) * (alpha * u + beta * w) * sigma.value(w),  # noqa: B023
            C[UW],
            sigma,
        )
        np.testing.assert_allclose(i2, truth2, rtol=1e-11)
        np.testing.assert_allclose(i3, truth3, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("sigma", [*SIGMAS, SOFTPLUS], ids=lambda s: s.name)
def test_integrals_equal_monte_carlo(sigma):
    C = GENERIC[0]
    x = np.random.default_rng(7).standard_normal((1_000_000, 3)) @ np.linalg.cholesky(C).T
    u, v, w = x.T
    for draws, value in (
        (sigma.value(u) * sigma.value(w), sigma.library.I2(jnp.asarray(C[UW]))),
        (sigma.slope(u) * v * sigma.value(w), sigma.library.I3(jnp.asarray(C))),
    ):
        within(value, (draws.mean(), draws.std() / np.sqrt(draws.size)))


@pytest.mark.parametrize(("angle", "value"), RELU_AT_ANGLE.items())
def test_relu_at_known_angles(angle, value):
    C = jnp.asarray([[1.0, np.cos(angle)], [np.cos(angle), 1.0]])
    np.testing.assert_allclose(ReLU().I2(C), value, rtol=1e-15, atol=1e-16)


@each_sigma
def test_the_package_and_numpy_have_the_same_function(sigma):
    x = np.linspace(-4, 4, 41)
    np.testing.assert_allclose(sigma.library(jnp.asarray(x)), sigma.value(x), atol=1e-15)
    a = 2.5
    homogeneous = np.allclose(sigma.value(a * x), a * sigma.value(x))
    assert sigma.library.positively_homogeneous == homogeneous


def test_quadrature_of_relu_equals_its_closed_form():
    rule = Quadrature(jax.nn.relu, homogeneous=True)
    C = jnp.asarray(GENERIC)
    for take in (lambda act: act.I3, lambda act: jax.grad(lambda C: act.I2(C[UW]))):
        pair = [jax.jit(jax.vmap(take(act)))(C) for act in (rule, ReLU())]
        np.testing.assert_allclose(*pair, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_leaky_relu_interpolates_between_relu_and_the_linear_network(slope):
    C = GENERIC[0]
    low = LeakyReLU(slope)
    truth = slope * C[0, 2] + (1 - slope) ** 2 * float(relu_moment_mp(*np.linalg.cholesky(C[UW])))
    np.testing.assert_allclose(low.I2(jnp.asarray(C[UW])), truth, rtol=1e-14)


@pytest.mark.usefixtures("unchecked")
def test_quadrature_of_something_not_callable_is_refused():
    with pytest.raises(ValueError, match=r"function must be .* got 'tanh'"):
        Quadrature("tanh")


def test_arcsine_is_right_to_two_units_in_the_last_place():
    c = np.concatenate([np.linspace(-1, 1, 401), [0.5, np.nextafter(0.5, 1), 1e-300, 1e-9, 0.0]])
    c = np.concatenate([c, 1 - 10.0 ** -np.arange(1, 17), np.nextafter([1.0, -1.0], 0)])
    got = np.asarray(jax.jit(arcsine)(jnp.asarray(c)))
    error = [abs(mp.mpf(float(g)) - mp.asin(mp.mpf(float(x)))) for g, x in zip(got, c, strict=True)]
    assert max(e / mp.mpf(float(np.spacing(abs(g)))) for e, g in zip(error, got, strict=True)) <= 2
    assert arcsine(jnp.asarray(1 + 1e-15)) == arcsine(jnp.asarray(1.0))  # rounding past 1


def test_erf_is_right_in_a_large_array_too():
    # jaxlib 0.10.2 has wrong elementary functions past some 50 elements (jax-ml/jax#39352).
    c11, c22, c = np.random.default_rng(3).uniform([0, 0, -1], [4, 4, 1], (20_000, 3)).T
    c12 = c * np.sqrt(c11 * c22)
    truth = 2 / np.pi * np.arcsin(c12 / np.sqrt((1 + c11) * (1 + c22)))
    moment = jax.jit(ERF.library.second_moment)(*map(jnp.asarray, (c11, c12, c22)))
    np.testing.assert_allclose(moment, truth, rtol=1e-13, atol=1e-15)


# --- Price's theorem ------------------------------------------------------------------------------


@each_sigma
def test_gradient_of_I2_and_mixing_scalars_are_the_averages_of_price_and_stein(sigma):
    entries = jnp.asarray([[C[0, 0], C[0, 2], C[2, 2]] for C in GENERIC])
    I2 = sigma.library.second_moment
    gradients = jax.jit(jax.vmap(jax.grad(lambda c: I2(*c))))(entries)
    mixing = jax.jit(lambda *c: sigma.library.mixing_scalars(*c))
    (p, s), (q, _) = mixing(*entries.T), mixing(*entries.T[::-1])
    np.testing.assert_allclose(gradients, jnp.stack([p / 2, s, q / 2], axis=1), rtol=1e-12)
    for C, gradient, p_, s_ in zip(GENERIC, gradients, p, s, strict=True):
        C = C[UW]
        slopes = expectation(lambda u, w: sigma.slope(u) * sigma.slope(w), C, sigma, degree=0)
        # E[σ'(u) u σ(w)] = p c11 + s c12.
        stretch = expectation(lambda u, w: sigma.slope(u) * u * sigma.value(w), C, sigma)
        np.testing.assert_allclose(s_, slopes, rtol=1e-11)
        np.testing.assert_allclose(p_ * C[0, 0] + s_ * C[0, 1], stretch, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(gradient, differences(sigma, C), rtol=1e-6, atol=1e-7)


def differences(sigma, C, h=1e-4):
    """Central differences of E[σ(u) σ(w)] in (c11, c12, c22)."""

    def moment(step):
        moved = C + np.array([[step[0], step[1]], [step[1], step[2]]])
        return expectation(lambda u, w: sigma.value(u) * sigma.value(w), moved, sigma)

    return [(moment(h * e) - moment(-h * e)) / (2 * h) for e in np.eye(3)]


# --- derivatives in the weights -------------------------------------------------------------------


def moment(sigma, w, u):
    """w ↦ E[σ(w·x) σ(u·x)], as the package computes it."""
    return sigma.library.I2(jnp.stack([jnp.stack([w @ w, w @ u]), jnp.stack([w @ u, u @ u])]))


def truth_by_grid(sigma, w, u):
    """Value, gradient E[σ'(w·x) σ(u·x) x], Hessian E[σ''(w·x) σ(u·x) x xᵀ]; w, u in the plane."""
    h = 0.1
    z = np.arange(-90, 91) * h
    x = np.stack(np.meshgrid(z, z, [0.0], indexing="ij"), axis=-1).reshape(-1, 3)
    weight = np.exp(-np.sum(x**2, axis=1) / 2) * h**2 / (2 * np.pi)
    a, b = x @ w, weight * sigma.value(x @ u)
    hessian = (sigma.curvature(a) * b * x.T) @ x
    hessian[2, 2] = sigma.curvature(a) @ b  # the direction out of the plane is independent
    return sigma.value(a) @ b, (sigma.slope(a) * b) @ x, hessian


def truth_by_differences(sigma, w, u):
    """Central differences of the closed form in 80 digits, with a step far below every angle."""
    with mp.workdps(80):
        h = mp.mpf(10) ** -18
        w, u = [mp.mpf(float(x)) for x in w], [mp.mpf(float(x)) for x in u]
        n = len(w)

        def f(*steps):
            moved = [x + h * sum(sign for i, sign in steps if i == k) for k, x in enumerate(w)]
            bent = relu_moment_mp(moved, u)
            return sigma.low * mp.fdot(moved, u) + (1 - mp.mpf(sigma.low)) ** 2 * bent

        gradient = [(f((i, 1)) - f((i, -1))) / (2 * h) for i in range(n)]
        corners = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        second = [
            [sum(a * b * f((i, a), (j, b)) for a, b in corners) / (4 * h * h) for j in range(n)]
            for i in range(n)
        ]
        return float(f()), np.array(gradient, float), np.array(second, float)


W, ACROSS, ZERO = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 0.0]])
PAIRS = [
    *((W, u) for u in (W, -W, 1.7 * W, -0.4 * W, ACROSS)),
    *((W, np.cos(a) * W + np.sin(a) * ACROSS) for a in (1e-3, 1e-6, 1e-9, np.pi - 1e-6, 2.0)),
]
AT_ZERO = [(ZERO, W), (W, ZERO), (ZERO, ZERO)]
each_kinked = pytest.mark.parametrize("sigma", [RELU, LEAKY], ids=lambda s: s.name)
each_smooth = pytest.mark.parametrize("sigma", [ERF, SOFTPLUS], ids=lambda s: s.name)


@cache
def derivatives(sigma):
    """Value, gradient and Hessian of `moment` in w for all pairs, under jit and vmap."""
    f = partial(moment, sigma)
    w, u = jnp.asarray(PAIRS + AT_ZERO).transpose(1, 0, 2)
    all_three = lambda w, u: (f(w, u), jax.grad(f)(w, u), jax.hessian(f)(w, u))  # noqa: E731
    return jax.jit(jax.vmap(all_three))(w, u)


def compare(sigma, truth, pairs, rows):
    for (w, u), *got in zip(pairs, *(part[rows] for part in derivatives(sigma)), strict=True):
        value, gradient, hessian = truth(sigma, w, u)
        # Quadrature's nodes leave 1e-11 at length 1.7; closed forms are right to rounding.
        np.testing.assert_allclose(got[0], value, rtol=3e-11, atol=1e-14, err_msg=f"{w, u}")
        np.testing.assert_allclose(got[1], gradient, rtol=1e-10, atol=1e-12, err_msg=f"{w, u}")
        # Rounding of c blurs an angle below 1e-8, and the Hessian moves by about as much.
        np.testing.assert_allclose(got[2], hessian, rtol=1e-7, atol=3e-8, err_msg=f"{w, u}")


@each_kinked
def test_derivatives_in_the_weights_of_kinked_units_at_and_near_coincidence(sigma):
    compare(sigma, truth_by_differences, PAIRS, slice(len(PAIRS)))


@each_smooth
def test_derivatives_in_the_weights_of_smooth_units_at_and_near_coincidence(sigma):
    compare(sigma, truth_by_grid, PAIRS, slice(len(PAIRS)))


@each_smooth
def test_smooth_units_are_smooth_at_length_zero(sigma):
    compare(sigma, truth_by_grid, AT_ZERO, slice(len(PAIRS), None))


@each_kinked
@pytest.mark.parametrize("u", [W, -W, ACROSS], ids=["equal", "opposite", "orthogonal"])
def test_forward_over_reverse_agrees_outside_jit_and_vmap(sigma, u):
    f = partial(moment, sigma)
    hessian = truth_by_differences(sigma, W, u)[2]
    t = jnp.asarray([0.3, -0.2, 0.5])
    along = jax.jvp(jax.grad(lambda w: f(w, jnp.asarray(u))), (jnp.asarray(W),), (t,))[1]
    np.testing.assert_allclose(along, hessian @ t, rtol=1e-7, atol=3e-8)


@pytest.mark.parametrize("sigma", [RELU, LEAKY, ERF], ids=lambda s: s.name)
def test_the_integrals_are_functions_for_jit_vmap_and_grad(sigma):
    C = jnp.asarray(GENERIC)
    I3 = sigma.library.I3
    values = [I3(c) for c in C]
    np.testing.assert_allclose(jax.vmap(I3)(C), values, rtol=1e-14)
    np.testing.assert_allclose([jax.jit(I3)(c) for c in C], values, rtol=1e-14)
    assert np.isfinite(jax.jit(jax.grad(I3))(C[0])).all()


@each_kinked
def test_units_that_move_together_have_no_angle_between_them(sigma):
    # E[σ(w·x)²] = (1 + a²) |w|²/2.
    hessian = jax.jit(jax.hessian(lambda w: moment(sigma, w, w)))(jnp.asarray(W))
    np.testing.assert_allclose(hessian, (1 + sigma.low**2) * np.eye(3), atol=1e-12)


@each_kinked
def test_at_length_zero_a_kinked_unit_has_its_central_derivative(sigma):
    value, gradient, hessian = (part[len(PAIRS) :] for part in derivatives(sigma))
    np.testing.assert_array_equal(value, 0)
    # (I2(h w, u) − I2(−h w, u))/2h is the part odd in w: E[σ'(0) w·x σ(u·x)], σ'(0) = (1 + a)/2.
    central = (1 + sigma.low) / 2
    np.testing.assert_allclose(gradient[0], central**2 * W, rtol=1e-14)
    assert np.isfinite(hessian).all()
    # Where the *other* unit has length 0, nothing is felt at all.
    np.testing.assert_array_equal(gradient[1:], 0)
    np.testing.assert_array_equal(hessian[1:], 0)
    p, s = sigma.library.mixing_scalars(jnp.zeros(()), jnp.zeros(()), jnp.ones(()))
    assert np.isfinite(p)
    np.testing.assert_allclose(s, central**2, rtol=1e-15)
