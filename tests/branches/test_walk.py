"""Whole branches as arrays, alone and many at once, against full gradients in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import linear_loss, relu_gradient

import odelandscape as ol

SLOPES = jnp.array([0.0, 0.07, 0.2])


def problem_of(slope):
    return ol.Problem(10, 10, ol.LeakyReLU(slope=slope))


@pytest.fixture(scope="module")
def two():
    problem = problem_of(0.0)
    return ol.fixed_point(problem, ol.family(problem, 2))


@pytest.fixture(scope="module")
def branches(two):
    """Down to where seven units are left, at three slopes."""

    def branch(slope):
        point = ol.fixed_point(problem_of(slope), two)
        return ol.walk_branch(problem_of(slope), point, "teachers", 7.0, most=20)

    return jax.jit(jax.vmap(branch))(SLOPES)


def one(branches, i):
    return jax.tree.map(lambda x: x[i], branches)


def gradient(W, slope):
    """∂L/∂W for orthonormal teachers and readouts of 1."""
    v, Wt = np.ones(len(W)), np.eye(W.shape[1])
    linear = v[:, None] * (v @ W - v @ Wt)[None, :]
    return slope * linear + (1 - slope) ** 2 * relu_gradient(W, v, Wt, v)


def test_many_branches_end_in_fixed_points_of_the_full_problem(branches):
    for i, slope in enumerate(SLOPES.tolist()):
        end = one(branches, i).points(spectra=False)[-1]
        assert (end.value, end.event) == (7.0, "end")
        W = np.asarray(end.point.weights.W)
        np.testing.assert_allclose(gradient(W, slope), 0, atol=1e-13)


def test_branches_at_once_are_those_one_by_one(branches, two):
    for i, slope in enumerate(SLOPES.tolist()):
        problem = problem_of(slope)
        point = ol.fixed_point(problem, two)
        steps = list(ol.continue_family(problem, point, "teachers", 7.0, spectra=False))
        branch = one(branches, i)
        assert int(branch.count) == len(steps)
        values, losses = (np.asarray(x)[: len(steps)] for x in (branch.values, branch.losses))
        np.testing.assert_allclose(values, [step.value for step in steps], atol=1e-12)
        np.testing.assert_allclose(losses, [step.loss for step in steps], atol=1e-14)


def test_spectra_of_a_branch_are_those_of_its_points(branches, two):
    branch = one(branches, 0)
    shown = branch.points()
    assert np.isnan([point.smallest_eigenvalue for point in branch.points(spectra=False)]).all()
    spectrum = ol.spectrum(ol.Problem(7, 7, ol.LeakyReLU(slope=0.0)), shown[-1].point)
    assert shown[-1].smallest_eigenvalue == pytest.approx(spectrum.smallest, abs=1e-12)


def test_a_branch_goes_on_behind_its_fold():
    """Of 23 anti-aligned students on the hidden branch, at K = M = 118.34."""
    problem = ol.Problem(60, 60, ol.LeakyReLU(slope=0.0))
    point = ol.fixed_point(problem, ol.family(problem, 23, "hidden"))

    def branch(stop):
        return ol.walk_branch(problem, point, "teachers", stop, most=60)

    short, long = branch(100.0), branch(200.0)
    assert [int(e) for e in short.events[: int(short.count)] if e] == [2]
    at = int(np.flatnonzero(np.asarray(long.events) == 1)[0])
    assert float(long.values[at]) == pytest.approx(118.3398015, abs=1e-7)
    shown = long.points(spectra=False)
    assert shown[at].event == "fold"
    assert shown[at + 1].value < shown[at].value > shown[at - 1].value


def test_without_spectra_no_change_of_stability_is_found(two):
    problem = problem_of(0.0)
    steps = list(ol.continue_family(problem, two, "teachers", 7.0, spectra=False))
    assert [step.event for step in steps if step.event] == ["end"]
    assert {step.sign for step in steps} == {0}
    assert "eigenvalue" not in repr(steps[0])


def test_a_walk_stops_when_its_arrays_are_full(two):
    branch = ol.walk_branch(problem_of(0.0), two, "teachers", 1e6, most=4)
    assert int(branch.count) == 4
    assert [int(e) for e in branch.events[:4]] == [0, 0, 0, 5]


def test_what_is_many_branches_is_refused_where_one_is_meant(branches):
    with pytest.raises(ol.UserError, match=r"branch must be one branch, .*; got 3 of them"):
        branches.points()


@pytest.mark.slow
def test_the_loss_along_a_branch_changes_with_the_slope_as_at_fixed_weights(two):
    """At a fixed point only the loss itself depends on the slope: ∂L/∂a of a L_lin + (1 − a)² L_ReLU."""
    branch = ol.walk_branch(problem_of(0.0), two, "slope", 0.1, most=40)
    n = int(branch.count)
    assert int(branch.events[n - 1]) == 2
    (a, b) = (branch.points(spectra=False)[i] for i in (n // 2, n // 2 + 1))
    middle = (a.value + b.value) / 2
    W = (np.asarray(a.point.weights.W) + np.asarray(b.point.weights.W)) / 2
    v, Wt = np.ones(10), np.eye(10)
    linear = linear_loss(W, v, Wt, v)
    relu = (a.loss - a.value * linear_loss(np.asarray(a.point.weights.W), v, Wt, v)) / (
        1 - a.value
    ) ** 2
    slope = (b.loss - a.loss) / (b.value - a.value)
    assert slope == pytest.approx(linear - 2 * (1 - middle) * relu, rel=1e-2)
