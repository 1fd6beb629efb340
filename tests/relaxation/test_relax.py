"""Starts to end states: published levels, hard starts, independence of the batch."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import MINIMA, relu_gradient, relu_loss

import odelandscape as ol
from odelandscape.landscape.local_geometry import eigenpairs
from odelandscape.relaxation import relax as relax_module
from odelandscape.relaxation.batched_rkc import Tolerances, advance, begin, probe
from odelandscape.relaxation.catalogue import Catalogue


def starts(problem, count, dimension=None):
    def start(i):
        return ol.random_weights(jax.random.fold_in(jax.random.key(0), i), problem, dimension)

    return jax.vmap(start)(jnp.arange(count))


def batched(W):
    """Weights with readouts 1 from an array (N, K, d)."""
    W = jnp.asarray(W)
    return jax.vmap(lambda w: ol.Weights(w, jnp.ones(len(w))))(W)


# --- the solver of a lane -----------------------------------------------------------------------


@pytest.mark.parametrize(("rtol", "error"), [(1e-3, 1e-3), (1e-6, 2e-5)])
def test_a_lane_follows_scipy_within_its_tolerance(rtol, error):
    problem, flow = ol.Problem(3, 3), ol.GradientFlow()
    start = ol.random_weights(jax.random.key(5), problem, 4)
    tolerances = Tolerances(rtol, 0.1 * rtol, 15.0)
    lane = begin(flow, problem, start, 0.0)
    lane = jax.jit(
        lambda lane: jax.lax.while_loop(
            lambda lane: ~tolerances.status(lane).stopped,
            lambda lane: advance(flow, problem, tolerances, probe(flow, problem, lane)),
            lane,
        )
    )(lane)
    teacher, ones = np.eye(3, 4), np.ones(3)
    truth = solve_ivp(
        lambda _, y: -relu_gradient(y.reshape(3, 4), ones, teacher, ones).ravel(),
        (0, float(lane.time)),
        np.asarray(start.W).ravel(),
        "DOP853",
        rtol=1e-11,
        atol=1e-12,
    )
    assert lane.time >= 15
    np.testing.assert_allclose(lane.base[:, :-1], truth.y[:, -1].reshape(3, 4), atol=error)


def test_a_step_that_overflows_is_tried_again_shorter():
    problem, flow = ol.Problem(3, 3), ol.GradientFlow()
    tolerances = Tolerances(1e-6, 1e-7, 300.0)
    start = begin(flow, problem, ol.random_weights(jax.random.key(5), problem, 4), 0.0)
    broken = start._replace(stage=start.stages, newer=jnp.full_like(start.newer, jnp.inf))

    @jax.jit
    def end(lane):
        return jax.lax.while_loop(
            lambda lane: ~tolerances.status(lane).stopped,
            lambda lane: advance(flow, problem, tolerances, probe(flow, problem, lane)),
            lane,
        )

    straight, recovered = end(start), end(broken)
    assert not recovered.diverged
    # Both reach the same one of the teacher's permutations.
    np.testing.assert_allclose(recovered.base, straight.base, atol=1e-4)
    np.testing.assert_allclose(np.sort(recovered.base[:, :-1].max(axis=1)), 1, atol=1e-4)


# --- certificates -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flow",
    [ol.GradientFlow(), ol.NormalisedFlow(), ol.OrthonormalFlow(), ol.TwoLayerFlow()],
    ids=lambda flow: type(flow).__name__,
)
def test_the_hessian_is_the_curvature_of_the_loss_along_the_constraint(flow):
    """At W = W*, by second differences of an independent loss along curves on the constraint."""
    teacher, step = np.eye(3, 4), 1e-4
    at = np.concatenate([teacher, np.ones((3, 1))], axis=1)
    H, P = ol.hessian(flow, ol.Problem(3, 3), ol.Weights(jnp.asarray(teacher), jnp.ones(3)))
    rng = np.random.default_rng(0)
    for _ in range(4):
        direction = (np.eye(15) - P) @ rng.normal(size=15)

        def loss(t, direction=direction):
            y = jnp.asarray(at + t * direction.reshape(3, 5))
            kept = flow.project_initial(ol.Weights(y[:, :4], y[:, 4]))
            return relu_loss(np.asarray(kept.W), np.asarray(kept.v), teacher, np.ones(3))

        curvature = (loss(step) + loss(-step)) / step**2  # the loss at W* is 0
        assert direction @ H @ direction == pytest.approx(curvature, abs=1e-3)


def test_published_minima_are_found_and_certified():
    """Starts beside the published weights end at the published level, at an independent critical point."""
    known = [minimum for minimum in MINIMA if minimum.W.shape == (10, 10)]
    noise = np.random.default_rng(1).normal(size=(len(known), 10, 10))
    W = np.stack([minimum.W for minimum in known]) + 1e-3 * noise
    ends = ol.relax(ol.Problem(10, 10), ol.GradientFlow(), batched(W), batch=16)
    assert list(ends.outcome) == ["local_minimum"] * len(known)
    for minimum, loss, weights, eigenvalue in zip(
        known, ends.loss, ends.weights, ends.smallest_eigenvalue, strict=True
    ):
        assert loss == pytest.approx(minimum.loss, abs=1e-6)
        gradient = relu_gradient(weights, np.ones(10), np.eye(10), np.ones(10))
        assert np.linalg.norm(gradient) < 1e-10
        if minimum.smallest_eigenvalue is not None:
            assert eigenvalue == pytest.approx(minimum.smallest_eigenvalue, abs=1e-4)


# --- hard starts --------------------------------------------------------------------------------


def test_hard_starts_are_classified_right_and_change_no_other():
    problem = ol.Problem(3, 3)
    ordinary = np.asarray(starts(problem, 1).W[0])
    zero_row, equal_rows = ordinary.copy(), ordinary.copy()
    zero_row[0] = 0
    equal_rows[1] = equal_rows[0]
    broken = np.full((3, 3), np.nan)
    W = np.stack([zero_row, equal_rows, np.eye(3), broken, ordinary])
    ends = ol.relax(problem, ol.GradientFlow(), batched(W), batch=4)
    assert ends.outcome[0] == "global_minimum"
    # Equal students stay equal: the flow ends at a saddle, unless rounding sets them apart.
    assert ends.outcome[1] in ("saddle", "global_minimum")
    assert list(ends.outcome[2:]) == ["global_minimum", "failed", "global_minimum"]
    assert ends.time[2] == 0
    assert not any(np.isnan(x).any() for x in ends if x.dtype.kind == "f")
    certified = ends.outcome != "failed"
    assert (ends.gradient_norm[certified] <= 1e-10).all()


def test_one_student_on_the_wrong_side_of_one_teacher_ends_on_the_kink():
    """K = M = d = 1: from w > 0 to the teacher; from w < 0 to w = 0, where the loss still falls."""
    ends = ol.relax(
        ol.Problem(1, 1), ol.GradientFlow(), batched([[[0.3]], [[-0.7]], [[2.0]]]), batch=4
    )
    assert list(ends.outcome) == ["global_minimum", "saddle", "global_minimum"]
    assert ends.loss[1] == pytest.approx(1 / 4)  # ½ E[relu²], the student inactive


@pytest.mark.slow
def test_too_few_students_never_reach_a_global_minimum():
    ends = ol.relax(ol.Problem(2, 4), ol.GradientFlow(), starts(ol.Problem(2, 4), 30), batch=32)
    assert set(ends.outcome) == {"local_minimum"}
    loss = relu_loss(
        ends.weights, np.ones((30, 2)), np.eye(4) * np.ones((30, 1, 1)), np.ones((30, 4))
    )
    np.testing.assert_allclose(ends.loss, loss, atol=1e-12)


def test_surplus_students_learn_the_teacher():
    problem = ol.Problem(9, 4)
    ends = ol.relax(problem, ol.GradientFlow(), starts(problem, 30), batch=32)
    assert set(ends.outcome) == {"global_minimum"}
    x = np.random.default_rng(0).normal(size=(4, 1000))
    network = np.maximum(ends.weights @ x, 0).sum(1)
    np.testing.assert_allclose(network, np.tile(np.maximum(x, 0).sum(0), (30, 1)), atol=1e-4)


# --- batches ------------------------------------------------------------------------------------


def test_no_bit_depends_on_the_batch_the_order_or_known_minima():
    problem, flow = ol.Problem(10, 10), ol.GradientFlow()
    many = starts(problem, 300)
    some, others = (
        jax.tree.map(lambda x, at=at: x[at], many) for at in (slice(200), slice(200, 300))
    )
    reported = []
    straight = ol.relax(problem, flow, some, batch=50, progress=reported.append)
    assert sum(reported) == 200
    assert np.sum(straight.outcome == "local_minimum") > 40
    known = Catalogue(problem, flow)
    ol.relax(problem, flow, others, catalogue=known)
    backwards = jax.tree.map(lambda x: x[::-1], some)
    again = ol.relax(problem, flow, backwards, batch=130, catalogue=known)
    if jax.default_backend() == "cpu":
        for a, b in zip(straight, again, strict=True):
            np.testing.assert_array_equal(a, b[::-1])
    else:
        np.testing.assert_array_equal(straight.outcome, again.outcome[::-1])
        np.testing.assert_allclose(straight.loss, again.loss[::-1], rtol=0, atol=1e-13)


@pytest.mark.slow
def test_end_states_do_not_depend_on_the_number_of_cores(monkeypatch):
    problem = ol.Problem(6, 6)
    many = starts(problem, 300)
    reported = []
    ends = []
    for cores in (1, 3):
        monkeypatch.setattr(
            relax_module, "_pool_devices", lambda cores=cores: jax.local_devices() * cores
        )
        ends.append(ol.relax(problem, ol.GradientFlow(), many, batch=16, progress=reported.append))
    assert sum(reported) == 600
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


TWO_DEVICES = """
import jax, numpy as np, odelandscape as ol
jax.config.update("jax_enable_x64", True)
assert len(jax.local_devices()) == 2
problem = ol.Problem(4, 4)
start = lambda i: ol.random_weights(jax.random.fold_in(jax.random.key(0), i), problem)
many = jax.vmap(start)(jax.numpy.arange(300))
np.savez(PATH, **ol.relax(problem, ol.GradientFlow(), many, batch=16)._asdict())
"""


@pytest.mark.slow
def test_several_devices_share_the_work(tmp_path):
    file = str(tmp_path / "ends.npz")
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    program = TWO_DEVICES.replace("PATH", repr(file))
    subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"XLA_FLAGS": flags}, check=True
    )
    problem = ol.Problem(4, 4)
    ends = ol.relax(problem, ol.GradientFlow(), starts(problem, 300), batch=16)
    there = np.load(file)
    for name, column in ends._asdict().items():
        np.testing.assert_array_equal(there[name], column)


def test_one_pool_that_fails_stops_the_others(monkeypatch):
    monkeypatch.setattr(relax_module, "_pool_devices", lambda: jax.local_devices() * 2)

    def broken(count):
        raise KeyboardInterrupt

    problem = ol.Problem(3, 3)
    with pytest.raises(KeyboardInterrupt):
        ol.relax(problem, ol.GradientFlow(), starts(problem, 64), batch=8, progress=broken)


@pytest.mark.slow
def test_other_seeds_slopes_and_tolerances_need_no_other_program():
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    def run(slope, rtol, first):
        problem = ol.Problem(3, 3, ol.LeakyReLU(slope))
        some = jax.tree.map(lambda x: x[first : first + 16], many)
        return ol.relax(problem, ol.GradientFlow(), some, rtol=rtol)

    many = starts(ol.Problem(3, 3), 48)
    run(0.1, 3e-4, 0)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run(0.3, 1e-4, 16)
        ol.relax(ol.Problem(4, 4), ol.GradientFlow(), starts(ol.Problem(4, 4), 16))
        others = len(compiled)
        run(0.2, 3e-4, 32)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert others > 0  # the listener counts programs
    assert len(compiled) == others


@pytest.mark.parametrize(
    ("W", "batch", "message"),
    [
        (np.zeros((4, 2, 3)), 8, r"starts must have .*got \(4, 2, 3\)"),
        (np.zeros((4, 3, 2)), 8, r"starts must have .*got \(4, 3, 2\)"),
        (np.zeros((4, 3, 3)), 0, "batch"),
    ],
)
def test_bad_arguments_are_named(W, batch, message):
    with pytest.raises(ValueError, match=message):
        ol.relax(ol.Problem(3, 3), ol.GradientFlow(), batched(W), batch=batch)


def test_float32_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="float32"):
        ol.relax(ol.Problem(3, 3), ol.GradientFlow(), batched(np.zeros((1, 3, 3))))


def test_a_matrix_that_the_fastest_method_fails_on_stops_no_start(monkeypatch):
    """LAPACK's divide and conquer has failed on a finite Hessian (K = 15, M = 14)."""

    def fails(H):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    rng = np.random.default_rng(0)
    A = rng.normal(size=(9, 9))
    values, vectors = np.linalg.eigh(A + A.T)
    start = batched([np.eye(3) + 1e-2 * rng.normal(size=(3, 3))])
    expected = ol.relax(ol.Problem(3, 3), ol.GradientFlow(), start)
    monkeypatch.setattr(np.linalg, "eigh", fails)
    monkeypatch.setattr(np.linalg, "eigvalsh", fails)
    again, u = eigenpairs(A + A.T)
    np.testing.assert_allclose(again, values, atol=1e-13)
    np.testing.assert_allclose(np.abs(np.sum(u * vectors, axis=0)), 1, atol=1e-12)
    ends = ol.relax(ol.Problem(3, 3), ol.GradientFlow(), start)
    assert ends.outcome[0] == expected.outcome[0] == "global_minimum"
    assert ends.smallest_eigenvalue[0] == pytest.approx(expected.smallest_eigenvalue[0])
