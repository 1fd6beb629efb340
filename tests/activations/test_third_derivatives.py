"""Third derivatives of the loss, in nestings of forward and reverse mode, against differences in 80 digits.

Differences are central, so that where no third derivative exists (ReLU, two units of one direction, or of
opposite ones) they give the mean of the limits from both sides.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy.special import expit
from systems import ERF, LEAKY, RELU, SOFTPLUS, relu_moment_mp

import odelandscape as ol

CORRELATED = np.eye(3) + 0.3
PROBLEMS = {
    "relu": (RELU, 3, 3, 3, None),
    "relu, K < M < d, correlated": (RELU, 2, 3, 4, CORRELATED),
    "leaky relu, K > M": (LEAKY, 3, 2, 2, None),
    "erf, correlated": (ERF, 2, 3, 3, CORRELATED),
    "relu, K = 10": (RELU, 10, 10, 10, None),
}


def moment_mp(sigma, w, u):
    if sigma is ERF:
        lengths = mp.sqrt((1 + mp.fdot(w, w)) * (1 + mp.fdot(u, u)))
        return 2 / mp.pi * mp.asin(mp.fdot(w, u) / lengths)
    return sigma.low * mp.fdot(w, u) + (1 - mp.mpf(sigma.low)) ** 2 * relu_moment_mp(w, u)


def third_differences(sigma, W, teacher, u, coordinates):
    """D³L[u, u, e] for unit vectors e: of the pairs of units alone that e moves."""
    with mp.workdps(80):
        h = mp.mpf(10) ** -15
        rows = lambda A: [[mp.mpf(float(x)) for x in row] for row in np.asarray(A)]  # noqa: E731
        W, teacher, u = rows(W), rows(teacher), rows(u)

        def part(i, k, s, t):
            """The terms of L with student i, at W + s u + t e."""
            moved = [
                [x + s * h * y for x, y in zip(*pair, strict=True)]
                for pair in zip(W, u, strict=True)
            ]
            moved[i][k] += t * h
            total = moment_mp(sigma, moved[i], moved[i]) / 2
            total += sum(moment_mp(sigma, moved[i], w) for j, w in enumerate(moved) if j != i)
            return total - sum(moment_mp(sigma, moved[i], w) for w in teacher)

        def difference(i, k):
            second = [
                sum(c * part(i, k, s, t) for s, c in ((1, 1), (0, -2), (-1, 1))) for t in (1, -1)
            ]
            return (second[0] - second[1]) / (2 * h**3)

        return np.array([difference(i, k) for i, k in coordinates], float)


def third_derivatives(problem, W, u):
    """The gradient of uᵀHu, shape (K, d), in three nestings: two of the loss, one of the rates."""
    v = jnp.ones(len(W))

    def gradient(W):
        return jax.grad(lambda W: ol.population_loss(problem, ol.Weights(W, v)))(W)

    def rates(W):
        return -ol.GradientFlow()(0.0, ol.Weights(W, v), problem).W

    def along(f):
        return lambda W: jax.jvp(f, (W,), (u,))[1]

    def reverse(f):
        return jax.grad(lambda W: jnp.sum(f(W) * u))

    return jnp.stack(
        [
            reverse(along(gradient))(W),
            reverse(reverse(gradient))(W),
            along(along(rates))(W),
        ]
    )


def points(K, teacher):
    W = np.random.default_rng(0).standard_normal((K, teacher.shape[1])) / np.sqrt(K)
    equal, opposite, learnt = W.copy(), W.copy(), W.copy()
    equal[0], opposite[0] = 2 * W[1], -0.5 * W[1]  # exactly: powers of 2
    learnt[: len(teacher)] = teacher[:K]
    return np.stack([W, equal, opposite, learnt])


@pytest.mark.parametrize(("sigma", "K", "M", "d", "T"), PROBLEMS.values(), ids=PROBLEMS)
def test_third_derivatives_at_generic_coincident_opposite_and_the_teachers_weights(
    sigma, K, M, d, T
):
    problem = ol.Problem(K, M, sigma.library, T)
    teacher = np.asarray(problem.teacher_weights(d))
    at = points(K, teacher)
    u = jnp.asarray(np.cos(np.arange(K * d) ** 2.0).reshape(K, d))
    got = jax.jit(jax.vmap(lambda W: third_derivatives(problem, W, u)))(jnp.asarray(at))
    assert np.isfinite(got).all()
    # Of the widest problem three coordinates: differences take their time.
    coordinates = [(0, 0), (1, d - 1), (K - 1, 1)] if K == 10 else list(np.ndindex(K, d))
    for W, forms in zip(at, got, strict=True):
        truth = third_differences(sigma, W, teacher, u, coordinates)
        for form in forms:
            entries = [form[i, k] for i, k in coordinates]
            np.testing.assert_allclose(entries, truth, rtol=1e-7, atol=1e-7)


def test_where_a_unit_has_length_zero_third_derivatives_are_finite():
    W, u = jnp.asarray([[0.0, 0.0], [0.6, 0.8]]), jnp.ones((2, 2))
    for activation in (ol.ReLU(), ol.Erf()):
        problem = ol.Problem(2, 2, activation)
        assert np.isfinite(jax.jit(third_derivatives)(problem, W, u)).all()


def test_third_derivatives_of_a_smooth_function_by_quadrature_where_units_coincide():
    """D³[t, t, ·] at w = u of w ↦ E[σ(w·x) σ(u·x)], the mean of σ‴(u·x) σ(u·x) (t·x)² x, on a grid."""
    u, t = np.array([0.6, -0.8]), np.array([0.3, 0.5])
    z = 0.1 * np.arange(-90, 91)
    x = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.exp(-np.sum(x**2, axis=1) / 2) * 0.01 / (2 * np.pi)
    slope = expit(x @ u)
    third = slope * (1 - slope) * (1 - 2 * slope)
    truth = (weight * third * np.logaddexp(x @ u, 0) * (x @ t) ** 2) @ x

    act = SOFTPLUS.library
    f = lambda w: act.second_moment(w @ w, w @ jnp.asarray(u), jnp.asarray(u @ u))  # noqa: E731
    along = lambda f: lambda w: jax.jvp(f, (w,), (jnp.asarray(t),))[1]  # noqa: E731
    got = jax.jit(jax.grad(along(along(f))))(jnp.asarray(u))
    np.testing.assert_allclose(got, truth, rtol=1e-8)
