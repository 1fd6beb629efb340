"""Activations that cannot be: one sentence each, with the argument, what was given and what to do."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol


def hardtanh(x):
    return jnp.clip(x, -1, 1)


def step(x, at=0.0):
    return jnp.where(x > at, 1.0, 0.0)


REFUSED = {
    # A slope that is no number.
    "nan": (lambda: ol.LeakyReLU(math.nan), r"slope must be one finite number; got nan"),
    "inf": (lambda: ol.LeakyReLU(-math.inf), r"slope must be one finite number; got -inf"),
    "text": (lambda: ol.LeakyReLU("0.1"), r"slope must be one finite number; got '0.1'"),
    "bool": (lambda: ol.LeakyReLU(True), r"slope must be one finite number; got True"),
    "None": (lambda: ol.LeakyReLU(None), r"slope must be one finite number; got None"),
    "array": (lambda: ol.LeakyReLU(jnp.ones(2)), r"slope must be one finite number; got Array"),
    "complex": (lambda: ol.LeakyReLU(1j), r"slope must be one finite number; got 1j"),
    # A function that is no scalar function of JAX operations.
    "math": (
        lambda: ol.Quadrature(math.tanh),
        r"function must be .* of JAX operations, such as jnp.tanh",
    ),
    "branch": (
        lambda: ol.Quadrature(lambda x: x if x > 0 else 0.0),
        r"function must be .* JAX operations",
    ),
    "vector": (
        lambda: ol.Quadrature(lambda x: jnp.stack([x, x])),
        r"function must return one real number",
    ),
    "pair": (lambda: ol.Quadrature(lambda x: (x, x)), r"function must return one real number"),
    "whole": (
        lambda: ol.Quadrature(lambda x: jnp.int32(1)),
        r"function must return one real number",
    ),
    "complex values": (
        lambda: ol.Quadrature(lambda x: jax.lax.complex(x, x)),
        r"function must return one real number",
    ),
    "two arguments": (
        lambda: ol.Quadrature(lambda x, y: x),
        r"function must be a scalar -> scalar",
    ),
    "not finite": (
        lambda: ol.Quadrature(jnp.log),
        r"function must be finite; its value at -2 is nan",
    ),
    "constant": (
        lambda: ol.Quadrature(lambda x: 0 * x + 3),
        r"function must not be a constant: it is 3",
    ),
    # One that cannot be integrated: a kink, a jump, too steep, breaks that are wrong or not all.
    "kink": (
        lambda: ol.Quadrature(hardtanh),
        r"estimated one is .*e-02; give .* such as breaks=\(-1, 1\)",
    ),
    "jump": (lambda: ol.Quadrature(partial(step, at=0.3)), r"estimated one is .*; give .* breaks"),
    "steep": (lambda: ol.Quadrature(lambda x: jnp.tanh(100 * x)), r"or a larger tolerance"),
    "wrong break": (lambda: ol.Quadrature(hardtanh, breaks=(-1, 1.01)), r"estimated one is"),
    "one of two": (lambda: ol.Quadrature(hardtanh, breaks=(1,)), r"estimated one is"),
    # Other arguments.
    "breaks": (
        lambda: ol.Quadrature(hardtanh, breaks="ab"),
        r"breaks must be finite numbers.* got 'ab'",
    ),
    "nan break": (
        lambda: ol.Quadrature(hardtanh, breaks=(math.nan,)),
        r"breaks must be finite numbers",
    ),
    "tolerance": (
        lambda: ol.Quadrature(jnp.tanh, tolerance=0),
        r"tolerance must be a finite number above 0",
    ),
    "homogeneous": (
        lambda: ol.Quadrature(jnp.tanh, homogeneous=True),
        r"homogeneous must be False",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(make, message):
    with pytest.raises(ol.UserError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


ACCEPTED = {
    "tanh": jnp.tanh,
    "steeper": lambda x: jnp.tanh(2 * x),
    "softplus": jax.nn.softplus,
    "sin": jnp.sin,
    "square": lambda x: x * x,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "softsign": jax.nn.soft_sign,
    "abs": jnp.abs,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "leaky": lambda x: jnp.where(x > 0, x, 0.1 * x),
}


@pytest.mark.parametrize("function", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_smooth_but_at_zero_needs_no_breaks(function):
    assert ol.Quadrature(function).error < 2e-9


def test_breaks_and_a_tolerance_let_a_function_in():
    assert ol.Quadrature(hardtanh, breaks=(1, -1)).error < 1e-13
    assert ol.Quadrature(jax.nn.relu6, breaks=[6]).error < 1e-11
    assert 1e-3 < ol.Quadrature(hardtanh, tolerance=0.1).error < 0.1


def test_a_slope_may_be_traced_and_a_function_may_be_given_inside_a_program():
    def moment(slope):
        return ol.LeakyReLU(slope).I2(jnp.eye(2))

    # I2 = (1 − a)²/2π of orthogonal units.
    np.testing.assert_allclose(jax.jit(jax.grad(moment))(0.25), -2 * 0.75 / (2 * np.pi), rtol=1e-12)
    tanh = jax.jit(lambda C: ol.Quadrature(jnp.tanh).I2(C))(jnp.ones((2, 2)))
    np.testing.assert_allclose(tanh, 0.3942944903, rtol=1e-9)  # E[tanh² z], mpmath

    @jax.jit
    def traced(a):
        return ol.Quadrature(lambda x: jnp.tanh(a * x)).I2(jnp.eye(2))

    with pytest.raises(ol.UserError, match="function must not depend on traced numbers"):
        traced(1.0)


@pytest.mark.parametrize("at", [0.0, 0.3])
def test_no_end_state_is_claimed_of_an_activation_that_jumps(at):
    """The kind: a gradient that autodiff takes for 0. The loss θ/2π of one step has no minimum but θ = 0."""
    problem = ol.Problem(1, 1, ol.Quadrature(partial(step, at=at), breaks=(at,)))
    keys = jax.random.split(jax.random.key(0), 2)
    starts = jax.vmap(lambda key: ol.random_weights(key, problem, 2))(keys)
    with pytest.raises(ol.UserError, match="activation must be continuous"):
        ol.sweep(problem, ol.GradientFlow(), seeds=10, dimension=2, progress=False)
    with pytest.raises(ol.UserError, match="activation must be continuous"):
        ol.relax(problem, ol.GradientFlow(), starts)
