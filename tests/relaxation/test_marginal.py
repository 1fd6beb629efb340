"""Verdicts that second-order information decides, and where it decides nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import relu_loss

import odelandscape as ol
from odelandscape.landscape.local_geometry import local_geometry

G = ol.GradientFlow()


def one(W, v):
    return jax.vmap(ol.Weights)(jnp.asarray(W, float)[None], jnp.asarray(v, float)[None])


@pytest.mark.parametrize(
    "activation",
    [ol.ReLU(), pytest.param(ol.LeakyReLU(0.3), marks=pytest.mark.slow), ol.Erf()],
    ids=["ReLU", "leaky", "erf"],
)
@pytest.mark.parametrize(("K", "M"), [(1, 1), (2, 3)])
def test_the_network_without_output_is_a_saddle_of_both_layers(activation, K, M):
    """The kind: no curvature taken for a minimum. From W = v = 0 a step in both layers lowers the loss."""
    problem = ol.Problem(K, M, activation)
    ends = ol.relax(problem, ol.TwoLayerFlow(), one(np.zeros((K, M)), np.zeros(K)))
    assert list(ends.outcome) == ["saddle"]
    step = np.zeros((K, M))
    step[0] = 0.1
    below = ol.population_loss(problem, ol.Weights(jnp.asarray(step), jnp.full(K, 0.1)))
    assert below < ends.loss[0]


def test_flat_in_second_order_is_marginal():
    """σ = x³ without students: L − L₀ = −6 v v* (w·w*)³ + O(w⁶), neither gradient nor curvature at w = 0."""
    problem = ol.Problem(2, 2, ol.Quadrature(lambda x: x**3))
    ends = ol.relax(problem, G, one(np.zeros((2, 2)), np.ones(2)))
    assert list(ends.outcome) == ["marginal"]
    assert abs(ends.smallest_eigenvalue[0]) < 1e-8


def test_a_kink_that_decides_nothing_is_marginal():
    """A student of readout −1 against one teacher: at w = 0 the loss rises in all directions but −w*."""
    ends = ol.relax(ol.Problem(1, 1), G, one([[0.0, 0.0]], [-1.0]))
    assert list(ends.outcome) == ["marginal"]


@pytest.mark.parametrize("readout", [1.0, -1.0])
@pytest.mark.parametrize("M", [2, 3])
def test_a_silent_student_escapes_where_the_loss_falls(M, readout):
    """Against brute force over the sphere, at one active student whose weights have a closed form (K = 1).

    Beside the active student the loss changes in no order where readouts agree: that counts neither way.
    """
    theta = np.arccos(M**-0.5)
    length = M * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi
    W, v = np.zeros((2, M)), np.array([1.0, readout])
    W[0] = length / np.sqrt(M)
    problem = ol.Problem(2, M)
    geometry = local_geometry(G, problem, np.concatenate([W, v[:, None]], axis=1))
    expected = M / 4 + M * (M - 1) / (4 * np.pi) - length**2 / 4
    assert geometry.loss == pytest.approx(expected, abs=1e-12)
    u = np.random.default_rng(0).normal(size=(20_000, M))
    u /= np.linalg.norm(u, axis=1, keepdims=True)

    def moved(u):
        weights = ol.Weights(jnp.asarray(W).at[1].set(1e-4 * u), jnp.asarray(v))
        return ol.population_loss(problem, weights)

    steepest = (geometry.loss - float(jnp.min(jax.vmap(moved)(jnp.asarray(u))))) / 1e-4
    assert geometry.escape_rate == pytest.approx(steepest, abs=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_eigenvalue_of_silent_smooth_students_is_the_hessians(seed):
    """The kind: a student of length 0 held for every σ. Erf, K > M: as `jax.hessian` of the loss has it."""
    problem = ol.Problem(3, 2, ol.Erf())
    weights = ol.random_weights(jax.random.key(seed), problem)
    ends = ol.relax(problem, G, one(weights.W, weights.v))

    def loss(flat):
        return ol.population_loss(problem, ol.Weights(flat.reshape(3, 2), jnp.ones(3)))

    expected = np.linalg.eigvalsh(jax.hessian(loss)(jnp.asarray(ends.weights[0].ravel())))[0]
    assert ends.smallest_eigenvalue[0] == pytest.approx(expected, abs=1e-9)


def near(cosine):
    return {"teacher_overlaps": [[1.0, cosine], [cosine, 1.0]]}


@pytest.mark.parametrize(
    ("problem", "apart"),
    [
        (ol.Problem(2, 2, **near(1 - 1e-8)), 0.3),
        (ol.Problem(2, 2, **near(1 - 1e-6)), 0.3),
        (ol.Problem(2, 2, teacher_readout=[1.0, 1e-6]), 5e-7),
    ],
    ids=["8 digits alike", "6 digits alike", "a small readout"],
)
def test_a_loss_that_leaves_out_a_teacher_is_not_zero(problem, apart):
    """The kind: a global minimum that isn't. Two students that share one direction between two teachers, or
    that leave out a small one, have a tiny loss and have not learned; only students at the teachers have."""
    d = problem.teachers
    teachers = np.asarray(problem.teacher_weights(d)) * np.asarray(problem.readout)[:, None]
    mean = teachers.sum(axis=0) / 2
    ends = ol.relax(problem, G, one([0.6 * mean, 1.4 * mean], np.ones(2)))
    assert np.abs(ends.weights[0][:, None] - teachers[None]).max(axis=2).min() > apart
    assert ends.loss[0] < 1e-10
    assert list(ends.outcome) != ["global_minimum"]
    learned = ol.relax(problem, G, one(teachers, np.ones(2)))
    assert list(learned.outcome) == ["global_minimum"]


def test_teachers_that_can_be_told_apart_are_learned():
    """A teacher of a tenth of the other's readout, and one of readout 0, which teaches nothing."""
    for readout in ([1.0, 0.1], [1.0, 0.0]):
        problem = ol.Problem(2, 2, teacher_readout=readout)
        ends = ol.relax(problem, G, one([[0.7, -0.2], [0.1, 0.5]], np.ones(2)))
        assert list(ends.outcome) == ["global_minimum"]
        assert np.abs(ends.weights[0].sum(axis=0) - readout).max() < 1e-6


def test_a_linear_network_has_learned_without_the_teachers_units():
    """σ = x: students of the teacher's sum are a global minimum, however its readouts are shared."""
    problem = ol.Problem(2, 2, ol.LeakyReLU(1.0), teacher_readout=[1.0, 2.0])
    ends = ol.relax(problem, G, one([[0.7, -0.2], [0.1, 0.5]], np.ones(2)))
    assert list(ends.outcome) == ["global_minimum"]
    assert np.allclose(ends.weights[0].sum(axis=0), [1, 2], atol=1e-7)


class FirstStudentAlone(ol.AbstractFlow):
    """Gradient flow of the first student; the others stay."""

    @property
    def permutation_equivariant(self):
        return False

    def mixing(self, state, problem):
        X, Y, dv, _ = G.mixing(state, problem)
        first = jnp.zeros(problem.students).at[0].set(1.0)[:, None]
        return ol.Mixing(X * first, Y * first, dv)


def test_a_flow_that_is_no_gradient_flow_is_judged_by_its_own_eigenvalues():
    """The kind: a saddle that isn't. The Jacobian of this flow is block triangular, with the Hessian of the
    first student's weights and zeros on its diagonal; its symmetric part has negative eigenvalues."""
    problem = ol.Problem(2, 2)
    start = one([[0.6, 0.8], [0.3, -0.2]], np.ones(2))
    ends = ol.relax(problem, FirstStudentAlone(), start)
    assert list(ends.outcome) == ["marginal"]
    assert np.allclose(ends.weights[0, 1], [0.3, -0.2], atol=1e-12)
    end = ol.Weights(jnp.asarray(ends.weights[0]), jnp.ones(2))
    loss = jax.hessian(lambda w: ol.population_loss(problem, ol.Weights(end.W.at[0].set(w), end.v)))
    assert np.linalg.eigvalsh(np.asarray(loss(end.W[0])))[0] > 0.01


class SlowReadout(ol.TwoLayerFlow):
    """Both layers, with a readout that learns at a tenth of the rate: no gradient in this metric."""

    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(dv=0.1 * mixing.dv)


def test_newtons_method_ends_at_fixed_points_of_a_flow_that_is_no_gradient_flow():
    """With its symmetric part in place of the Jacobian the steps converge slowly or not at all."""
    problem = ol.Problem(2, 2, ol.Erf())
    rng = np.random.default_rng(0)
    starts = ol.Weights(jnp.asarray(0.7 * rng.standard_normal((4, 2, 2))), jnp.ones((4, 2)))
    ends = ol.relax(problem, SlowReadout(), starts)
    assert set(ends.outcome) == {"global_minimum"}
    assert ends.time.max() < 1000
    along = np.einsum("nk,nkm->nkm", ends.readout, ends.weights)  # (w, v) ~ (−w, −v)
    np.testing.assert_allclose(np.abs(along).max(axis=1), 1, atol=1e-8)
    np.testing.assert_allclose(along.sum(axis=1), 1, atol=1e-8)


def test_students_that_reach_the_kink_in_finite_time_end_there():
    """Teachers of readout −1, students of readout 1: f ≥ 0 ≥ f*, so that no loss is below that of W = 0,
    ½E[f*²] = M/4 + M(M − 1)/4π. Students get there in finite time; no step of a solver leaves them there.
    """
    problem = ol.Problem(2, 2, teacher_readout=[-1.0, -1.0])
    starts = jax.vmap(lambda key: ol.random_weights(key, problem))(
        jax.random.split(jax.random.key(0), 4)
    )
    ends = ol.relax(problem, G, starts, time_limit=20.0)
    assert set(ends.outcome) <= {"local_minimum", "marginal"}
    np.testing.assert_array_equal(ends.weights, 0)
    np.testing.assert_allclose(ends.loss, 1 / 2 + 1 / (2 * np.pi), rtol=1e-12)


@pytest.mark.parametrize("K", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_start_that_is_stuck_at_the_kink_has_not_failed(K):
    """A student of negative readout reaches length 0 in finite time, and steps there become as short as it:
    all numbers are finite. It was `failed`, with an infinite loss."""
    problem = ol.Problem(K, K)
    keys = jax.random.split(jax.random.key(5), 40)
    W = jax.vmap(lambda key: ol.random_weights(key, problem).W)(keys)
    v = jnp.ones((40, K)).at[:, 0].set(-1.0)
    ends = ol.relax(problem, G, jax.vmap(ol.Weights)(W, v))
    assert set(ends.outcome) <= {"marginal", "not_converged"}
    for W, v, loss in zip(ends.weights, ends.readout, ends.loss, strict=True):
        some = np.linalg.norm(W, axis=1) > 0  # the others have no output
        truth = relu_loss(W[some], v[some], np.eye(K), np.ones(K))
        assert truth == pytest.approx(loss, abs=1e-12)


@pytest.mark.slow
def test_online_sgd_on_its_way_to_the_teacher_is_in_no_local_minimum():
    """With more students than teachers the loss goes to 0 as a power of the time: small rates, and a
    Jacobian whose eigenvalues are 0 to rounding, decide nothing. All are global minima at the usual limit."""
    problem, flow = ol.Problem(4, 3), ol.OnlineSGD(0.1)
    short = ol.sweep(problem, flow, 6, time_limit=3000.0, progress=False)
    assert set(short.outcome) <= {"global_minimum", "not_converged"}
    assert "not_converged" in short.outcome
    long = ol.sweep(problem, flow, 6, progress=False)
    assert set(long.outcome) == {"global_minimum"}


@pytest.mark.parametrize(
    ("power", "w"),
    [
        (3, -1.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((3, -0.3), (5, -1.0), (5, 0.001))
        ),
    ],
)
def test_an_inflection_is_no_minimum_from_whichever_side(power, w):
    """One unit of σ = xⁿ, n odd: L = ½E[z²ⁿ](wⁿ − 1)² has a saddle of degree n at w = 0, where its curvature
    vanishes. Stopped a little before it, by small rates, it was seen with a positive one."""
    problem = ol.Problem(1, 1, ol.Quadrature(lambda x: x**power))
    ends = ol.relax(problem, G, one([[w]], [1.0]))
    assert list(ends.outcome) == ["marginal"]


@pytest.mark.parametrize(
    "activation",
    [lambda x: x**3, pytest.param(lambda x: x - jnp.sin(x), marks=pytest.mark.slow)],
)
def test_a_flat_point_is_no_minimum_from_aside(activation):
    """One student, two teachers: from w < 0 the flow ends at w = 0, where the loss falls like −w³ towards
    the teachers. The eigenvector of the smallest eigenvalue is across the way, and has no rate along it."""
    problem = ol.Problem(1, 2, ol.Quadrature(activation))
    starts = jnp.array([[[-0.3, -0.2]], [[-0.5, -0.9]]])
    ends = ol.relax(problem, G, jax.vmap(ol.Weights)(starts, jnp.ones((2, 1))))
    assert np.abs(ends.weights).max() < 1e-2
    assert set(ends.outcome) <= {"marginal", "not_converged"}
    ahead = ol.Weights(jnp.full((1, 2), 0.05), jnp.ones(1))
    assert ol.population_loss(problem, ahead) < ends.loss.min()


@pytest.mark.parametrize("length", [0.0, 1e-15, 1e-8, 1e-4])
@pytest.mark.parametrize(
    ("activation", "curvature"),
    [
        (ol.Quadrature(lambda x: x**3 - 3 * x), lambda w: 9 - 36 * w),
        pytest.param(
            ol.Quadrature(lambda x: jnp.clip(x, -1, 1), breaks=(-1, 1)),
            lambda w: 1.0,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["He_3", "hardtanh"],
)
def test_short_units_keep_their_curvature(activation, curvature, length):
    """L(w) of one unit is ½(15w⁶ − 18w⁴ + 9w²) − 6w³ + 3 for He_3; for hardtanh, short of the kinks, ½w²
    and a linear term. Rounding, divided by the length, made 6.9 and 8.1 of 9."""
    problem = ol.Problem(1, 1, activation)
    weights = ol.Weights(jnp.array([[length]]), jnp.ones(1))
    H, _ = ol.hessian(G, problem, weights)
    assert np.isclose(H[0, 0], curvature(length), rtol=1e-6)


@pytest.mark.slow
def test_an_inflection_on_the_sphere_is_no_minimum():
    """Students of fixed length with He_3 in the plane: L = 6(1 − m³) of the overlap m, flat at m = 0."""
    problem = ol.Problem(1, 1, ol.Quadrature(lambda x: x**3 - 3 * x))
    runs = ol.sweep(problem, ol.NormalisedFlow(), 16, dimension=2, progress=False)
    assert set(runs.outcome) == {"global_minimum", "marginal"}
