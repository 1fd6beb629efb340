"""What the experiments share: shares and their errors, stops, pictures, flows, the comparison."""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import norm

import experiments
import odelandscape as ol
from experiments.paper import figure6
from experiments.shared import comparison, draw, ongd, shares, stops
from odelandscape.sweeps.summary import wilson_interval


def test_the_comparison_in_the_readme_is_that_of_the_results():
    here = Path(experiments.__path__[0])
    made = comparison.enter(here / "README.md", here / "results")
    assert made == (here / "README.md").read_text(encoding="utf-8"), (
        "run python -m experiments.shared.comparison"
    )


def test_the_comparison_says_which_numbers_are_off():
    row = {"K": 9, "M": 8, "d": 8, "starts": 10_000, "local": 0, "global": 10_000, "none": 0}
    row |= {"published_local": 0.07, "published_global": 99.97, "published_none": 0.0}
    (line,) = comparison.fates_lines([row], lambda row: f"why {row['K']}")
    # 7 of 10,000 against none: √(2 · 3.5e-4 / 1e4) is the error of the difference.
    assert line["agrees?"] == f"local {-7e-4 / (2 * 3.5e-4 / 1e4) ** 0.5:.1f} SE"
    assert line["why not"] == "why 9"
    assert str(line["here (95 %)"]).count("/") == 2


@pytest.mark.parametrize(("count", "total"), [(0, 40), (40, 40), (17, 40), (1149, 10_000)])
def test_wilsons_interval_is_where_the_normal_test_is_at_its_limit(count, total):
    z = norm.ppf(0.975)
    for end in wilson_interval(count, total):
        # |k/n − p| = z √(p(1 − p)/n), by definition
        assert abs(count / total - end) == pytest.approx(
            z * np.sqrt(end * (1 - end) / total), abs=1e-9
        )


def test_a_published_share_is_held_against_both_errors():
    assert shares.verdict(6638, 10_000, 66.38) == "inside"
    assert shares.verdict(7000, 10_000, 66.38) == "+5.5 SE"
    # Two-sample z-test: 0.70 and 0.6638 of 10,000 each.
    assert shares.difference(7000, 10_000, 66.38) == pytest.approx(5.496, abs=1e-3)


@pytest.mark.slow
def test_stops_find_what_a_trajectory_finds():
    problem, times = ol.Problem(3, 2), [5.0, 40.0]
    found = stops.stopped(problem, ol.NormalisedFlow(), 3, times)
    for seed in range(3):
        key = jax.random.fold_in(jax.random.key(0), seed)
        path = ol.trajectory(problem, ol.NormalisedFlow(), ol.random_weights(key, problem), times)
        np.testing.assert_allclose(found.loss[seed], path.loss, rtol=5e-3)
        for at in range(2):
            state = jax.tree.map(lambda x, at=at: x[at], path.states)
            rates = ol.NormalisedFlow()(0.0, state, problem)
            norm = np.sqrt(np.sum(rates.Q**2) + np.sum(rates.R**2))
            assert found.rates[seed, at] == pytest.approx(norm, rel=0.05, abs=1e-4)


def test_a_share_is_reached_between_two_times():
    times = np.array([1.0, 2.0, 4.0])
    assert stops.time_of(np.array([0.0, 0.5, 1.0]), 0.75, times) == 3.0
    assert stops.time_of(np.array([0.0, 0.5, 0.6]), 0.75, times) is None
    assert stops.time_of(np.array([0.8, 0.9, 1.0]), 0.75, times) is None  # before the first time


def test_matrices_are_drawn_with_anti_aligned_and_surplus_students_last():
    R = np.array([[0.1, -0.7], [0.9, 0.0], [0.2, 0.2]])
    rows, columns, across, down = draw.arranged(R, np.ones(3))
    assert rows.tolist() == [1, 0, 2]
    assert columns.tolist() == [0, 1]
    assert across == [0.5, 1.5]
    assert down == [0.5]


@pytest.mark.parametrize("d", [3, 5])
def test_the_horizontal_flow_is_the_gradient_less_what_lies_in_the_rows_span(d):
    problem, flow = ol.Problem(3, 3), ongd.HorizontalFlow()
    weights = flow.project_initial(ol.random_weights(jax.random.key(0), problem, d))
    W = weights.W
    G = jax.grad(lambda W: ol.population_loss(problem, ol.Weights(W, weights.v)))(W)
    rates = flow(0.0, weights, problem).W
    np.testing.assert_allclose(rates, -(G - G @ W.T @ W), atol=1e-12)
    # WWᵀ = I stays, and no row turns in the span,
    np.testing.assert_allclose(rates @ W.T, 0, atol=1e-12)
    # so that nothing moves where the span is the whole space.
    assert (np.abs(rates).max() < 1e-12) == (d == 3)


def test_one_gaussian_is_mean_and_deviation_and_two_are_found_again():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-0.7, 0.04, 300), rng.normal(1.0, 0.05, 2700)])
    (one, bic_1), (two, bic_2) = (figure6.mixture(x, n) for n in (1, 2))
    assert one["means"][0] == pytest.approx(x.mean())
    assert one["deviations"][0] == pytest.approx(x.std(), rel=1e-6)
    # The likelihood of a Gaussian at its own mean and deviation, in closed form; two free numbers.
    likelihood = -len(x) / 2 * (np.log(2 * np.pi * x.var()) + 1)
    assert bic_1 == pytest.approx(2 * np.log(len(x)) - 2 * likelihood)
    np.testing.assert_allclose(two["weights"], [0.1, 0.9], atol=1e-6)  # far apart: none is mistaken
    np.testing.assert_allclose(two["means"], [x[:300].mean(), x[300:].mean()], atol=1e-6)
    assert bic_2 < min(bic_1, figure6.mixture(x, 3)[1])
