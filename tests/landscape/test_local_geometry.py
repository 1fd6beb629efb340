"""Rates, loss, Hessian and escape rate at a point, against differences of an independent gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from systems import relu_gradient, relu_loss

import odelandscape as ol
from odelandscape.landscape.local_geometry import (
    eigenpairs,
    local_geometry,
    projected_rates,
    speeds_and_losses,
)

K, M, D = 3, 3, 4
PROBLEM, FLOW = ol.Problem(K, M), ol.GradientFlow()
TEACHER, ONES = np.eye(M, D), np.ones(M)
FLOWS = [ol.GradientFlow(), ol.NormalisedFlow(), ol.OrthonormalFlow(), ol.TwoLayerFlow()]


def packed(seed=0, inactive=()):
    """[W | v] of random students, some of them with a length of 1e-9."""
    W = np.random.default_rng(seed).normal(size=(K, D)) / 2
    W[list(inactive)] *= 1e-9 / np.linalg.norm(W[list(inactive)], axis=1, keepdims=True)
    return np.concatenate([W, np.ones((K, 1))], axis=1)


def gradient(W):
    return relu_gradient(W, np.ones(len(W)), TEACHER, ONES)


def hessian_by_differences(W):
    """Of the loss in the weights."""
    step, columns = 1e-5, []
    for shift in step * np.eye(W.size).reshape(-1, *W.shape):
        columns.append((gradient(W + shift) - gradient(W - shift)).ravel() / (2 * step))
    return np.array(columns)


def test_it_is_the_gradient_the_loss_and_the_hessian_of_gradient_flow():
    y = packed()
    geometry = local_geometry(FLOW, PROBLEM, y)
    W = y[:, :-1]
    np.testing.assert_array_equal(geometry.point, y)
    np.testing.assert_allclose(geometry.rates[:, :-1], -gradient(W), atol=1e-13)
    np.testing.assert_array_equal(geometry.rates[:, -1], 0)
    assert geometry.speed == pytest.approx(np.linalg.norm(gradient(W)))
    assert geometry.loss == pytest.approx(relu_loss(W, np.ones(K), TEACHER, ONES), abs=1e-13)
    H = geometry.hessian.reshape(K, D + 1, K, D + 1)[:, :-1, :, :-1].reshape(K * D, K * D)
    expected = hessian_by_differences(W)
    np.testing.assert_allclose(H, expected, atol=1e-8)
    # What is left out, the readouts, is above what counts.
    assert geometry.smallest_eigenvalue == pytest.approx(np.linalg.eigvalsh(expected)[0], abs=1e-8)
    assert geometry.escape_rate == -np.inf
    assert geometry.finite


def test_inactive_students_are_held_at_0_and_count_by_their_escape_rate():
    y = packed(inactive=[1])
    geometry = local_geometry(FLOW, PROBLEM, y)
    np.testing.assert_array_equal(geometry.point[1, :-1], 0)
    np.testing.assert_array_equal(geometry.rates[1], 0)
    W = geometry.point[:, :-1]
    expected = np.linalg.eigvalsh(hessian_by_differences(W[[0, 2]]))[0]
    assert geometry.smallest_eigenvalue == pytest.approx(expected, abs=1e-8)

    # The one-sided derivative is a function on the sphere: its largest value, by another optimiser.
    def out(u):
        moved = W.copy()
        moved[1] = 1e-6 * u / np.linalg.norm(u)
        return -gradient(moved)[1] @ u / np.linalg.norm(u)

    sample = np.random.default_rng(0).normal(size=(20, D))
    best = min(minimize(lambda u: -out(u), u, tol=1e-10).fun for u in sample)
    assert geometry.escape_rate == pytest.approx(-best, abs=1e-7)
    assert geometry.escape_rate > max(out(u) for u in np.eye(D)) + 1e-3


def test_where_no_student_is_active_no_eigenvalue_is_negative():
    geometry = local_geometry(FLOW, PROBLEM, packed(inactive=[0, 1, 2]))
    assert geometry.smallest_eigenvalue == 0
    # The loss falls fastest towards the teachers' mean u: M E[relu(u·x) relu(x₁)] for each unit of length.
    theta = np.arccos(M**-0.5)
    fastest = M * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    assert geometry.escape_rate == pytest.approx(fastest, abs=1e-5)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
def test_points_are_projected_onto_the_constraint_and_rates_are_those_there(flow):
    weights = flow.project_initial(ol.random_weights(jax.random.key(2), PROBLEM, D))
    y = np.concatenate([weights.W, weights.v[:, None]], axis=1)
    point, rates = projected_rates(flow, PROBLEM, y + 1e-6)
    kept = flow.project_initial(ol.Weights(jnp.asarray(point[:, :-1]), jnp.asarray(point[:, -1])))
    np.testing.assert_allclose(kept.W, point[:, :-1], atol=1e-10)
    own = flow(0.0, kept, PROBLEM)
    np.testing.assert_allclose(rates[:, :-1], own.W, atol=1e-9)
    np.testing.assert_allclose(rates[:, -1], own.v, atol=1e-9)
    geometry = local_geometry(flow, PROBLEM, y + 1e-6)
    np.testing.assert_allclose(geometry.point, point, atol=1e-15)
    np.testing.assert_allclose(geometry.rates, rates, atol=1e-14)


def test_several_points_are_taken_as_they_are():
    y = np.stack([packed(0), packed(1, inactive=[2])])
    speeds, losses = speeds_and_losses(FLOW, PROBLEM, jnp.asarray(y))
    for one, speed, loss in zip(y, speeds, losses, strict=True):
        W = one[:, :-1]
        assert speed == pytest.approx(np.linalg.norm(gradient(W)), abs=1e-12)
        assert loss == pytest.approx(relu_loss(W, np.ones(K), TEACHER, ONES), abs=1e-13)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_undefined_and_infinite_numbers_are_not_finite(number):
    y = packed()
    y[0, 0] = number
    assert not local_geometry(FLOW, PROBLEM, y).finite


def test_where_the_fastest_method_of_lapack_fails_another_gives_the_eigenvalues(monkeypatch):
    """Divide and conquer has failed on a finite Hessian (K = 15, M = 14)."""

    def fails(H):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    A = np.random.default_rng(0).normal(size=(9, 9))
    values, vectors = np.linalg.eigh(A + A.T)
    geometry = local_geometry(FLOW, PROBLEM, packed())
    smallest = np.linalg.eigvalsh(geometry.hessian)[0]
    monkeypatch.setattr(np.linalg, "eigh", fails)
    monkeypatch.setattr(np.linalg, "eigvalsh", fails)
    again, u = eigenpairs(A + A.T)
    np.testing.assert_allclose(again, values, atol=1e-13)
    np.testing.assert_allclose(np.abs(np.sum(u * vectors, axis=0)), 1, atol=1e-12)
    assert geometry.smallest_eigenvalue == pytest.approx(smallest, abs=1e-13)
