"""The decay of the loss along the flow."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import relu_gradient

import odelandscape as ol
from odelandscape.landscape.decay import decay


def along_gradient_flow(K, M, times):
    """W by another integrator and another gradient."""
    start = np.random.default_rng(1).normal(size=(K, 2)) / 2

    def rates(t, y):
        return -relu_gradient(y.reshape(K, 2), np.ones(K), np.eye(M, 2), np.ones(M)).ravel()

    end = solve_ivp(rates, (0, times[-1]), start.ravel(), "LSODA", times, rtol=1e-10, atol=1e-14)
    return end.y.T.reshape(-1, K, 2)


def decays(K, M, times):
    W = along_gradient_flow(K, M, times)
    weights = ol.Weights(W, np.ones((len(W), K)))
    return decay(ol.Problem(K, M), ol.GradientFlow(), weights, np.asarray(times))


def test_two_students_of_one_teacher_fall_like_t_to_the_minus_3(unchecked):
    """Known for K ≥ 2, M = 1, ReLU; for K = 1 the decay is exponential."""
    times = [200.0, 1000.0]
    found = decays(2, 1, times)
    np.testing.assert_allclose(found.exponent, 3, atol=0.05)
    np.testing.assert_allclose(found.rate * times, 3, atol=0.2)


def test_exponential_decay_has_no_exponent(unchecked):
    found = decays(1, 1, [2.0, 5.0])
    np.testing.assert_array_equal(found.exponent, 0)
    assert (found.rate > 0.1).all()


def test_the_way_to_a_loss_above_zero_has_no_exponent(unchecked):
    found = decays(1, 2, [5.0, 20.0])
    np.testing.assert_array_equal(found.exponent, 0)


def test_at_a_fixed_point_nothing_decays(unchecked):
    found = decay(
        ol.Problem(2, 2),
        ol.GradientFlow(),
        ol.Weights(np.eye(2)[None], np.ones((1, 2))),
        np.ones(1),
    )
    assert found.rate[0] == pytest.approx(0, abs=1e-12)
    assert found.exponent[0] == 0
