"""Networks trained on inputs: step by step in NumPy, and on average the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from systems import ERF, LEAKY, RELU, relu_gradient, within

import odelandscape as ol

RATE = 0.5


def signed(problem, key, d):
    W = ol.random_weights(jax.random.key(key), problem, d).W
    return ol.Weights(W, jnp.asarray((-0.8) ** np.arange(problem.students)))


def inputs(key, count, d):
    """The documented inputs: number i is drawn from (key, i // 64)."""
    blocks = [
        jax.random.normal(jax.random.fold_in(key, n), (64, d), jnp.float32)
        for n in range(-(-count // 64))
    ]
    return np.concatenate(blocks)[:count].astype(float)


@pytest.mark.parametrize(
    ("sigma", "trained"), [(RELU, True), (LEAKY, False), (ERF, True)], ids=["relu", "leaky", "erf"]
)
def test_steps_are_those_written_out_in_numpy(sigma, trained):
    d, count = 7, 150
    problem = ol.Problem(
        3, 2, sigma.library, np.array([[1.0, 0.4], [0.4, 0.9]]), np.array([1.0, -0.5])
    )
    weights, key = signed(problem, 0, d), jax.random.key(9)
    steps = np.array([0, 20, 64, 100, count])
    path = ol.train_network(
        problem, ol.OnlineSGD(RATE, train_readout=trained), weights, steps * RATE / d, key=key
    )
    W, v = np.array(weights.W), np.array(weights.v)
    teacher = np.asarray(problem.teacher_weights(d))
    seen = {}
    for i, x in enumerate([*inputs(key, count, d), np.zeros(d)]):
        seen[i] = (W @ W.T, W @ teacher.T, v.copy())
        field = W @ x
        error = sigma.value(field) @ v - sigma.value(teacher @ x) @ np.array([1.0, -0.5])
        W = W - RATE / d * error * np.outer(v * sigma.slope(field), x)
        if trained:
            v = v - RATE / d * error * sigma.value(field)
    np.testing.assert_allclose(path.times, steps * RATE / d, rtol=1e-12)
    for n, step in enumerate(steps):
        for got, expected in zip(jax.tree.leaves(path.states), seen[step], strict=True):
            np.testing.assert_allclose(got[n], expected, rtol=1e-10, atol=1e-12)
    now = ol.OrderParameters(*map(jnp.asarray, seen[count]))
    np.testing.assert_allclose(path.loss[-1], ol.population_loss(problem, now), rtol=1e-10)


# --- optimisers -----------------------------------------------------------------------------------


def test_plain_sgd_of_optax_is_online_sgd():
    problem, d = ol.Problem(2, 2), 5
    weights, key = signed(problem, 1, d), jax.random.key(3)
    steps = np.array([1, 30, 200])
    sgd = ol.train_network(problem, ol.OnlineSGD(RATE), weights, steps * RATE / d, key=key)
    # The optimiser's time is inputs / d, that of OnlineSGD η times it.
    same = ol.train_network(problem, optax.sgd(RATE / d), weights, steps / d, key=key)
    np.testing.assert_allclose(same.times * RATE, sgd.times, rtol=1e-14)
    for a, b in zip(jax.tree.leaves(same.states), jax.tree.leaves(sgd.states), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("trained", [False, True])
def test_steps_of_adam_are_those_written_out_in_numpy(trained):
    d, count, rate, b1, b2, eps = 6, 70, 0.02, 0.9, 0.999, 1e-8
    problem = ol.Problem(2, 2, ol.Erf())
    weights, key = signed(problem, 4, d), jax.random.key(11)
    path = ol.train_network(
        problem,
        optax.adam(rate),
        weights,
        np.array([1, 20, count]) / d,
        key=key,
        train_readout=trained,
    )
    W, v, teacher = np.array(weights.W), np.array(weights.v), np.eye(2, d)
    m, s = [0.0, 0.0], [0.0, 0.0]
    seen = {}
    for t, x in enumerate(inputs(key, count, d), 1):
        field = W @ x
        error = ERF.value(field) @ v - ERF.value(teacher @ x).sum()
        gradients = (error * np.outer(v * ERF.slope(field), x), error * ERF.value(field))
        moves = []
        for i, g in enumerate(gradients):
            m[i] = b1 * m[i] + (1 - b1) * g
            s[i] = b2 * s[i] + (1 - b2) * g * g
            moves.append(rate * (m[i] / (1 - b1**t)) / (np.sqrt(s[i] / (1 - b2**t)) + eps))
        W = W - moves[0]
        v = v - moves[1] if trained else v
        seen[t] = (W @ W.T, W @ teacher.T, v)
    for n, step in enumerate([1, 20, count]):
        for got, expected in zip(jax.tree.leaves(path.states), seen[step], strict=True):
            np.testing.assert_allclose(got[n], expected, rtol=1e-9, atol=1e-11)


def test_the_state_of_an_optimiser_is_carried_between_times():
    problem, d = ol.Problem(2, 2), 8
    weights, key, adam = signed(problem, 2, d), jax.random.key(5), optax.adam(0.01)
    often = ol.train_network(problem, adam, weights, np.arange(1, 21) * 10 / d, key=key)
    once = ol.train_network(problem, adam, weights, [200 / d], key=key)
    np.testing.assert_allclose(often.states.Q[-1], once.states.Q[0], rtol=1e-12)


def test_adam_lowers_the_loss_and_runs_for_many_keys():
    problem, d = ol.Problem(2, 2), 20
    weights = ol.random_weights(jax.random.key(0), problem, d)
    adam = optax.adam(2e-3)
    run = jax.vmap(lambda key: ol.train_network(problem, adam, weights, [0.0, 100.0], key=key).loss)
    loss = np.asarray(run(jax.random.split(jax.random.key(1), 3)))
    assert (loss[:, 1] < loss[:, 0] / 4).all()
    assert len(set(loss[:, 1].tolist())) == 3


# --- on average -----------------------------------------------------------------------------------


def test_a_step_of_sgd_is_on_average_one_of_gradient_descent():
    problem, d = ol.Problem(2, 2), 5
    weights = signed(problem, 1, d)
    time = RATE / d
    keys = jax.random.split(jax.random.key(0), 20_000)
    run = jax.jit(
        jax.vmap(
            lambda key: ol.train_network(
                problem, ol.OnlineSGD(RATE), weights, [time], key=key
            ).states.R[0]
        )
    )
    R = np.asarray(run(keys))
    gradient = relu_gradient(np.asarray(weights.W), np.asarray(weights.v), np.eye(2, d), np.ones(2))
    expected = np.asarray(weights.W - time * gradient)[:, :2]
    within(expected, (R.mean(axis=0), R.std(axis=0) / np.sqrt(len(R))))


@pytest.mark.parametrize("sigma", [RELU, ERF], ids=lambda s: s.name)
def test_gradient_descent_takes_steps_along_the_gradient_of_the_loss(sigma):
    problem, step = ol.Problem(3, 2, sigma.library), 0.05
    weights = signed(problem, 2, 4)
    path = ol.train_network(problem, ol.TwoLayerFlow(), weights, [3 * step], step=step)
    now = weights
    for _ in range(3):
        gradient = jax.grad(lambda w: ol.population_loss(problem, w))(now)
        now = jax.tree.map(lambda w, g: w - step * g, now, gradient)
    end = ol.overlaps(problem, now)
    np.testing.assert_allclose(path.states.Q[0], end.Q, rtol=1e-10)
    np.testing.assert_allclose(path.states.v[0], end.v, rtol=1e-10)


def test_gradient_descent_approaches_the_flow_with_its_step_and_keeps_its_constraint():
    problem = ol.Problem(3, 3)
    weights = ol.random_weights(jax.random.key(0), problem, 5)
    flow, times = ol.OrthonormalFlow(), [2.0, 5.0]
    theory = ol.trajectory(problem, flow, weights, times).loss
    runs = [ol.train_network(problem, flow, weights, times, step=h) for h in (0.02, 0.005)]
    first, second = (np.abs(run.loss - theory).max() for run in runs)
    assert second < first / 3
    np.testing.assert_allclose(runs[0].states.Q[1], np.eye(3), atol=1e-4)


def test_runs_do_not_depend_on_their_times_or_on_other_runs():
    problem, d = ol.Problem(2, 2, ol.Erf()), 9
    weights = ol.random_weights(jax.random.key(0), problem, d)
    keys = jax.random.split(jax.random.key(1), 3)

    def run(key, times):
        return ol.train_network(problem, ol.OnlineSGD(RATE), weights, times, key=key).loss

    together = jax.vmap(lambda key: run(key, [1.0, 4.0, 9.0]))(keys)
    alone = [run(key, [9.0])[0] for key in keys]
    np.testing.assert_allclose(together[:, 2], alone, rtol=1e-11)
    assert len(set(np.asarray(together[:, 2]).tolist())) == 3


def test_random_teachers_are_orthonormal_up_to_the_root_of_the_dimension():
    keys = jax.random.split(jax.random.key(0), 50)
    for d in (40, 640):
        T = np.stack([ol.random_teacher(key, 4, d).T for key in keys])
        away = T - np.eye(4)
        # Var T_nm = 1/d off the diagonal, 2/d on it.
        expected = np.sqrt((4 * 2 + 12) / 16 / d)
        np.testing.assert_allclose(np.sqrt((away**2).mean()), expected, rtol=0.15)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_and_named():
    problem = ol.Problem(2, 3)
    weights = ol.random_weights(jax.random.key(0), problem, 4)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"dimension must be at least .* 3; got 2"):
        ol.random_teacher(key, 3, 2)
    with pytest.raises(ValueError, match="key must be given"):
        ol.train_network(problem, ol.OnlineSGD(0.1), weights, [1.0])
    with pytest.raises(ValueError, match="key must be given"):
        ol.train_network(problem, optax.sgd(0.1), weights, [1.0])
    with pytest.raises(ValueError, match=r"flow must be .*optax\.GradientTransformation; got 3"):
        ol.train_network(problem, 3, weights, [1.0], key=key)
    with pytest.raises(ValueError, match=r"train_readout must be False with GradientFlow"):
        ol.train_network(problem, ol.GradientFlow(), weights, [1.0], train_readout=True)
    with pytest.raises(ValueError, match="step must be a finite number above 0; got 0"):
        ol.train_network(problem, ol.GradientFlow(), weights, [1.0], step=0)
    with pytest.raises(ValueError, match="times must start at 0 or later and increase"):
        ol.train_network(problem, ol.GradientFlow(), weights, [2.0, 1.0])
    with pytest.raises(ValueError, match=r"W \(K = 2, d ≥ 3\)"):
        ol.train_network(problem, ol.GradientFlow(), ol.Weights(weights.W[:, :2], weights.v), [1.0])


def test_descent_along_the_orthonormal_flow_stays_orthonormal():
    """Steps of any length: W + step · rate, then the polar factor by NumPy's SVD."""
    problem = ol.Problem(2, 2, teacher_overlaps=[[1.0, 0.4], [0.4, 2.0]])
    flow = ol.OrthonormalFlow()
    start = flow.project_initial(ol.random_weights(jax.random.key(3), problem, 5))
    for step in (0.1, 1.0, 5.0):
        path = ol.train_network(problem, flow, start, [0.0, step], step=step)
        W = np.asarray(start.W + step * flow(0.0, start, problem).W)
        U, _, V = np.linalg.svd(W, full_matrices=False)
        moved = ol.Weights(jnp.asarray(U @ V), start.v)
        np.testing.assert_allclose(path.states.Q[1], np.eye(2), atol=1e-12)
        np.testing.assert_allclose(path.loss[1], ol.population_loss(problem, moved), rtol=1e-10)


class UnitStart(ol.GradientFlow):
    """Gradient flow from students of length 1, whose lengths change then."""

    def project_initial(self, weights):
        W = weights.W
        return ol.Weights(W / jnp.linalg.norm(W, axis=1, keepdims=True), weights.v)


def test_a_flow_that_chooses_its_start_does_so_once():
    problem = ol.Problem(2, 2)
    start = ol.Weights(jnp.array([[2.0, 1.0], [0.3, -0.8]]), jnp.ones(2))
    same = UnitStart().project_initial(start)
    found = ol.train_network(problem, UnitStart(), start, [0.0, 1.0], step=0.1)
    wanted = ol.train_network(problem, ol.GradientFlow(), same, [0.0, 1.0], step=0.1)
    np.testing.assert_allclose(found.states.Q, wanted.states.Q, rtol=1e-12)
    assert abs(found.states.Q[1, 0, 0] - 1) > 0.01


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("at", [0.0, 0.2])
def test_derivatives_along_the_orthonormal_flow_against_differences(d, at):
    """On the constraint, where singular values are equal, and beside it; K = d and K < d."""
    problem = ol.Problem(2, 2, teacher_overlaps=[[1.0, 0.4], [0.4, 2.0]])
    flow = ol.OrthonormalFlow()
    start = flow.project_initial(ol.random_weights(jax.random.key(3), problem, d))
    direction = jax.random.normal(jax.random.key(4), (2, d))

    @jax.jit
    def loss(s):
        weights = ol.Weights(start.W + s * direction, start.v)
        return ol.train_network(problem, flow, weights, [0.0, 1.0], step=0.1).loss[1]

    slope = jax.jit(jax.jacfwd(loss))(at)
    h = 1e-5
    np.testing.assert_allclose(slope, (loss(at + h) - loss(at - h)) / (2 * h), rtol=1e-6)


def test_an_optimiser_that_needs_more_than_gradients_is_refused_by_name():
    problem = ol.Problem(2, 2)
    start, key = ol.random_weights(jax.random.key(0), problem), jax.random.key(1)
    for optimiser in (optax.lbfgs(), optax.polyak_sgd()):
        with pytest.raises(ol.UserError, match="flow must be an optimiser that needs gradients"):
            ol.train_network(problem, optimiser, start, [0.0, 1.0], key=key)
    # Of those that know what they train by its place, both layers.
    each = optax.multi_transform({"W": optax.sgd(0.1), "v": optax.adam(0.1)}, ("W", "v"))
    path = ol.train_network(problem, each, start, [0.0, 1.0], key=key, train_readout=True)
    assert np.isfinite(path.loss).all()
