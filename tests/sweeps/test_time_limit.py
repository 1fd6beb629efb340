"""The time limit: what has not converged is reported, and continues on the same store."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol

# Two almost parallel teachers: at 100 time units some starts are still on their way, at 20,000 most.
PROBLEM = ol.Problem(2, 2, teacher_overlaps=np.array([[1.0, 0.9], [0.9, 1.0]]))
FLOW = ol.GradientFlow()


def run(store=None, time_limit=20_000.0, seeds=20):
    return ol.sweep(PROBLEM, FLOW, seeds, store=store, progress=False, time_limit=time_limit)


def test_unfinished_starts_continue_where_the_limit_is_raised(tmp_path):
    """The end states are those of a sweep with the larger limit from the beginning."""
    short = run(tmp_path / "s", 100.0)
    waiting = short.outcome == "not_converged"
    assert 0 < waiting.sum()
    assert (short.time[waiting] >= 100).all()
    assert (short.gradient_norm[waiting] > 1e-10).all()
    text = str(short.summary())
    assert f"not converged ({waiting.sum()})" in text
    assert "stopped early" not in text
    W, unread = short.weights.W, ol.read_sweep(tmp_path / "s")
    assert "t ≤ 100" in text
    resumed, whole = run(tmp_path / "s", 1e5), run(None, 1e5)
    np.testing.assert_array_equal(resumed.outcome, whole.outcome)
    np.testing.assert_allclose(resumed.loss, whole.loss, atol=1e-12)
    assert (resumed.time[waiting] >= short.time[waiting]).all()
    # Rows are never those of another time limit than the title's.
    with pytest.raises(ol.StoreError, match=r"written anew .* read it again"):
        unread.summary()
    # Those that Newton's method has finished from where they were stopped agree to its tolerance.
    np.testing.assert_allclose(resumed.weights.W, whole.weights.W, atol=1e-6)
    np.testing.assert_array_equal(resumed.weights.W[~waiting], W[~waiting])
    manifest = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert manifest["configuration"]["end"] == 1e5
    assert ol.open_sweep(tmp_path / "s").sizes["seed"] == 20
    # And a lower limit afterwards is another request.
    with pytest.raises(ol.UserError, match="time_limit must be at least"):
        run(tmp_path / "s", 100.0)


def test_a_loss_that_has_not_converged_is_where_the_flow_has_come_to(tmp_path):
    short = run(None, 100.0)
    waiting = np.flatnonzero(short.outcome == "not_converged")
    for seed in waiting[:3]:
        W = ol.Weights(jnp.asarray(short.weights.W[seed]), jnp.asarray(short.weights.v[seed]))
        start = ol.random_weights(jax.random.fold_in(jax.random.key(0), seed), PROBLEM)
        path = ol.trajectory(PROBLEM, FLOW, start, np.array([0.0, short.time[seed]]))
        assert short.loss[seed] == pytest.approx(float(path.loss[-1]), rel=0.05)
        assert short.loss[seed] == pytest.approx(float(ol.population_loss(PROBLEM, W)), rel=1e-9)


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, np.inf, "10", None, True])
def test_a_time_limit_is_a_positive_number(limit, unchecked):
    with pytest.raises(ol.UserError, match="time_limit"):
        run(None, limit)


def test_reports_have_the_ranges_of_what_has_not_converged():
    short = run(None, 100.0)
    waiting = short.outcome == "not_converged"
    found = short.summary().unfinished
    assert found is not None
    assert found.starts == waiting.sum()
    assert found.loss == (short.loss[waiting].min(), short.loss[waiting].max())
    assert found.rate[0] > 0
