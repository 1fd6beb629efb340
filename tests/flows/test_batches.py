"""Flows of many states at once: by vmap and jit in large batches, and by lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import relu_gradient, relu_loss

from odelandscape.activations.erf import Erf
from odelandscape.activations.relu import LeakyReLU, ReLU
from odelandscape.flows.gradient import GradientFlow
from odelandscape.flows.orthonormal import OrthonormalFlow
from odelandscape.model.loss import population_loss
from odelandscape.model.problem import Problem
from odelandscape.model.state import Weights

# --- large batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [GradientFlow(), OrthonormalFlow()], ids=repr)
def test_a_large_jitted_batch_equals_the_same_rows_in_pieces_and_in_numpy(flow):
    # jaxlib 0.10.2 computes wrong numbers for more than 16,384 rows (jax-ml/jax#39103).
    rows, K, M = 20_000, 3, 2
    problem = Problem(K, M)
    W = np.random.default_rng(5).standard_normal((rows, K, M + 1))
    if isinstance(flow, OrthonormalFlow):
        W = np.linalg.qr(W)[0]

    @jax.jit
    @jax.vmap
    def both(W):
        weights = Weights(W, jnp.ones(K))
        return flow(0.0, weights, problem).W, population_loss(problem, weights)

    whole = both(jnp.asarray(W))
    pieces = [both(jnp.asarray(part)) for part in np.split(W, 20)]
    for at_once, *parts in zip(whole, *pieces, strict=True):
        np.testing.assert_allclose(at_once, np.concatenate(parts), rtol=1e-12, atol=1e-12)
    others = (
        np.ones((rows, K)),
        np.broadcast_to(np.eye(M, M + 1), (rows, M, M + 1)),
        np.ones((rows, M)),
    )
    np.testing.assert_allclose(whole[1], relu_loss(W, *others), rtol=1e-11, atol=1e-12)
    if isinstance(flow, GradientFlow):
        np.testing.assert_allclose(whole[0], -relu_gradient(W, *others), rtol=1e-10, atol=1e-12)


# --- lanes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "K", "M", "d"),
    [
        (ReLU(), 4, 4, 4),
        (ReLU(), 24, 3, 3),
        (LeakyReLU(0.2), 5, 3, 6),
        (Erf(), 2, 4, 4),
    ],
    ids=repr,
)
def test_rates_of_many_lanes_are_those_of_each_lane(activation, K, M, d):
    """Also at coincident, opposite and inactive students; nan in one lane stays in it."""
    readout = jnp.linspace(0.5, 1.5, M)
    problem = Problem(K, M, activation, teacher_readout=readout)
    rng = np.random.default_rng(K)
    W, v = rng.normal(size=(K, d, 6)), rng.normal(size=(K, 6))
    W[1, :, 1] = W[0, :, 1]
    W[1, :, 2] = -W[0, :, 2]
    W[0, :, 3] = 0
    W[0, :, 4] = np.eye(d)[0]
    W[0, 0, 5] = np.nan
    flow = GradientFlow()
    got = flow.batched_rates(Weights(jnp.asarray(W), jnp.asarray(v)), problem)
    for lane in range(5):
        one = Weights(jnp.asarray(W[..., lane]), jnp.asarray(v[..., lane]))
        truth = flow(0.0, one, problem)
        np.testing.assert_allclose(
            got.W[..., lane], truth.W, atol=1e-7 if lane in (1, 2) else 1e-13
        )
        np.testing.assert_array_equal(got.v[..., lane], truth.v)


class DecayingFlow(GradientFlow):
    """Gradient flow of L + |W|²/20."""

    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + 0.1 * jnp.eye(problem.students))


def test_a_subclass_that_overrides_the_mixing_is_followed_by_its_own_in_many_lanes_too():
    problem, rng = Problem(3, 3), np.random.default_rng(0)
    W, v = jnp.asarray(rng.normal(size=(3, 3, 4))), jnp.ones((3, 4))
    got = DecayingFlow().batched_rates(Weights(W, v), problem)
    for lane in range(4):
        gradient = relu_gradient(W[..., lane], np.ones(3), np.eye(3), np.ones(3))
        np.testing.assert_allclose(got.W[..., lane], -gradient - 0.1 * W[..., lane], atol=1e-12)
