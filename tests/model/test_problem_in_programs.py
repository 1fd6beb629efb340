"""Problems and states that are made or given inside compiled programs, of numbers that are known there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol

T = [[1.0, 0.2], [0.2, 1.0]]
WEIGHTS = ol.Weights(jnp.eye(2), jnp.ones(2))


def test_a_problem_with_teacher_overlaps_is_made_inside_a_program():
    """Its teachers' lengths are checked there, of the numbers that are given."""

    def loss(slope, overlaps):
        problem = ol.Problem(2, 2, ol.LeakyReLU(slope), overlaps)
        return ol.population_loss(problem, WEIGHTS)

    wanted = loss(0.1, T)
    np.testing.assert_allclose(jax.jit(lambda slope: loss(slope, T))(0.1), wanted, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(loss)(0.1, jnp.asarray(T)), wanted, rtol=1e-12)


def test_order_parameters_that_are_known_are_checked_inside_a_program():
    problem = ol.Problem(2, 2, ol.ReLU(), T)
    state = ol.overlaps(problem, WEIGHTS)
    found = jax.jit(lambda rate: ol.trajectory(problem, ol.OnlineSGD(rate), state, [0.0, 0.5]).loss)
    same = ol.trajectory(problem, ol.OnlineSGD(0.1), state, [0.0, 0.5]).loss
    np.testing.assert_allclose(found(0.1), same, rtol=1e-10)


def test_realisability_of_what_is_no_number_or_not_symmetric(unchecked):
    problem = ol.Problem(2, 2, teacher_overlaps=[[1.0, 0.4], [0.4, 2.0]])
    for broken in ([[jnp.nan, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, jnp.inf]]):
        state = ol.OrderParameters(jnp.array(broken), jnp.eye(2), jnp.ones(2))
        assert jnp.isnan(ol.realisability(problem, state))
    state = ol.OrderParameters(jnp.array([[1.0, 0.0], [9.0, 1.0]]), jnp.eye(2), jnp.ones(2))
    with pytest.raises(ol.UserError, match="state must have a symmetric Q"):
        ol.realisability(problem, state)
    with pytest.raises(ol.UserError, match="state must be OrderParameters, such as"):
        ol.realisability(problem, ol.Weights(jnp.eye(2), jnp.ones(2)))
