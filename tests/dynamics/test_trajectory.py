"""Trajectories of one initial state: against SciPy, constraints, and refused arguments."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import relu_gradient

import odelandscape as ol

TIMES = [0.0, 0.5, 5.0, 40.0]
FLOWS = [ol.GradientFlow(), ol.NormalisedFlow(), ol.OrthonormalFlow(), ol.TwoLayerFlow()]


@pytest.fixture(scope="module")
def problem():
    return ol.Problem(3, 3)


@pytest.fixture(scope="module")
def start(problem):
    return ol.random_weights(jax.random.key(3), problem, dimension=4)


def test_gradient_flow_equals_scipy_on_an_independent_gradient(problem, start):
    path = ol.trajectory(problem, ol.GradientFlow(), start, TIMES)
    teacher = np.eye(3, 4)

    def rates(_, y):
        return -relu_gradient(y.reshape(3, 4), np.ones(3), teacher, np.ones(3)).ravel()

    truth = solve_ivp(
        rates, (0, 40), np.asarray(start.W).ravel(), "DOP853", TIMES, rtol=1e-11, atol=1e-12
    )
    W = truth.y.T.reshape(-1, 3, 4)
    np.testing.assert_allclose(path.states.Q, W @ W.swapaxes(1, 2), atol=1e-6)
    np.testing.assert_allclose(path.states.R, W[:, :, :3], atol=1e-6)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
def test_the_loss_falls_and_the_constraint_is_kept(problem, start, flow):
    path = ol.trajectory(problem, flow, start, np.linspace(0, 200, 60))
    assert (np.diff(path.loss) < 1e-9).all()
    assert path.result == diffrax.RESULTS.successful
    if isinstance(flow, ol.NormalisedFlow):
        np.testing.assert_allclose(np.diagonal(path.states.Q, axis1=1, axis2=2), 1, atol=1e-7)
    if isinstance(flow, ol.OrthonormalFlow):
        np.testing.assert_allclose(path.states.Q, np.tile(np.eye(3), (60, 1, 1)), atol=1e-7)


def test_order_parameters_and_weights_give_the_same_path(problem, start):
    flow = ol.TwoLayerFlow()
    by_weights = ol.trajectory(problem, flow, start, TIMES)
    by_overlaps = ol.trajectory(problem, flow, ol.overlaps(problem, start), TIMES)
    for name in ("Q", "R", "v"):
        a, b = (getattr(path.states, name) for path in (by_weights, by_overlaps))
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_times_that_were_not_reached_are_infinite_and_reported(problem, start):
    path = ol.trajectory(problem, ol.GradientFlow(), start, [0.0, 1e6], max_steps=5)
    assert path.result != diffrax.RESULTS.successful
    assert np.isfinite(path.loss[0])
    assert np.isinf(path.loss[1])
    assert not np.isnan(path.states.Q).any()


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"times": [1.0, 0.5]}, "times"),
        ({"times": [-1.0, 0.5]}, "times"),
        ({"times": [np.nan]}, "times"),
        ({"times": []}, "times"),
        ({"rtol": 1e-17}, "rtol"),
    ],
)
def test_bad_arguments_are_named(problem, start, change, argument):
    arguments = {"times": TIMES} | change
    with pytest.raises(ValueError, match=argument):
        ol.trajectory(problem, ol.GradientFlow(), start, **arguments)


def test_states_of_another_size_or_of_no_weights_are_refused(problem):
    small = ol.random_weights(jax.random.key(0), ol.Problem(2, 3))
    with pytest.raises(ValueError, match="state must have"):
        ol.trajectory(problem, ol.GradientFlow(), small, TIMES)
    impossible = ol.OrderParameters(jnp.eye(3), 2 * jnp.eye(3), jnp.ones(3))
    with pytest.raises(ValueError, match="no weights"):
        ol.trajectory(problem, ol.GradientFlow(), impossible, TIMES)


def test_accuracy_that_float32_cannot_give_is_refused():
    with jax.enable_x64(False):
        problem = ol.Problem(3, 3)
        start = ol.random_weights(jax.random.key(0), problem)
        with pytest.raises(ol.UserError, match=r"rtol must be at least .* in float32"):
            ol.trajectory(problem, ol.GradientFlow(), start, TIMES)


def test_single_precision_is_integrated_in_double(problem, start):
    """Where JAX computes in float64."""
    single = jax.tree.map(lambda x: x.astype(jnp.float32), start)
    assert ol.trajectory(problem, ol.GradientFlow(), single, TIMES).loss.dtype == jnp.float64


@pytest.mark.parametrize("size", [1e-9, 1e-4, 1e6])
@pytest.mark.parametrize("flow", [ol.GradientFlow(), ol.TwoLayerFlow()], ids=repr)
def test_everything_longer_by_a_factor_is_the_same_trajectory(flow, size):
    """The kind: tolerances in units of 1. At lengths of 1e-9 the loss was right to one digit.

    Of ReLU, with W → s W, v → s v, T → s² T, v* → s v* and t → t/s² the loss is s⁴ times what it was."""
    times = np.array([0.0, 1, 5, 20])
    problem = ol.Problem(3, 4)
    start = ol.random_weights(jax.random.key(1), problem)
    expected = ol.trajectory(problem, flow, start, times).loss
    longer = ol.Problem(3, 4, None, size**2 * jnp.eye(4), size * jnp.ones(4))
    start = ol.Weights(size * start.W, size * start.v)
    loss = ol.trajectory(longer, flow, start, times / size**2).loss
    np.testing.assert_allclose(loss / size**4, expected, rtol=1e-6)
