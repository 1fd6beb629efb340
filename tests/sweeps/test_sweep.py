"""Sweeps: reproducible, resumable, and counted right."""

import importlib
import json
import math
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from statistics import NormalDist

import jax
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.sweeps import sweep, tasks
from odelandscape.sweeps.configuration import configuration
from odelandscape.sweeps.starts import starts
from odelandscape.sweeps.store import StoreWriter
from odelandscape.sweeps.summary import wilson_interval

PROBLEM, FLOW = ol.Problem(3, 3), ol.GradientFlow()


COLUMNS = (
    *("outcome", "anti_aligned", "loss", "gradient_norm", "smallest_eigenvalue"),
    *("time", "evaluations"),
)


def same(a: ol.Sweep, b: ol.Sweep) -> None:
    """To the last bit, as far as both go."""
    count = min(len(a), len(b))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(a, name)[:count], getattr(b, name)[:count])
    seeds = np.arange(count)
    np.testing.assert_array_equal(a.weights_of(seeds).W, b.weights_of(seeds).W)
    np.testing.assert_array_equal(a.weights_of(seeds).v, b.weights_of(seeds).v)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (3, 7), (6838, 10_000)])
def test_ends_of_wilson_s_interval_are_one_quantile_of_the_score_away(count, total):
    """Its definition: |p̂ − p| = z √(p (1 − p) / n), with the normal distribution's 0.975 quantile z."""
    z = NormalDist().inv_cdf(0.975)
    interval = wilson_interval(count, total)
    for p in interval:
        if 0 < p < 1:
            score = (count / total - p) / math.sqrt(p * (1 - p) / total)
            np.testing.assert_allclose(abs(score), z, rtol=1e-9)
    assert 0 <= interval[0] <= count / total <= interval[1] <= 1
    assert (interval[0] == 0) == (count == 0)
    assert (interval[1] == 1) == (count == total)


def test_the_interval_of_nothing_is_everything():
    assert wilson_interval(0, 0) == (0, 1)


def test_a_start_depends_on_sweep_seed_and_index_alone():
    a = starts(PROBLEM, FLOW, 7, np.arange(10), 3)
    b = starts(PROBLEM, FLOW, 7, np.array([8, 2]), 3)
    np.testing.assert_array_equal(a.W[np.array([8, 2])], b.W)
    key = jax.random.fold_in(jax.random.key(7), 8)
    np.testing.assert_allclose(a.W[8], ol.random_weights(key, PROBLEM).W, rtol=1e-14)
    assert not np.allclose(a.W, starts(PROBLEM, FLOW, 8, np.arange(10), 3).W)


@pytest.mark.parametrize("flow", [FLOW, ol.NormalisedFlow(), ol.OrthonormalFlow()])
def test_rotating_a_high_dimension_keeps_all_overlaps(flow):
    rotated = starts(PROBLEM, flow, 0, np.arange(3), 50)
    assert rotated.W.shape == (3, 3, 7)
    for i in range(3):
        key = jax.random.fold_in(jax.random.key(0), i)
        straight = ol.overlaps(PROBLEM, flow.project_initial(ol.random_weights(key, PROBLEM, 50)))
        W = np.asarray(rotated.W[i])
        np.testing.assert_allclose(W @ W.T, straight.Q, atol=1e-12)
        np.testing.assert_allclose(W[:, :3], straight.R, atol=1e-12)
        np.testing.assert_array_equal(W[:, -1], 0)


@pytest.fixture
def straight():
    return ol.sweep(PROBLEM, FLOW, 40, progress=False)


@pytest.fixture
def small(monkeypatch):
    """Files of 16 seeds, relaxed one by one."""
    monkeypatch.setattr(sweep, "CHUNK", 16)
    monkeypatch.setattr(tasks, "full_load", lambda entries: 16)


def test_an_interrupted_sweep_goes_on_and_ends_as_a_straight_one(
    tmp_path, monkeypatch, straight, small
):
    relaxed, real = [], tasks.relax

    def interrupted(problem, flow, some, **rest):
        if relaxed:
            raise KeyboardInterrupt
        relaxed.append(len(some.W))
        return real(problem, flow, some, **rest)

    monkeypatch.setattr(tasks, "relax", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)

    def counted(problem, flow, some, **rest):
        relaxed.append(len(some.W))
        return real(problem, flow, some, **rest)

    monkeypatch.setattr(tasks, "relax", counted)
    resumed = ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)
    assert relaxed == [16, 16, 8]  # nothing was computed twice
    same(resumed, straight)
    same(ol.sweep(PROBLEM, FLOW, 20, store=tmp_path, progress=False), straight)
    longer = ol.sweep(PROBLEM, FLOW, 50, store=tmp_path, progress=False)
    assert relaxed == [16, 16, 8, 10]
    same(longer, ol.sweep(PROBLEM, FLOW, 50, progress=False))
    with pytest.raises(ValueError, match=r"another sweep \(seed is 0 there and 1 here\)"):
        ol.sweep(PROBLEM, FLOW, 40, seed=1, store=tmp_path, progress=False)


def test_a_damaged_chunk_is_named_and_computed_again(tmp_path, straight, small):
    ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)
    path = tmp_path / "seeds-00000016-00000031.npz"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.warns(UserWarning, match=r"00000031.npz' is damaged.*16 seeds are computed again"):
        again = ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)
    same(again, straight)
    whole[len(whole) // 2] ^= 1
    assert path.read_bytes() == whole


def test_numbers_on_disk_are_read_when_they_are_used(tmp_path, straight, small):
    stored = ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False)
    # The store alone holds them.
    assert not any(isinstance(x, np.ndarray) for x in vars(stored).values())
    some = np.array([39, 3, 17])
    np.testing.assert_array_equal(stored.weights_of(some).W, straight.weights.W[some])
    same(stored, straight)
    again = ol.read_sweep(tmp_path)
    same(again, straight)
    assert again.summary()[1:] == straight.summary()[1:]
    assert again.summary().title == straight.summary().title.partition(" in ")[0]
    for wrong in (-1, 40):
        with pytest.raises(ValueError, match=f"seeds must be among.*got {wrong}"):
            stored.weights_of(np.array([0, wrong]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("other", [0, [[0, 1]], [True, False], [0.5]])
def test_seeds_of_another_form_are_refused(other, straight):
    with pytest.raises(ol.UserError, match=r"seeds must be an array \(n,\) of whole numbers"):
        straight.weights_of(other)


def test_shares_make_up_a_sweep(tmp_path, monkeypatch, straight):
    monkeypatch.setattr(tasks, "_LEAST", 1)
    monkeypatch.setattr(tasks, "CHUNK", 8)
    arguments = {"store": tmp_path, "seeds": 40, "progress": False}
    assert ol.sweep_share(PROBLEM, FLOW, (2, 3), **arguments) == 16
    part = ol.read_sweep(tmp_path)  # a table of what is there, and of nothing else
    np.testing.assert_array_equal(part.seeds, [*range(8, 16), *range(32, 40)])
    np.testing.assert_array_equal(part.loss, straight.loss[part.seeds])
    assert sum(outcome["count"] for outcome in part.summary().outcomes.values()) == 16
    assert ol.sweep_share(PROBLEM, FLOW, (2, 3), **arguments) == 0
    assert ol.sweep_share(PROBLEM, FLOW, (1, 3), **arguments) == 16
    assert ol.sweep_share(PROBLEM, FLOW, (3, 3), **arguments) == 8
    same(ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False), straight)
    for wrong in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match=r"share must be \(i, n\)"):
            ol.sweep_share(PROBLEM, FLOW, wrong, **arguments)


def test_an_executor_of_threads_changes_nothing(straight):
    with ThreadPoolExecutor(2) as executor:
        same(ol.sweep(PROBLEM, FLOW, 40, executor=executor, progress=False), straight)


def test_spawned_processes_get_numbers_as_they_are():
    """They are still in float32 when the problem arrives."""
    T = np.array([[1, 0.1234567890123, 0.1], [0.1234567890123, 1, 0.2], [0.1, 0.2, 1]])
    problem = ol.Problem(3, 3, ol.LeakyReLU(jax.numpy.asarray(0.1234567890123)), T)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        spawned = ol.sweep(problem, FLOW, 10, executor=executor, progress=False)
    same(spawned, ol.sweep(problem, FLOW, 10, progress=False))


def test_a_worker_relaxes_sweeps_of_several_dimensions():
    """A known minimum has as many coordinates as the sweep that it was found in."""
    with ThreadPoolExecutor(1) as executor:
        for dimension in (3, 6, 3):
            runs = ol.sweep(PROBLEM, FLOW, 20, 0, dimension, executor=executor, progress=False)
            same(runs, ol.sweep(PROBLEM, FLOW, 20, 0, dimension, progress=False))


def _capped(limit: float) -> ol.AbstractFlow:
    class Capped(ol.GradientFlow):
        def mixing(self, state, problem):
            X, Y, dv, _ = super().mixing(state, problem)
            excess = jax.numpy.maximum(jax.numpy.diagonal(state.Q) - limit, 0.0)
            return ol.Mixing(X + jax.numpy.diag(excess), Y, dv)

    return Capped()


@pytest.mark.slow
@pytest.mark.slow
def test_a_worker_tells_flows_of_one_name_apart():
    """At the states where flows are tried, none of whose students is so long, these two are alike."""
    problem = ol.Problem(1, 1, ol.Erf(), [[25.0]])
    with ThreadPoolExecutor(1) as executor:
        short, long = (
            ol.sweep(problem, _capped(limit), 8, executor=executor, progress=False)
            for limit in (16.0, 64.0)
        )
    same(long, ol.sweep(problem, _capped(64.0), 8, progress=False))
    assert not np.allclose(short.loss, long.loss)


def broken_for(seed: int):
    def relax_task(task):
        if task.first <= seed < task.stop:
            raise MemoryError("too wide")
        return real(task)

    real = tasks.relax_task
    return relax_task


def test_seeds_that_no_worker_can_relax_count_as_failed_and_stop_no_others(
    tmp_path, monkeypatch, straight
):
    monkeypatch.setattr(tasks, "_LEAST", 1)
    monkeypatch.setattr(tasks, "CHUNK", 16)
    with ThreadPoolExecutor(1) as executor, monkeypatch.context() as patch:
        patch.setattr(tasks, "relax_task", broken_for(20))
        with pytest.warns(
            UserWarning, match=r"seeds 16 – 31 failed 3 times each.*too wide.*counted as failed"
        ):
            part = ol.sweep(PROBLEM, FLOW, 40, executor=executor, store=tmp_path, progress=False)
    assert list(part.outcome[16:32]) == ["failed"] * 16
    np.testing.assert_array_equal(part.loss[32:], straight.loss[32:])
    assert part.summary().outcomes["failed"]["count"] == 16
    assert not part.weights_of(np.array([17])).W.any()
    same(ol.sweep(PROBLEM, FLOW, 40, store=tmp_path, progress=False), straight)


def test_seeds_that_fail_before_any_succeed_are_an_error(monkeypatch):
    monkeypatch.setattr(tasks, "relax_task", broken_for(0))
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ol.WorkersLostError, match=r"0 – 39 failed 3 times.*too wide.*no others"),
    ):
        ol.sweep(PROBLEM, FLOW, 40, executor=executor, progress=False)


def test_configurations_differ_where_numbers_or_functions_do():
    def recorded(activation, flow=FLOW):
        return configuration(ol.Problem(3, 3, activation), flow, 0, 3)

    assert recorded(ol.LeakyReLU(0.1)) == recorded(ol.LeakyReLU(np.float64(0.1)))
    assert recorded(ol.LeakyReLU(jax.numpy.asarray(0.2))) != recorded(ol.LeakyReLU(0.1))
    one, other = (ol.Quadrature(lambda x, a=a: jax.numpy.tanh(a * x)) for a in (1.0, 2.0))
    assert recorded(one)["activation"] == recorded(other)["activation"]  # a lambda is a lambda
    assert recorded(one) != recorded(other)
    assert recorded(ol.ReLU(), ol.NormalisedFlow()) != recorded(ol.ReLU())
    json.dumps(recorded(one), allow_nan=False)


@pytest.mark.parametrize(
    "sigma", [jax.nn.softplus, pytest.param(jax.nn.gelu, marks=pytest.mark.slow)]
)
def test_a_sweep_with_a_function_of_a_module_is_read_and_sent_to_workers(sigma, tmp_path):
    """`pickle` itself names no function that JAX has wrapped, as it has the first."""
    problem = ol.Problem(1, 1, ol.Quadrature(sigma))
    with ol.Workers(1) as executor:
        runs = ol.sweep(problem, FLOW, 2, store=tmp_path, executor=executor, progress=False)
    read = ol.read_sweep(tmp_path)
    assert read.problem.activation.function is sigma
    np.testing.assert_array_equal(read.loss, runs.loss)
    assert list(runs.outcome) != ["failed"] * 2


def test_a_sweep_with_a_function_without_a_place_opens_as_a_dataset_only(tmp_path):
    problem = ol.Problem(1, 1, ol.Quadrature(lambda x: jax.numpy.tanh(x)))
    StoreWriter(tmp_path, configuration(problem, FLOW, 0, 1))
    with pytest.raises(ValueError, match=r"function .*<lambda>, which cannot"):
        ol.read_sweep(tmp_path)
    with (
        ol.Workers(1) as executor,
        pytest.raises(ol.WorkersLostError, match="at the top level of a module that workers can"),
    ):
        ol.sweep(problem, FLOW, 2, executor=executor, progress=False)


OWN = """
import jax.numpy as jnp
import odelandscape as ol

class GradientFlow(ol.GradientFlow):
    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + {decay} * jnp.eye(problem.students))
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module with a flow that has the name of one of the package's, and a decay that can be changed."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(decay):
        (folder / "own_flow.py").write_text(OWN.format(decay=decay))
        sys.modules.pop("own_flow", None)
        return importlib.import_module("own_flow").GradientFlow()

    yield write
    sys.modules.pop("own_flow", None)


def test_a_store_distinguishes_flows_of_one_name_by_their_place_and_their_values(
    tmp_path, own_module
):
    """The name of a class does not identify what was computed: another module, another code."""
    store, flow = tmp_path / "store", own_module(0.1)
    runs = ol.sweep(PROBLEM, flow, 8, store=store, progress=False)
    assert (runs.loss > 0.01).all()  # the minimum of L + |W|²/20
    again = ol.read_sweep(store)
    assert type(again.flow) is type(flow)
    np.testing.assert_array_equal(again.loss, runs.loss)
    with pytest.raises(ol.UserError, match="holds another sweep"):
        ol.sweep(PROBLEM, FLOW, 8, store=store, progress=False)
    with pytest.raises(ol.UserError, match=r"holds another sweep \(flow_values"):
        ol.sweep(PROBLEM, own_module(0.2), 8, store=store, progress=False)


def test_the_summary_counts_every_start(capsys):
    runs = ol.sweep(PROBLEM, FLOW, 40, progress=True)
    assert "40/40" in capsys.readouterr().err
    summary = runs.summary()
    assert sum(outcome["count"] for outcome in summary.outcomes.values()) == 40
    assert sum(row.count for row in summary.families) == 40
    assert summary.outcomes["global_minimum"]["count"] == np.sum(runs.loss < 1e-9)
    assert "global minimum" in str(summary)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds must be .* got 0"),
        ({"seeds": -5}, "seeds must be .* got -5"),
        ({"seed": -1}, "seed must be .* got -1"),
        ({"dimension": 2}, "dimension must be at least .* 3; got 2"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ol.sweep(PROBLEM, FLOW, **({"seeds": 5} | change))


def test_more_orthonormal_students_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="K ≤ d"):
        ol.sweep(ol.Problem(4, 3), ol.OrthonormalFlow(), 5)
