"""α up to the activation's own symmetries: networks that are one have one α."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.model.alignment import (
    NOT_DEFINED,
    align,
    alpha_text,
    count_anti_aligned,
    order_by_overlap,
    overlap_sign,
    strongest_pairs,
)

SQUARE = ol.Quadrature(lambda x: x * x)
RNG = np.random.default_rng(3)


def counted(problem, W, v):
    """α of networks with weights W (N, K, M) and readouts v (N, K), orthonormal teachers."""
    return count_anti_aligned(problem, W, np.linalg.norm(W, axis=2), v)


def test_an_odd_activation_counts_the_same_for_w_v_and_their_negatives():
    """erf: (w, v) and (−w, −v) are one student, with teachers of any sign of readout."""
    teacher = np.array([1.0, -1.0, 2.0])
    problem = ol.Problem(3, 3, ol.Erf(), teacher_readout=teacher)
    W, v = RNG.normal(size=(20, 3, 3)), RNG.normal(size=(20, 3))
    signs = RNG.choice([-1.0, 1.0], size=(20, 3))
    alpha = counted(problem, W, v)
    np.testing.assert_array_equal(counted(problem, signs[:, :, None] * W, signs * v), alpha)
    # The teacher itself, also written with negative readouts.
    np.testing.assert_array_equal(counted(problem, np.eye(3)[None], teacher[None]), [0])
    np.testing.assert_array_equal(counted(problem, -np.eye(3)[None], -teacher[None]), [0])
    np.testing.assert_array_equal(counted(problem, -np.eye(3)[None], teacher[None]), [3])


def test_an_even_activation_has_no_alpha():
    problem = ol.Problem(2, 2, SQUARE)
    assert counted(problem, RNG.normal(size=(4, 2, 2)), np.ones((4, 2))).tolist() == [-1] * 4
    assert NOT_DEFINED == -1
    assert alpha_text(NOT_DEFINED) == alpha_text(None) == "–"
    assert alpha_text(2) == "2"


@pytest.mark.parametrize("readout", [1.0, -1.0])
def test_any_other_activation_counts_negative_overlaps_whatever_the_readouts(readout):
    """ReLU: no symmetry takes (w, v) to (−w, −v)."""
    problem = ol.Problem(2, 2, teacher_readout=[1.0, -1.0])
    W = np.array([[[-0.7, 0.1], [0.2, 0.9]]])
    assert counted(problem, W, np.full((1, 2), readout)).tolist() == [1]


def test_linear_and_absolute_value_are_odd_and_even():
    """Leaky ReLU of slope 1 and −1."""
    W, v = -np.eye(2)[None], -np.ones((1, 2))
    assert counted(ol.Problem(2, 2, ol.LeakyReLU(1.0)), W, v).tolist() == [0]
    assert counted(ol.Problem(2, 2, ol.LeakyReLU(-1.0)), W, v).tolist() == [-1]
    assert counted(ol.Problem(2, 2, ol.LeakyReLU(0.1)), W, v).tolist() == [2]


def test_an_overlap_of_rounding_has_no_sign():
    W = np.array([[[1.0, 0.0], [0.5, -1e-17]]])
    assert counted(ol.Problem(2, 2), W, np.ones((1, 2))).tolist() == [0]


def test_a_point_of_an_ansatz_counts_as_its_weights_do():
    problem = ol.Problem(3, 3, ol.Erf(), teacher_readout=[-1.0] * 3)
    ansatz = ol.BlockAnsatz(problem, (2, 1), (0,), 1)
    point = ol.AnsatzPoint(ansatz, jnp.asarray([-0.9, 0.1, 0.0, 0.1, 0.8]))
    weights = point.weights
    alone = counted(problem, np.asarray(weights.W)[None], np.asarray(weights.v)[None])
    assert point.count_anti_aligned() == alone[0] == 1
    even = ol.Problem(3, 3, SQUARE)
    assert ol.AnsatzPoint(ansatz.of(even), point.parameters).count_anti_aligned() is None


def test_a_sweep_has_one_family_where_networks_are_one():
    """erf, both layers trained, K = 1, M = 2: one minimum, w or −w with v or −v (Şimşek et al. 2023)."""
    runs = ol.sweep(ol.Problem(1, 2, ol.Erf()), ol.TwoLayerFlow(), seeds=12, progress=False)
    level = (2 / 3 - 8 / np.pi * np.arcsin(1 / 4)) / 2
    minima = [row for row in runs.summary().families if row.outcome == "local_minimum"]
    assert [(row.anti_aligned, row.count) for row in minima] == [(0, 12)]
    assert minima[0].loss == pytest.approx(level, abs=1e-10)


def test_a_teacher_of_readout_zero_has_no_student():
    """Both students lie on the first teacher; one counted by the sign of its overlap with the other."""
    problem = ol.Problem(2, 2, teacher_readout=[1.0, 0.0])
    W = np.array([[[0.4, 0.0], [0.6, -1e-8]], [[0.4, 0.0], [-0.6, 0.3]]])
    assert counted(problem, W, np.ones((2, 2))).tolist() == [0, 1]


# --- many at once -----------------------------------------------------------------------------


def many_overlaps(K, M, n=200):
    """Overlaps of which some have a clear assignment, some do not, some have ties, rows and columns of 0."""
    R = 0.3 * RNG.normal(size=(n, K, M))
    for i in range(0, n, 2):
        students, teachers = RNG.permutation(K), RNG.permutation(M)
        for k, m in zip(students, teachers, strict=False):
            R[i, k, m] += RNG.choice([2.0, -2.0])
    R[::7] = np.round(R[::7])
    R[::11, 0] = 0
    norms = np.abs(RNG.normal(size=(n, K)))
    norms[::5, 0] = 0
    return R, norms


@pytest.mark.parametrize("activation", [ol.ReLU(), ol.Erf()], ids=repr)
@pytest.mark.parametrize(("K", "M"), [(4, 4), (6, 4), (3, 5), (1, 3), (3, 1)])
def test_the_number_of_many_networks_is_that_of_each(activation, K, M):
    problem = ol.Problem(K, M, activation)
    R, norms = many_overlaps(K, M)
    v = RNG.choice([-1.0, 0.0, 1.0], size=norms.shape)
    signs = np.broadcast_to(overlap_sign(problem, v), R.shape)
    each = [align(*one).anti_aligned for one in zip(R, norms, signs, strict=True)]
    np.testing.assert_array_equal(count_anti_aligned(problem, R, norms, v), each)


@pytest.mark.parametrize(("K", "M"), [(4, 4), (6, 4), (3, 1)])
def test_the_order_of_many_networks_is_that_of_each(K, M):
    R, norms = many_overlaps(K, M)
    lanes = np.moveaxis(R, 0, -1)
    pairs, clear = strongest_pairs(lanes)
    assert 0.3 < clear.mean() < 1
    compiled = jax.jit(order_by_overlap)(lanes, norms.T, pairs)
    for n in np.flatnonzero(clear):
        order = align(R[n], norms[n]).order
        own, rest = order[:M], order[M:]
        teachers = np.argsort(-R[n][own, np.arange(M)], kind="stable")
        students = [*own[teachers], *rest[np.argsort(-norms[n][rest], kind="stable")]]
        for found in (order_by_overlap(lanes, norms.T, pairs), compiled):
            np.testing.assert_array_equal(found.teachers[:, n], teachers)
            np.testing.assert_array_equal(found.students[:, n], students)
