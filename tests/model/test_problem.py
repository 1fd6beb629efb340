"""The population loss, its Hessian and the two ways of writing a state."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from systems import (
    MINIMA,
    RELU,
    SIGMAS,
    Network,
    linear_loss,
    one_on_one_loss,
    relu_gradient,
    spectrum_at_teacher,
    state_of,
    within,
)

from odelandscape.activations.relu import LeakyReLU
from odelandscape.model.loss import population_loss
from odelandscape.model.problem import Problem
from odelandscape.model.state import (
    OrderParameters,
    Weights,
    overlaps,
    random_weights,
    realisability,
    weights_of,
)

# d = M and d > M; surplus students.
SHAPES = [(3, 4, 6), (4, 3, 3)]
loss_of = jax.jit(population_loss)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def plain(W) -> tuple[Problem, Weights]:
    """ReLU, orthonormal teacher, readouts 1."""
    problem = Problem(len(W), W.shape[1])
    return problem, Weights(jnp.asarray(W), jnp.ones(len(W)))


def hessian(problem, weights):
    f = jax.jit(jax.hessian(lambda W: population_loss(problem, Weights(W, weights.v))))
    return np.asarray(f(weights.W)).reshape(weights.W.size, weights.W.size)


# --- loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma", "shape"),
    [(s, SHAPES[0]) for s in SIGMAS] + [(RELU, SHAPES[1])],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_loss_equals_monte_carlo_and_is_the_same_in_weights_and_overlaps(sigma, shape):
    network = Network.random(*shape)
    problem, weights = state_of(network, sigma)
    loss = loss_of(problem, weights)
    within(loss, network.sample(sigma)[0])
    np.testing.assert_allclose(
        population_loss(problem, overlaps(problem, weights)), loss, rtol=1e-13
    )


def test_one_student_on_one_teacher():
    length, angle = np.meshgrid([0.0, 0.3, 1.0, 2.0], [0.0, 0.4, np.pi / 2, 3.0, np.pi])
    W = jnp.asarray(np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1))
    problem = Problem(1, 1)
    loss = jax.jit(jax.vmap(lambda w: population_loss(problem, Weights(w[None], jnp.ones(1)))))(
        W.reshape(-1, 2)
    )
    np.testing.assert_allclose(loss, one_on_one_loss(length, angle).ravel(), atol=1e-15)


@each_shape
def test_slope_one_is_the_linear_network(shape):
    network = Network.random(*shape)
    problem, weights = state_of(network, RELU)
    linear = Problem(
        problem.students, problem.teachers, LeakyReLU(1.0), problem.T, problem.teacher_readout
    )
    truth = linear_loss(network.W, network.v, network.Wt, network.vt)
    np.testing.assert_allclose(loss_of(linear, weights), truth, rtol=1e-13)


@pytest.mark.parametrize("minimum", MINIMA, ids=lambda m: m.name)
def test_published_minima_have_their_loss_and_stability(minimum):
    problem, weights = plain(minimum.W)
    loss = loss_of(problem, weights)
    np.testing.assert_allclose(loss, minimum.loss, atol=minimum.tolerance)
    if minimum.smallest_eigenvalue is not None:
        least = np.linalg.eigvalsh(hessian(problem, weights))[0]
        np.testing.assert_allclose(least, minimum.smallest_eigenvalue, atol=3e-4)


# All units reflected (Householder's matrix, loss of order 1) and hardly moved from the teacher.
@pytest.mark.parametrize(("a", "b"), [(2 / 1000 - 1, 2 / 1000), (1 + 1e-6, 0.0)])
def test_loss_keeps_its_digits_in_a_wide_network(a, b):
    # W = (a − b) I + b 11ᵀ: with this symmetry the sum has six distinct terms, added in 40 digits.
    K = 1000
    q, q_off = a * a + (K - 1) * b * b, 2 * a * b + (K - 2) * b * b
    with mp.workdps(40):

        def moment(c12, n):
            angle = mp.acos(min(1, c12 / n))
            return n * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / (2 * mp.pi)

        Q, n = mp.mpf(q), mp.sqrt(q)
        same = moment(Q, Q) + moment(1, mp.mpf(1)) - 2 * moment(mp.mpf(a), n)
        other = moment(mp.mpf(q_off), Q) + moment(0, mp.mpf(1)) - 2 * moment(mp.mpf(b), n)
        truth = float((K * same + K * (K - 1) * other) / 2)

    def block(diagonal, off):
        return jnp.full((K, K), off).at[jnp.arange(K), jnp.arange(K)].set(diagonal)

    state = OrderParameters(block(q, q_off), block(a, b), jnp.ones(K))
    # Summing I2 pair by pair, whose terms add to K²/2π before they cancel, is wrong by 5e-9.
    np.testing.assert_allclose(loss_of(Problem(K, K), state), truth, rtol=0, atol=1e-11)


# --- Hessian at the teacher -----------------------------------------------------------------------


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("k", [4, 6])
def test_hessian_at_the_teacher_has_the_exact_spectrum(k, extra):
    W = np.eye(k, k + extra)
    H = hessian(Problem(k, k), Weights(jnp.asarray(W), jnp.ones(k)))
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(H), spectrum_at_teacher(k, k + extra), atol=1e-13)


@pytest.mark.parametrize(
    "W", [np.eye(3, 4), np.ones((3, 4)) * [0.5, 0.2, -0.1, 0.3]], ids=["W*", "split"]
)
def test_hessian_at_coincident_units_equals_central_differences_of_the_gradient(W):
    # The loss is C² but not C³ there: the differences are right to O(h).
    v, Wt, vt, h = np.ones(3), np.eye(3, 4), np.ones(3), 1e-6
    steps = h * np.eye(12).reshape(12, 3, 4)
    gradient = relu_gradient(
        np.concatenate([W + steps, W - steps]),
        *(np.broadcast_to(x, (24, *x.shape)) for x in (v, Wt, vt)),
    ).reshape(2, 12, 12)
    differences = (gradient[0] - gradient[1]) / (2 * h)
    H = hessian(Problem(3, 3), Weights(jnp.asarray(W), jnp.asarray(v)))
    np.testing.assert_allclose(H, differences, atol=2e-6)


# --- overlaps and weights -------------------------------------------------------------------------


@each_shape
def test_weights_have_the_inner_products_of_the_network_in_any_basis(shape):
    network = Network.random(*shape)
    state = overlaps(*state_of(network, RELU))
    np.testing.assert_allclose(state.Q, network.W @ network.W.T, atol=1e-14)
    np.testing.assert_allclose(state.R, network.W @ network.Wt.T, atol=1e-14)


@each_shape
def test_weights_of_overlaps_have_these_overlaps(shape):
    problem, weights = state_of(Network.random(*shape), RELU)
    state = overlaps(problem, weights)
    back = weights_of(problem, state)
    assert back.W.shape == (problem.students, problem.teachers + problem.students)
    again = overlaps(problem, back)
    for name in ("Q", "R", "v"):
        np.testing.assert_allclose(getattr(again, name), getattr(state, name), atol=1e-13)


def test_realisability_is_the_smallest_square_left_outside_the_teacher():
    network = Network.random(3, 4, 8)
    problem, weights = state_of(network, RELU)
    state = overlaps(problem, weights)
    outside = network.W - network.W @ np.linalg.pinv(network.Wt) @ network.Wt
    least = np.linalg.svd(outside, compute_uv=False)[-1] ** 2
    np.testing.assert_allclose(realisability(problem, state), least, rtol=1e-12)
    # K > d − M leaves a null direction; taking more away leaves no weights at all.
    unreal = OrderParameters(state.Q - 2 * least * jnp.eye(3), state.R, state.v)
    assert realisability(problem, unreal) < 0
    with pytest.raises(ValueError, match=r"must be realisable.*smallest eigenvalue is -"):
        weights_of(problem, unreal)


# --- starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [None, 20])
def test_random_rows_are_gaussian_of_variance_one_over_d(dimension):
    problem = Problem(students=2000, teachers=10)
    weights = random_weights(jax.random.key(0), problem, dimension)
    d = dimension or 10
    assert weights.W.shape == (2000, d)
    np.testing.assert_array_equal(weights.v, 1)
    z = np.asarray(weights.W).ravel() * np.sqrt(d)
    within(0, (z.mean(), 1 / np.sqrt(z.size)))
    within(1, (np.mean(z**2), np.sqrt(2 / z.size)))
    within(3, (np.mean(z**4), np.sqrt(96 / z.size)))
    other = random_weights(jax.random.key(1), problem, dimension)
    assert not np.array_equal(other.W, weights.W)


# --- refusals -------------------------------------------------------------------------------------

SQUARE = jnp.eye(2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"students": 0}, r"students .* at least 1; got 0"),
        ({"students": 2.5}, r"students .* got 2\.5"),
        ({"students": True}, r"students .* got True"),
        ({"teachers": -1}, r"teachers .* at least 1; got -1"),
        ({"activation": "relu"}, r"activation .* got 'relu'"),
        ({"teacher_overlaps": jnp.eye(3)}, r"teacher_overlaps .*\(2, 2\); got \(3, 3\)"),
        ({"teacher_overlaps": SQUARE - 1.0}, r"teacher_overlaps .*definite.* -1"),
        ({"teacher_overlaps": SQUARE.at[0, 1].set(0.5)}, r"teacher_overlaps .*symmetric"),
        ({"teacher_overlaps": SQUARE * jnp.nan}, r"teacher_overlaps .*finite"),
        ({"teacher_readout": jnp.ones(3)}, r"teacher_readout .*\(2,\); got \(3,\)"),
        ({"teacher_readout": jnp.asarray([1.0, jnp.inf])}, r"teacher_readout .*finite"),
    ],
)
def test_a_problem_refuses_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Problem(**{"students": 2, "teachers": 2} | arguments)


@pytest.mark.parametrize("dimension", [1, 2.5])
@pytest.mark.usefixtures("unchecked")
def test_a_dimension_below_the_teacher_is_refused(dimension):
    with pytest.raises(ValueError, match=rf"dimension must be .*; got {dimension}"):
        random_weights(jax.random.key(0), Problem(2, 2), dimension)


def test_whole_numbers_are_accepted_as_readouts_and_overlaps():
    problem = Problem(1, 2, teacher_overlaps=np.eye(2, dtype=int), teacher_readout=[1, -1])
    loss = population_loss(problem, Weights(jnp.zeros((1, 2)), jnp.ones(1)))
    # ½ E[(σ(x) − σ(y))²] = ½ (1/2 + 1/2 − 2/2π).
    np.testing.assert_allclose(loss, 0.5 - 1 / (2 * np.pi), rtol=1e-14)
