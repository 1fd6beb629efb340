"""Products of slopes, of which the noise of SGD is made, against Monte Carlo and plain sums over I4."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import ERF, LEAKY, RELU, SAMPLES, of_units, within

from odelandscape.activations.base import AbstractActivation
from odelandscape.activations.homogeneous import quadruples
from odelandscape.activations.signs import EDGES

# A leak changes two factors in what is compiled; all of it is compared again where there is time.
relu_first = pytest.mark.parametrize(
    "sigma", [RELU, pytest.param(LEAKY, marks=pytest.mark.slow)], ids=lambda s: s.name
)
each_noisy = pytest.mark.parametrize("sigma", [RELU, LEAKY, ERF], ids=lambda s: s.name)


def _network(K: int, M: int, coincide: bool = False):
    """Rows of all units, students first, and their readouts, the teacher's with a minus."""
    rng = np.random.default_rng(10 * K + M)
    W = rng.standard_normal((K + M, 5)) / np.sqrt(5)
    a = rng.uniform(0.5, 1.5, K + M) * np.where(np.arange(K + M) < K, 1, -1)
    if coincide:
        W[K - 1] = W[0]  # two students,
        W[K] = W[min(1, K - 1)]  # a teacher and a student,
        W[-1] = -2 * W[0]  # and one that is opposite to another
    return W, a


def _products(sigma, W, a, K, by_pairs=False):
    take = AbstractActivation.slope_products if by_pairs else type(sigma.library).slope_products
    run = jax.jit(lambda a, C: take(sigma.library, a, C, K, 1e-13))
    return np.asarray(run(jnp.asarray(a), jnp.asarray(of_units(W))))


NETWORKS = [(1, 1, False), (3, 2, False), (3, 2, True), (2, 3, True)]
each_network = pytest.mark.parametrize(("K", "M", "coincide"), NETWORKS)


@pytest.mark.slow
@each_noisy
@each_network
def test_products_of_slopes_equal_monte_carlo(sigma, K, M, coincide):
    W, a = _network(K, M, coincide)
    field = np.random.default_rng(9).standard_normal((SAMPLES, 5)) @ W.T
    slopes, squares = sigma.slope(field[:, :K]), (sigma.value(field) @ a) ** 2
    mean = slopes.T @ (slopes * squares[:, None]) / SAMPLES
    square = (slopes**2).T @ (slopes * squares[:, None]) ** 2 / SAMPLES - mean**2
    got = _products(sigma, W, a, K)
    within(got, (mean, np.sqrt(square / SAMPLES)))
    assert np.linalg.eigvalsh(got)[0] > -1e-14  # of Δσ'


@relu_first
def test_products_of_slopes_equal_the_plain_sum_over_I4(sigma):
    K = 3
    W, a = _network(K, 2, coincide=True)
    plain = _products(sigma, W, a, K, by_pairs=True)
    np.testing.assert_allclose(_products(sigma, W, a, K), plain, rtol=0, atol=3e-14)


@each_noisy
def test_a_student_that_is_the_teacher_makes_no_noise(sigma):
    K = 3
    W, a = _network(K, 0)
    products = _products(sigma, np.concatenate([W, W[::-1]]), np.concatenate([a, -a[::-1]]), K)
    np.testing.assert_allclose(products, 0, atol=1e-13)


@pytest.mark.parametrize(("K", "M"), [(1, 1), (1, 4), (2, 1), (3, 2), (2, 3), (4, 4), (10, 10)])
def test_quadruples_hold_each_pair_of_students_with_any_two_others_once(K, M):
    q = quadruples(K, K + M)
    assert q.units.shape[1] == comb(K, 2) * comb(M, 2) + comb(K, 3) * M + comb(K, 4)
    roles = np.stack([q.first, q.second, *q.rest], axis=1).tolist()
    others = lambda i, j: [k for k in range(K + M) if k not in (i, j)]  # noqa: E731
    truth = [
        [i, j, k, m]
        for i in range(K)
        for j in range(i + 1, K)
        for k in others(i, j)
        for m in others(i, j)
        if k < m
    ]
    assert sorted(roles) == sorted(truth)
    for row, edge, of in zip(roles, q.edge, q.of, strict=True):
        assert q.units[list(EDGES[edge] + EDGES[5 - edge]), of].tolist() == row
