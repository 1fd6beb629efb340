"""Sweeps: reproducible, resumable, and counted right."""

import importlib
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from scipy.stats import binomtest

import odelandscape as ol
from odelandscape.sweep import starts, wilson

module = importlib.import_module("odelandscape.sweep")  # ol.sweep is the function
PROBLEM, FLOW = ol.Problem(3, 3), ol.GradientFlow()


def same(a: ol.Sweep, b: ol.Sweep, count: int) -> None:
    np.testing.assert_array_equal(a.outcome[:count], b.outcome[:count])
    np.testing.assert_array_equal(a.anti_aligned[:count], b.anti_aligned[:count])
    np.testing.assert_allclose(a.weights.W[:count], b.weights.W[:count], atol=1e-8)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (3, 7), (6838, 10_000)])
def test_wilson_interval_equals_scipy(count, total):
    truth = binomtest(count, total).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(count, total), (truth.low, truth.high), atol=1e-12)


def test_a_start_depends_on_sweep_seed_and_index_alone():
    a = starts(PROBLEM, FLOW, 7, np.arange(10), 3)
    b = starts(PROBLEM, FLOW, 7, np.array([8, 2]), 3)
    np.testing.assert_array_equal(a.W[np.array([8, 2])], b.W)
    key = jax.random.fold_in(jax.random.key(7), 8)
    np.testing.assert_allclose(a.W[8], ol.random_weights(key, PROBLEM).W, rtol=1e-14)
    assert not np.allclose(a.W, starts(PROBLEM, FLOW, 8, np.arange(10), 3).W)


@pytest.mark.parametrize("flow", [FLOW, ol.NormalisedFlow(), ol.OrthonormalFlow()])
def test_turning_a_high_dimension_keeps_all_overlaps(flow):
    turned = starts(PROBLEM, flow, 0, np.arange(3), 50)
    assert turned.W.shape == (3, 3, 7)
    for i in range(3):
        key = jax.random.fold_in(jax.random.key(0), i)
        straight = ol.overlaps(PROBLEM, flow.admit(ol.random_weights(key, PROBLEM, 50)))
        W = np.asarray(turned.W[i])
        np.testing.assert_allclose(W @ W.T, straight.Q, atol=1e-12)
        np.testing.assert_allclose(W[:, :3], straight.R, atol=1e-12)
        np.testing.assert_array_equal(W[:, -1], 0)


def test_an_interrupted_sweep_goes_on_and_ends_as_a_straight_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UNIT", 16)
    straight = ol.sweep(PROBLEM, FLOW, 40, progress=False)
    relaxed, real = [], module.relax

    def interrupted(problem, flow, some, **rest):
        if relaxed:
            raise KeyboardInterrupt
        relaxed.append(len(some.W))
        return real(problem, flow, some, **rest)

    monkeypatch.setattr(module, "relax", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)

    def counted(problem, flow, some, **rest):
        relaxed.append(len(some.W))
        return real(problem, flow, some, **rest)

    monkeypatch.setattr(module, "relax", counted)
    resumed = ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)
    assert relaxed == [16, 16, 8]  # nothing was computed twice
    same(resumed, straight, 40)
    shorter = ol.sweep(PROBLEM, FLOW, 20, store=tmp_path, progress=False)
    assert relaxed == [16, 16, 8]
    same(shorter, straight, 20)
    with pytest.raises(ValueError, match="another sweep"):
        ol.sweep(PROBLEM, FLOW, 40, seed=1, store=tmp_path, progress=False)


def test_what_is_on_disk_is_read_when_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UNIT", 16)
    stored = ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)
    held = ol.sweep(PROBLEM, FLOW, 40, progress=False)
    np.testing.assert_array_equal(stored.weights.W, held.weights.W)
    np.testing.assert_array_equal(stored.weights.v, held.weights.v)
    some = np.array([39, 3, 17])
    np.testing.assert_array_equal(stored.weights_of(some).W, held.weights.W[some])
    # The store alone knows them.
    assert stored._held.weights(some)[0].shape == (3, 3, 3)
    assert not any(isinstance(x, np.ndarray) and x.ndim > 1 for x in vars(stored).values())


def test_an_executor_changes_nothing():
    with ThreadPoolExecutor(2) as executor:
        parallel = ol.sweep(PROBLEM, FLOW, 40, executor=executor, progress=False)
    same(parallel, ol.sweep(PROBLEM, FLOW, 40, progress=False), 40)


def test_the_summary_counts_every_start(capsys):
    runs = ol.sweep(PROBLEM, FLOW, 40, progress=True)
    assert "40/40" in capsys.readouterr().err
    summary = runs.summary()
    assert sum(outcome["count"] for outcome in summary.outcomes.values()) == 40
    assert sum(row.count for row in summary.families) == 40
    assert summary.outcomes["global_minimum"]["count"] == np.sum(runs.loss < 1e-9)
    assert "global minimum" in str(summary)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seeds": 0}, "seeds must be .* got 0"),
        ({"seeds": -5}, "seeds must be .* got -5"),
        ({"seed": -1}, "seed must be .* got -1"),
        ({"dimension": 2}, "dimension must be at least .* 3; got 2"),
    ],
)
def test_bad_arguments_are_named(change, told):
    with pytest.raises(ValueError, match=told):
        ol.sweep(PROBLEM, FLOW, **({"seeds": 5} | change))


def test_more_orthonormal_students_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="K ≤ d"):
        ol.sweep(ol.Problem(4, 3), ol.OrthonormalFlow(), 5)
