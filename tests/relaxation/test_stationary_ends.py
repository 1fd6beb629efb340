"""End states of online SGD at loss 0, which Newton's method reaches from where the integration has ended."""

import jax
import jax.numpy as jnp
import numpy as np
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
