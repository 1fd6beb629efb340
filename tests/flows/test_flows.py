"""Each flow against independent gradients; its symmetries, its constraint and degenerate states."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import (
    ERF,
    LEAKY,
    RELU,
    SIGMAS,
    Network,
    relu_gradient,
    state_of,
    within,
)

from odelandscape.flows.gradient import GradientFlow
from odelandscape.flows.normalised import NormalisedFlow
from odelandscape.flows.online_sgd import OnlineSGD
from odelandscape.flows.orthonormal import OrthonormalFlow
from odelandscape.flows.two_layer import TwoLayerFlow
from odelandscape.model.loss import population_loss
from odelandscape.model.problem import Problem
from odelandscape.model.state import OrderParameters, Weights, overlaps

FLOWS = [GradientFlow(), NormalisedFlow(), OrthonormalFlow(), TwoLayerFlow()]
CLOSED_FORM = (RELU, LEAKY, ERF)
SPAN, MORE = (4, 3, 3), (3, 3, 5)  # d = M (with a surplus student) and d > M


def label(x) -> str:
    return getattr(x, "name", str(x).removesuffix("()"))


each_flow = pytest.mark.parametrize("flow", FLOWS, ids=label)
each_shape = pytest.mark.parametrize("shape", [SPAN, MORE], ids=str)


@jax.jit
def rates(flow, state, problem):
    return flow(0.0, state, problem)


def orthonormal(network: Network) -> Network:
    """The same network with orthonormal students (K ≤ d)."""
    U, _, Vt = np.linalg.svd(network.W, full_matrices=False)
    return Network(U @ Vt, network.v, network.Wt, network.vt)


def normals(flow, W):
    """Directions that the flow's constraint forbids, as rows: to be projected out."""
    K, d = W.shape
    if isinstance(flow, NormalisedFlow):
        symmetric = [np.outer(e, e) for e in np.eye(K)]
    elif isinstance(flow, OrthonormalFlow):
        pairs = [(i, j) for i in range(K) for j in range(i + 1)]
        symmetric = [np.outer(np.eye(K)[i], np.eye(K)[j]) for i, j in pairs]
        symmetric = [S + S.T for S in symmetric]
    else:
        return np.zeros((0, K * d))
    return np.array([(S @ W).ravel() for S in symmetric])


def project_out(A, vector):
    """The component of `vector` outside the span of the rows of A, by least squares."""
    return vector - A.T @ np.linalg.lstsq(A.T, vector, rcond=None)[0] if len(A) else vector


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma", "shape"), [(s, MORE) for s in SIGMAS] + [(RELU, SPAN)], ids=label
)
def test_gradient_flow_of_both_layers_goes_down_the_sampled_gradient(sigma, shape):
    network = Network.random(*shape)
    _, (by_W, error_W), (by_v, error_v) = network.sample(sigma)
    rate = rates(TwoLayerFlow(), *state_of(network, sigma)[::-1])
    # Rotated to the network's own basis, where the samples were drawn.
    within(np.asarray(rate.W) @ network.basis(), (-by_W, error_W))
    within(rate.v, (-by_v, error_v))


@pytest.mark.parametrize(
    ("sigma", "shape"), [(s, MORE) for s in CLOSED_FORM] + [(RELU, SPAN)], ids=label
)
def test_gradient_flows_are_minus_the_gradient_of_the_loss(sigma, shape):
    problem, weights = state_of(Network.random(*shape), sigma)
    both, first = (rates(flow, weights, problem) for flow in (TwoLayerFlow(), GradientFlow()))
    gradient = jax.jit(jax.grad(lambda w: population_loss(problem, w)))(weights)
    np.testing.assert_allclose(both.W, -gradient.W, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(both.v, -gradient.v, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(first.W, both.W, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(first.v, 0)


@each_flow
@each_shape
def test_rates_are_the_closed_form_gradient_projected_in_any_basis_of_input_space(flow, shape):
    # Students need not satisfy the constraint here but for onGD, whose normals assume W Wᵀ = I.
    network = Network.random(*shape)
    if isinstance(flow, OrthonormalFlow):
        network = orthonormal(Network.random(3, *shape[1:]))
    gradient = relu_gradient(network.W, network.v, network.Wt, network.vt)
    truth = -project_out(normals(flow, network.W), gradient.ravel()).reshape(network.W.shape)
    problem, weights = state_of(network, RELU)
    rate = rates(flow, weights, problem)
    np.testing.assert_allclose(np.asarray(rate.W) @ network.basis(), truth, atol=1e-13)


@pytest.mark.parametrize("sigma", CLOSED_FORM, ids=label)
def test_constrained_flows_go_down_the_projected_sampled_gradient(sigma):
    network = orthonormal(Network.random(*MORE))
    _, (by_W, error), _ = network.sample(sigma)
    problem, weights = state_of(network, sigma)
    for flow in (NormalisedFlow(), OrthonormalFlow()):
        rate = np.asarray(rates(flow, weights, problem).W) @ network.basis()
        truth = -project_out(normals(flow, network.W), by_W.ravel()).reshape(by_W.shape)
        # A projection does not lengthen: no entry's error exceeds that of the whole gradient.
        within(rate, (truth, np.linalg.norm(error)))
        product = rate @ network.W.T
        kept = np.diag(product) if isinstance(flow, NormalisedFlow) else product + product.T
        np.testing.assert_allclose(kept, 0, atol=1e-13)


@pytest.mark.parametrize(
    ("flow", "sigma", "shape"),
    [(f, RELU, shape) for f in FLOWS for shape in (SPAN, MORE)]
    + [(TwoLayerFlow(), s, MORE) for s in SIGMAS[1:]],
    ids=label,
)
def test_rates_of_overlaps_are_the_rates_of_weights_projected(flow, sigma, shape):
    problem, weights = state_of(Network.random(*shape), sigma)
    state = overlaps(problem, weights)
    in_weights, in_overlaps = rates(flow, weights, problem), rates(flow, state, problem)
    half = in_weights.W @ weights.W.T
    teacher = problem.teacher_weights(shape[2])
    np.testing.assert_allclose(in_overlaps.Q, half + half.T, atol=1e-12)
    np.testing.assert_allclose(in_overlaps.R, in_weights.W @ teacher.T, atol=1e-12)
    np.testing.assert_allclose(in_overlaps.v, in_weights.v, atol=1e-13)


# --- symmetries -----------------------------------------------------------------------------------


@each_flow
def test_relabelling_students_relabels_their_rates(flow):
    problem, weights = state_of(Network.random(*MORE), LEAKY)
    order = jnp.asarray([2, 0, 1])
    rate = rates(flow, weights, problem)
    moved = rates(flow, Weights(weights.W[order], weights.v[order]), problem)
    np.testing.assert_allclose(moved.W, rate.W[order], atol=1e-14)
    np.testing.assert_allclose(moved.v, rate.v[order], atol=1e-14)


@each_flow
def test_relabelling_teachers_changes_nothing_but_their_labels(flow):
    problem, weights = state_of(Network.random(*MORE), LEAKY)
    order = jnp.asarray([2, 0, 1])
    state = overlaps(problem, weights)
    other = Problem(
        3, 3, problem.activation, problem.T[order][:, order], problem.teacher_readout[order]
    )
    rate = rates(flow, state, problem)
    moved = rates(flow, OrderParameters(state.Q, state.R[:, order], state.v), other)
    np.testing.assert_allclose(moved.R, rate.R[:, order], atol=1e-14)
    np.testing.assert_allclose(moved.Q, rate.Q, atol=1e-14)
    np.testing.assert_allclose(moved.v, rate.v, atol=1e-14)


@each_flow
def test_rotating_the_complement_of_the_teacher_rotates_the_rates(flow):
    problem, weights = state_of(Network.random(*MORE), RELU)
    rotation = np.eye(5)
    rotation[3:, 3:] = [[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]]
    rate = rates(flow, weights, problem)
    moved = rates(flow, Weights(weights.W @ rotation, weights.v), problem)
    np.testing.assert_allclose(moved.W, rate.W @ rotation, atol=1e-14)


# --- capabilities ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flow", [*FLOWS, OnlineSGD(0.1), OnlineSGD(0.1, train_readout=True)], ids=repr
)
def test_properties_of_a_flow_are_those_of_its_rates(flow):
    problem, weights = state_of(Network.random(*MORE), ERF)
    state = overlaps(problem, flow.project_initial(weights))
    rate = rates(flow, state, problem)
    assert flow.trains_readout == bool(np.any(np.asarray(rate.v) != 0))
    assert flow.preserves_norms == bool(np.abs(np.diagonal(rate.Q)).max() < 1e-13)
    assert flow.stochastic == (flow.mixing(state, problem).noise is not None)
    assert flow.permutation_equivariant


# --- constraints ----------------------------------------------------------------------------------


def joined(weights: Weights):
    """[W | v], flattened."""
    return np.concatenate([weights.W, weights.v[:, None]], axis=1).ravel()


@each_flow
@pytest.mark.parametrize("sigma", [RELU, ERF], ids=lambda s: s.name)
def test_a_flow_never_moves_along_its_neutral_directions(flow, sigma):
    problem, weights = state_of(Network.random(*MORE), sigma)
    weights = flow.project_initial(weights)
    neutral = np.asarray(flow.neutral_directions(weights, problem)).reshape(-1, 3 * 6)
    rate = joined(rates(flow, weights, problem))
    assert np.linalg.norm(rate) > 0.01
    np.testing.assert_allclose(neutral @ rate, 0, atol=1e-13)
    trained = flow.trains_readout
    constraints = {NormalisedFlow: 3, OrthonormalFlow: 6}.get(type(flow), 0)
    rescalings = 3 if trained and sigma is RELU else 0
    rank = np.linalg.matrix_rank(neutral) if len(neutral) else 0
    assert len(neutral) == rank == constraints + rescalings + (0 if trained else 3)


def test_rescalings_of_both_layers_change_no_network():
    problem, weights = state_of(Network.random(*MORE), LEAKY)
    neutral = TwoLayerFlow().neutral_directions(weights, problem)
    gradient = jax.jit(jax.grad(lambda w: population_loss(problem, w)))(weights)
    np.testing.assert_allclose(np.asarray(neutral).reshape(3, -1) @ joined(gradient), 0, atol=1e-13)
    scale = np.array([0.5, 2.0, 3.0])
    other = Weights(weights.W * scale[:, None], weights.v / scale)
    loss = jax.jit(population_loss)
    np.testing.assert_allclose(loss(problem, other), loss(problem, weights), rtol=1e-13)


@each_flow
def test_a_projected_start_is_projected_to_itself(flow):
    _, weights = state_of(Network.random(*MORE), RELU)
    once = flow.project_initial(weights)
    np.testing.assert_allclose(flow.project_initial(once).W, once.W, atol=1e-14)
    np.testing.assert_array_equal(once.v, weights.v)
    if isinstance(flow, GradientFlow | TwoLayerFlow):
        np.testing.assert_array_equal(once.W, weights.W)


def test_nearest_unit_rows_are_the_scaled_rows_and_a_zero_row_stays():
    W = jnp.asarray([[3.0, 4.0], [0.0, 0.0]])
    projected = NormalisedFlow().project_initial(Weights(W, jnp.ones(2)))
    np.testing.assert_allclose(projected.W, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-15)
    rate = rates(NormalisedFlow(), projected, Problem(2, 2))
    np.testing.assert_array_equal(rate.W[1], 0)


def test_nearest_orthonormal_rows_are_the_polar_factor():
    _, weights = state_of(Network.random(*MORE), RELU)
    W, A = np.asarray(weights.W), np.asarray(OrthonormalFlow().project_initial(weights).W)
    np.testing.assert_allclose(A @ A.T, np.eye(3), atol=1e-14)
    stretch = W @ A.T  # W = P A with P symmetric positive definite: the polar decomposition
    np.testing.assert_allclose(stretch, stretch.T, atol=1e-14)
    np.testing.assert_allclose(stretch @ A, W, atol=1e-14)
    assert np.linalg.eigvalsh(stretch)[0] > 0


def test_more_orthonormal_rows_than_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"K ≤ d; got students K = 4 and dimension d = 3"):
        OrthonormalFlow().project_initial(Weights(jnp.ones((4, 3)), jnp.ones(4)))


@each_flow
def test_retracting_from_very_near_lands_on_the_constraint(flow):
    _, weights = state_of(Network.random(*MORE), RELU)
    start = flow.project_initial(weights)
    noise = np.random.default_rng(0).standard_normal((3, 5))
    moved = start.W + 1e-6 * noise
    back = np.asarray(flow.retract(Weights(moved, start.v)).W)
    if isinstance(flow, GradientFlow | TwoLayerFlow):
        np.testing.assert_array_equal(back, moved)
        return
    error = back @ back.T - np.eye(3)
    kept = np.diag(error) if isinstance(flow, NormalisedFlow) else error
    np.testing.assert_allclose(kept, 0, atol=1e-10)  # the square of what it was
    assert np.linalg.norm(back - start.W) < 2e-6 * np.linalg.norm(noise)


# --- degenerate states ---------------------------------------------------------------------------------


def degenerate_starts(K, M, d):
    """Every kind of coincident units that K and d allow: stacked weights, readouts 1."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((5, K, d)) / np.sqrt(d)
    W[0] = np.eye(K, d)  # the teacher itself, surplus students at zero
    W[1, -1] = 0
    W[2] = W[2, :1]  # all rows equal
    W[3, -1] = -2 * W[3, 0]  # opposite
    W[4] = 0
    return jnp.asarray(W)


@pytest.mark.parametrize(
    ("sigma", "shape"),
    [(RELU, s) for s in ((3, 3, 4), (2, 4, 4), (8, 3, 3), (1, 3, 3), (3, 1, 1), (1, 1, 1))]
    + [(LEAKY, (3, 2, 2)), (ERF, (2, 2, 3))],
    ids=label,
)
def test_rates_and_their_jacobians_are_finite_at_every_coincidence(sigma, shape):
    problem = Problem(*shape[:2], sigma.library)

    def all_rates(W):
        found = [flow(0.0, Weights(W, jnp.ones(shape[0])), problem) for flow in FLOWS]
        return found, found

    both = jax.jit(jax.vmap(jax.jacfwd(all_rates, has_aux=True)))
    jacobians, found = both(degenerate_starts(*shape))
    for flow, rate, jacobian in zip(FLOWS, found, jacobians, strict=True):
        for leaf in jax.tree.leaves((rate, jacobian)):
            assert np.isfinite(leaf).all(), flow
        if shape[0] >= shape[1]:
            # The teacher, with surplus students at zero, is a fixed point of every flow.
            np.testing.assert_allclose(rate.W[0], 0, atol=1e-13, err_msg=str(flow))


# --- trajectories ---------------------------------------------------------------------------------


@each_flow
def test_a_flow_is_a_term_for_diffrax_and_its_loss_never_rises(flow):
    problem, weights = state_of(Network.random(*MORE, seed=3), RELU)
    times = jnp.linspace(0.0, 20.0, 101)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(flow),
        diffrax.Tsit5(),
        0.0,
        20.0,
        None,
        flow.project_initial(weights),
        args=problem,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
    )
    loss = jax.jit(jax.vmap(population_loss, (None, 0)))(problem, solution.ys)
    assert loss[-1] < 0.9 * loss[0]
    assert np.diff(loss).max() < 1e-9


@pytest.mark.filterwarnings("error")
def test_students_are_normalised_in_single_precision_too():
    """Limits of float64 are no numbers there."""
    W = jnp.array([[3.0, 4.0], [1e-20, 0.0], [0.0, 1e20]], jnp.float32)
    found = NormalisedFlow().project_initial(Weights(W, jnp.ones(3, jnp.float32)))
    np.testing.assert_allclose(found.W, [[0.6, 0.8], [1, 0], [0, 1]], rtol=1e-6)
