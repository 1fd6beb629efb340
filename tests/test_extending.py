"""A user's own activation and flow: one class each with what no default can give, used like the package's."""

import importlib
import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape import activations, flows
from odelandscape.runtime.registry import name_in, resolve

MODULE = """
import odelandscape as ol
from odelandscape.flows.gradient import gradient_mixing


class Square(ol.AbstractActivation):
    def __call__(self, x):
        return x * x

    def second_moment(self, c11, c12, c22):
        return c11 * c22 + 2 * c12 * c12

    def mixing_scalars(self, c11, c12, c22):
        return 2 * c22 + 0 * c11, 4 * c12


class Fast(ol.AbstractFlow):
    speed: float = 2.0

    def mixing(self, state, problem):
        X, Y, dv, _ = gradient_mixing(state, problem)
        return ol.Mixing(self.speed * X, self.speed * Y, dv)


ready = Fast(3.0)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module with an activation `Square`, a flow `Fast` and an instance `ready` of it."""
    (tmp_path / "users_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "users_own"
    sys.modules.pop("users_own", None)


@pytest.fixture
def square(module):
    return resolve(
        activations.BY_NAME, f"{module}:Square", ol.AbstractActivation, "activation", slope=None
    )


def test_a_place_gives_an_instance_with_the_numbers_that_it_has_fields_for(module):
    def flow(name, **numbers):
        return resolve(flows.BY_NAME, f"{module}:{name}", ol.AbstractFlow, "--flow", **numbers)

    assert flow("Fast").speed == 2
    assert flow("Fast", speed=5.0, learning_rate=None).speed == 5
    assert flow("ready").speed == 3
    assert name_in(flows.BY_NAME, flow("ready")) is None
    with pytest.raises(
        ol.UserError, match=r"--learning-rate: only sgd and .* have one; got --flow"
    ):
        flow("Fast", learning_rate=0.1)
    with pytest.raises(ol.UserError, match=r"--speed: .*; got --flow users_own:ready"):
        flow("ready", speed=1.0)
    with pytest.raises(
        ol.UserError, match=r"--flow: 'users_own:Square' is the class Square; allow"
    ):
        flow("Square")


def test_defaults_follow_from_sigma_or_promise_nothing_and_are_those_of_gradient_flow(
    module, square
):
    flow = resolve(flows.BY_NAME, f"{module}:Fast", ol.AbstractFlow, "flow")
    assert (square.even, square.smooth_at_zero) == (True, True)
    assert not any((square.positively_homogeneous, square.odd, square.smooth))
    assert not any((flow.stochastic, flow.trains_readout, flow.preserves_norms))
    assert flow.permutation_equivariant
    problem = ol.Problem(2, 2, square)
    weights = ol.random_weights(jax.random.key(0), problem, 3)
    assert flow.project_initial(weights) is weights
    assert flow.retract(weights) is weights
    np.testing.assert_array_equal(
        flow.neutral_directions(weights, problem),
        ol.GradientFlow().neutral_directions(weights, problem),
    )


def test_rates_of_the_activation_are_minus_the_gradient_of_the_loss(module, square):
    problem = ol.Problem(3, 2, square)
    weights = ol.random_weights(jax.random.key(1), problem, 4)
    flow = resolve(flows.BY_NAME, f"{module}:Fast", ol.AbstractFlow, "flow")
    gradient = jax.grad(lambda w: ol.population_loss(problem, w))(weights)
    np.testing.assert_allclose(flow(0.0, weights, problem).W, -2 * gradient.W, rtol=1e-12)
    # E[(Σ v_i (w_i·x)² − Σ (w*_n·x)²)²]/2 = (tr A)²/2 + tr A², A = Wᵀ diag(v) W − W*ᵀ W*.
    A = np.asarray(weights.W.T @ weights.W) - np.diag([1.0, 1, 0, 0])
    truth = np.trace(A) ** 2 / 2 + np.trace(A @ A)
    np.testing.assert_allclose(ol.population_loss(problem, weights), truth, rtol=1e-12)


def test_the_fourth_moment_follows_by_quadrature_with_its_derivative(square):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4, 5)) / 3
    C = A @ A.T

    def isserlis(C):
        """4 E[u v s s t t], a sum over the pairings of six factors."""
        six = [0, 1, 2, 2, 3, 3]
        products = [
            C[six[a], six[b]] * C[six[c], six[d]] * C[six[e], six[f]]
            for a, b, c, d, e, f in permutations(range(6))
        ]
        return 4 * sum(products) / 48  # each pairing stands 48 times in the sum

    np.testing.assert_allclose(square.I4(jnp.asarray(C)), isserlis(C), rtol=1e-8)
    direction = A @ np.diag([1.0, -1, 0.5, 0, 2]) @ A.T
    slope = jax.jvp(square.I4, (jnp.asarray(C),), (jnp.asarray(direction),))[1]
    h = 1e-4
    truth = (isserlis(C + h * direction) - isserlis(C - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, truth, rtol=1e-6)


def test_a_sweep_takes_both(module, square):
    flow = resolve(flows.BY_NAME, f"{module}:Fast", ol.AbstractFlow, "flow")
    runs = ol.sweep(ol.Problem(2, 2, square), flow, seeds=8, progress=False)
    # Quadratic networks with K ≥ d have no minima but the global ones.
    assert set(runs.outcome) == {"global_minimum"}
    W = np.asarray(runs.weights.W)
    np.testing.assert_allclose(W.swapaxes(1, 2) @ W, np.tile(np.eye(2), (8, 1, 1)), atol=1e-4)


# --- from the command line ------------------------------------------------------------------------


def test_the_command_line_takes_both_by_their_places(tmp_path):
    (tmp_path / "users_own.py").write_text(MODULE)
    root = str(Path(__file__).parents[1])
    paths = [str(tmp_path), root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = "-m odelandscape sweep -K 2 -M 2 --seeds 8 --json --quiet".split()
    places = ["--activation", "users_own:Square", "--flow", "users_own:Fast"]
    done = subprocess.run(
        [sys.executable, *command, *places, "--out", str(tmp_path / "results")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["activation"] == "users_own:Square"
    assert report["flow"] == "users_own:Fast"
    assert report["outcomes"]["global_minimum"]["count"] == 8
