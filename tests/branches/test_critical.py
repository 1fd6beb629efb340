"""Folds and changes of stability as functions of the problem's numbers, against differences of events."""

import jax
import jax.numpy as jnp
import pytest

import odelandscape as ol


def problem_of(n, slope):
    return ol.Problem(n, n, ol.LeakyReLU(slope=slope))


def events(problem, near, parameter, stop):
    point = ol.fixed_point(problem, near)
    return [p for p in ol.continue_family(problem, point, parameter, stop) if p.event]


@pytest.fixture(scope="module")
def two():
    problem = problem_of(10, 0.0)
    return ol.fixed_point(problem, ol.family(problem, 2))


@pytest.fixture(scope="module")
def change(two):
    return events(problem_of(10, 0.0), two, "teachers", 7.0)[0]


@pytest.mark.slow
def test_a_critical_width_changes_with_the_slope_as_its_differences_do(two, change):
    """7.5611905 at slope 0; found anew at slopes ± 1e-4."""
    assert change.event == "stability"
    value, slope = jax.value_and_grad(lambda a: ol.event_value(problem_of(10, a), change))(0.0)
    assert float(value) == pytest.approx(change.value, abs=1e-12)
    h = 1e-4
    above, below = (events(problem_of(10, a), two, "teachers", 7.0)[0].value for a in (h, -h))
    assert float(slope) == pytest.approx((above - below) / (2 * h), abs=1e-6)


@pytest.mark.slow
def test_a_critical_alpha_changes_with_the_correlation_as_its_differences_do(two):
    def problem(c):
        T = (1 - c) * jnp.eye(10) + c
        return ol.Problem(10, 10, ol.LeakyReLU(slope=0.0), teacher_overlaps=T)

    found = {c: events(problem(c), two, "anti_aligned", 5.0)[0] for c in (0.02, 0.0199, 0.0201)}
    assert {event.event for event in found.values()} == {"stability"}
    slope = jax.grad(lambda c: ol.event_value(problem(c), found[0.02], "anti_aligned"))(0.02)
    difference = (found[0.0201].value - found[0.0199].value) / 2e-4
    assert float(slope) == pytest.approx(difference, rel=1e-5)


def test_a_fold_changes_with_the_slope():
    """Hidden, α = 23: the fold at K = M = 118.34 moves by 2.59613 for a slope, by differences of folds."""
    problem = problem_of(60, 0.0)
    fold = events(problem, ol.family(problem, 23, "hidden"), "teachers", 150.0)[0]
    assert fold.event == "fold"
    slope = jax.jit(jax.grad(lambda a: ol.event_value(problem_of(60, a), fold)))(0.0)
    assert float(slope) == pytest.approx(2.59613, abs=2e-5)


def test_elsewhere_there_is_no_event(two, change):
    with pytest.raises(
        ol.UserError, match=r"branch_point must be an event .* at the numbers of problem"
    ):
        ol.event_value(problem_of(10, 0.1), change)
    there = jax.jit(jax.value_and_grad(lambda a: ol.event_value(problem_of(10, a), change)))(0.1)
    assert all(map(jnp.isnan, there))
    with pytest.raises(ol.UserError, match="must be an event of a branch in 'anti_aligned'"):
        ol.event_value(problem_of(10, 0.0), change, "anti_aligned")
    *_, end = ol.continue_family(problem_of(10, 0.0), two, "teachers", 9.0)
    with pytest.raises(
        ol.UserError, match=r"branch_point must be a point of .*; got one with .* 'end'"
    ):
        ol.event_value(problem_of(10, 0.0), end)


def test_a_fixed_point_is_no_event(two, unchecked):
    with pytest.raises(ol.UserError, match=r"branch_point must be a point of ol\.continue_family"):
        ol.event_value(problem_of(10, 0.0), two)
