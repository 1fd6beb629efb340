"""The compiled program of many lanes: what it is compiled to, and what it leaves to the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.relaxation.batched_rkc import Tolerances
from odelandscape.relaxation.catalogue import CLOSED_FORM, KnownPoints
from odelandscape.relaxation.lanes import (
    DONE,
    RUNNING,
    STOPPED,
    WAITING,
    Inputs,
    Rules,
    Spent,
    advance_lanes,
    begin_lanes,
    read_waiting,
    recognise_again,
    write_decided,
)
from odelandscape.runtime.compiler import compiler_options

TOLERANCES = Tolerances(2e-4, 2e-5, 2e4)


def pool(K, M, count=50, size=64):
    """Lanes at random starts, the inputs of the program, and its rules."""
    problem, flow = jax.tree.map(jnp.asarray, (ol.Problem(K, M), ol.GradientFlow()))
    index = jnp.minimum(jnp.arange(size), count - 1)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(index)
    starts = jax.vmap(lambda key: ol.random_weights(key, problem))(keys)
    none = np.zeros(size, np.int32)
    spent = Spent(np.zeros(size), none, np.full(size, np.inf), none)
    lanes = begin_lanes(TOLERANCES, flow, problem, starts, np.asarray(count), spent)
    known = KnownPoints.of([], K, M + 1)
    inputs = Inputs(TOLERANCES, flow, problem, known, (flow, problem), jnp.asarray(1e-13))
    return Rules(16, True, K > M), inputs, lanes


@pytest.mark.parametrize(("K", "M"), [(3, 3), (4, 3)])
def test_no_loop_is_handed_to_a_kernel_library(K, M):
    """XLA 0.11 and later do so by default: three times slower, and a lane's last bits then depend
    on its neighbours. Another release may find another way; its name would be beside this one."""
    rules, inputs, lanes = pool(K, M)
    # The function that `program` compiles, compiled with the same options.
    plain = jax.jit(
        advance_lanes.__wrapped__, static_argnums=0, compiler_options=compiler_options()
    )
    text = str(plain.lower(rules, inputs, np.int32(1), lanes).compile().as_text())
    assert "fusion" in text
    for library in ("__ynn_fusion", "__onednn", "__xnn_fusion"):
        assert library not in text


def test_lanes_are_done_or_wait_and_none_is_touched_beyond_the_starts():
    rules, inputs, lanes = pool(4, 3)
    lanes, phase, made = advance_lanes(rules, inputs, np.int32(10_000), lanes)
    phase = np.asarray(phase)
    assert 0 < int(made) < 10_000
    assert (phase[50:] == DONE).all()
    assert set(phase[:50]) <= {DONE, WAITING}
    done = np.flatnonzero(phase[:50] == DONE)
    assert len(done) > 40
    assert (np.asarray(lanes.minimum)[done] == CLOSED_FORM).all()
    assert (np.asarray(lanes.minimum)[50:] < 0).all()
    # Their own points are minima in closed form: the loss is 0.
    for n in done[:3]:
        y = lanes.kept[n]
        loss = ol.population_loss(ol.Problem(4, 3), ol.Weights(y[:, :-1], y[:, -1]))
        assert abs(float(loss)) < 1e-14


def test_rounds_end_where_they_are_asked_to():
    rules, inputs, lanes = pool(3, 3)
    before = np.asarray(lanes.solver.evaluations).copy()
    lanes, phase, made = advance_lanes(rules, inputs, np.int32(1), lanes)
    assert int(made) == 1
    assert (np.asarray(phase)[:50] == RUNNING).all()
    more = np.asarray(lanes.solver.evaluations) - before
    assert (more[:16] > 60).all()
    assert (more[16:] == 0).all()


def test_what_the_host_decides_is_entered_and_nothing_else():
    lanes = pool(3, 3)[2]
    y = np.asarray(lanes.solver.base)[:2].copy()
    at = np.array([0, 1, 64])  # the last is none
    phase, target = np.array([WAITING, DONE, DONE], np.int8), np.array([1e-7, 1e-9, 0.0])
    lanes = write_decided(lanes, at, phase, target)
    now = np.asarray(lanes.phase)
    assert now[:3].tolist() == [WAITING, DONE, RUNNING]
    assert np.asarray(lanes.target)[:3].tolist() == [1e-7, 1e-9, 1e-5]
    waiting = read_waiting(TOLERANCES, lanes, at)
    np.testing.assert_array_equal(waiting.points[:2], y)
    assert not np.asarray(waiting.diverged).any()
    again = np.asarray(recognise_again(lanes).phase)
    assert again[:3].tolist() == [STOPPED, DONE, RUNNING]
