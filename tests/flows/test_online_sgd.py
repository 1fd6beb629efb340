"""Online SGD's ODE against samples, published formulas and plateaus, and gradient flow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import ERF, LEAKY, RELU, Network, state_of, within

import odelandscape as ol

RATE = 0.3


each_kind = pytest.mark.parametrize(
    "sigma", [pytest.param(RELU, marks=pytest.mark.slow), ERF], ids=lambda s: s.name
)


@eqx.filter_jit
def _rates(flow, state, problem):
    return flow(0.0, state, problem)


def rates(problem, state, rate=RATE, train_readout=False):
    """Compiled once for all learning rates."""
    return _rates(ol.OnlineSGD(jnp.asarray(rate), train_readout), state, problem)


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma", "sizes"),
    [(RELU, (3, 2)), (LEAKY, (2, 3)), (ERF, (3, 2)), (RELU, (1, 1))],
    ids=["relu", "leaky", "erf", "one"],
)
def test_rates_are_the_average_of_a_step(sigma, sizes):
    network = Network.random(*sizes, d=6)
    problem, weights = state_of(network, sigma)
    got = rates(problem, ol.overlaps(problem, weights), train_readout=True)
    x = np.random.default_rng(3).standard_normal((400_000, 6))
    field, teacher = x @ network.W.T, x @ network.Wt.T
    error = sigma.value(field) @ network.v - sigma.value(teacher) @ network.vt
    pull = error[:, None] * network.v * sigma.slope(field)
    # (w_i − η/d g_i x)·(w_j − η/d g_j x) with |x|² = d.
    dQ = -(pull[:, :, None] * field[:, None] + field[:, :, None] * pull[:, None])
    dQ += RATE * pull[:, :, None] * pull[:, None]
    dR = -pull[:, :, None] * teacher[:, None]
    for value, draws in (
        (got.Q, dQ),
        (got.R, dR),
        (got.v, -error[:, None] * sigma.value(field)),
    ):
        within(value, (draws.mean(axis=0), draws.std(axis=0) / np.sqrt(len(x))))


def saad_solla(Q, R, T, eta):
    """The rates of Saad and Solla (Phys. Rev. E 52, 4225), Eqs. 6-8 with their I3 and I4, entry by entry."""
    K, M = R.shape
    C = np.block([[Q, R], [R.T, T]])
    sign = np.array([1.0] * K + [-1.0] * M)
    N = range(K + M)

    def I3(i, j, k):
        lam = (1 + C[i, i]) * (1 + C[k, k]) - C[i, k] ** 2
        top = C[j, k] * (1 + C[i, i]) - C[i, j] * C[i, k]
        return 2 / np.pi / np.sqrt(lam) * top / (1 + C[i, i])

    def I4(i, j, k, n):
        L4 = (1 + C[i, i]) * (1 + C[j, j]) - C[i, j] ** 2
        L0 = L4 * C[k, n] - C[j, k] * C[j, n] * (1 + C[i, i]) - C[i, k] * C[i, n] * (1 + C[j, j])
        L0 += C[i, j] * C[i, k] * C[j, n] + C[i, j] * C[i, n] * C[j, k]

        def L(k):
            less = C[j, k] ** 2 * (1 + C[i, i]) + C[i, k] ** 2 * (1 + C[j, j])
            return L4 * (1 + C[k, k]) - less + 2 * C[i, j] * C[i, k] * C[j, k]

        return 4 / np.pi**2 / np.sqrt(L4) * np.arcsin(L0 / np.sqrt(L(k) * L(n)))

    dR = [[-sum(sign[k] * I3(i, K + n, k) for k in N) for n in range(M)] for i in range(K)]
    dQ = [
        [
            -sum(sign[k] * (I3(i, j, k) + I3(j, i, k)) for k in N)
            + eta * sum(sign[k] * sign[n] * I4(i, j, k, n) for k in N for n in N)
            for j in range(K)
        ]
        for i in range(K)
    ]
    return np.array(dQ), np.array(dR)


def test_erf_has_the_equations_of_saad_and_solla():
    problem = ol.Problem(3, 2, ol.Erf())
    state = ol.overlaps(problem, ol.random_weights(jax.random.key(2), problem, 5))
    got = rates(problem, state)
    dQ, dR = saad_solla(*map(np.asarray, (state.Q, state.R, problem.T)), RATE)
    np.testing.assert_allclose(got.Q, dQ, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got.R, dR, rtol=1e-12, atol=1e-14)


@each_kind
def test_without_a_learning_rate_it_is_gradient_flow(sigma):
    problem = ol.Problem(3, 3, sigma.library)
    state = ol.overlaps(problem, ol.random_weights(jax.random.key(0), problem, 7))
    flow = ol.GradientFlow()(0.0, state, problem)
    for rate in (1e-3, 1e-6):
        got = rates(problem, state, rate)
        np.testing.assert_allclose(got.R, flow.R, rtol=1e-13, atol=1e-15)
        noise = (got.Q - flow.Q) / rate
        full = rates(problem, state, 1.0).Q - flow.Q
        np.testing.assert_allclose(noise, full, rtol=1e-6)
        assert np.linalg.eigvalsh(noise)[0] > 0
    path = ol.trajectory(problem, ol.OnlineSGD(1e-7), state, [1.0, 10.0])
    limit = ol.trajectory(problem, ol.GradientFlow(), state, [1.0, 10.0])
    np.testing.assert_allclose(path.loss, limit.loss, rtol=1e-5)


@each_kind
def test_derivatives_are_those_of_differences(sigma):
    problem = ol.Problem(3, 2, sigma.library)
    state = ol.overlaps(problem, ol.random_weights(jax.random.key(1), problem, 6))
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 3))
    along = ol.OrderParameters(
        jnp.asarray(A + A.T), jnp.asarray(rng.standard_normal((3, 2))), jnp.zeros(3)
    )

    @jax.jit
    def f(h):
        moved = jax.tree.map(lambda x, t: x + h * t, state, along)
        return ol.OnlineSGD(RATE + h, tolerance=1e-13)(0.0, moved, problem).Q

    slope = jax.jvp(f, (0.0,), (1.0,))[1]
    h = 1e-5
    np.testing.assert_allclose(slope, (f(h) - f(-h)) / (2 * h), rtol=1e-7, atol=1e-8)


# --- trajectories ---------------------------------------------------------------------------------


def test_the_plateau_of_two_erf_units_is_the_published_one():
    # Saad and Solla: Q = C = 1/(2K−1), R = 1/√(K(2K−1)), ε = K/π (π/6 − K arcsin(1/2K)), small η.
    K = 2
    problem = ol.Problem(K, K, ol.Erf())
    R = 1e-9 * np.array([[1.0, 0.5], [0.3, 0.8]])
    start = ol.OrderParameters(jnp.diag(jnp.array([0.25, 0.1])), jnp.asarray(R), jnp.ones(K))
    path = ol.trajectory(problem, ol.OnlineSGD(1e-3), start, np.linspace(4, 400, 100))
    level = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    at = int(np.argmin(np.abs(np.gradient(np.log(path.loss)))))
    np.testing.assert_allclose(path.loss[at], level, rtol=4e-3)
    # What specialises the students grows in their differences; their means are still the plateau's.
    np.testing.assert_allclose(path.states.Q[at].mean(), 1 / (2 * K - 1), rtol=2e-2)
    np.testing.assert_allclose(path.states.R[at].mean(), 1 / np.sqrt(K * (2 * K - 1)), rtol=2e-2)
    assert path.loss[-1] < level / 2  # and it is left


@pytest.mark.slow
def test_order_parameters_stay_what_weights_can_have_down_to_the_teacher():
    problem = ol.Problem(3, 3)
    path = ol.trajectory(
        problem,
        ol.OnlineSGD(0.5),
        ol.random_weights(jax.random.key(0), problem),
        np.geomspace(0.1, 400, 30),
    )
    least = jax.vmap(lambda state: ol.realisability(problem, state))(path.states)
    assert np.min(least) > -1e-12
    assert abs(path.loss[-1]) < 1e-10  # what the tolerance of the noise leaves


@pytest.mark.parametrize(
    "activation", [pytest.param(ol.LeakyReLU(0.2), marks=pytest.mark.slow), ol.Erf()], ids=repr
)
def test_networks_of_a_random_teacher_follow_the_equations(activation):
    problem = ol.random_teacher(jax.random.key(3), 2, 6, activation, students=3)
    weights = ol.random_weights(jax.random.key(4), problem, 400)
    flow, times = ol.OnlineSGD(0.4), [0.5, 2.0]
    theory = ol.trajectory(problem, flow, ol.overlaps(problem, weights), times)
    keys = jax.random.split(jax.random.key(5), 24)
    runs = jax.vmap(lambda key: ol.train_network(problem, flow, weights, times, key=key))(keys)
    for value, draws in (
        (theory.loss, runs.loss),
        (theory.states.R, runs.states.R),
        (theory.states.Q, runs.states.Q),
    ):
        draws = np.asarray(draws)
        within(value, (draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(24)), sigmas=6)


@pytest.mark.slow
def test_noise_above_the_divergence_threshold_leaves_times_unreached_and_no_nan():
    problem = ol.Problem(2, 2)
    path = ol.trajectory(
        problem, ol.OnlineSGD(6.0), ol.random_weights(jax.random.key(0), problem), [0.1, 1e3]
    )
    assert np.isfinite(path.loss[0])
    assert path.loss[1] == np.inf
    assert not any(np.isnan(x).any() for x in jax.tree.leaves(path.states))


# --- the largest learning rate --------------------------------------------------------------------


def independent_signs(K):
    """The η at which B of ReLU students, outside the span of orthonormal teachers, first grows, from
    E[θ_i θ_j θ_k θ_l] = 2^(−number of different units) and E[θ_i θ_j] = 1/2 or 1/4."""
    X = np.full((K, K), 0.25) + 0.25 * np.eye(K)
    pairs = [(i, j) for i in range(K) for j in range(K)]
    M = np.array([[2.0 ** -len({*p, *q}) for q in pairs] for p in pairs])
    shrink = np.kron(X, np.eye(K)) + np.kron(np.eye(K), X)
    return 1 / np.linalg.eigvals(np.linalg.solve(shrink, M)).real.max()


@pytest.mark.parametrize("K", [1, 3])
def test_the_largest_learning_rate_of_relu_is_that_of_independent_signs(K):
    rate = ol.largest_learning_rate(ol.Problem(K, K))
    np.testing.assert_allclose(rate, independent_signs(K), rtol=1e-5)


def test_one_linear_unit_is_stable_up_to_two():
    # dB/dt = −2B + ηB.
    rate = ol.largest_learning_rate(ol.Problem(1, 1, ol.LeakyReLU(1.0)))
    np.testing.assert_allclose(rate, 2, rtol=1e-5)


@pytest.mark.parametrize(
    "activation", [pytest.param(ol.ReLU(), marks=pytest.mark.slow), ol.Erf()], ids=repr
)
def test_perturbations_of_the_teacher_decay_below_that_rate_and_grow_above(activation):
    problem = ol.Problem(2, 2, activation)
    rate = ol.largest_learning_rate(problem)
    B = 1e-4 * jnp.array([[1.0, 0.2], [0.2, 0.8]])
    start = ol.OrderParameters(jnp.eye(2) + B, jnp.eye(2), jnp.ones(2))
    times = [1.0, 60.0]
    below, above = (
        ol.trajectory(problem, ol.OnlineSGD(f * rate), start, times).loss for f in (0.8, 1.2)
    )
    assert below[1] < below[0] / 10
    assert above[1] > above[0] * 10


def test_a_largest_rate_needs_a_network_of_loss_zero():
    with pytest.raises(ValueError, match=r"weights must be given .* K = 3, M = 2"):
        ol.largest_learning_rate(ol.Problem(3, 2))
    problem = ol.Problem(2, 2)
    with pytest.raises(ValueError, match="weights must have loss 0"):
        ol.largest_learning_rate(problem, ol.random_weights(jax.random.key(0), problem))


# --- stationary states ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_minimum_is_raised_by_a_quarter_of_the_noise():
    # In the stationary state XB + BX = ηN, and the loss rises by tr(XB)/2 = η tr(N)/4 to first order. N by
    # Monte Carlo.
    problem = ol.Problem(6, 6)
    point = ol.fixed_point(problem, ol.family(problem, anti_aligned=1))
    W = np.asarray(point.weights.W)
    x = np.random.default_rng(0).standard_normal((400_000, 6))
    field = np.maximum(x @ W.T, 0)
    error = field.sum(axis=1) - np.maximum(x, 0).sum(axis=1)
    draws = error**2 * (field > 0).sum(axis=1) / 4
    rate = 2e-3
    room = ol.Weights(jnp.pad(point.weights.W, ((0, 0), (0, 6))), point.weights.v)
    start = jax.tree.map(lambda w: w[None], room)
    ends = ol.relax(problem, ol.OnlineSGD(rate), start)
    assert ends.outcome[0] == "local_minimum"
    assert ends.anti_aligned[0] == 1
    raised = (ends.loss[0] - float(point.loss)) / rate
    assert abs(raised - draws.mean()) < 5 * draws.std() / np.sqrt(len(x)) + 0.05 * draws.mean()


@pytest.mark.slow
def test_a_sweep_of_sgd_classifies_stationary_states(tmp_path):
    problem, flow = ol.Problem(2, 2), ol.OnlineSGD(0.3)
    runs = ol.sweep(problem, flow, seeds=5, store=tmp_path / "sgd", progress=False)
    assert set(runs.outcome) <= {"global_minimum", "local_minimum"}
    assert runs.weights.W.shape == (5, 2, 4)
    again = ol.read_sweep(tmp_path / "sgd")
    assert isinstance(again.flow, ol.OnlineSGD)
    np.testing.assert_array_equal(again.loss, runs.loss)
    wild = ol.sweep(problem, ol.OnlineSGD(8.0), seeds=2, progress=False)
    assert set(wild.outcome) == {"failed"}
    assert np.isfinite(wild.weights.W).all()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf"), "0.1", [0.1, 0.2]], ids=str)
def test_a_learning_rate_that_is_not_positive_is_refused(rate):
    with pytest.raises(ValueError, match=r"learning_rate must be a finite number above 0; got"):
        ol.OnlineSGD(rate)


def test_weights_are_refused():
    problem = ol.Problem(2, 2)
    weights = ol.random_weights(jax.random.key(0), problem)
    with pytest.raises(ValueError, match=r"must be order parameters.*ol\.overlaps.*OnlineSGD"):
        ol.OnlineSGD(0.1)(0.0, weights, problem)


def test_order_parameters_of_no_weights_are_refused():
    problem = ol.Problem(2, 2)
    state = ol.OrderParameters(0.5 * jnp.eye(2), jnp.eye(2), jnp.ones(2))
    with pytest.raises(ValueError, match=r"must be realisable.*smallest eigenvalue is -0\.5"):
        ol.trajectory(problem, ol.OnlineSGD(0.1), state, [1.0])
