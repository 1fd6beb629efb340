"""End states of online SGD at loss 0, which Newton's method reaches from where the integration has ended."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import odelandscape as ol


@pytest.mark.parametrize("limit", [100.0, 2e4])
def test_a_start_that_newton_brings_to_loss_zero_is_a_global_minimum(limit):
    """K = M = 1: the teacher is the only stationary state but 0, stable for η < 2 (`largest_learning_rate`).
    A better converged state has no worse word."""
    problem, flow = ol.Problem(1, 1), ol.OnlineSGD(learning_rate=0.5)
    start = ol.Weights(jnp.array([[0.3]]), jnp.ones(1))
    starts = jax.tree.map(lambda x: x[None], start)
    end = ol.relax(problem, flow, starts, time_limit=limit)
    assert end.outcome.tolist() == ["global_minimum"]
    assert end.loss[0] < 1e-10
    np.testing.assert_allclose(end.weights[0, 0, 0], 1, atol=1e-4)


def test_descent_along_the_orthonormal_flow_stays_orthonormal():
    """Steps of any length: W + step · rate, then the polar factor by NumPy's SVD."""
    problem = ol.Problem(2, 2, teacher_overlaps=[[1.0, 0.4], [0.4, 2.0]])
    flow = ol.OrthonormalFlow()
    start = flow.project_initial(ol.random_weights(jax.random.key(3), problem, 5))
    for step in (0.1, 1.0, 5.0):
        path = ol.train_network(problem, flow, start, [0.0, step], step=step)
        W = np.asarray(start.W + step * flow(0.0, start, problem).W)
        U, _, V = np.linalg.svd(W, full_matrices=False)
        moved = ol.Weights(jnp.asarray(U @ V), start.v)
        np.testing.assert_allclose(path.states.Q[1], np.eye(2), atol=1e-12)
        np.testing.assert_allclose(path.loss[1], ol.population_loss(problem, moved), rtol=1e-10)


def test_an_optimiser_that_needs_more_than_gradients_is_refused_by_name():
    problem = ol.Problem(2, 2)
    start, key = ol.random_weights(jax.random.key(0), problem), jax.random.key(1)
    for optimiser in (optax.lbfgs(), optax.polyak_sgd()):
        with pytest.raises(ol.UserError, match="flow must be an optimiser that needs gradients"):
            ol.train_network(problem, optimiser, start, [0.0, 1.0], key=key)
    ol.train_network(problem, optax.adam(1e-3), start, [0.0, 1.0], key=key)
