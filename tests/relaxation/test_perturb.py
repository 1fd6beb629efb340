"""Noise on fixed points: the loss returns at stable ones and falls at embedded ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import relu_gradient, relu_loss

import odelandscape as ol
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.landscape.fixed_points import solve
from odelandscape.relaxation.perturb import Perturbation, _embedded, _noisy, perturb

PROBLEM, FLOW, KEY = ol.Problem(10, 10), ol.GradientFlow(), jax.random.key(3)


@pytest.fixture(scope="module")
def point():
    """The paper's α = 1 at K = M = 10; the last student is anti-aligned."""
    z = jnp.array([1.0044, -0.0158, 0.1824, 0.1260, -0.6990])
    return solve(BlockAnsatz(PROBLEM, (9, 1), (0,), 1), z)


def eigenvalues(W):
    """Of the Hessian at weights for ten teachers, by differences of an independent gradient."""
    ones, step = np.ones(len(W)), 1e-5

    def gradient(shift):
        return relu_gradient(W + shift.reshape(W.shape), ones, np.eye(10), np.ones(10)).ravel()

    H = [(gradient(e) - gradient(-e)) / (2 * step) for e in step * np.eye(W.size)]
    return np.linalg.eigvalsh((np.array(H) + np.array(H).T) / 2)


# --- the experiment -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_flow_returns_to_a_minimum(point):
    result = perturb(PROBLEM, FLOW, point, [0.0, 1e-3, 1e-2], 5, KEY)
    assert result.gaps.shape == result.outcomes.shape == (3, 5)
    W = np.asarray(point.weights.W)
    assert result.loss == pytest.approx(0.018702, abs=1e-6)
    assert result.loss == pytest.approx(
        relu_loss(W, np.ones(10), np.eye(10), np.ones(10)), abs=1e-13
    )
    assert np.abs(result.gaps).max() < 1e-9
    assert set(result.outcomes.ravel()) == {"local_minimum"}
    np.testing.assert_array_equal(result.returned, 1.0)
    assert eigenvalues(W)[0] == pytest.approx(0.0320, abs=1e-4)


@pytest.mark.slow
def test_split_in_two_it_is_a_saddle_above_the_minimum_of_two_unequal_parts(point):
    """Splitting an anti-aligned student makes a negative eigenvalue (Safran et al. 2021). The flow then
    ends in the published minimum of K = M + 1 with a split student, which Newton's method finds too."""
    _, weights = _embedded(PROBLEM, point, "split", None)
    assert eigenvalues(np.asarray(weights.W))[0] < -0.1
    result = perturb(PROBLEM, FLOW, point, [1e-3, 1e-2], 8, KEY, "split")
    assert (result.gaps < -5e-4).all()
    np.testing.assert_array_equal(result.returned, 0.0)
    unequal = BlockAnsatz(ol.Problem(11, 10), (9, 1), (0,), 2)
    below = solve(unequal, jnp.array([0.994, -0.015, 0.168, 0.087, -0.190, 0.053, -0.550]))
    assert below.result == "converged"
    np.testing.assert_allclose(result.loss + result.gaps, float(below.loss), atol=1e-9)


@pytest.mark.slow
def test_with_an_inactive_student_it_is_left_for_lower_losses(point):
    """As in the paper's Fig. 3. The problem may be given with K or with K + 1 students, the
    point as weights."""
    result = perturb(ol.Problem(11, 10), FLOW, point.weights, [1e-3, 1e-2], 8, KEY, "zero")
    assert (result.gaps < -5e-4).all()
    assert "global_minimum" in result.outcomes
    reached = result.gaps[result.outcomes == "global_minimum"]
    np.testing.assert_allclose(reached, -result.loss, atol=1e-9)
    # Fewer repeats are the first ones of more.
    fewer = perturb(PROBLEM, FLOW, point, [1e-3, 1e-2], 5, KEY, "zero")
    np.testing.assert_allclose(fewer.gaps, result.gaps[:, :5], atol=1e-10)


# --- its parts ----------------------------------------------------------------------------------


def test_noise_depends_on_key_level_and_repeat_alone(point):
    weights = point.weights
    few = _noisy(weights, KEY, jnp.array([0.1, 0.3]), 3).W.reshape(2, 3, 10, 10)
    many = _noisy(weights, KEY, jnp.array([0.1, 0.3, 0.5]), 50).W.reshape(3, 50, 10, 10)
    np.testing.assert_array_equal(few, many[:2, :3])
    noise = np.asarray(many) - np.asarray(weights.W)
    np.testing.assert_allclose(noise.std(axis=(1, 2, 3)), [0.1, 0.3, 0.5], rtol=0.05)
    assert len(np.unique(noise[..., 0, 0] / [[0.1], [0.3], [0.5]])) == 150
    other = _noisy(weights, jax.random.key(4), jnp.array([0.1]), 3).W
    assert np.abs(other - few[0]).min() > 0


@pytest.mark.parametrize("activation", [ol.ReLU(), ol.LeakyReLU(0.2)], ids=repr)
def test_embeddings_leave_the_network_as_it_is(activation):
    problem = ol.Problem(3, 4, activation)
    weights = ol.random_weights(jax.random.key(0), problem, 6)
    weights = ol.Weights(weights.W, jnp.array([1.0, 0.5, -0.7]))
    x = np.random.default_rng(0).standard_normal((6, 100))
    network = weights.v @ activation(weights.W @ x)
    for embedding, student in (("zero", None), ("split", None), ("split", 2)):
        larger, embedded = _embedded(problem, weights, embedding, student)
        assert (larger.students, larger.teachers, larger.activation) == (4, 4, activation)
        np.testing.assert_allclose(embedded.v @ activation(embedded.W @ x), network, atol=1e-14)
    np.testing.assert_array_equal(embedded.W[2], embedded.W[3])


def test_the_most_anti_aligned_student_is_split():
    W = jnp.array([[0.9, 0.0, 0.1], [0.1, -0.4, 0.0], [0.0, 0.3, -0.8], [0.0, 0.0, 0.0]])
    _, split = _embedded(ol.Problem(4, 3), ol.Weights(W, jnp.ones(4)), "split", None)
    np.testing.assert_array_equal(split.W[4], W[2] / 2)
    np.testing.assert_array_equal(split.W[2], W[2] / 2)
    # An inactive one has no direction.
    W = W.at[1:3].set(jnp.abs(W[1:3]))
    _, split = _embedded(ol.Problem(4, 3), ol.Weights(W, jnp.ones(4)), "split", None)
    assert jnp.linalg.norm(split.W[4]) > 0


def test_the_table_and_its_numbers_survive_failures():
    gaps = np.array([[0.0, 1e-12, -5e-8, 2e-7], [-1e-3, np.inf, -3e-3, 0.0], [np.inf] * 4])
    minimum, failed = "local_minimum", "failed"
    outcomes = np.array([[minimum] * 4, [minimum, failed, "saddle", minimum], [failed] * 4])
    result = Perturbation(np.array([0.01, 0.1, 1.0]), 0.02, gaps, outcomes, 1e-7)
    np.testing.assert_allclose(result.mean, [3.75e-8, -4e-3 / 3, np.inf], rtol=1e-4)
    np.testing.assert_allclose(result.std, [np.std(gaps[0]), np.std([1, 3, 0]) / 1e3, np.inf])
    np.testing.assert_allclose(result.returned, [0.75, 0.25, 0])
    table = str(result)
    assert "loss 0.020000000; 4 repeats" in table
    assert "2 local minimum, 1 saddle, 1 failed" in table
    assert "nan" not in table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": -0.1}, "sigma must be .* at least 0; got -0.1"),
        ({"sigma": [0.1, np.nan]}, "sigma must be"),
        ({"sigma": np.zeros((2, 2))}, "sigma must be"),
        ({"repeats": 0}, "repeats must be a whole number of at least 1; got 0"),
        ({"embedding": "double"}, "embedding must be None, 'zero' or 'split'; got 'double'"),
        (
            {"embedding": "split", "problem": ol.Problem(4, 4, ol.Erf())},
            "positively homogeneous.*Erf",
        ),
        (
            {"embedding": "zero", "problem": ol.Problem(4, 4, ol.Quadrature(jax.nn.softplus))},
            "σ.0.",
        ),
        ({"embedding": "split", "student": 4}, "student must be from 0 to K − 1 = 3; got 4"),
        ({"student": 1}, "student is the one that 'split' splits"),
        ({"problem": ol.Problem(5, 4)}, "K = 5 students in d ≥ M = 4; got .4, 4."),
        ({"problem": ol.Problem(6, 4), "embedding": "zero"}, "K = 6 students, or one less, in"),
        ({"problem": ol.Problem(4, 5)}, "d ≥ M = 5; got .4, 4."),
        ({"flow": ol.NormalisedFlow()}, "constraint of the flow, NormalisedFlow"),
        ({"flow": ol.NormalisedFlow(), "embedding": "zero"}, "any length; got NormalisedFlow"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    arguments = {"problem": ol.Problem(4, 4), "flow": FLOW, "sigma": 0.1, "repeats": 2, "key": KEY}
    point = ol.Weights(jnp.eye(4) + 0.1, jnp.ones(4))
    with pytest.raises(ValueError, match=message):
        perturb(point=point, **(arguments | changes))


def test_a_fixed_point_of_other_teachers_is_refused(point):
    with pytest.raises(ValueError, match="M = 9"):
        perturb(ol.Problem(10, 9), FLOW, point, 0.1, 2, KEY)
