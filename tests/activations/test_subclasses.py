"""A subclass of an activation is what it overrides: none of its parent's closed forms, proofs or symmetries.

The kind: whatever follows from σ or its moments follows from those that the subclass has.
"""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.activations.relu import as_leaky_relu
from odelandscape.ansatz.lifting import lift
from odelandscape.ansatz.reduced_loss import reduced_loss
from odelandscape.proofs.prove import provable_slope
from odelandscape.relaxation.catalogue import shares_minima


class Square(ol.ReLU):
    """σ(x) = x², of which only σ and I2 are written."""

    def __call__(self, x):
        return x * x

    def second_moment(self, c11, c12, c22):
        return c11 * c22 + 2 * c12 * c12


class SquareErf(ol.Erf):
    def __call__(self, x):
        return x * x

    def second_moment(self, c11, c12, c22):
        return c11 * c22 + 2 * c12 * c12

    def mixing_scalars(self, c11, c12, c22):
        return 2 * c22 + 0 * c11, 4 * c12


class SquareLeaky(ol.LeakyReLU):
    def __call__(self, x):
        return x * x

    def second_moment(self, c11, c12, c22):
        return c11 * c22 + 2 * c12 * c12


each = pytest.mark.parametrize("activation", [Square(), SquareErf(), SquareLeaky(0.2)], ids=repr)


def square_loss(W):
    """E[(Σ (w_i·x)² − |x|²)²]/2 = (tr A)²/2 + tr A², A = Wᵀ W − 1."""
    A = W.T @ W - np.eye(W.shape[1])
    return np.trace(A) ** 2 / 2 + np.trace(A @ A)


@each
def test_loss_rates_and_fourth_moments_are_those_of_the_overridden_function(activation):
    problem = ol.Problem(3, 3, activation)
    weights = ol.random_weights(jax.random.key(0), problem)
    W = np.asarray(weights.W)
    np.testing.assert_allclose(ol.population_loss(problem, weights), square_loss(W), rtol=1e-12)
    A = W.T @ W - np.eye(3)
    gradient = 2 * np.trace(A) * W + 4 * W @ A
    np.testing.assert_allclose(ol.GradientFlow()(0.0, weights, problem).W, -gradient, atol=1e-12)
    lanes = jax.tree.map(lambda x: x[..., None], weights)
    batched = ol.GradientFlow().batched_rates(lanes, problem)
    np.testing.assert_allclose(batched.W[..., 0], -gradient, atol=1e-12)
    # 4 E[u v s² t²], a sum over the pairings of six factors (Isserlis).
    B = np.array([[0.5, 0.1, 0], [0.2, 0.4, 0.1], [0, 0.3, 0.3], [0.1, 0.1, 0.6]])
    C, six = B @ B.T, [0, 1, 2, 2, 3, 3]
    pairings = sum(
        C[six[a], six[b]] * C[six[c], six[d]] * C[six[e], six[f]]
        for a, b, c, d, e, f in permutations(range(6))
    )
    np.testing.assert_allclose(activation.I4(jnp.asarray(C)), 4 * pairings / 48, rtol=1e-7)


@each
def test_nothing_is_shared_and_nothing_proved_as_for_the_parent(activation):
    problem = ol.Problem(3, 3, activation)
    assert as_leaky_relu(activation) is None
    assert not activation.positively_homogeneous
    assert not activation.odd
    assert not shares_minima(problem, ol.GradientFlow())
    ansatz = ol.BlockAnsatz(problem, (2, 1), (0,), 1)
    z = jnp.linspace(0.2, 1.1, ansatz.count)
    W = np.asarray(lift(ansatz, z).W)
    np.testing.assert_allclose(reduced_loss(ansatz, z), square_loss(W), rtol=1e-10)
    with pytest.raises(ol.UserError, match="activation must be ReLU or LeakyReLU for a proof"):
        provable_slope(activation)


def test_moments_alone_count_as_another_function():
    class Scaled(ol.ReLU):
        def second_moment(self, c11, c12, c22):
            return 4 * super().second_moment(c11, c12, c22)

    one, four = ol.Problem(2, 2), ol.Problem(2, 2, Scaled())
    weights = ol.random_weights(jax.random.key(0), one)
    gradient = jax.grad(lambda w: ol.population_loss(four, w))(weights)
    np.testing.assert_allclose(
        ol.population_loss(four, weights), 4 * ol.population_loss(one, weights), rtol=1e-12
    )
    np.testing.assert_allclose(ol.GradientFlow()(0.0, weights, four).W, -gradient.W, atol=1e-13)
    assert as_leaky_relu(four.activation) is None
    assert not shares_minima(four, ol.GradientFlow())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        (
            "second_moment",
            lambda moment: moment.astype(complex),
            "second_moment must return one real number",
        ),
        ("second_moment", lambda moment: moment[None], "second_moment must .* of shape \\(1,\\)"),
        ("second_moment", lambda moment: (moment,), "second_moment must return one real number"),
        ("mixing_scalars", lambda pair: pair[0], r"mixing_scalars must return \(p, s\)"),
        (
            "mixing_scalars",
            lambda pair: (pair[0], pair[1].astype(complex)),
            "mixing_scalars must .* two real",
        ),
    ],
)
def test_moments_are_real_numbers(method, given, message):
    """Of others solvers would raise whatever JAX does, or compute with them."""

    def changed(self, *covariance):
        return given(getattr(Square, method)(self, *covariance))

    problem = ol.Problem(2, 2, type("Own", (Square,), {method: changed})())
    with pytest.raises(ol.UserError, match=f"activation Own contradicts itself: {message}"):
        ol.sweep(problem, ol.GradientFlow(), 2, progress=False)


def test_a_subclass_that_overrides_nothing_keeps_everything():
    class Same(ol.LeakyReLU):
        name: str = "mine"

    activation = Same(0.3)
    assert as_leaky_relu(activation) == ol.LeakyReLU(0.3)
    assert activation.positively_homogeneous
    assert Same.quadratic_form is ol.LeakyReLU.quadratic_form


def test_a_function_alone_is_not_enough():
    class OnlyFunction(ol.Erf):
        def __call__(self, x):
            return jnp.tanh(x)

    with pytest.raises(TypeError, match=r"abstract method.* .?second_moment"):
        OnlyFunction()
