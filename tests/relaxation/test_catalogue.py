"""Known minima replace Hessians: points beside them are recognised in any order, other points are not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import relu_gradient, relu_loss

import odelandscape as ol
from odelandscape.model.state import pack
from odelandscape.relaxation.catalogue import (
    BASIN_FRACTION,
    Catalogue,
    KnownMinimum,
    KnownPoints,
    reach_closed_form,
    recognise,
)

FLOW = ol.GradientFlow()


def known(K=8, alpha=1, surplus=0):
    """A minimum by Newton's method in its blocks, independent of relaxing."""
    problem = ol.Problem(K + surplus, K)
    branch = "split student" if surplus else "compensated"
    point = ol.fixed_point(problem, ol.family(problem, alpha, branch))
    eigenvalue = ol.spectrum(problem, point).smallest
    return problem, np.asarray(pack(point.weights)), eigenvalue


def recognised(catalogue, y):
    """The numbers of the known minima of points, and these minima, by the compiled program."""
    points = KnownPoints.of(catalogue.minima, *y.shape[1:])
    found = jax.jit(recognise, static_argnums=1)(points, catalogue.teachers, np.moveaxis(y, 0, -1))
    return np.asarray(found.number), np.moveaxis(np.asarray(found.minimum), -1, 0)


def catalogue_of(problem, y, eigenvalue):
    catalogue = Catalogue(problem, FLOW)
    own = catalogue.permute(y[None], catalogue.order(y[None]))[0]
    catalogue.add(KnownMinimum(own, "local_minimum", 0.1, 1e-13, eigenvalue))
    return catalogue


@pytest.mark.parametrize(
    ("alpha", "surplus"),
    [
        (2, 0),
        pytest.param(0, 0, marks=pytest.mark.slow),
        pytest.param(2, 1, marks=pytest.mark.slow),
    ],
)
def test_any_order_of_a_known_minimum_is_recognised_and_written_in_that_order(alpha, surplus):
    problem, y, eigenvalue = known(8, alpha, surplus)
    catalogue = catalogue_of(problem, y, eigenvalue)
    rng = np.random.default_rng(0)
    shuffled = np.stack(
        [y[rng.permutation(len(y))][:, [*rng.permutation(8), 8]] for _ in range(20)]
    )
    size = 0.5 * BASIN_FRACTION * eigenvalue
    noise = rng.normal(size=shuffled.shape)
    noise[:, :, -1] = 0  # readouts are given
    noise *= size / np.linalg.norm(noise, axis=(1, 2), keepdims=True)
    order = catalogue.order(shuffled + noise)
    found = catalogue.nearest(catalogue.permute(shuffled + noise, order))
    assert (found == 0).all()
    written = catalogue.unpermute(np.stack([catalogue.minima[0].y] * 20), order)
    np.testing.assert_allclose(written, shuffled, atol=1e-13)
    number, compiled = recognised(catalogue, shuffled + noise)
    assert (number == 0).all()
    np.testing.assert_array_equal(compiled, written)


def test_points_away_from_known_minima_are_not_recognised():
    problem, y, eigenvalue = known()
    catalogue = catalogue_of(problem, y, eigenvalue)
    _, other, _ = known(8, 2)
    away = np.random.default_rng(1).normal(size=y.shape)
    away[:, -1] = 0  # readouts are given
    away *= 2 * BASIN_FRACTION * eigenvalue / np.linalg.norm(away)
    other_readout = y.copy()
    other_readout[0, -1] += 1e-6
    undecided = np.zeros_like(y)  # no student is the strongest of any teacher
    points = np.stack([other, y + away, -y, other_readout, undecided, np.full_like(y, np.nan)])
    finite = points[:-1]
    assert (catalogue.nearest(catalogue.permute(finite, catalogue.order(finite))) == -1).all()
    assert (recognised(catalogue, points)[0] == -1).all()


def test_the_hessian_stays_positive_where_a_minimum_is_recognised():
    """The claim that the distance rests on, by dense Hessians at the edge of the ball."""
    for K, alpha in ((6, 1), (8, 1), (8, 2)):
        problem, y, eigenvalue = known(K, alpha)
        rng = np.random.default_rng(K + alpha)
        for share in (1.0, 0.0):  # over all students, and in one alone
            away = rng.normal(size=(K, K)) * (np.arange(K) == 0)[:, None] ** (1 - share)
            away *= BASIN_FRACTION * eigenvalue / np.linalg.norm(away)
            moved = ol.Weights(jnp.asarray(y[:, :-1] + away), jnp.asarray(y[:, -1]))
            assert ol.spectrum(problem, moved).smallest > 0.8 * eigenvalue


def test_no_minimum_that_is_known_or_hardly_isolated_is_entered():
    problem, y, eigenvalue = known()
    catalogue = catalogue_of(problem, y, eigenvalue)
    catalogue.add(catalogue.minima[0])
    catalogue.add(catalogue.minima[0]._replace(y=-y, smallest_eigenvalue=1e-5))
    assert len(catalogue.minima) == 1


@pytest.mark.parametrize(
    "problem",
    [
        ol.Problem(3, 4),
        ol.Problem(4, 4, ol.Erf()),
        ol.Problem(3, 3, teacher_readout=jnp.array([1.0, 1.0, 2.0])),
        ol.Problem(2, 2, teacher_overlaps=jnp.array([[1.0, 0.3], [0.3, 1.0]])),
    ],
    ids=["K < M", "another curvature", "teachers that differ", "teachers that overlap"],
)
def test_without_the_symmetry_every_start_is_certified_by_itself(problem):
    assert not Catalogue(problem, FLOW).enabled


class OtherFlow(ol.AbstractFlow):
    """A user's own flow, with the capabilities that it states."""

    trains: bool = False
    normalised: bool = False
    equivariant: bool = True
    noisy: bool = False

    @property
    def trains_readout(self):
        return self.trains

    @property
    def preserves_norms(self):
        return self.normalised

    @property
    def permutation_equivariant(self):
        return self.equivariant

    @property
    def stochastic(self):
        return self.noisy

    def mixing(self, state, problem):
        return FLOW.mixing(state, problem)

    def project_initial(self, weights):
        return weights

    def retract(self, weights):
        return weights

    def neutral_directions(self, weights, problem):
        return FLOW.neutral_directions(weights, problem)


@pytest.mark.parametrize(
    "flow",
    [
        ol.TwoLayerFlow(),
        OtherFlow(trains=True),
        OtherFlow(equivariant=False),
        OtherFlow(noisy=True),
    ],
    ids=["2L-GD", "trained readout", "students treated by their index", "noise"],
)
def test_no_minima_are_shared_where_the_flow_does_not_allow_it(flow):
    catalogue = Catalogue(ol.Problem(5, 4), flow)
    assert not catalogue.enabled
    assert not catalogue.closed_form


def test_a_flow_of_the_users_own_is_treated_by_its_capabilities():
    assert Catalogue(ol.Problem(4, 4), OtherFlow()).enabled
    assert Catalogue(ol.Problem(5, 4), OtherFlow()).closed_form
    assert Catalogue(ol.Problem(5, 4), OtherFlow(normalised=True)).enabled
    assert not Catalogue(ol.Problem(5, 4), OtherFlow(normalised=True)).closed_form


@pytest.mark.parametrize(
    ("flow", "dimension", "spread"),
    [
        (ol.GradientFlow(), None, 0.0),
        (ol.GradientFlow(), 8, 1e-3),
        pytest.param(ol.NormalisedFlow(), None, 1e-3, marks=pytest.mark.slow),
    ],
    ids=["readouts 1", "readouts that differ", "students of fixed length"],
)
def test_with_and_without_a_catalogue_starts_end_alike(flow, dimension, spread):
    problem = ol.Problem(6, 6)

    def start(i):
        key = jax.random.fold_in(jax.random.key(3), i)
        weights = ol.random_weights(key, problem, dimension)
        return replace(weights, v=1 + spread * jax.random.normal(key, (6,)))

    starts = jax.vmap(start)(jnp.arange(60))
    closed = Catalogue(problem, flow)
    closed.enabled = False
    a = ol.relax(problem, flow, starts)
    b = ol.relax(problem, flow, starts, catalogue=closed)
    assert not closed.minima
    np.testing.assert_array_equal(a.outcome, b.outcome)
    np.testing.assert_array_equal(a.evaluations, b.evaluations)
    for one, other in ((a.loss, b.loss), (a.smallest_eigenvalue, b.smallest_eigenvalue)):
        np.testing.assert_allclose(one, other, atol=1e-9)
    np.testing.assert_allclose(a.weights, b.weights, atol=1e-7)


def on_rays(rng, K, M, d):
    """A global minimum of K > M students: each teacher shared by the students that chose it."""
    own = np.concatenate([np.arange(M), rng.integers(0, M, K - M)])
    share = rng.uniform(0.2, 1, K)
    share /= np.bincount(own, share)[own]
    W = np.zeros((K, d))
    W[np.arange(K), own] = share
    return np.concatenate([W[rng.permutation(K)], np.ones((K, 1))], axis=1)


def test_surplus_students_on_the_rays_of_teachers_are_a_global_minimum():
    K, M, d = 7, 4, 6
    problem = ol.Problem(K, M)
    rng = np.random.default_rng(0)
    exact = np.stack([on_rays(rng, K, M, d) for _ in range(10)])
    away = rng.normal(size=exact.shape)
    away[:, :, -1] = 0
    away *= 0.01 / np.linalg.norm(away, axis=(1, 2), keepdims=True)

    def reach(y):
        return reach_closed_form(
            FLOW, problem, jnp.asarray(1e-14), jnp.moveaxis(jnp.asarray(y), 0, -1)
        )

    np.testing.assert_allclose(np.moveaxis(reach(exact).minimum, -1, 0), exact, atol=1e-15)
    near = reach(exact + away)
    points = np.moveaxis(np.asarray(near.minimum), -1, 0)
    assert near.reached.all()
    assert not reach(exact + 10 * away).reached.any()
    teacher = np.eye(M, d)
    for y in points:
        W, v = y[:, :-1], y[:, -1]
        assert abs(relu_loss(W, v, teacher, np.ones(M))) < 1e-14
        assert np.linalg.norm(relu_gradient(W, v, teacher, np.ones(M))) < 1e-14
        H, _ = ol.hessian(FLOW, problem, ol.Weights(jnp.asarray(W), jnp.asarray(v)))
        assert np.linalg.eigvalsh(H)[0] == pytest.approx(0, abs=1e-7)  # as it is reported


@pytest.mark.parametrize(
    ("problem", "flow"),
    [
        (ol.Problem(4, 4), FLOW),  # isolated: its Hessian decides
        (ol.Problem(5, 4), ol.NormalisedFlow()),  # which preserves norms
        (ol.Problem(5, 4, teacher_readout=jnp.array([1.0, 1.0, 1.0, 2.0])), FLOW),
    ],
)
def test_where_no_minimum_is_known_in_closed_form_none_is_recognised(problem, flow):
    assert not Catalogue(problem, flow).closed_form


@pytest.mark.slow
def test_surplus_starts_end_in_the_same_networks_with_and_without_the_closed_form():
    problem = ol.Problem(5, 4)

    def start(i):
        return ol.random_weights(jax.random.fold_in(jax.random.key(0), i), problem)

    starts = jax.vmap(start)(jnp.arange(40))
    closed = Catalogue(problem, FLOW)
    closed.enabled = closed.closed_form = False
    a = ol.relax(problem, FLOW, starts)
    b = ol.relax(problem, FLOW, starts, catalogue=closed)
    assert set(a.outcome) == set(b.outcome) == {"global_minimum"}
    np.testing.assert_allclose(a.smallest_eigenvalue, 0, atol=1e-15)
    np.testing.assert_allclose(b.smallest_eigenvalue, 0, atol=1e-6)
    # Both are within the reach of where the flow had come to.
    assert np.linalg.norm(a.weights - b.weights, axis=(1, 2)).max() < 0.04
