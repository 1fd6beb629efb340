"""Verdicts that second-order information decides, and where it decides nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.landscape.local_geometry import local_geometry

G = ol.GradientFlow()


def one(W, v):
    return jax.vmap(ol.Weights)(jnp.asarray(W, float)[None], jnp.asarray(v, float)[None])


@pytest.mark.parametrize("activation", [ol.ReLU(), ol.LeakyReLU(0.3), ol.Erf()], ids=repr)
@pytest.mark.parametrize(("K", "M"), [(1, 1), (2, 3)])
def test_the_network_without_output_is_a_saddle_of_both_layers(activation, K, M):
    """The kind: no curvature taken for a minimum. From W = v = 0 a step in both layers lowers the loss."""
    problem = ol.Problem(K, M, activation)
    ends = ol.relax(problem, ol.TwoLayerFlow(), one(np.zeros((K, M)), np.zeros(K)))
    assert list(ends.outcome) == ["saddle"]
    step = np.zeros((K, M))
    step[0] = 0.1
    below = ol.population_loss(problem, ol.Weights(jnp.asarray(step), jnp.full(K, 0.1)))
    assert below < ends.loss[0]


def test_flat_in_second_order_is_marginal():
    """σ = x³ without students: L − L₀ = −6 v v* (w·w*)³ + O(w⁶), neither gradient nor curvature at w = 0."""
    problem = ol.Problem(2, 2, ol.Quadrature(lambda x: x**3))
    ends = ol.relax(problem, G, one(np.zeros((2, 2)), np.ones(2)))
    assert list(ends.outcome) == ["marginal"]
    assert abs(ends.smallest_eigenvalue[0]) < 1e-8


def test_a_kink_that_decides_nothing_is_marginal():
    """A student of readout −1 against one teacher: at w = 0 the loss rises in all directions but −w*."""
    ends = ol.relax(ol.Problem(1, 1), G, one([[0.0, 0.0]], [-1.0]))
    assert list(ends.outcome) == ["marginal"]


@pytest.mark.parametrize("readout", [1.0, -1.0])
@pytest.mark.parametrize("M", [2, 3])
def test_a_silent_student_escapes_where_the_loss_falls(M, readout):
    """Against brute force over the sphere, at one active student whose weights have a closed form (K = 1).

    Beside the active student the loss changes in no order where readouts agree: that counts neither way.
    """
    theta = np.arccos(M**-0.5)
    length = M * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi
    W, v = np.zeros((2, M)), np.array([1.0, readout])
    W[0] = length / np.sqrt(M)
    problem = ol.Problem(2, M)
    geometry = local_geometry(G, problem, np.concatenate([W, v[:, None]], axis=1))
    expected = M / 4 + M * (M - 1) / (4 * np.pi) - length**2 / 4
    assert geometry.loss == pytest.approx(expected, abs=1e-12)
    u = np.random.default_rng(0).normal(size=(20_000, M))
    u /= np.linalg.norm(u, axis=1, keepdims=True)

    def moved(u):
        weights = ol.Weights(jnp.asarray(W).at[1].set(1e-4 * u), jnp.asarray(v))
        return ol.population_loss(problem, weights)

    steepest = (geometry.loss - float(jnp.min(jax.vmap(moved)(jnp.asarray(u))))) / 1e-4
    assert geometry.escape_rate == pytest.approx(steepest, abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_eigenvalue_of_silent_smooth_students_is_the_hessians(seed):
    """The kind: a student of length 0 held for every σ. Erf, K > M: as `jax.hessian` of the loss has it."""
    problem = ol.Problem(3, 2, ol.Erf())
    weights = ol.random_weights(jax.random.key(seed), problem)
    ends = ol.relax(problem, G, one(weights.W, weights.v))

    def loss(flat):
        return ol.population_loss(problem, ol.Weights(flat.reshape(3, 2), jnp.ones(3)))

    expected = np.linalg.eigvalsh(jax.hessian(loss)(jnp.asarray(ends.weights[0].ravel())))[0]
    assert ends.smallest_eigenvalue[0] == pytest.approx(expected, abs=1e-9)
