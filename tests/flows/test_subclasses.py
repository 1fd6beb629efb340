"""A subclass of a flow is what it overrides, in every solver: against SciPy on its own rates, and by name.

The kind: whatever is written for a class (arithmetic for many lanes, a process of samples, a property) is not
silently used for a subclass with another mixing.
"""

import importlib
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import relu_gradient

import odelandscape as ol
from odelandscape.flows.consistency import check_flow
from odelandscape.model.state import pack, unpack
from odelandscape.relaxation.catalogue import shares_minima

PROBLEM = ol.Problem(2, 2)
BASES = (ol.GradientFlow, ol.NormalisedFlow, ol.OrthonormalFlow, ol.TwoLayerFlow)
each_base = pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)


def slower(base):
    """A subclass that is half as fast, in the way a user would write it."""

    class Slower(base):
        def mixing(self, state, problem):
            X, Y, dv, noise = super().mixing(state, problem)
            return ol.Mixing(X / 2, Y / 2, dv / 2, noise)

    return Slower()


class Decaying(ol.GradientFlow):
    """Gradient flow of L + |W|²/20."""

    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + 0.1 * jnp.eye(problem.students))


def integrated(flow, problem, weights, times):
    """[W | v] at each time, by SciPy on the flow's own rates of weights."""
    start = np.asarray(pack(flow.project_initial(weights)))
    rates = jax.jit(lambda y: pack(flow(0.0, unpack(y), problem)))

    def right_side(t, y):
        return np.asarray(rates(jnp.asarray(y).reshape(start.shape))).ravel()

    found = solve_ivp(
        right_side, (0, times[-1]), start.ravel(), "DOP853", times, rtol=1e-11, atol=1e-12
    )
    return found.y.T.reshape(len(times), *start.shape)


@each_base
def test_a_trajectory_and_many_lanes_follow_the_mixing_of_a_subclass(base):
    flow, times = slower(base), [0.5, 4.0]
    weights = ol.random_weights(jax.random.key(3), PROBLEM, 3)
    truth = integrated(flow, PROBLEM, weights, times)
    path = ol.trajectory(PROBLEM, flow, weights, times)
    W = truth[:, :, :-1]
    np.testing.assert_allclose(path.states.Q, W @ W.swapaxes(1, 2), atol=1e-7)
    np.testing.assert_allclose(path.states.R, W[:, :, :2], atol=1e-7)
    np.testing.assert_allclose(path.states.v, truth[:, :, -1], atol=1e-7)
    # Half as fast is the parent at half the time.
    whole = integrated(base(), PROBLEM, weights, [0.25, 2.0])
    np.testing.assert_allclose(truth, whole, atol=1e-8)
    lanes = jax.tree.map(lambda x: jnp.stack([x, x / 2], -1), flow.project_initial(weights))
    got = flow.batched_rates(lanes, PROBLEM)
    for n in range(2):
        one = jax.tree.map(lambda x, n=n: x[..., n], lanes)
        np.testing.assert_allclose(got.W[..., n], flow(0.0, one, PROBLEM).W, atol=1e-14)


def test_gradient_descent_and_end_states_follow_the_mixing_of_a_subclass():
    flow = Decaying()
    weights = ol.random_weights(jax.random.key(0), PROBLEM)
    ends = ol.train_network(PROBLEM, flow, weights, [0.5], step=0.05)
    W = np.asarray(weights.W)
    for _ in range(10):
        W = W - 0.05 * (relu_gradient(W, np.ones(2), np.eye(2), np.ones(2)) + 0.1 * W)
    np.testing.assert_allclose(ends.states.Q[0], W @ W.T, rtol=1e-10)
    runs = ol.sweep(PROBLEM, flow, 6, progress=False)
    for W in np.asarray(runs.weights.W):
        gradient = relu_gradient(W, np.ones(2), np.eye(2), np.ones(2)) + 0.1 * W
        np.testing.assert_allclose(gradient, 0, atol=1e-9)
    point = jax.tree.map(lambda x: x[0], runs.weights)
    point = ol.Weights(jnp.asarray(point.W), jnp.asarray(point.v))
    noisy = ol.perturb(PROBLEM, flow, point, 1e-3, 3, jax.random.key(0))
    np.testing.assert_allclose(noisy.gaps, 0, atol=1e-8)


MODULE = """
import jax.numpy as jnp
import odelandscape as ol

class Decaying(ol.GradientFlow):
    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + 0.1 * jnp.eye(problem.students))
"""


def test_processes_follow_the_mixing_of_a_subclass(tmp_path, monkeypatch):
    (tmp_path / "users_flow.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    flow = importlib.import_module("users_flow").Decaying()
    with ol.Workers(1) as workers:
        runs = ol.sweep(PROBLEM, flow, 4, executor=workers, progress=False)
    for W in np.asarray(runs.weights.W):
        gradient = relu_gradient(W, np.ones(2), np.eye(2), np.ones(2)) + 0.1 * W
        np.testing.assert_allclose(gradient, 0, atol=1e-9)
    sys.modules.pop("users_flow")


# --- noise ----------------------------------------------------------------------------------------

ERF = ol.Problem(2, 2, ol.Erf())


class LabelNoise(ol.OnlineSGD):
    """Online SGD whose labels have noise of variance 0.01: η v_i v_j E[σ'_i σ'_j] 0.01 more in dQ/dt."""

    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        q, v = jnp.diagonal(state.Q), state.v
        _, slopes = problem.activation.mixing_scalars(q[:, None], state.Q, q[None, :])
        more = 0.01 * self.learning_rate * v[:, None] * v[None, :] * slopes
        return mixing._replace(noise=mixing.noise + more)


class KnownSteps(LabelNoise):
    def sample_step(self, dimension):
        return self.learning_rate / dimension


def test_noise_of_a_subclass_is_followed_in_time_and_refused_where_samples_would_lose_it():
    flow, times = LabelNoise(0.5), [1.0, 5.0]
    weights = ol.random_weights(jax.random.key(1), ERF, 4)
    state = ol.overlaps(ERF, weights)
    leaves, tree = jax.tree.flatten(state)
    sizes = np.cumsum([x.size for x in leaves])[:-1]

    @jax.jit
    def rates(y):
        parts = [part.reshape(x.shape) for part, x in zip(jnp.split(y, sizes), leaves, strict=True)]
        rate = flow(0.0, jax.tree.unflatten(tree, parts), ERF)
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(rate)])

    y = np.concatenate([np.ravel(x) for x in leaves])
    truth = solve_ivp(lambda t, y: rates(y), (0, 5), y, "DOP853", times, rtol=1e-10, atol=1e-11)
    path = ol.trajectory(ERF, flow, weights, times)
    np.testing.assert_allclose(path.states.Q.reshape(2, 4), truth.y.T[:, :4], atol=1e-6)
    plain = ol.trajectory(ERF, ol.OnlineSGD(0.5), weights, times)
    assert np.abs(plain.states.Q - path.states.Q).max() > 1e-4
    key = jax.random.key(0)
    with pytest.raises(ol.UserError, match=r"sample_step.*; got LabelNoise"):
        ol.train_network(ERF, flow, weights, times, key=key)
    known = ol.train_network(ERF, KnownSteps(0.5), weights, times, key=key)
    plain = ol.train_network(ERF, ol.OnlineSGD(0.5), weights, times, key=key)
    np.testing.assert_array_equal(known.loss, plain.loss)


# --- what is inherited and what is not ------------------------------------------------------------


class Mixin:
    def mixing(self, state, problem):
        X, Y, dv, _ = ol.GradientFlow().mixing(state, problem)
        return ol.Mixing(3 * X, 3 * Y, dv)


class ByMixin(Mixin, ol.GradientFlow):
    pass


class ByField(ol.GradientFlow):
    mixing: object = eqx.field(static=True, default=None)


class ByCall(ol.GradientFlow):
    def __call__(self, t, state, problem):
        return jax.tree.map(lambda x: 3 * x, super().__call__(t, state, problem))


class OfSubclass(slower(ol.GradientFlow).__class__):
    """Overrides nothing: what its parent says."""


@pytest.mark.parametrize(
    ("flow", "factor"),
    [
        (ByMixin(), 3),
        (ByField(Mixin().mixing), 3),
        (ByCall(), 3),
        (OfSubclass(), 0.5),
    ],
    ids=lambda x: type(x).__name__,
)
def test_an_override_by_mixin_field_or_call_counts_in_many_lanes(flow, factor):
    weights = ol.random_weights(jax.random.key(0), PROBLEM)
    lanes = jax.tree.map(lambda x: x[..., None], weights)
    got = flow.batched_rates(lanes, PROBLEM).W[..., 0]
    truth = -factor * relu_gradient(np.asarray(weights.W), np.ones(2), np.eye(2), np.ones(2))
    np.testing.assert_allclose(got, truth, atol=1e-14)
    check_flow(PROBLEM, flow)


def of_gradient_flow(**members):
    def exec_body(namespace):
        namespace.update(members)

    import types

    return types.new_class("Own", (ol.GradientFlow,), {}, exec_body)()


def mixing_with(change):
    def mixing(self, state, problem):
        return change(ol.GradientFlow().mixing(state, problem), problem)

    return mixing


def on_rows(mixing, problem):
    return mixing._replace(X=mixing.X * jnp.arange(1.0, problem.students + 1)[:, None])


CONTRADICTIONS = {
    "noise of its mixing must be None": {
        "mixing": mixing_with(lambda m, p: m._replace(noise=jnp.eye(p.students)))
    },
    "noise of its mixing must be real, of shape": {"stochastic": property(lambda self: True)},
    "trains_readout must be True": {
        "mixing": mixing_with(lambda m, p: m._replace(dv=jnp.ones(p.students)))
    },
    "permutation_equivariant must be False": {"mixing": mixing_with(on_rows)},
    "preserves_norms must be False": {"preserves_norms": property(lambda self: True)},
    "batched_rates must be the rates": {
        "batched_rates": lambda self, weights, problem: jax.tree.map(lambda x: 2 * x, weights)
    },
    "must not depend on the time": {
        "__call__": lambda self, t, state, problem: jax.tree.map(
            lambda x: (1 + t) * x, ol.GradientFlow()(t, state, problem)
        )
    },
    "project_initial must leave": {
        "project_initial": lambda self, weights: ol.Weights(weights.W / 10, weights.v)
    },
    "retract must leave": {"retract": lambda self, weights: ol.Weights(weights.W / 2, weights.v)},
    "mixing must return ol.Mixing": {"mixing": mixing_with(lambda m, p: tuple(m))},
    "X of its mixing must be real, of shape": {
        "mixing": mixing_with(lambda m, p: m._replace(X=m.Y[:1]))
    },
    "Y of its mixing must be real, .* complex": {
        "mixing": mixing_with(lambda m, p: m._replace(Y=m.Y.astype(complex)))
    },
    "retract must return ol.Weights": {"retract": lambda self, weights: None},
    "project_initial must return ol.Weights": {"project_initial": lambda self, weights: weights.W},
    "batched_rates must return ol.Weights, real": {
        "batched_rates": lambda self, weights, problem: jax.tree.map(
            lambda x: x.astype(complex), weights
        )
    },
    "neutral_directions must be real, of shape": {
        "neutral_directions": lambda self, weights, problem: jnp.ones((1, 3))
    },
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_a_flow_that_contradicts_itself_is_refused_by_name(message):
    """Each of these was silently ignored by one solver and obeyed by another."""
    with pytest.raises(ol.UserError, match=f"flow Own contradicts itself: .*{message}"):
        check_flow(PROBLEM, of_gradient_flow(**CONTRADICTIONS[message]), end_states=True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "factor",
    [
        lambda t: 2 + jnp.cos(2 * jnp.pi * t),
        lambda t: jnp.where(t > 5, 2.0, 1.0),
        lambda t: jnp.where(t > 10_000, 2.0, 1.0),
    ],
    ids=["period 1", "from 5 on", "from 10,000 on"],
)
def test_rates_that_change_at_any_time_of_a_sweep_are_refused(factor):
    """At times 0 and 1 these are alike."""

    def rates(self, t, state, problem):
        return jax.tree.map(lambda x: factor(t) * x, ol.GradientFlow()(t, state, problem))

    with pytest.raises(ol.UserError, match="must not depend on the time"):
        check_flow(PROBLEM, of_gradient_flow(__call__=rates), end_states=True)


def test_a_flow_without_end_states_has_paths_all_the_same(tmp_path):
    """What one call doesn't need is not asked for: here by trajectories."""

    def none(self, weights, problem):
        raise NotImplementedError("only paths")

    flow = of_gradient_flow(neutral_directions=none)
    weights = ol.random_weights(jax.random.key(0), PROBLEM)
    path = ol.trajectory(PROBLEM, flow, weights, [1.0, 2.0])
    same = ol.trajectory(PROBLEM, ol.GradientFlow(), weights, [1.0, 2.0])
    np.testing.assert_allclose(path.loss, same.loss, rtol=1e-12)
    starts = jax.tree.map(lambda x: x[None], weights)
    message = "flow must have neutral_directions .* Own has none: only paths"
    with pytest.raises(ol.UserError, match=message):
        ol.relax(PROBLEM, flow, starts)
    with pytest.raises(ol.UserError, match=message):
        ol.sweep(PROBLEM, flow, 2, store=tmp_path / "sweep", progress=False)


@pytest.mark.usefixtures("unchecked")
def test_a_field_that_is_no_number_is_named():
    class Rate(ol.GradientFlow):
        rate: float

    with pytest.raises(ol.UserError, match="Rate contradicts itself: a field holds nan"):
        check_flow(PROBLEM, Rate(float("nan")))

    class Scaled(ol.Erf):
        scale: float

    for scale, shown in ((float("nan"), "nan"), ("2", "'2'")):
        problem = ol.Problem(2, 2, Scaled(scale))
        with pytest.raises(ol.UserError, match=f"Scaled contradicts itself: a field holds {shown}"):
            check_flow(problem, ol.GradientFlow())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["stochastic", "trains_readout", "mixing"])
def test_what_decides_which_program_runs_is_static(name):
    """A field is a number of the program unless it is static, and a program that is being compiled knows no
    numbers: it stopped with JAX's own words. The other names are the siblings."""
    said = {
        "stochastic": {"stochastic": property(lambda self: self.on)},
        "trains_readout": {"trains_readout": property(lambda self: self.on)},
        "mixing": {
            "mixing": lambda self, state, problem: (
                ol.GradientFlow().mixing(state, problem) if self.on else None
            )
        },
    }[name]
    fields = {"on": False, "__annotations__": {"on": bool}}
    flow = type(ol.GradientFlow)(
        "Own", (ol.GradientFlow,), {**said, **fields, "__module__": "own"}
    )()
    with pytest.raises(ol.UserError, match=rf"Own .*its {name} must not depend .*static=True"):
        check_flow(PROBLEM, flow)
    static = {**fields, "on": eqx.field(static=True, default=name == "mixing")}
    flow = type(ol.GradientFlow)(
        "Own", (ol.GradientFlow,), {**said, **static, "__module__": "own"}
    )()
    assert check_flow(PROBLEM, flow) is flow


def test_a_subclass_of_online_sgd_ends_like_it():
    """It has no directions in which stability is judged on weights, and is asked for none."""

    class Other(ol.OnlineSGD):
        learning_rate: float = 0.2

    problem = ol.Problem(1, 1, ol.Erf())
    ends = [ol.sweep(problem, flow, 2, progress=False) for flow in (ol.OnlineSGD(0.2), Other())]
    assert list(ends[1].outcome) == list(ends[0].outcome) == ["global_minimum"] * 2
    np.testing.assert_allclose(ends[1].loss, ends[0].loss, atol=1e-12)


def test_what_solvers_would_lose_of_an_instance_is_refused():
    flow = of_gradient_flow()
    object.__setattr__(flow, "mixing", lambda state, problem: None)
    with pytest.raises(ol.UserError, match="mixing is set on an instance"):
        ol.sweep(PROBLEM, flow, 4, progress=False)


def test_a_constraint_with_a_trained_readout_judges_the_readout_too():
    class Both(ol.NormalisedFlow):
        @property
        def trains_readout(self):
            return True

    weights = ol.random_weights(jax.random.key(0), PROBLEM)
    directions = Both().neutral_directions(weights, PROBLEM)
    assert directions.shape == (2, 2, 3)  # the students' own, and no readout's
    assert not np.any(directions[..., -1])
    assert not shares_minima(PROBLEM, Both())
