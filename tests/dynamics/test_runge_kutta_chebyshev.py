"""The Runge–Kutta–Chebyshev method as a diffrax solver: order, stability, and flows."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import relu_gradient

import odelandscape as ol


def solve(rates, y0, end, controller, **more):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(rates),
        ol.RungeKuttaChebyshev(),
        0.0,
        end,
        None,
        y0,
        stepsize_controller=controller,
        max_steps=200_000,
        **more,
    )


def test_steps_of_equal_length_converge_with_order_two():
    def rates(t, y, args):
        return -(y**2) * jnp.cos(3 * t) + jnp.sin(t)

    truth = solve_ivp(
        lambda t, y: -(y**2) * np.cos(3 * t) + np.sin(t), (0, 2), [1.0, 0.5], rtol=1e-12, atol=1e-13
    ).y[:, -1]
    errors = []
    for steps in (80, 160, 320):
        controller = diffrax.StepTo(ts=jnp.linspace(0, 2, steps + 1))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rates),
            ol.RungeKuttaChebyshev(),
            0.0,
            2.0,
            None,
            jnp.array([1.0, 0.5]),
            stepsize_controller=controller,
        )
        errors.append(np.abs(solution.ys[-1] - truth).max())
    ratios = np.array(errors[:-1]) / errors[1:]
    np.testing.assert_allclose(ratios, 4, rtol=0.1)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_a_stiff_linear_system_takes_few_evaluations(tolerance):
    """Rates from 1 to 10⁵, driven; an explicit method of two stages would need 5·10⁵ steps."""
    fast = jnp.logspace(0, 5, 40)
    solution = solve(
        lambda t, y, args: -fast * (y - jnp.sin(t)) + jnp.cos(t),
        jnp.ones(40),
        10.0,
        diffrax.PIDController(rtol=tolerance, atol=tolerance / 10),
    )
    truth = np.sin(10) + np.exp(-10 * np.asarray(fast))
    assert np.abs(solution.ys[-1] - truth).max() < 20 * tolerance
    assert solution.stats["num_steps"] < 5_000


def test_a_flow_on_weights_and_its_dense_output_equal_scipy():
    problem = ol.Problem(3, 3)
    start = ol.random_weights(jax.random.key(5), problem, 4)
    solution = solve(
        lambda t, w, args: ol.GradientFlow()(t, w, problem),
        start,
        300.0,
        diffrax.PIDController(rtol=1e-6, atol=1e-8),
        saveat=diffrax.SaveAt(ts=jnp.array([3.3, 300.0])),
    )
    teacher, ones = np.eye(3, 4), np.ones(3)
    truth = solve_ivp(
        lambda _, y: -relu_gradient(y.reshape(3, 4), ones, teacher, ones).ravel(),
        (0, 300),
        np.asarray(start.W).ravel(),
        "DOP853",
        t_eval=[3.3, 300],
        rtol=1e-11,
        atol=1e-12,
    )
    np.testing.assert_allclose(solution.ys.W.reshape(2, -1), truth.y.T, atol=1e-4)


def test_it_has_forward_derivatives():
    """d/da of y(1) for ẏ = −a y."""

    def end(a):
        solution = solve(
            lambda t, y, args: -a * y,
            jnp.ones(2),
            1.0,
            diffrax.PIDController(rtol=1e-7, atol=1e-9),
            adjoint=diffrax.ForwardMode(),
        )
        return solution.ys[-1, 0]

    assert jax.jvp(end, (2.0,), (1.0,))[1] == pytest.approx(-np.exp(-2), rel=1e-4)
