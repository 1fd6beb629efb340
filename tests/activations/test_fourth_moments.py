r"""I4, E[σ'(u) σ'(v) σ(s) σ(t)].

Truth for kinked units is `moment`, in mpmath and of any covariance, singular ones included: scale the
covariances of {u, v} with {s, t} by τ = cos ψ. At τ = 0 the moment is a product of two known ones, and by
Price's theorem its slope is a sum of E[σ''(a) σ'(b) σ'(c) σ(d)]: given a = 0, a moment of three Gaussians,
by Stein's lemma arcsines. What is singular lies on the imaginary axis of ψ, as near to 0 as units are to
each other: Gauss–Legendre on intervals that shrink towards 0.
"""

from functools import cache
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from systems import ERF, LEAKY, RELU, SAMPLES, SOFTPLUS, TANH, covariance, of_units, within

from odelandscape.activations.quadrature import Quadrature
from odelandscape.activations.signs import EDGES, signed_products

EACH = (RELU, LEAKY, ERF, TANH, SOFTPLUS)
# A leak changes two factors in what is compiled; all of it is compared again where there is time.
relu_first = pytest.mark.parametrize(
    "sigma", [RELU, pytest.param(LEAKY, marks=pytest.mark.slow)], ids=lambda s: s.name
)
each_smooth = pytest.mark.parametrize("sigma", [ERF, TANH, SOFTPLUS], ids=lambda s: s.name)

# --- truth ----------------------------------------------------------------------------------------

NODES = [
    (mp.mpf(x), mp.mpf(w)) for x, w in np.array(np.polynomial.legendre.leggauss(16)).T.tolist()
]
ENDS = [mp.mpf(4) ** -k for k in range(18)] + [mp.mpf(0)]
ROUNDING = mp.mpf(10) ** -25


def _corner(C, low):
    """E[σ(s) σ(t)] (Cho and Saul 2009)."""
    across = mp.sqrt(max(C[0, 0] * C[1, 1] - C[0, 1] ** 2, 0))
    bent = across + (mp.pi - mp.atan2(across, C[0, 1])) * C[0, 1]
    return low * C[0, 1] + (1 - low) ** 2 * bent / (2 * mp.pi)


def moment(C, low=0.0):
    """E[σ'(u) σ'(v) σ(s) σ(t)] of σ(x) = x, and low · x for x < 0, where σ'(0) = (1 + low)/2."""
    with mp.workdps(34):
        C, low = mp.matrix(C.tolist()), mp.mpf(low)

        def slopes(x, xy, y):  # E[σ'(x) σ'(y)]
            cosine = xy / mp.sqrt(x * y) if x * y > ROUNDING**2 else mp.mpf(0)
            angle = mp.asin(max(-1, min(1, cosine)))
            return (1 + low) ** 2 / 4 + (1 - low) ** 2 * angle / (2 * mp.pi)

        def rate(tau):  # of the moment, in τ
            c, total = C.copy(), mp.mpf(0)
            for i, j in product((0, 1), (2, 3)):
                c[i, j] = c[j, i] = tau * C[i, j]
            for a, b in ((0, 1), (1, 0)):
                rest = (b, 2, 3)
                S = {(i, j): c[i, j] - c[i, a] * c[a, j] / c[a, a] for i in rest for j in rest}
                for k in rest:
                    if S[k, k] > ROUNDING * c[k, k]:
                        x, y = (i for i in rest if i != k)
                        given = (
                            S[i, j] - S[i, k] * S[k, j] / S[k, k]
                            for i, j in ((x, x), (x, y), (y, y))
                        )
                        pull = (C[a, 2] * S[3, k] + C[a, 3] * S[2, k]) / mp.sqrt(S[k, k] * c[a, a])
                        total += pull * slopes(*given)
            return (1 - low) ** 2 * total / (2 * mp.pi)

        total = slopes(C[0, 0], C[0, 1], C[1, 1]) * _corner(C[2:, 2:], low)
        for high, end in pairwise(ENDS):
            half = mp.pi * (high - end) / 4
            for x, w in NODES:
                psi = mp.pi * end / 2 + half * (1 + x)
                total += half * w * mp.sin(psi) * rate(mp.cos(psi))
        return total


def grid(functions, C, h=0.35):
    """E[f(u) g(v) h(s) k(t)] of analytic functions: the trapezoidal rule on the axes of C."""
    scale, axes = np.linalg.eigh(C)
    axes = (axes * np.sqrt(np.maximum(scale, 0)))[:, scale > 1e-12]
    z = np.arange(-20, 21) * h
    weight = np.exp(-(z**2) / 2) * h / np.sqrt(2 * np.pi)
    rank = axes.shape[1]
    values = 1.0
    for function, axis in zip(functions, axes, strict=True):
        field = sum(
            np.expand_dims(x * z, [j for j in range(rank) if j != i]) for i, x in enumerate(axis)
        )
        values = values * function(field)
    for _ in range(rank):
        values = values @ weight
    return float(values)


def _nearby() -> dict[str, np.ndarray]:
    """Units that nearly depend on each other, each by its name and closeness."""
    rng = np.random.default_rng(0)
    ties = {  # what becomes of u, v, s, t
        "u≈v": {0: [0, 1, 0, 0]},
        "u≈-v": {0: [0, -1, 0, 0]},
        "u≈s": {0: [0, 0, 1, 0]},
        "u≈-s": {0: [0, 0, -1, 0]},
        "s≈t": {3: [0, 0, 1, 0]},
        "u≈s, v≈t": {0: [0, 0, 1, 0], 1: [0, 0, 0, 1]},
        "u≈v, s≈t": {0: [0, 1, 0, 0], 2: [0, 0, 0, 1]},
        "u≈v≈s": {0: [0, 0, 1, 0], 1: [0, 0, 1, 0]},
        "u≈s≈t": {0: [0, 0, 1, 0], 3: [0, 0, 1, 0]},
        "all four": {i: [0, 0, 0, 1] for i in range(3)},
        "s in a plane": {2: [0.7, -0.4, 0, 0]},
        "u in a space": {0: [0, 0.5, 0.8, -0.3]},
    }
    cases = {}
    for name, closeness in product(ties, (1e-2, 1e-4, 1e-6)):
        W = rng.standard_normal((4, 4))
        W /= np.linalg.norm(W, axis=1, keepdims=True)
        free = W.copy()
        for i, row in ties[name].items():
            W[i] = row @ free + closeness * rng.standard_normal(4)
        cases[f"{name}, {closeness}"] = of_units(W)
    return cases


A, B, D, E = [[1, 2, 0, 1], [0, 1, 3, 1], [1, 0, 2, -1], [2, 0, 1, 1]]
GENERIC = [covariance(np.random.default_rng(seed), 4) for seed in range(4)]
NEARBY = _nearby()
# Small integers: their covariances are exact, and so is the rank.
SINGULAR = {
    "u=v": [A, A, B, E],
    "u=-v": [A, np.negative(A), D, E],
    "u=s": [A, B, A, E],
    "u=-s": [A, B, np.negative(A), E],
    "s=-2u": [A, B, np.multiply(-2, A), E],
    "t=3u": [A, B, D, np.multiply(3, A)],
    "s=t": [A, B, E, E],
    "t=-2s": [A, B, E, np.multiply(-2, E)],
    "u=s, v=t": [A, B, A, B],
    "u=v, s=t": [A, A, B, B],
    "u=s, v=-t": [A, B, A, np.negative(B)],
    "u=v=s": [A, A, A, E],
    "u=s=t": [A, E, A, A],
    "rank 3": [[1, 2, 0], [0, 1, 1], [1, 1, -1], [2, -1, 1]],
    "rank 2": [[1, 2], [2, -1], [1, 1], [3, 1]],
    "rank 2, two equal": [[1, 2], [2, -1], [1, 2], [3, 1]],
    "rank 1": [[1], [2], [3], [1]],
    "rank 1, opposite": [[1], [-2], [3], [1]],
}
SINGULAR = {name: of_units(W) for name, W in SINGULAR.items()}


def positive_definite(C) -> bool:
    with mp.workdps(40):
        try:
            return bool(mp.cholesky(mp.matrix(C.tolist())))
        except ValueError:
            return False


@cache
def fast(sigma, grad=False):
    return jax.jit(jax.vmap(jax.grad(sigma.library.I4) if grad else sigma.library.I4))


def I4(sigma, covariances, grad=False) -> np.ndarray:
    """Of kinked units always 64 at a time: one program."""
    C = np.array(covariances)
    fill = 0 if sigma.curvature else -len(C) % 64
    return np.asarray(fast(sigma, grad)(jnp.asarray([*C, *[np.eye(4)] * fill])))[: len(C)]


# --- values ---------------------------------------------------------------------------------------


def compare(sigma, cases, tolerance):
    """Of units of length 1, absolutely: values near 0 are differences of larger ones."""
    C = np.array(cases)
    lengths = np.sqrt(C[:, 2, 2] * C[:, 3, 3])
    truth = np.array([float(moment(c, sigma.low)) for c in C])
    np.testing.assert_allclose(I4(sigma, C) / lengths, truth / lengths, rtol=0, atol=tolerance)


@relu_first
def test_of_units_in_general_position_it_is_right_to_rounding(sigma):
    compare(sigma, GENERIC, 4e-15)


@relu_first
def test_of_units_that_nearly_coincide_it_is_right_as_far_as_float64_separates_them(sigma):
    # I4 moves with the angle of u and v, of which rounding of a covariance leaves 2e-16/1e-6.
    cases = [C for C in NEARBY.values() if positive_definite(C)]
    assert len(cases) > 30
    cases = cases[:: 1 if sigma is RELU else 4]  # of all names and closenesses
    compare(sigma, cases, 1e-11)


@relu_first
def test_of_units_that_coincide_it_is_right_to_rounding(sigma):
    compare(sigma, list(SINGULAR.values()), 4e-15)


def test_known_moments_of_relu():
    a = np.pi / 3
    cases = [
        (np.eye(4), 1 / (8 * np.pi)),
        (np.ones((4, 4)), 1 / 2),  # E[θ(s) s²]
        (np.kron(np.eye(2), np.ones((2, 2))), 1 / 4),  # P(u > 0) E[θ(s) s²]
        (np.kron(np.ones((2, 2)), np.eye(2)), 1 / (2 * np.pi)),  # E[s⁺]²
        # A plane: ∫ cos φ cos(φ - a) dφ/π over the sector where both are positive.
        (
            np.kron(np.ones((2, 2)), [[1, np.cos(a)], [np.cos(a), 1]]),
            (np.sin(a) + (np.pi - a) * np.cos(a)) / (2 * np.pi),
        ),
    ]
    got = I4(RELU, [np.asarray(C, float) for C, _ in cases])
    np.testing.assert_allclose(got, [value for _, value in cases], rtol=1e-15)


@pytest.mark.parametrize("sigma", EACH, ids=lambda s: s.name)
def test_it_equals_monte_carlo(sigma):
    z = np.random.default_rng(5).standard_normal((SAMPLES, 4))
    units = [np.linalg.cholesky(C) for C in GENERIC[:3]] + [[A, B, A, E]]
    for L in units:
        u, v, s, t = np.array(L) @ z.T
        draws = sigma.slope(u) * sigma.slope(v) * sigma.value(s) * sigma.value(t)
        got = I4(sigma, [of_units(L)])[0]
        within(got, (draws.mean(), draws.std() / np.sqrt(SAMPLES)))


@each_smooth
def test_smooth_units_equal_a_grid_on_other_axes_singular_covariances_included(sigma):
    small = [0.06 * SINGULAR[name] for name in ("u=s, v=t", "rank 2", "rank 1")]
    C = np.array([*GENERIC[:2], *small])
    functions = (sigma.slope, sigma.slope, sigma.value, sigma.value)
    np.testing.assert_allclose(I4(sigma, C), [grid(functions, c) for c in C], rtol=0, atol=2e-9)


def test_erf_in_closed_form_equals_its_quadrature():
    by_nodes = jax.jit(jax.vmap(Quadrature(lambda x: jax.scipy.special.erf(x / np.sqrt(2))).I4))
    C = np.array([*GENERIC, np.eye(4), 0.1 * SINGULAR["u=v=s"], np.zeros((4, 4))])
    np.testing.assert_allclose(by_nodes(jnp.asarray(C)), I4(ERF, C), rtol=0, atol=2e-9)


@pytest.mark.parametrize("sigma", [RELU, LEAKY, ERF, TANH], ids=lambda s: s.name)
def test_it_is_symmetric_in_the_slopes_and_in_the_values(sigma):
    C = GENERIC[0]
    orders = [np.ix_(o, o) for o in ([0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 3, 2], [1, 0, 3, 2])]
    got = I4(sigma, [C[order] for order in orders])
    rounding = 2e-9 if sigma is TANH else 1e-15  # of Quadrature's grid
    np.testing.assert_allclose(got, got[0], rtol=1e-13, atol=rounding)


@relu_first
def test_it_is_independent_of_lengths_of_slopes_and_linear_in_those_of_values(sigma):
    lengths = np.array([1e-3, 7.0, 0.2, 1e4])
    got = I4(sigma, [C * np.outer(lengths, lengths) for C in GENERIC])
    np.testing.assert_allclose(got / (0.2 * 1e4), I4(sigma, GENERIC), rtol=2e-13)


@pytest.mark.parametrize("sigma", [RELU, ERF], ids=lambda s: s.name)
def test_a_large_batch_equals_its_pieces(sigma):
    W = np.random.default_rng(3).standard_normal((20_000, 4, 4))
    C = jnp.asarray(W @ W.swapaxes(1, 2))
    whole = np.asarray(fast(sigma)(C))
    starts = range(0, len(C) - 63, 64)
    pieces = np.concatenate([I4(sigma, C[k : k + 64]) for k in starts])
    lengths = np.sqrt(C[:, 2, 2] * C[:, 3, 3]) if sigma is not ERF else np.ones(len(C))
    np.testing.assert_allclose(
        (whole / lengths)[: len(pieces)], pieces / lengths[: len(pieces)], rtol=0, atol=1e-14
    )


# --- nodes ----------------------------------------------------------------------------------------


def _six(covariances):
    C = np.array(covariances)
    n = np.sqrt(np.diagonal(C, axis1=1, axis2=2))
    rho = C / (n[:, :, None] * n[:, None, :])
    return [jnp.asarray(rho[:, i, j]) for i, j in EDGES]


@pytest.mark.slow
def test_the_rule_keeps_its_tolerance_near_coincidence_too():
    rng = np.random.default_rng(1)
    near = rng.standard_normal((20_000, 4, 4))
    # Every unit may lie at a closeness down to 1e-5 to one before it, or its opposite.
    for k in range(1, 4):
        closeness = 10 ** rng.uniform(-5, 0, (len(near), 1))
        sign = rng.choice([-1, 1], (len(near), 1))
        other = near[np.arange(len(near)), rng.integers(k, size=len(near))]
        near[:, k] = sign * other + closeness * near[:, k]
    near[: len(near) // 2] = rng.standard_normal((len(near) // 2, 4, 4))
    six = _six([*(near @ near.swapaxes(1, 2)), *NEARBY.values(), *SINGULAR.values()])
    run = jax.jit(
        lambda six, tolerance: jnp.stack(signed_products(six, tolerance)), static_argnums=1
    )
    truth = run(six, 1e-14)
    for tolerance in (1e-6, 1e-9, 1e-12):
        assert np.max(np.abs(run(six, tolerance) - truth)) < tolerance


# --- derivatives ----------------------------------------------------------------------------------


@relu_first
def test_gradient_in_the_covariance_equals_differences_of_the_truth(sigma):
    C, h = GENERIC[1], 2.0**-30
    got = I4(sigma, [C], grad=True)[0]
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 3), (2, 3), (3, 3)):
        change = np.zeros((4, 4))
        change[i, j] = change[j, i] = 1
        truth = _slope(lambda x: C.astype(object) + x * change, h, sigma)  # noqa: B023
        np.testing.assert_allclose(np.sum(got * change), truth, rtol=1e-9, atol=1e-12)


def _slope(path, h, sigma) -> float:
    """Central difference of the moment along a path of covariances, in mpmath."""
    with mp.workdps(34):
        moved = [np.vectorize(mp.mpf, otypes=[object])(path(mp.mpf(x))) for x in (h, -h)]
        return float((moment(moved[0], sigma.low) - moment(moved[1], sigma.low)) / (2 * h))


@relu_first
def test_gradient_in_the_covariance_of_two_values_is_the_average_of_four_slopes(sigma):
    C = GENERIC[2]
    slopes = sigma.slope(
        np.random.default_rng(6).standard_normal((SAMPLES, 4)) @ np.linalg.cholesky(C).T
    )
    draws = np.prod(slopes, axis=1)
    got = I4(sigma, [C], grad=True)[0]
    within(got[2, 3] + got[3, 2], (draws.mean(), draws.std() / np.sqrt(SAMPLES)))


@pytest.mark.slow
@each_smooth
def test_gradients_of_smooth_units_are_the_averages_of_price(sigma):
    bend, slope, value = sigma.curvature, sigma.slope, sigma.value
    C = np.array([GENERIC[0], 0.06 * SINGULAR["u=s, v=t"]])
    got = I4(sigma, C, grad=True)
    got = got + got.swapaxes(1, 2)
    for (i, j), functions in {
        (0, 1): (bend, bend, value, value),
        (1, 2): (slope, bend, slope, value),
        (2, 3): (slope, slope, slope, slope),
        (3, 3): (slope, slope, value, bend),
    }.items():
        np.testing.assert_allclose(got[:, i, j], [grid(functions, c) for c in C], rtol=0, atol=2e-8)


@pytest.mark.parametrize("sigma", [RELU, LEAKY, ERF, TANH], ids=lambda s: s.name)
def test_gradients_are_finite_where_units_coincide(sigma):
    C = [*SINGULAR.values(), np.ones((4, 4)), np.eye(4)][-4 if sigma is TANH else 0 :]
    assert np.isfinite(I4(sigma, C, grad=True)).all()


@pytest.mark.slow
@relu_first
def test_gradient_in_the_weights_where_a_value_coincides_with_another_unit(sigma):
    cases = [
        [A, B, D, E],
        [A, B, E, E],
        [A, B, E, np.multiply(-2, E)],
        [A, B, A, E],
        [A, B, np.negative(A), E],
        [A, B, D, np.multiply(3, A)],
        [A, B, A, B],
        [A, E, A, A],
    ]
    W = np.array(cases, float)
    move = np.random.default_rng(8).integers(-4, 5, W.shape) / 8
    slopes = jax.jit(jax.vmap(jax.grad(lambda W: sigma.library.I4(W @ W.T))))(jnp.asarray(W))
    got = np.sum(slopes * move, axis=(1, 2))

    def path(k):
        moved = lambda x: W[k].astype(object) + x * move[k]  # noqa: E731
        return lambda x: moved(x) @ moved(x).T

    # Second derivatives have kinks there: a difference is good to its step.
    truth = [_slope(path(k), 2.0**-26, sigma) for k in range(len(W))]
    np.testing.assert_allclose(got, truth, rtol=1e-7, atol=1e-6)


@pytest.mark.slow
def test_jit_vmap_and_neither_agree():
    C = jnp.asarray(GENERIC[0])
    got = [RELU.library.I4(C), jax.jit(RELU.library.I4)(C), I4(RELU, C[None])[0]]
    np.testing.assert_allclose(got, got[0], rtol=1e-13)


@relu_first
def test_single_precision_is_refused(sigma):
    message = pytest.raises(ValueError, match="need float64; got float32")
    with jax.numpy_dtype_promotion("standard"), message:
        sigma.library.I4(jnp.eye(4, dtype=np.float32))
