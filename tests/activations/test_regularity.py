"""What values of σ show: even, odd, twice differentiable at 0. The truths are known of each function."""

import jax
import jax.numpy as jnp
import pytest

import odelandscape as ol

# σ, even, odd, twice differentiable at 0.
FUNCTIONS = {
    "tanh": (jnp.tanh, False, True, True),
    "steep tanh": (lambda x: jnp.tanh(100 * x), False, True, True),
    "softplus": (jax.nn.softplus, False, False, True),
    "softplus - x/2": (lambda x: jax.nn.softplus(x) - x / 2, True, False, True),
    "gelu": (jax.nn.gelu, False, False, True),
    "cos": (jnp.cos, True, False, True),
    "x^2": (lambda x: x * x, True, False, True),
    "x^2 above a million": (lambda x: 1e6 + x * x, True, False, True),
    "He_3": (lambda x: x**3 - 3 * x, False, True, True),
    "constant": (lambda x: 0 * x + 3, True, False, True),
    "hardtanh": (lambda x: jnp.clip(x, -1, 1), False, True, True),
    "|x|^2.5": (lambda x: jnp.abs(x) ** 2.5, True, False, True),
    "|x|": (jnp.abs, True, False, False),
    "x|x|": (lambda x: x * jnp.abs(x), False, True, False),
    "relu^2": (lambda x: jax.nn.relu(x) ** 2, False, False, False),
    "relu^3": (lambda x: jax.nn.relu(x) ** 3, False, False, True),
    "weak kink": (lambda x: jnp.where(x > 0, x, (1 - 1e-8) * x), False, False, False),
    "softsign": (jax.nn.soft_sign, False, True, False),  # x - x|x| + ...
    "elu": (jax.nn.elu, False, False, False),
    "step": (lambda x: jnp.where(x > 0, 1.0, 0.0), False, False, False),
    "exp(x^2)": (lambda x: jnp.exp(x * x), False, False, True),  # overflows: no claim
}


class Own(ol.AbstractActivation):
    """A user's own activation that declares nothing."""

    function: object
    scale: object = 1.0

    def __call__(self, x):
        return jnp.vectorize(self.function)(self.scale * x)

    def second_moment(self, c11, c12, c22):
        raise NotImplementedError

    def mixing_scalars(self, c11, c12, c22):
        raise NotImplementedError


def shown(activation):
    return activation.even, activation.odd, activation.smooth_at_zero


@pytest.mark.parametrize(("function", "even", "odd", "smooth"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_parity_and_smoothness_at_zero_follow_from_values(function, even, odd, smooth):
    assert shown(Own(function)) == (even, odd, smooth)


JUMPS = {
    "step": lambda x: jnp.where(x > 0, 1.0, 0.0),
    "step at 1": lambda x: jnp.where(x > 1, 1.0, 0.0),
    "at an odd place": lambda x: jnp.tanh(x) + jnp.where(x > -2.34567, 0.01, 0.0),
    "floor": jnp.floor,
    "relu with a jump": lambda x: jax.nn.relu(x) + jnp.where(x > 0.3, 1e-3, 0.0),
    "x^2 cut off": lambda x: jnp.where(jnp.abs(x) < 3, x * x, 0.0),
}
NONE = {
    "steep tanh": lambda x: jnp.tanh(1e4 * x),
    "root": lambda x: jnp.sqrt(jnp.abs(x - 1)),
    "exp(x^2)": lambda x: jnp.exp(x * x),
    "waves": lambda x: jnp.sin(300 * x),
    "hardtanh": lambda x: jnp.clip(x, -1, 1),
    "constant": lambda x: 0 * x + 3,
}


@pytest.mark.parametrize("name", [*JUMPS, *NONE])
def test_jumps_are_found_wherever_they_are(name):
    """The kind: a user's class that jumps away from 0, which only a Quadrature noticed."""
    assert Own((JUMPS | NONE)[name]).continuous == (name in NONE)


def test_the_answers_are_static_inside_traced_code():
    own = Own(jnp.tanh)

    @jax.jit
    def answers(x, slope):
        assert shown(own) == (False, True, True)
        # σ depends on a traced number: no claim.
        traced = Own(jnp.tanh, slope)
        assert shown(traced) == shown(ol.LeakyReLU(slope)) == (False, False, False)
        return x

    jax.vmap(jax.grad(lambda x: answers(x, x)))(jnp.ones(2))


def test_what_closed_forms_declare_is_what_values_show():
    for activation in (ol.ReLU(), ol.LeakyReLU(0.1), ol.LeakyReLU(-1), ol.Erf()):
        assert shown(Own(activation)) == shown(activation)
    # The slope may be traced, and the answer may not: a kink is claimed at slope 1, too.
    assert shown(ol.LeakyReLU(1)) == (False, True, False)
