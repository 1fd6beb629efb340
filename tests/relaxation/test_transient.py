"""Starts integrated in float32 at first: their end states are as certain as any.

Truth: the same starts in float64, of which few end elsewhere; and loss and gradient in NumPy, in float64,
at the points where they end.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import relu_gradient, relu_loss

import odelandscape as ol
from odelandscape.relaxation.pool import stays_in_float32

CORRELATED = 0.7 * np.eye(3) + 0.3
MIXED = np.array([1.0, 2.0, -0.5])


class Shrinking(ol.GradientFlow):
    """A user's own flow: weights decay."""

    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + 0.02 * jnp.eye(problem.students, dtype=state.Q.dtype))


def starts(problem, count, dimension=None):
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: ol.random_weights(key, problem, dimension))(keys)


def both(problem, flow, count, dimension=None):
    some = starts(problem, count, dimension)
    return (ol.relax(problem, flow, some, transient=kind) for kind in ("float64", "float32"))


# Known minima and none; with surplus students and teachers; d > M; every flow, and a user's.
CASES = {
    "known minima": (ol.Problem(6, 6), ol.GradientFlow(), None),
    "closed form": (ol.Problem(4, 3), ol.GradientFlow(), None),
    "correlated, mixed, d > M": (
        ol.Problem(3, 3, ol.LeakyReLU(0.2), CORRELATED, MIXED),
        ol.GradientFlow(),
        5,
    ),
    "erf": (ol.Problem(2, 2, ol.Erf()), ol.GradientFlow(), None),
    "surplus teacher": (ol.Problem(3, 4), ol.GradientFlow(), None),
    "fixed lengths": (ol.Problem(4, 4), ol.NormalisedFlow(), None),
    "both layers": (ol.Problem(3, 3), ol.TwoLayerFlow(), None),
    "a user's flow": (ol.Problem(3, 3), Shrinking(), None),
}
_SHORT = {"known minima", "closed form", "both layers"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if name in _SHORT else pytest.mark.slow)
        for name, case in CASES.items()
    ],
    ids=CASES,
)
def test_starts_end_as_in_double_precision(case):
    problem, flow, dimension = case
    double, single = both(problem, flow, 70, dimension)
    same = (double.outcome == single.outcome) & (np.abs(double.loss - single.loss) < 1e-9)
    assert same.mean() > 0.9
    assert (single.gradient_norm[single.outcome != "not_converged"] <= 1e-9).all()
    near = same & (double.time > 0)
    assert np.median(np.abs(single.time / double.time - 1)[near]) < 0.01
    np.testing.assert_array_equal(double.anti_aligned[same], single.anti_aligned[same])
    assert single.weights.dtype == single.loss.dtype == np.float64


def test_end_states_are_fixed_points_in_double_precision():
    problem = ol.Problem(6, 6)
    _, ends = both(problem, ol.GradientFlow(), 70)
    for W, v, loss in list(zip(ends.weights, ends.readout, ends.loss, strict=True))[:10]:
        assert np.linalg.norm(relu_gradient(W, v, np.eye(6), np.ones(6))) < 1e-10
        assert relu_loss(W, v, np.eye(6), np.ones(6)) == pytest.approx(loss, abs=1e-14)


def test_a_start_that_leaves_all_bounds_has_failed_and_no_other():
    problem = ol.Problem(3, 3)
    some = starts(problem, 5)
    W = some.W.at[1].set(jnp.nan).at[3].set(1e30)  # whose square float32 cannot hold
    some = jax.vmap(ol.Weights)(W, some.v)
    ends = ol.relax(problem, ol.GradientFlow(), some, transient="float32")
    assert ends.outcome[1] == "failed"
    assert (ends.outcome[[0, 2, 4]] == "global_minimum").all()


@pytest.mark.slow
def test_lengths_that_float32_does_not_have_are_followed_in_float64():
    """w = −1e-300 stays on its side of 0; its square, and itself, would be 0. Siblings: longer, positive."""
    problem = ol.Problem(1, 1)
    W = jnp.array([[[-1e-300]], [[-1e-20]], [[1e-300]], [[0.3]]])
    some = jax.vmap(ol.Weights)(W, jnp.ones((4, 1)))
    ends = ol.relax(problem, ol.GradientFlow(), some, transient="float32")
    assert list(ends.outcome) == ["saddle", "saddle", "global_minimum", "global_minimum"]


def test_the_readout_is_the_one_that_is_given():
    """0.3 is no float32 number, and in units of a teacher with readouts 1 and −2 neither is 1: end states
    were certified with the readout rounded, whose loss has other digits. The truth: the loss in NumPy."""
    for problem, v in (
        (ol.Problem(3, 3), 0.3),
        (ol.Problem(2, 2, teacher_readout=[1.0, -2.0]), 1.0),
    ):
        K = problem.students
        some = starts(problem, 6)
        some = jax.vmap(ol.Weights)(some.W, jnp.full((6, K), v).at[:, 0].multiply(1.1))
        ends = ol.relax(problem, ol.GradientFlow(), some, transient="float32")
        np.testing.assert_allclose(ends.readout, some.v, rtol=4e-16)
        teacher = np.eye(K), np.asarray(problem.readout)
        for W, readout, loss in zip(ends.weights, some.v, ends.loss, strict=True):
            assert relu_loss(W, np.asarray(readout), *teacher) == pytest.approx(loss, abs=1e-14)


def test_the_time_that_is_left_is_what_float32_has_left():
    problem = ol.Problem(3, 3)
    ends = ol.relax(
        problem, ol.GradientFlow(), starts(problem, 8), time_limit=2.0, transient="float32"
    )
    assert set(ends.outcome) == {"not_converged"}
    assert (ends.time < 4).all()


@pytest.mark.usefixtures("unchecked")
def test_what_has_numbers_of_its_own_in_double_precision_is_refused_by_name():
    problem = ol.Problem(2, 2, ol.Quadrature(jnp.tanh))
    assert not stays_in_float32(problem, ol.GradientFlow(), 2)
    with pytest.raises(ol.UserError, match=r"transient must be 'float64' for Quadrature"):
        ol.relax(problem, ol.GradientFlow(), starts(problem, 1), transient="float32")
    with pytest.raises(ol.UserError, match=r"transient must be 'float64' for a flow with noise"):
        ol.sweep(problem, ol.OnlineSGD(0.1), 1, transient="float32")
    with pytest.raises(ol.UserError, match=r"transient must be .*got 'half'"):
        ol.sweep(problem, ol.GradientFlow(), 1, transient="half")


def test_a_sweep_records_its_precision_and_goes_on_in_it(tmp_path):
    problem, flow = ol.Problem(3, 3), ol.GradientFlow()
    folder = tmp_path / "sweep"
    runs = ol.sweep(problem, flow, 6, store=folder, progress=False, transient="float32")
    assert set(runs.outcome) == {"global_minimum"}
    message = r"transient is \"float32\" there and \"float64\" here"
    with pytest.raises(ol.UserError, match=message):
        ol.sweep(problem, flow, 6, store=folder, progress=False, transient="float64")
    again = ol.sweep(problem, flow, 8, store=folder, progress=False, transient="float32")
    for one in (again, ol.read_sweep(folder)):
        assert one.transient == "float32"
        assert "transients in float32" in one.title
    np.testing.assert_array_equal(again.loss[:6], runs.loss)
    np.testing.assert_array_equal(ol.read_sweep(folder).loss, again.loss)
